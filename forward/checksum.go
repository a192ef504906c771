package forward

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"

	"usvs/wire"
)

// Offsets of the checksum within a transport header.
const (
	tcpChecksum  = 16
	udpChecksum  = 6
	sctpChecksum = 8 // of 4 bytes
	icmpChecksum = 2
)

// zeroIsNoneUDP is what a UDP checksum of zero, which means none, is sent as (RFC 768).
const zeroIsNoneUDP = 0xffff

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func be16(b []byte) uint16     { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32     { return binary.BigEndian.Uint32(b) }
func put16(b []byte, v uint16) { binary.BigEndian.PutUint16(b, v) }
func put32(b []byte, v uint32) { binary.BigEndian.PutUint32(b, v) }

// FinishChecksum computes the checksum that a partial frame leaves to the
// device. A super-frame's is left alone: its segments have their own.
//
// SCTP must always be finished: its CRC32c is not the sum that a device
// computes when it is handed a partial frame.
func FinishChecksum(f *wire.Frame, p *wire.Packet) {
	if !f.Partial || f.GSO != wire.GSONone {
		return
	}
	f.Partial = false
	start := int(f.CsumStart)
	at := start + int(f.CsumOffset)
	if start < p.L4 || at+2 > p.End {
		return
	}
	if p.Proto == wire.ProtoSCTP && start == p.L4 && f.CsumOffset == sctpChecksum {
		setSCTPChecksum(p)
		return
	}
	sum := wire.Checksum(p.Data[start:p.End])
	if sum == 0 && f.CsumOffset == udpChecksum {
		sum = zeroIsNoneUDP
	}
	put16(p.Data[at:], sum)
}

// partialAt reports whether the device fills in the packet's own transport
// checksum, at offset off of the transport header.
func partialAt(f *wire.Frame, p *wire.Packet, off int) bool {
	return f.Partial && int(f.CsumStart) == p.L4 && int(f.CsumOffset) == off
}

// addrSum is wire.SumAddr for the hot path: the sum of an address in words of
// 32 bits, which folds to the same.
func addrSum(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		return uint64(be32(b[:]))
	}
	b := a.As16()
	return uint64(be32(b[:])) + uint64(be32(b[4:])) + uint64(be32(b[8:])) + uint64(be32(b[12:]))
}

// patch16 updates the checksum at b for data whose sum changes from old to new.
func patch16(b []byte, old, new uint64) {
	put16(b, wire.UpdateSum(be16(b), old, new))
}

// patchPartial updates a sum that is stored as such, not complemented.
func patchPartial(b []byte, old, new uint64) {
	put16(b, ^wire.UpdateSum(^be16(b), old, new))
}

// setSCTPChecksum computes the CRC32c of RFC 9260 appendix A, which has no
// pseudo-header and is stored least significant byte first.
func setSCTPChecksum(p *wire.Packet) {
	b := p.Transport()
	if len(b) < wire.SCTPLen {
		return
	}
	field := b[sctpChecksum : sctpChecksum+4]
	clear(field)
	binary.LittleEndian.PutUint32(field, crc32.Update(0, castagnoli, b))
}

// wireSum is the sum of f's bytes from from to end as the receiver will see
// them: what the device still fills in counts as filled in. The bytes it sums
// over hold their pseudo-header's sum s now and add up to ^s with the finished
// checksum, whatever they are.
func wireSum(f *wire.Frame, from, end int) uint64 {
	b := f.Bytes()
	start := int(f.CsumStart)
	at := start + int(f.CsumOffset)
	if !f.Partial || start < from || (start-from)&1 != 0 || at+2 > end {
		return wire.Sum(b[from:end], 0)
	}
	return wire.Sum(b[from:start], uint64(^be16(b[at:])))
}

// transportSum is the checksum of p's transport header and payload, computed
// in full over the pseudo-header and a checksum field that the caller zeroed.
func transportSum(f *wire.Frame, p *wire.Packet) uint16 {
	pseudo := wire.PseudoSum(p.Src, p.Dst, p.Proto, p.End-p.L4)
	return ^wire.Fold(pseudo + uint64(wire.Fold(wireSum(f, p.L4, p.End))))
}
