package scenario

import (
	"net/netip"
)

// Packet is a packet in one line, for Inject:
//
//	tcp 10.0.0.9:4000 > 10.0.0.1:80 S len=100 ttl=2 df
//	udp 10.0.0.9:4000 > 10.0.0.1:53 len=1400 id=7 frag=0+
//	icmp 10.0.0.9 > 10.0.0.1 echo
//	arp who-has 10.0.0.1 tell 10.0.0.9
type Packet struct {
	Proto    string // tcp, udp, icmp, icmp6, sctp, arp
	Src, Dst netip.AddrPort
	Flags    string // of TCP, in the letters SAFRPU
	Len      int    // of the payload
	TTL      int    // 0: 64
	ID       int    // of IPv4
	Seq, Ack uint32
	DF, MF   bool
	Offset   int // of a fragment, in bytes
}

// Pattern is what a frame must look like. What is absent fits anything.
type Pattern struct {
	Proto    string // tcp, udp, icmp, icmp6, sctp, arp, ip, ip6, ipip; empty: any frame
	Src, Dst Endpoint
	Flags    string // exactly these of TCP
	Fields   []Field
}

// Endpoint is an address and a port, either of which may be absent.
type Endpoint struct {
	Addr netip.Addr
	Port uint16
}

// Field is a condition key=value on a frame, like ttl=63 or eth.dst=rs1.
type Field struct{ Key, Value string }
