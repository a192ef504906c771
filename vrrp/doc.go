// Package vrrp is the failover state machine of a node: all its VRRP instances
// and sync groups, what they track, and what they announce (RFC 3768, RFC 5798).
// It behaves, times, talks and logs as keepalived 2.2.7 does.
//
// It is pure: adverts, ticks and what became of interfaces, scripts, processes
// and files come in with the time; packets, address changes, announcements and
// notifications go out through Effects. It opens no socket, reads no clock,
// starts no goroutine and draws no random number, so that a run repeats.
//
// The way of an advert: Router.Handle finds the instance (router.go), receive
// checks it in keepalived's order (check.go, auth.go), the state machine acts
// (backup.go, master.go), advert.go and announce.go make what is sent.
//
// A Router is not safe for concurrent use: its owner serialises. Effects are
// called from within the Router's methods and must not call back.
//
// Invariants: an instance's addresses are added exactly when it becomes master
// and removed when it ceases to be. Every state that waits has a deadline, and
// Tick returns the earliest. No packet, however made, panics, allocates without
// bound or is answered by more than one advert and one burst of announcements.
package vrrp
