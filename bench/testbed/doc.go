// Package testbed is a production director in memory for the suites: its
// control, connection table and one worker, between a client side (port 0) and
// a server side (port 1), with frames of as many flows as a measurement wants.
//
// Time is what the suite says. Everything is deterministic but the time it
// takes. A Bed is one goroutine's, except for its Control and its Director.
package testbed
