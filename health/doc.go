// Package health looks after the real servers of virtual servers: it says when
// a check runs, counts what comes of it, and has IPVS follow, as keepalived's
// healthcheckers do: quorum, sorry server, notifications and log lines
// included.
//
// It is pure. A Monitor is told the time and what probes found; what is to be
// done it says to an Effects. It opens no socket, runs no script, and draws
// randomness only from the source it was given, so that the same Monitor works
// in a simulator.
//
// The way of an attempt:
//
//   - queue.go: the checks in the order in which they are due; Tick takes them.
//   - attempt.go: an attempt begins (Effects.Probe) and ends (Monitor.Result);
//     retries, delays, and what to log of it.
//   - finding.go: what a server fails by when it is looked at by way of the VIP.
//   - server.go: a check changed its mind: is the server up, what does IPVS get.
//   - quorum.go: does the virtual server have enough servers; sorry server.
//   - reload.go: another configuration takes the place of the running one.
//
// Invariants:
//
//   - A server is up if and only if none of its checks has failed.
//   - While a sorry server stands in, no other server is in IPVS with a weight,
//     and changes of servers are kept until it leaves.
//   - A check is in exactly one of these states: waiting in the queue, one
//     attempt running, asleep (suspended, or watching a file or a BFD session).
//   - Every attempt has a CheckID of its own. A result for any other is
//     ignored, however late it comes.
package health
