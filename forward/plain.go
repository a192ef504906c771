package forward

import (
	"encoding/binary"

	"usvs/wire"
)

// The functions in this file do to a plain packet, in one step and on its bytes
// alone, what the general ones do to any. b is the frame's bytes; p is left as
// it was. The TTL is known to be above 1.

// PlainHop is DecrementTTL.
func PlainHop(b []byte, p *wire.Plain) {
	if p.V6 {
		b[wire.EthernetLen+ttlAt6]--
		return
	}
	h := (*[wire.EthernetLen + wire.IPv4Len]byte)(b) // with the offsets being constant there is nothing to check
	h[ttlAt4]--
	sum := uint32(^be16(h[sumAt4:])) + ttlStep
	put16(h[sumAt4:], ^uint16(sum+sum>>16))
}

// PlainDst is DecrementTTL and RewriteDst. It reports false, and does nothing,
// if more than the headers would have to be read for the checksum.
func PlainDst(f *wire.Frame, b []byte, p *wire.Plain, to wire.Words, port uint16) bool {
	return plainNAT(f, b, p, &plainChange{p.Dst, to, p.DstPort, port, dstAt})
}

// PlainSrc is DecrementTTL and RewriteSrc, otherwise like PlainDst.
func PlainSrc(f *wire.Frame, b []byte, p *wire.Plain, from wire.Words, port uint16) bool {
	return plainNAT(f, b, p, &plainChange{p.Src, from, p.SrcPort, port, srcAt})
}

// plainChange is what plainNAT replaces, and where.
type plainChange struct {
	old, is         wire.Words
	oldPort, isPort uint16
	at              *plainPlace
}

// plainPlace says where in the headers one end of a packet stands.
type plainPlace struct{ addr4, addr6, port int }

var (
	srcAt = &plainPlace{12, 8, 0}
	dstAt = &plainPlace{16, 24, 2}
)

const (
	ttlAt4 = wire.EthernetLen + 8
	sumAt4 = wire.EthernetLen + 10
	ttlAt6 = 7
	// ttlStep is by how much the complement of the header's sum changes when the
	// TTL becomes one less: the word 0x0100 less, in one's complement.
	ttlStep = 0xffff - 0x0100
)

func plainNAT(f *wire.Frame, b []byte, p *wire.Plain, c *plainChange) bool {
	l4 := int(p.L4)
	sumAt := tcpChecksum
	if p.Proto == wire.ProtoUDP {
		sumAt = udpChecksum
	}
	partial := f.Partial && int(f.CsumStart) == l4 && int(f.CsumOffset) == sumAt
	field := b[l4+sumAt : l4+sumAt+2]
	if p.Proto == wire.ProtoUDP && !partial && be16(field) == 0 {
		return false
	}
	diff := c.rewrite(b, p.V6)
	if partial {
		put16(field, ^patched(^be16(field), diff)) // does not cover the ports yet
	} else {
		sum := patched(be16(field), diff+uint64(^c.oldPort)+uint64(c.isPort))
		if sum == 0 && p.Proto == wire.ProtoUDP {
			sum = zeroIsNoneUDP
		}
		put16(field, sum)
	}
	put16(b[l4+c.at.port:], c.isPort)
	return true
}

// rewrite replaces the address, with the TTL one less, and returns what that
// adds to a sum over the addresses.
func (c *plainChange) rewrite(b []byte, v6 bool) uint64 {
	if !v6 {
		h := (*[wire.IPv4Len]byte)(b[wire.EthernetLen:])
		diff := uint64(^uint32(c.old.Lo)) + uint64(uint32(c.is.Lo))
		put32(h[c.at.addr4:], uint32(c.is.Lo))
		h[8]--
		put16(h[10:], patched(be16(h[10:]), diff+ttlStep))
		return diff
	}
	h := (*[wire.IPv6Len]byte)(b[wire.EthernetLen:])
	h[ttlAt6]--
	binary.BigEndian.PutUint64(h[c.at.addr6:], c.is.Hi)
	binary.BigEndian.PutUint64(h[c.at.addr6+8:], c.is.Lo)
	return halves(^c.old.Hi) + halves(^c.old.Lo) + halves(c.is.Hi) + halves(c.is.Lo)
}

