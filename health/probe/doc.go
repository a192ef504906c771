// Package probe makes the attempts of health checks with real sockets and
// programs: a health.Probe says everything there is to know about one, and a
// health.Result comes back.
//
// Each attempt has a goroutine while it runs, and no more run at once than
// there are slots; the rest waits its turn, first come, first served. Scripts
// have slots of their own, so that slow ones do not keep sockets waiting, and
// watched files need none.
//
// It may not judge: what is said to servers and what their answers are worth is
// package dialog's, for which it moves the bytes; retries, timing and what follows
// from a result are package health's. It tells apart what the server did (success
// or failure) and what never reached the server (a local error, which is no
// result).
//
// Invariants, whatever a server sends: an attempt ends, after a bounded time
// and with a bounded amount of data read; it leaves no socket, no goroutine
// and no process behind. A cancelled attempt has no result.
//
// Lock: Runner.mu, held for moments only, never while a result is delivered.
package probe
