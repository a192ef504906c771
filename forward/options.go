package forward

import (
	"net/netip"

	"usvs/wire"
)

// IPv4 options (RFC 791 3.1).
const (
	optionEnd    = 0
	optionNop    = 1
	optionRoute  = 7    // record route
	optionLoose  = 131  // loose source route
	optionStrict = 137  // strict source route
	optionCopied = 0x80 // this bit: the option belongs into every fragment
)

// RecordRoute writes a into the next free slot of the packet's record route
// option, if it has one. The kernel writes the address the packet was sent to,
// before it forwards it.
func RecordRoute(p *wire.Packet, a netip.Addr) {
	if p.Version != 4 || p.L4-p.L3 == wire.IPv4Len {
		return
	}
	b := p.Data[p.L3+wire.IPv4Len : p.L4]
	for o := nextOption(b); o != nil; o = nextOption(b) {
		if o[0] == optionRoute && recordIn(o, a) {
			p.V4().UpdateChecksum()
			return
		}
		b = b[len(o):]
	}
}

// SourceRouted reports whether the packet says by which hosts it wants to go
// on. Linux drops such packets unless told otherwise, whether there are hosts
// left to go by or not.
func SourceRouted(p *wire.Packet) bool {
	if p.Version != 4 || p.L4-p.L3 == wire.IPv4Len {
		return false
	}
	b := p.Data[p.L3+wire.IPv4Len : p.L4]
	for o := nextOption(b); o != nil; o = nextOption(b) {
		if o[0] == optionLoose || o[0] == optionStrict {
			return true
		}
		b = b[len(o):]
	}
	return false
}

// recordIn puts a where the option's pointer, counted from 1, points to.
func recordIn(option []byte, a netip.Addr) bool {
	if len(option) < 3 {
		return false
	}
	at := int(option[2]) - 1
	if at < 3 || at+4 > len(option) {
		return false
	}
	addr := a.As4()
	copy(option[at:], addr[:])
	option[2] += 4
	return true
}

// nextOption is the option that b starts with, or nil at the end of the list.
// A malformed option ends the list.
func nextOption(b []byte) []byte {
	switch {
	case len(b) == 0 || b[0] == optionEnd:
		return nil
	case b[0] == optionNop:
		return b[:1]
	case len(b) < 2 || b[1] < 2 || int(b[1]) > len(b):
		return nil
	}
	return b[:b[1]]
}

// dropFirstOnly overwrites the options that belong only into the first
// fragment, so that every fragment keeps the header length (RFC 791 3.1).
func dropFirstOnly(b []byte) {
	for o := nextOption(b); o != nil; o = nextOption(b) {
		if o[0]&optionCopied == 0 {
			for i := range o {
				o[i] = optionNop
			}
		}
		b = b[len(o):]
	}
}
