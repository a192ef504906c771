package forward

import (
	"math/bits"

	"usvs/wire"
)

// Linux's packet buffers: a power of two that holds the IP packet, what is asked
// for in front of it, and bookkeeping at the end.
const (
	bufferFront = 30 // asked for
	packetAt    = 16 // where the IP packet begins all the same
	bufferAlign = 64
	bufferBack  = 320
	bufferMost  = 4096 // longer packets are in pages and leave no room
)

// MergePieces does to a reassembled IPv4 datagram that is addressed to the
// machine itself what Linux does: pieces that fit in the room left in the first
// one's buffer, in order, become a part of that piece. So a datagram that came in
// unequal fragments may be cut in another way than it came.
func MergePieces(f *wire.Frame, p *wire.Packet) {
	if p.Version != 4 || len(f.Pieces) == 0 {
		return
	}
	first, n := int(f.Pieces[0]), 1
	room := spareRoom(p.L4 - p.L3 + first)
	for n < len(f.Pieces) && int(f.Pieces[n]) <= room {
		room -= int(f.Pieces[n])
		first += int(f.Pieces[n])
		n++
	}
	f.Pieces = append(f.Pieces[:1], f.Pieces[n:]...)
	f.Pieces[0] = uint16(first)
}

// spareRoom is the room left in the buffer of an IP packet.
func spareRoom(ipLen int) int {
	need := (bufferFront+ipLen+bufferAlign-1)/bufferAlign*bufferAlign + bufferBack
	size := 1 << bits.Len(uint(need-1))
	if size > bufferMost {
		return 0
	}
	return size - bufferBack - packetAt - ipLen
}
