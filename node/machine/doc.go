// Package machine is the machine a node runs on: the node.World of real
// sockets, interfaces, scripts and mail, and the loop that a node lives in.
//
// Run is the only goroutine that touches the Node and what Configure sets up.
// Everybody else, which is readers of sockets, probes, scripts and netlink,
// posts a function to it and goes on. The data plane never waits for it.
//
// The package decides nothing: what is sent, when, and what is said about it
// is the node's. What fails is logged, and the node goes on, as keepalived does.
//
// Lock order: there is no lock here. Callbacks of package host, notify, track
// and health/probe post to the loop and hold none of theirs meanwhile.
package machine