// halves is the sum of a word's halves, which folds to the same as the word.
func halves(w uint64) uint64 { return w>>32 + w&0xffffffff }

// patched is a checksum after diff was added to what it sums up: RFC 1624 eqn. 3,
// where diff has the complement of what was and what is.
func patched(sum uint16, diff uint64) uint16 { return ^wire.Fold(uint64(^sum) + diff) }

// TunnelEnds are the addresses of a tunnel's outer header.
type TunnelEnds struct {
	Src, Dst wire.Words
	V6       bool
}

// PlainTunnel is DecrementTTL and Encapsulate into IP in IP, but that it leaves
// the link header's addresses to the caller. It returns the frame's bytes. The
// frame has room for the outer header, is no super-frame, without padding; its
// checksum is complete or PartialInside; the packet fits the tunnel.
func PlainTunnel(f *wire.Frame, p *wire.Plain, t *TunnelEnds, pmtuDisc bool, id uint32) []byte {
	b := f.Bytes()
	PlainHop(b, p)
	ip := b[wire.EthernetLen:]
	tos, ttl, df := ip[1], p.TTL-1, !p.V6 && pmtuDisc && wire.IPv4(ip).DF()
	if p.V6 {
		tos = wire.IPv6(ip).TrafficClass()
	}
	if t.V6 {
		f.Prepend(wire.IPv6Len)
		b = f.Bytes()
		h := wire.IPv6(b[wire.EthernetLen:])
		h.SetFlow(outerTOS(tos), 0)
		h.SetPayloadLen(p.IPLen())
		h.SetNextHeader(ipProtoOf(p.V6))
		h.SetHopLimit(ttl)
		putWords(h[8:], t.Src)
		putWords(h[24:], t.Dst)
		f.FragID = id
		put16(b[12:], wire.TypeIPv6)
		return b
	}
	f.Prepend(wire.IPv4Len)
	b = f.Bytes()
	flags := uint32(0)
	if df {
		flags, id = 0x4000, 0 // it will not be fragmented
	}
	writePlainIPv4(b[wire.EthernetLen:], outerTOS(tos), wire.IPv4Len+p.IPLen(), id<<16|flags,
		uint16(ttl)<<8|uint16(ipProtoOf(p.V6)), t)
	put16(b[12:], wire.TypeIPv4)
	return b
}

// PartialInside reports whether a partial checksum is the packet's own, which
// can be filled in behind another header, too.
func PartialInside(f *wire.Frame, p *wire.Plain) bool {
	at := uint16(tcpChecksum)
	if p.Proto == wire.ProtoUDP {
		at = udpChecksum
	}
	return f.CsumStart == p.L4 && f.CsumOffset == at
}

func ipProtoOf(v6 bool) uint8 {
	if v6 {
		return wire.ProtoIPv6
	}
	return wire.ProtoIPIP
}

func putWords(b []byte, w wire.Words) {
	binary.BigEndian.PutUint64(b, w.Hi)
	binary.BigEndian.PutUint64(b[8:], w.Lo)
}

// writePlainIPv4 writes a header without options; fragment is the word that has
// identification, flags and offset.
func writePlainIPv4(b []byte, tos uint8, n int, fragment uint32, ttlProto uint16, t *TunnelEnds) {
	h := (*[wire.IPv4Len]byte)(b)
	first := 0x45<<24 | uint32(tos)<<16 | uint32(n)
	sum := uint64(first) + uint64(fragment) + uint64(ttlProto)<<16 + t.Src.Lo + t.Dst.Lo
	put32(h[0:], first)
	put32(h[4:], fragment)
	put16(h[8:], ttlProto)
	put16(h[10:], ^wire.Fold(sum))
	put32(h[12:], uint32(t.Src.Lo))
	put32(h[16:], uint32(t.Dst.Lo))
}
