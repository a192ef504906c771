package explain

import "usvs/director"

// meanings say how a frame ended.
var meanings = map[director.Reason]string{
	director.Forwarded:  "sent on",
	director.Answered:   "no connection or service takes it: the director itself answers, as a host without listeners would",
	director.Passed:     "not the director's: the host's own stack has it",
	director.Handed:     "given to the host's own stack",
	director.Consumed:   "kept or used up: ARP, neighbour discovery, or a fragment that waits for the rest",
	director.Ignored:    "to an address the director owns, but nothing is to be said to it",
	director.NotForUs:   "its destination MAC is another station's",
	director.VLANTagged: "it has a VLAN tag and belongs to a VLAN interface, not to this one",
	director.Waiting:    "on its way, but the next hop's MAC address has to be asked for first",

	director.DropMalformed:        "dropped: its headers cannot be right",
	director.DropShortTransport:   "dropped: its transport header is cut short",
	director.DropServerGone:       "dropped: its connection's real server was deleted, and expire_nodest_conn is 0",
	director.DropNoServer:         "dropped: no real server is available; the client is told that the port is unreachable",
	director.DropTableFull:        "dropped: the connection table, or this client's share of it, is full",
	director.DropTemplateRace:     "dropped: its persistence template ended again and again",
	director.DropTTL:              "dropped: its TTL is used up; the sender is told",
	director.DropTooBig:           "dropped: it is longer than the MTU and must not be cut; the sender is told the MTU",
	director.DropNoRoute:          "dropped: there is no route to the next hop; the sender is told",
	director.DropForeignRoute:     "dropped: the route leaves by an interface the director does not run on",
	director.DropNeighbour:        "dropped: the next hop does not answer ARP or neighbour discovery",
	director.DropMTUTooSmall:      "dropped: the tunnel leaves too small an MTU",
	director.DropFamily:           "dropped: the server has another address family, which needs a tunnel",
	director.DropNoRoom:           "dropped: there is no buffer for another frame",
	director.DropFragment:         "dropped: the fragment overlaps another, exceeds a limit or is malformed",
	director.DropICMPChecksum:     "dropped: the ICMP error's checksum is wrong",
	director.DropRedirectLoopback: "dropped: NAT cannot lead to a loopback address",
	director.DropSegment:          "dropped: the super-frame could not be cut into segments",
	director.DropLocalNode:        "dropped: the server is this host, which does not carry the virtual address",
	director.DropNeedsEthernet:    "dropped: direct routing needs an interface with MAC addresses",
	director.DropNoConnection:     "dropped: a real server's packet without a connection; the server is told (nat_icmp_send)",
	director.DropTunnelError:      "used up: an ICMP error about a tunnel, told to the client where it can be",
	director.DropUnanswerable:     "dropped: too malformed to be answered",
	director.DropRateLimited:      "dropped: the answer was withheld by the ICMP rate limit",
	director.DropMartian:          "dropped: no other host can have the source address",
}
