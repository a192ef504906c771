// Package lab is where usvs and its peers are measured: networks of the
// program's own, the programs in them, and the cores they have.
//
//	line_linux.go      sender, director and servers in a row, for frames in one direction
//	lan_linux.go       clients, director and servers on a switch, for connections
//	decap_linux.go     servers that unpack what is tunnelled to them
//	director_linux.go  what stands between them: usvs and its peers
//	place_linux.go     who has which core
//	steer_linux.go     who handles what a director receives
//	cpu_linux.go       what a core did
//	enter_linux.go     the process of its own in which suites run
//	run_linux.go       programs, and which package brings one that is missing
//
// Everything is in namespaces of the calling process (link/netlab), which must
// be one that netlab.Enter started: when it ends, all of it is gone. Each
// director has a network of its own, so that no two of them share so much as a
// neighbour entry. The package measures nothing and prints nothing.
package lab
