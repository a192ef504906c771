// Package notify tells the world outside what happened: by running scripts, by
// lines in FIFOs and by mail.
//
// None of its callers ever waits: a script, a line and a mail are taken into a
// bounded queue or dropped and counted, and whatever blocks does so in a
// goroutine of this package. Close of each type waits a bounded time.
//
// Order: scripts of one queue run one after the other, scripts of different
// queues side by side, a limited number at once; lines and mails keep theirs.
//
// The package decides nothing: which script, which line and which words come
// from its caller.
//
// Locks: each type has one, held for moments and never while anything blocks.
package notify
