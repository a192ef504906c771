// Package netsim is a network in virtual time: links, switches, routers, hosts
// and directors, of which the director is the production one, unchanged.
//
//	n := netsim.New(1)
//	sw := n.Switch("sw")
//	client, server, lvs := n.Host("client"), n.Host("rs1"), n.Director("lvs")
//	lan := netsim.LinkOptions{Delay: 50 * time.Microsecond}
//	n.Link(client.NIC("eth0", "10.0.0.9/24"), sw.Port("1"), lan)
//	n.Link(server.NIC("eth0", "10.0.0.2/24"), sw.Port("2"), lan)
//	n.Link(lvs.NIC("eth0", "10.0.0.1/24"), sw.Port("3"), lan)
//	server.MustExec("usvs realserver up --vip 10.0.0.100")
//	lvs.MustExec("ipvsadm -A -u 10.0.0.100:53 -s rr")
//	lvs.MustExec("ipvsadm -a -u 10.0.0.100:53 -r 10.0.0.2 -g")
//	n.Run(5 * time.Second)
//
// # Determinism
//
// Time is virtual and jumps from event to event. Events happen in the order of
// their time, and those of one instant in the order in which they were asked
// for. Nothing else decides: no goroutine, no map order, no wall clock, no
// pointer value. The same program with the same seed gives the same records,
// log and pcapng file, byte for byte, on every platform.
//
// Randomness comes from streams that are named after what draws from them
// (Net.Rand), so that another node or link does not shift anybody's draws.
//
// # Concurrency
//
// A Net and everything in it belong to one goroutine at a time. Callbacks are
// called by Run and may do anything but call Run.
//
// # What passes where
//
//	net.go, heap.go      virtual time, events, timers
//	frame.go, port.go    frames in flight, and where nodes meet links
//	link.go              links and what they do to frames
//	switch.go            learning switches
//	host.go, addr.go     hosts: interfaces, addresses, routes
//	neigh.go             neighbour caches; arp.go and nd.go speak for them
//	input.go             what a host does with a packet for it
//	output.go            how a host's packet leaves; forwarding (routers)
//	reassemble.go        fragments, put together
//	settings.go          what sysctl changes
//	tunnel.go            the decapsulation of real servers behind a tunnel
//	icmp.go, udp.go      echo, errors and datagrams for applications
//	host_tcp.go          the same for TCP, which is package netsim/tcp
//	director.go          the production director in front of a host's stack
//	sync.go              its synchronisation daemons
//	keepalived.go        the production node on it, by a keepalived.conf
//	world.go, env.go     what that node needs done, and what scripts tell it
//	probe*.go            its health checks
//	life.go, service.go  machines that stall and crash, servers that stop
//	exec*.go             the commands a node understands
//	record.go, log.go    what can be seen: records of frames, a log of events
//	loghandler.go        what production code logs, in that log
//	verdict.go           what directors say about the frames
//	summary.go           a frame in a line of text
//	pcapng.go            records as a pcapng file
//
// # What is not there
//
// No spanning tree, VLAN tags, multicast routing, IGMP or MLD; no TLS: SSL_GET
// asks by HTTP; no ICMP redirects, rp_filter, address autoconfiguration or
// detection of duplicate addresses; no segmentation offload: every frame is as
// it would be on a wire. The sysctl settings for these are accepted and do
// nothing. SCTP reaches real servers, but no host speaks it.
//
// Frames are pooled: a node that is given a frame either sends it on or
// releases it. What an observer is given is a copy.
package netsim
