package wire

// Headroom is what a Frame keeps free in front of a received packet, so that
// an outer header (IPv6 + UDP + GUE, or a VLAN tag) can be put there in place.
const Headroom = 128

// MaxFrame is the largest packet a Frame carries: a segmentation super-frame
// of 64 KiB with its link header.
const MaxFrame = 65535 + 64

// Medium says what a packet starts with.
type Medium uint8

const (
	Ethernet Medium = iota // an Ethernet header
	IP                     // an IPv4 or IPv6 header, as on a TUN device
)

// GSO says how a super-frame is to be cut into segments.
type GSO uint8

const (
	GSONone GSO = iota
	GSOTCP4
	GSOTCP6
	GSOUDP // UDP segmentation (USO): every segment is a datagram
)

// Frame is one packet, its buffer, and what the device said about it. Frames
// belong to whoever allocated them and are reused; nothing may keep one past
// the call it was passed to.
type Frame struct {
	// What is looked at in every frame comes first, within a cache line.
	packet []byte // a part of buf, which reaches as far

	// FragSize is, for a datagram reassembled from fragments, the length of
	// the largest fragment's IP packet; 0 for everything else.
	FragSize int
	Port     int    // which of the director's interfaces it came from or goes to
	Mark     uint32 // firewall mark
	Medium   Medium
	Hidden   bool // the host's own stack was kept from seeing this frame

	buf []byte

	// Partial: the transport checksum field holds only the pseudo-header sum;
	// the device fills it in from CsumStart (from the start of the packet) to
	// the end and stores it at CsumStart+CsumOffset.
	Partial    bool
	GSO        GSO // a super-frame is cut into segments of GSOSize payload bytes each
	CsumStart  uint16
	CsumOffset uint16
	GSOSize    uint16
	ECN        bool // TCP super-frame with CWR on its first segment only
	Wrapped    bool // the super-frame stands behind a tunnel's headers, which every segment gets

	// PiecesDF: if the packet is not cut as Pieces say, its pieces carry DF.
	PiecesDF bool
	// Pieces are the payload bytes of each fragment of a reassembled datagram, in
	// the order of the data, if they are known and the datagram is to be cut that
	// way again. The frame keeps the storage when it is reset.
	Pieces []uint16
	// FragID is the identification that IPv6 fragments of this packet carry:
	// the one it arrived with, or the one chosen with its outer header.
	FragID uint32
}

// NewFrame returns an empty frame whose buffer holds a packet of size bytes
// behind the headroom.
func NewFrame(size int) *Frame {
	f := &Frame{buf: make([]byte, Headroom+size)}
	f.SetLen(0)
	return f
}

// Bytes is the packet. It stays valid until the frame is changed in length.
func (f *Frame) Bytes() []byte { return f.packet }

// Len is the packet's length in bytes.
func (f *Frame) Len() int { return len(f.packet) }

// Cap is the length of the longest packet the frame can take behind the headroom.
func (f *Frame) Cap() int { return len(f.buf) - Headroom }

// Space is where a device stores a packet it reads; SetLen says how much it read.
func (f *Frame) Space() []byte { return f.buf[Headroom:] }

// Reset empties the frame: no packet, no metadata, full headroom.
func (f *Frame) Reset() {
	// Field by field: a literal would be made elsewhere and copied, and the copy
	// would wait for what was just written.
	f.SetLen(0)
	f.FragSize, f.Port, f.Mark = 0, 0, 0
	f.Medium, f.Hidden, f.Partial, f.GSO = Ethernet, false, false, GSONone
	f.CsumStart, f.CsumOffset, f.GSOSize, f.ECN, f.Wrapped = 0, 0, 0, false, false
	f.PiecesDF, f.FragID = false, 0
	f.Pieces = f.Pieces[:0]
}

// SpaceBehind is Space with the n bytes in front of it, for a device that reads
// a header of its own there.
func (f *Frame) SpaceBehind(n int) []byte { return f.buf[Headroom-n:] }

// BytesBehind is the packet with the n bytes in front of it, where a device may
// put a header of its own; nil if there are not as many. See Room.
func (f *Frame) BytesBehind(n int) []byte {
	off := f.Room()
	if n > off {
		return nil
	}
	return f.buf[off-n : off+len(f.packet)]
}

// SetLen says that the packet is the first n bytes behind the headroom.
func (f *Frame) SetLen(n int) { f.packet = f.buf[Headroom : Headroom+n] }

// SetBytes makes a copy of b the packet. It panics if b exceeds Cap.
func (f *Frame) SetBytes(b []byte) {
	f.SetLen(copy(f.buf[Headroom:], b))
	if f.Len() < len(b) {
		panic("wire: packet longer than the frame's buffer")
	}
}

// CopyFrom makes f carry g's packet and metadata in f's own buffer.
func (f *Frame) CopyFrom(g *Frame) {
	buf, pieces := f.buf, f.Pieces
	*f = *g
	f.buf, f.Pieces = buf, append(pieces[:0], g.Pieces...)
	f.SetBytes(g.Bytes())
}

// Room is how many bytes can still be put in front of the packet.
func (f *Frame) Room() int { return cap(f.buf) - cap(f.packet) }

// Prepend makes room for n bytes in front of the packet and moves CsumStart
// with it. It panics when there is less headroom than n.
func (f *Frame) Prepend(n int) {
	off := f.Room()
	f.packet = f.buf[off-n : off+len(f.packet)]
	if f.Partial {
		f.CsumStart += uint16(n)
	}
}

// TrimFront takes n bytes off the packet's front and moves CsumStart with it.
func (f *Frame) TrimFront(n int) {
	f.packet = f.packet[n:]
	if f.Partial {
		f.CsumStart -= uint16(n)
	}
}

// Truncate shortens the packet to n bytes.
func (f *Frame) Truncate(n int) { f.packet = f.packet[:n] }

// Extend lengthens the packet to n bytes; the new bytes are what the buffer holds.
func (f *Frame) Extend(n int) { f.packet = f.packet[:n] }
