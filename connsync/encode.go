package connsync

import (
	"encoding/binary"
	"net/netip"

	"usvs/conntrack"
	"usvs/ipvs"
)

// Sizes on the wire (ipvs.md 6.2 to 6.4).
const (
	headerLen0 = 4
	headerLen1 = 8
	entryLen0  = 24
	entryLen4  = 36
	entryLen6  = 72
	seqLen     = 24
	optionLen  = 2 // type and length

	maxPEName = 16
	maxPEData = 255
	maxEntry  = entryLen6 + 3*optionLen + seqLen + maxPEData + maxPEName
	maxCount  = 255 // entries in a message: their number is one byte
)

// Options of a version 1 entry.
const (
	optSeq    = 1
	optPEData = 2
	optPEName = 3
	optIgnore = 0x40 // set in what a receiver may skip

	typeV6 = 1
)

// AppendEntry appends e to b in a version of the protocol. Version 0 has no
// IPv6.
func AppendEntry(b []byte, e *Entry, version int) []byte {
	if version == 0 {
		return appendEntry0(b, e)
	}
	start := len(b)
	kind := byte(0)
	if e.Client.Addr().Is6() {
		kind = typeV6
	}
	b = append(b, kind, byte(e.Protocol), 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(e.Flags)|uint32(e.Method))
	b = binary.BigEndian.AppendUint16(b, e.State)
	b = appendPorts(b, e)
	b = binary.BigEndian.AppendUint32(b, e.Mark)
	b = binary.BigEndian.AppendUint32(b, e.Timeout)
	b = appendAddrs(b, e)
	if e.Seq {
		b = append(b, optSeq, seqLen)
		b = appendSeq(b, e, binary.BigEndian)
	}
	if n := len(e.PEData); n > 0 && n <= maxPEData && e.PEName != "" && len(e.PEName) <= maxPEName {
		b = append(append(b, optPEData, byte(n)), e.PEData...)
		b = append(append(b, optPEName, byte(len(e.PEName))), e.PEName...)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	return b
}

// appendEntry0 appends e in version 0. Its sequence data are in the sender's
// own byte order, which is taken for little-endian on either side.
func appendEntry0(b []byte, e *Entry) []byte {
	b = append(b, 0, byte(e.Protocol))
	b = appendPorts(b, e)
	b = appendAddrs(b, e)
	b = binary.BigEndian.AppendUint16(b, uint16(e.Flags)|uint16(e.Method))
	b = binary.BigEndian.AppendUint16(b, e.State)
	if e.Seq {
		b = appendSeq(b, e, binary.LittleEndian)
	}
	return b
}

func appendPorts(b []byte, e *Entry) []byte {
	for _, a := range [3]*netip.AddrPort{&e.Client, &e.Virtual, &e.Real} {
		b = binary.BigEndian.AppendUint16(b, a.Port())
	}
	return b
}

func appendAddrs(b []byte, e *Entry) []byte {
	for _, a := range [3]*netip.AddrPort{&e.Client, &e.Virtual, &e.Real} {
		if a.Addr().Is4() {
			v4 := a.Addr().As4()
			b = append(b, v4[:]...)
			continue
		}
		v6 := a.Addr().As16()
		b = append(b, v6[:]...)
	}
	return b
}

func appendSeq(b []byte, e *Entry, order binary.AppendByteOrder) []byte {
	for _, q := range [2]*conntrack.Seq{&e.InSeq, &e.OutSeq} {
		b = order.AppendUint32(b, q.Init)
		b = order.AppendUint32(b, uint32(q.Delta))
		b = order.AppendUint32(b, uint32(q.Previous))
	}
	return b
}

// encodable reports whether a version can say c: version 1 needs all addresses
// of one family, version 0 of IPv4.
func encodable(c *conntrack.Conn, version int) bool {
	f := ipvs.FamilyOf(c.Client.Addr())
	same := ipvs.FamilyOf(c.Virtual.Addr()) == f && ipvs.FamilyOf(c.Real.Addr()) == f
	return same && (version != 0 || f == ipvs.IPv4)
}

// message is one under construction. Its header is filled in by finish.
type message struct {
	data    []byte
	version int
	count   int
	syncID  uint8
}

// begin makes m an empty message.
func (m *message) begin(version int, syncID uint8) {
	m.version, m.count, m.syncID = version, 0, syncID
	m.data = append(m.data[:0], make([]byte, m.header())...)
}

func (m *message) header() int {
	if m.version == 0 {
		return headerLen0
	}
	return headerLen1
}

// padding is what the next entry needs in front of it: those of version 1
// begin on a multiple of four.
func (m *message) padding() int {
	if m.version == 0 {
		return 0
	}
	return -len(m.data) & 3
}

// fits reports whether an entry of n bytes leaves m within most bytes.
func (m *message) fits(n, most int) bool {
	return m.count < maxCount && len(m.data)+m.padding()+n <= most
}

func (m *message) add(entry []byte) {
	var zero [3]byte
	m.data = append(append(m.data, zero[:m.padding()]...), entry...)
	m.count++
}

// finish fills in the header and returns the message.
func (m *message) finish() []byte {
	b := m.data
	if m.version == 0 {
		b[0], b[1] = byte(m.count), m.syncID
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		return b
	}
	b[1] = m.syncID
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[4], b[5] = byte(m.count), 1
	return b
}
