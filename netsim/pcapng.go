package netsim

import (
	"encoding/binary"
	"io"
	"slices"
	"strings"
)

// The parts of pcapng that are written (draft-ietf-opsawg-pcapng): a section,
// an interface for each link, a packet with a comment for each frame.
const (
	blockSection   = 0x0A0D0D0A
	blockInterface = 0x00000001
	blockPacket    = 0x00000006
	byteOrder      = 0x1A2B3C4D

	optEnd       = 0
	optComment   = 1
	optName      = 2 // of an interface
	optDescribe  = 3
	optTSResol   = 9
	linkEthernet = 1
	nanoseconds  = 9
)

// WritePcapng writes records as a pcapng file. Each link is an interface of
// the file; the time of a frame is when it was sent, counted from the start of
// the simulation. Notes are the frames' comments. A frame that did not arrive
// is in the file too, and its comment says so.
func (n *Net) WritePcapng(w io.Writer, records []*Record) error {
	b := sectionBlock()
	for _, l := range n.links {
		b = append(b, interfaceBlock(l)...)
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	number := map[*Link]int{}
	for i, l := range n.links {
		number[l] = i
	}
	for _, r := range records {
		if _, err := w.Write(packetBlock(number[r.Link], r)); err != nil {
			return err
		}
	}
	return nil
}

func sectionBlock() []byte {
	body := binary.LittleEndian.AppendUint32(nil, byteOrder)
	body = binary.LittleEndian.AppendUint16(body, 1) // version 1.0
	body = binary.LittleEndian.AppendUint16(body, 0)
	body = binary.LittleEndian.AppendUint64(body, ^uint64(0)) // length not known
	return block(blockSection, body)
}

func interfaceBlock(l *Link) []byte {
	body := binary.LittleEndian.AppendUint16(nil, linkEthernet)
	body = binary.LittleEndian.AppendUint16(body, 0)
	body = binary.LittleEndian.AppendUint32(body, 0) // no snap length
	body = option(body, optName, []byte(l.name))
	body = option(body, optDescribe, []byte(l.ends[0].String()+" to "+l.ends[1].String()))
	body = option(body, optTSResol, []byte{nanoseconds})
	return block(blockInterface, option(body, optEnd, nil))
}

func packetBlock(number int, r *Record) []byte {
	at := uint64(Since(r.Sent))
	body := binary.LittleEndian.AppendUint32(nil, uint32(number))
	body = binary.LittleEndian.AppendUint32(body, uint32(at>>32))
	body = binary.LittleEndian.AppendUint32(body, uint32(at))
	body = binary.LittleEndian.AppendUint32(body, uint32(len(r.Data)))
	body = binary.LittleEndian.AppendUint32(body, uint32(len(r.Data)))
	body = padded(body, r.Data)
	comments := r.comments()
	for _, c := range comments {
		body = option(body, optComment, []byte(c))
	}
	if len(comments) > 0 {
		body = option(body, optEnd, nil)
	}
	return block(blockPacket, body)
}

// comments are the record's notes, and what it is besides an ordinary frame.
func (r *Record) comments() []string {
	list := slices.Clone(r.Notes)
	if r.Fate != Delivered {
		list = append(list, "link: "+r.Fate.String())
	}
	return list
}

// Comment is the record's notes as one line.
func (r *Record) Comment() string { return strings.Join(r.comments(), "; ") }

// maxOption is the longest value of an option.
const maxOption = 1 << 15

func option(b []byte, code uint16, value []byte) []byte {
	value = value[:min(len(value), maxOption)]
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return padded(b, value)
}

// padded appends data and fills up to 32 bits.
func padded(b, data []byte) []byte {
	b = append(b, data...)
	return append(b, make([]byte, (4-len(data)%4)%4)...)
}

func block(kind uint32, body []byte) []byte {
	length := uint32(len(body) + 12)
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, length), kind)
	b = binary.LittleEndian.AppendUint32(b, length)
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, length)
}

// String is the record as a line of text.
func (r *Record) String() string {
	s := stamp(r.Sent) + " " + r.From.String() + " > " + r.To.String() + " " + Summary(r.Data)
	if c := r.Comment(); c != "" {
		s += " # " + c
	}
	return s
}
