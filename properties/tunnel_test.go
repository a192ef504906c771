package properties

import (
	"encoding/binary"
	"errors"
	"fmt"

	"usvs/ipvs"
)

// overhead is by how much a tunnel lengthens the packet (ipvs.md 5.5).
func (tr *traffic) overhead(s shipment) int {
	if tr.mode.method != ipvs.Tunnel {
		return 0
	}
	n := 20
	if tr.mode.far6 {
		n = 40
	}
	switch flags := tr.mode.tunnel.Flags; tr.mode.tunnel.Type {
	case ipvs.GRE:
		n += 4
		if flags == ipvs.TunnelCsum {
			n += 4
		}
	case ipvs.GUE:
		n += 12
		if flags == ipvs.TunnelRemCsum && s.dev.partial && s.proto != sctp {
			n += 8
		}
	}
	return n
}

// least is the MTU that a tunnel must leave for the packet inside.
func (tr *traffic) least() int {
	if tr.mode.far6 {
		return 1280
	}
	return 68
}

// unwrap judges a tunnel's outer headers and returns what is inside, as the far
// end sees it.
func (tr *traffic) unwrap(s shipment, outer view) (inner view, err error) {
	if err := sound(outer.b, tr.mode.tunnel.Type == ipvs.GUE); err != nil {
		return inner, fmt.Errorf("outer: %w", err)
	}
	b, proto := outer.body(), uint8(ipip)
	if s.in.v6 {
		proto = ip6
	}
	switch tr.mode.tunnel.Type {
	case ipvs.GRE:
		b, err = tr.unwrapGRE(outer, proto)
	case ipvs.GUE:
		b, err = tr.unwrapGUE(s, outer, proto)
	default:
		if outer.proto != proto {
			err = fmt.Errorf("outer protocol %d", outer.proto)
		}
	}
	if err != nil {
		return inner, err
	}
	inner = look(b)
	if len(inner.b) != len(b) {
		return inner, fmt.Errorf("%d bytes behind the inner packet", len(b)-len(inner.b))
	}
	return inner, tr.outerHeader(s, outer, inner)
}

// outerHeader judges the outer IP header by the inner one.
func (tr *traffic) outerHeader(s shipment, outer, inner view) error {
	src, dst := outer.addresses()
	dip, rip := dip4, s.real.Addr()
	if tr.mode.far6 {
		dip = dip6
	}
	tos := inner.tos()
	if tos&3 == 3 {
		tos = tos&^3 | 2 // congestion experienced does not start outside
	}
	switch {
	case string(src) != string(dip.AsSlice()) || string(dst) != string(rip.AsSlice()):
		return fmt.Errorf("outer addresses %x and %x", src, dst)
	case *outer.ttl() != *inner.ttl() || outer.tos() != tos:
		return fmt.Errorf("outer TTL %d, TOS %#x; inner TTL %d, TOS %#x", *outer.ttl(), outer.tos(), *inner.ttl(), inner.tos())
	case outer.v6:
		if binary.BigEndian.Uint32(outer.b)&0xfffff != 0 || outer.l4 != 40 {
			return errors.New("outer flow label or extension headers")
		}
		return nil
	case outer.l4 != 20:
		return errors.New("outer options")
	}
	innerDF := !inner.v6 && get16(inner.b[6:])&dontFragment != 0
	df := innerDF && tr.snap.Sysctls.PMTUDisc != 0
	id := get16(outer.b[4:])
	if s.cut || s.largest != 0 && (innerDF || inner.v6 && s.largest&0x40 != 0) {
		return nil // an ICMP error, in spite of DF; pieces that may have lost it, or got it
	}
	if df != (get16(outer.b[6:]) == dontFragment) || df && id != 0 && s.largest == 0 {
		return fmt.Errorf("outer flags %#x, identification %d; inner flags %#x", get16(outer.b[6:]), id, get16(inner.b[6:]))
	}
	return nil
}

func (tr *traffic) unwrapGRE(outer view, proto uint8) ([]byte, error) {
	b := outer.body()
	typ, n, flags := uint16(0x0800), 4, uint16(0)
	if proto == ip6 {
		typ = 0x86dd
	}
	if tr.mode.tunnel.Flags == ipvs.TunnelCsum {
		n, flags = 8, 0x8000
		if sum(b, 0) != 0xffff || get16(b[6:]) != 0 {
			return nil, fmt.Errorf("GRE checksum: %x", b[:8])
		}
	}
	if outer.proto != gre || get16(b) != flags || get16(b[2:]) != typ {
		return nil, fmt.Errorf("GRE header: protocol %d, %x", outer.proto, b[:4])
	}
	return b[n:], nil
}

// unwrapGUE also does what the far end does about a checksum that it is asked
// to fill in.
func (tr *traffic) unwrapGUE(s shipment, outer view, proto uint8) ([]byte, error) {
	b := outer.body()
	wants := tr.mode.tunnel.Flags != ipvs.TunnelNoCsum
	if outer.proto != udp || get16(b[2:]) != tr.mode.tunnel.Port || (get16(b[6:]) != 0) != wants {
		return nil, fmt.Errorf("UDP header of GUE: protocol %d, %x", outer.proto, b[:8])
	}
	if err := tr.sourcePort(s, get16(b)); err != nil {
		return nil, err
	}
	b = b[8:]
	if b[1] != proto || b[0] != 0 && b[0] != 2 {
		return nil, fmt.Errorf("GUE header %x", b[:4])
	}
	remote := tr.mode.tunnel.Flags == ipvs.TunnelRemCsum && s.dev.partial && s.proto != sctp && s.dev.super == 0
	if (b[0] == 2) != remote || (get16(b[2:]) == 1) != remote {
		return nil, fmt.Errorf("remote checksum offload: GUE header %x", b[:4])
	}
	if !remote {
		return b[4:], nil
	}
	if binary.BigEndian.Uint32(b[4:]) != 0x80000000 {
		return nil, fmt.Errorf("private GUE flags %x", b[4:8])
	}
	start, at := int(get16(b[8:])), int(get16(b[10:]))
	inner := append([]byte(nil), b[12:]...)
	finish(inner, start, at-start)
	return inner, nil
}

// sourcePort is a hash of the flow: one of the host's own ports, and the same
// for all of the flow's packets.
func (tr *traffic) sourcePort(s shipment, port uint16) error {
	key := fmt.Sprint(s.proto, s.client)
	if was, ok := tr.gue[key]; ok && was != port || port < 32768 || port >= 60999 {
		return fmt.Errorf("source port %d, before it was %d", port, was)
	}
	tr.gue[key] = port
	return nil
}
