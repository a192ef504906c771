// Package scenario reads and runs scenarios: a network, what is typed on its
// machines, what is sent, what breaks, and what must be seen, in one text file.
// docs/scenarios.md describes the language; this is the shape of it:
//
//	# LVS-DR: two real servers on one segment.
//	switch   lan
//	client   client   lan 10.10.100.2/24
//	director director lan 10.10.100.1/24
//	server   rs1      lan 10.10.100.111/24
//	server   rs2      lan 10.10.100.112/24
//
//	rs1$ usvs realserver up --vip 10.10.100.107
//	rs2$ usvs realserver up --vip 10.10.100.107
//	director$ ipvsadm -A -t 10.10.100.107:80 -s rr
//	director$ ipvsadm -a -t 10.10.100.107:80 -r 10.10.100.111 -g
//	director$ ipvsadm -a -t 10.10.100.107:80 -r 10.10.100.112 -g
//
//	http client -> 10.10.100.107:80 x30
//	expect answered rs1 15 rs2 15
//	expect frame at rs1 in tcp client > 10.10.100.107:80 S eth.src=director ttl=63
//
// Parse makes a File of it, Run plays the File in a World. A World is a place
// where machines, links and time are to be had: the simulation (NewSim), real
// namespaces, or a kernel with ip_vs. Everything that judges is here and the
// same for all worlds; a World only acts and reports what it saw.
//
// A File is immutable once it is parsed, and any number of goroutines may run
// it, each in a World of its own.
//
// # What passes where
//
//	load.go               files and folders of scenarios
//	syntax.go, node.go    the parsed form
//	words.go              a line, word by word
//	parse*.go, topology.go, traffic.go, expect.go, packet.go, pattern.go   text to File
//	world.go              what a World does
//	run.go, judge*.go     the steps, one after another, and the expectations
//	output.go             does what a command wrote have the wanted lines
//	match.go              does a frame fit a pattern; describe.go: what it is instead
//	sim.go, sim_*.go      the World that is a simulation
//	suite.go              many scenarios, with many seeds
package scenario
