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
//   - attempt.go: an attempt begins (Effects.Probe) and ends (Monitor.Result).
//   - finding.go: a server failed by way of the VIP: does it answer directly?
//   - judge.go: retries, delays, what the attempt means; words.go: what is said
//     of it.
//   - server.go: a check changed its mind: is the server up, what does IPVS get;
//     seat.go: in which services it stands.
//   - quorum.go: does the virtual server have enough servers; sorry server.
//   - reload.go: another configuration takes the place of the running one;
//     same.go: which checks stay; stop.go: everything goes.
//
// Invariants:
//
//   - A server is up if and only if none of its checks has failed.
//   - A sorry server stands in if and only if there is no quorum. Meanwhile no
//     other server is in IPVS with a weight.
//   - IPVS has what is said of every seat, and nothing else of ours.
//   - A check waits in the queue or has one attempt running, never both. One
//     that watches a file or a BFD session always runs.
//   - Every attempt has a CheckID of its own. A result for any other is
//     ignored, however late it comes.
//
// # As keepalived, and not
//
// Timing, order and words are those of keepalived 2.2.7, recorded in testdata.
// Where its reload leaves the table in disorder (a failed server whose method
// changes comes back, an address that leaves a group stays, an inhibited server
// that goes stays), where MISC_CHECK forgets which weight its script has set,
// and where PING_CHECK says errno instead of failed, this package does not
// follow it. What a tracked file says is known a moment after the start, not
// before: until then its servers are up.
package health
