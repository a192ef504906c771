// Package netconn gives the hosts of a simulated network net.Conn and
// net.Listener, so that unmodified Go code, net/http for one, talks through a
// simulated director. It is for tests that run inside testing/synctest:
//
//	synctest.Test(t, func(t *testing.T) {
//		sim := netsim.New(1) // ... hosts, links, a director
//		nc := netconn.New(t, sim)
//		ln, _ := nc.Host(server).Listen("tcp", ":80")
//		go http.Serve(ln, handler)
//		client := http.Client{Transport: &http.Transport{DialContext: nc.Host(client).DialContext}}
//		...
//	})
//
// # Time
//
// The network's time is the bubble's: it passes only while every goroutine of
// the bubble is blocked, and then jumps to whatever is due next, a timer of the
// program or an event of the network. time.Sleep lets the network work;
// synctest.Wait does not, because it returns without time having passed.
// Every call here takes one nanosecond of virtual time.
//
// A director always has a next timer. A program that waits for ever is therefore
// not reported as deadlocked while there is one: give requests a time-out.
//
// # What is deterministic, and what is not
//
// Calls that goroutines make in one instant are carried out together, one
// nanosecond later, in an order that does not depend on who came first: by the
// host's name, the local port, the remote address, and then deadlines before
// writes before reads before closes. So the goroutines of a program may run in
// any order within an instant, at any GOMAXPROCS, and the frames are the same.
//
// The limit: calls that are alike in all of this are carried out as they
// arrive. Those are dials of one host to one address in the same instant,
// unless WithLocalAddr gives them different ports, and several goroutines that
// do the same to one connection or listener, or call Do, in the same instant.
// What the program decides by itself, by select or by a map's order, is
// likewise its own affair. Where frames must repeat byte for byte whatever the
// program does, use scenario files or the callbacks of netsim.
//
// # Concurrency
//
// One goroutine, started by New, owns the network. It alone calls it; others
// hand it their calls and wait. Use Do to change the network meanwhile. The one
// mutex guards the list of calls that are handed over.
package netconn
