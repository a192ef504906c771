// Package via connects health checks to a real server by way of the virtual
// address, in real time: package health/path makes the packets, the director
// forwards them as it does clients', and who owns a Dialer sends the frames and
// hands it what is answered.
//
// It opens no socket itself. A Dialer is safe for concurrent use; everything in
// it happens under one mutex, which is never held while anybody waits. The
// packets of one attempt are few, so that this is no bottleneck: a connection's
// life is some ten of them.
package via
