// Package dialog is what the checks of servers say and what they make of the
// answers: TCP_CHECK, HTTP_GET, SSL_GET, SMTP_CHECK, DNS_CHECK, UDP_CHECK and
// PING_CHECK as state machines, in keepalived's bytes and words. Who has a
// connection, be it a socket or one of a simulator, moves the bytes:
//
//	d, err := dialog.New(probe, id) // an error: nothing to do with the server
//	… connect; if that fails: d.Fail(dialog.Connecting, err)
//	move := d.Begin()
//	until move.Done: send move.Say, receive, move = d.Take(received)
//
// It may not do I/O, and knows no time: the caller waits, Probe.Timeout for
// each step and Lifetime timeouts altogether, and says with Fail when that was
// too long. SSL_GET is HTTP_GET within a connection that the caller encrypts.
//
// Invariants, whatever a server sends: nothing panics, and what is kept of it,
// looked at and waited for is bounded; the verdict does not depend on how a
// stream is cut into pieces.
package dialog
