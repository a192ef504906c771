package marks

import (
	"net/netip"
	"strconv"
)

// Names resolves what a command gives by name, and names what a listing shows.
type Names interface {
	// Addrs returns the addresses of a host name.
	Addrs(host string) []netip.Addr
	// Port returns the port of a service, as getservbyname(3).
	Port(service, protocol string) (uint16, bool)
	// Service returns the name of a port, as getservbyport(3), or "".
	Service(port uint16, protocol string) string
}

// NoNames knows no name.
type NoNames struct{}

func (NoNames) Addrs(string) []netip.Addr            { return nil }
func (NoNames) Port(string, string) (uint16, bool)   { return 0, false }
func (NoNames) Service(port uint16, _ string) string { return "" }

// protocols are the names iptables knows by itself or, on an ordinary host,
// from protocols(5). Where a number has several names, its first is printed.
var protocols = []struct {
	name   string
	number uint8
}{
	{"tcp", 6}, {"sctp", 132}, {"udp", 17}, {"udplite", 136}, {"icmp", 1},
	{"ipv6-icmp", 58}, {"icmpv6", 58}, {"esp", 50}, {"ah", 51}, {"ipv6-mh", 135}, {"mh", 135},
	{"igmp", 2}, {"ggp", 3}, {"ipencap", 4}, {"st", 5}, {"egp", 8}, {"igp", 9}, {"pup", 12},
	{"hmp", 20}, {"xns-idp", 22}, {"rdp", 27}, {"iso-tp4", 29}, {"dccp", 33}, {"xtp", 36},
	{"ddp", 37}, {"idpr-cmtp", 38}, {"ipv6", 41}, {"ipv6-route", 43}, {"ipv6-frag", 44},
	{"idrp", 45}, {"rsvp", 46}, {"gre", 47}, {"skip", 57}, {"ipv6-nonxt", 59}, {"ipv6-opts", 60},
	{"rspf", 73}, {"vmtp", 81}, {"eigrp", 88}, {"ospf", 89}, {"ax.25", 93}, {"ipip", 94},
	{"etherip", 97}, {"encap", 98}, {"pim", 103}, {"ipcomp", 108}, {"vrrp", 112}, {"l2tp", 115},
	{"isis", 124}, {"fc", 133}, {"mpls-in-ip", 137}, {"manet", 138}, {"hip", 139}, {"shim6", 140},
	{"wesp", 141}, {"rohc", 142},
}

// protocolNumber reads a protocol by name or number; "all" is 0.
func protocolNumber(s string) (uint8, bool) {
	if n, ok := parseUint(s, 255); ok {
		return uint8(n), true
	}
	if s == "all" {
		return 0, true
	}
	for _, p := range protocols {
		if p.name == s {
			return p.number, true
		}
	}
	return 0, false
}

func protocolName(n uint8) string {
	if n == 0 {
		return "all"
	}
	for _, p := range protocols {
		if p.number == n {
			return p.name
		}
	}
	return strconv.Itoa(int(n))
}
