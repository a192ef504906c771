// Package conns is the suite tcp: bulk data, requests, connections and delays
// of TCP through usvs and its peers.
//
//	targets.go        what is measured, of whom, and what is to be reached
//	trials_linux.go   how each thing is measured
//	suite_linux.go    rounds, and figures of them
//
// Clients, director and servers share the machine's cores: the clients are on the
// first, the servers on the second, and a director where the scheduler puts it. What it
// costs its neighbours counts. In every round each thing
// is measured of all contenders one after the other. A contender that does not
// work is listed with the reason, and the others go on.
package conns
