package director

import (
	"fmt"
	"sync/atomic"

	"usvs/wire"
)

// Reason is why a frame ended as it did. Each has a name and a counter.
type Reason uint8

const (
	// Verdicts that are no fault.
	Forwarded  Reason = iota // sent on to a real server or client
	Answered                 // the director replied itself
	Passed                   // not the director's: the host's own stack has it
	Handed                   // given to the host's own stack by the director
	Consumed                 // ARP, ND or a fragment kept for reassembly
	Ignored                  // to an owned address, and nothing is to be said to it
	NotForUs                 // another station's MAC address
	VLANTagged               // tagged: belongs to a VLAN interface, not to this one
	Waiting                  // on its way, but the next hop's MAC has to be asked for first

	// Drops.
	DropMalformed        // wire.Parse refused it; also counted by kind
	DropShortTransport   // the transport header cannot be read
	DropServerGone       // its connection's real server was deleted (expire_nodest_conn=0)
	DropNoServer         // no real server available; ICMP port unreachable was sent
	DropTableFull        // the connection table holds its maximum
	DropTemplateRace     // its persistence template kept dying under it
	DropTTL              // TTL exceeded; ICMP sent
	DropTooBig           // longer than the path's MTU and not to be fragmented; ICMP sent
	DropNoRoute          // no route to the next hop; ICMP sent
	DropForeignRoute     // the route leaves by an interface usvs does not run on
	DropNeighbour        // the next hop does not answer ARP or ND; the frame was counted as waiting before
	DropMTUTooSmall      // a tunnel's MTU below 68 (IPv4) or 1280 (IPv6)
	DropFamily           // the server's family needs a tunnel
	DropNoRoom           // no buffer for another frame
	DropFragment         // fragment refused: overlap, limits or malformed
	DropICMPChecksum     // related ICMP error with a wrong checksum
	DropRedirectLoopback // NAT to a loopback address
	DropSegment          // a super-frame that could not be segmented
	DropLocalNode        // for a local server, but the host does not carry the VIP
	DropNeedsEthernet    // direct routing through an interface without MAC addresses
	DropNoConnection     // a server's packet without a connection; ICMP sent (nat_icmp_send)
	DropTunnelError      // an ICMP error about a tunnel, told to the client where it can be
	DropUnanswerable     // to an owned address, too malformed to be answered
	DropRateLimited      // an answer withheld by the ICMP rate limit
	DropDefence          // would have opened a connection, and drop_packet's turn had come
	DropRelatedNoServer  // an ICMP error that would have opened a connection, but no real server is available
	DropBypassLocal      // on a bypass connection, to an address of the host
	DropHelperChecksum   // of a connection with a helper, and the checksum is wrong
	DropHelperRace       // of a connection with a helper, and two workers were at it
	DropHelperTooBig     // of a connection with a helper, who made it longer than the path's MTU
	DropEngine           // opens a connection, and the persistence engine finds no key in it
	DropMartian          // from an address that no other host can have, or routed by its sender
	reasons
)

var reasonNames = [reasons]string{
	"forwarded", "answered", "passed", "handed_to_host", "consumed", "ignored", "not_for_us", "vlan_tagged", "waiting",
	"drop_malformed", "drop_short_transport", "drop_server_gone", "drop_no_server", "drop_table_full",
	"drop_template_race", "drop_ttl", "drop_too_big", "drop_no_route", "drop_foreign_route",
	"drop_neighbour", "drop_mtu_too_small", "drop_family", "drop_no_room",
	"drop_fragment", "drop_icmp_checksum", "drop_redirect_loopback", "drop_segment", "drop_local_node",
	"drop_needs_ethernet", "drop_no_connection", "drop_tunnel_error", "drop_unanswerable", "drop_rate_limited",
	"drop_defence", "drop_related_no_server", "drop_bypass_local", "drop_helper_checksum",
	"drop_helper_race", "drop_helper_too_big", "drop_engine", "drop_martian",
}

// String is the reason's counter name.
func (r Reason) String() string { return reasonNames[r] }

// Dropped reports whether the reason is a drop.
func (r Reason) Dropped() bool { return r >= DropMalformed }

// counters are one worker's; only that worker adds, anyone reads.
type counters struct {
	reason    [reasons]atomic.Uint64
	malformed [int(wire.UnknownIPVersion) + 1]atomic.Uint64
}

// bump adds one. Only its own worker writes a counter, so no read-modify-write
// cycle of the bus is needed.
func bump(c *atomic.Uint64) { c.Store(c.Load() + 1) }

// add is bump for n at once.
func add(c *atomic.Uint64, n int) { c.Store(c.Load() + uint64(n)) }

// MarshalText gives an Event in JSON its reason by name.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is MarshalText's inverse. A name this version does not know is
// an error.
func (r *Reason) UnmarshalText(text []byte) error {
	for i, name := range reasonNames {
		if name == string(text) {
			*r = Reason(i)
			return nil
		}
	}
	return fmt.Errorf("unknown reason %q", text)
}
