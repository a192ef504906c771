package pcap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/stretchr/testify/require"

	"usvs/wire"
)

type captured struct {
	data   string
	medium wire.Medium
}

func readAll(b []byte) (list []captured, err error) {
	err = Read(bytes.NewReader(b), func(data []byte, m wire.Medium) error {
		list = append(list, captured{string(data), m})
		return nil
	})
	return list, err
}

// Both formats are read, and interfaces of both media.
func TestRead(t *testing.T) {
	var old bytes.Buffer
	w := pcapgo.NewWriter(&old)
	require.NoError(t, w.WriteFileHeader(65535, layers.LinkTypeEthernet))
	for _, s := range []string{"one", "two"} {
		require.NoError(t, w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: 3, Length: 3}, []byte(s)))
	}
	list, err := readAll(old.Bytes())
	require.NoError(t, err)
	require.Equal(t, []captured{{"one", wire.Ethernet}, {"two", wire.Ethernet}}, list)

	var ng bytes.Buffer
	n, err := pcapgo.NewNgWriter(&ng, layers.LinkTypeEthernet)
	require.NoError(t, err)
	second, err := n.AddInterface(pcapgo.NgInterface{LinkType: layers.LinkTypeRaw})
	require.NoError(t, err)
	for i, s := range []string{"one", "two"} {
		require.NoError(t, n.WritePacket(gopacket.CaptureInfo{
			Timestamp: time.Unix(1, 0), CaptureLength: 3, Length: 3, InterfaceIndex: i * second}, []byte(s)))
	}
	require.NoError(t, n.Flush())
	list, err = readAll(ng.Bytes())
	require.NoError(t, err)
	require.Equal(t, []captured{{"one", wire.Ethernet}, {"two", wire.IP}}, list)

	enough := errors.New("enough")
	require.ErrorIs(t, Read(bytes.NewReader(old.Bytes()), func([]byte, wire.Medium) error { return enough }), enough)
}

// What is no capture, breaks off or promises too much is an error, never a
// panic, and costs no memory.
func FuzzRead(f *testing.F) {
	f.Add([]byte{0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0})
	f.Add([]byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0})
	f.Add(section(binary.LittleEndian, enhanced(binary.LittleEndian, 0, 3, "abc")))
	f.Add(section(binary.BigEndian, simple(binary.BigEndian, 3, "abc"), old(binary.BigEndian, 0, "abcd")))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, _ := readAll(b)
		size := 0
		for _, c := range list {
			size += len(c.data)
		}
		if size > len(b) {
			t.Fatalf("%d bytes of frames in %d", size, len(b))
		}
	})
}

// block is a block of a pcapng file; its length is a multiple of four.
func block(order binary.AppendByteOrder, kind uint32, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	size := uint32(len(body)) + ngBlockFrame
	b := order.AppendUint32(order.AppendUint32(nil, kind), size)
	return order.AppendUint32(append(b, body...), size)
}

func numbers(order binary.AppendByteOrder, list ...uint32) (b []byte) {
	for _, n := range list {
		b = order.AppendUint32(b, n)
	}
	return b
}

// section is one with an Ethernet and an IP interface, the first cut at 5 bytes.
func section(order binary.AppendByteOrder, blocks ...[]byte) []byte {
	b := block(order, ngSectionBlock, order.AppendUint16(order.AppendUint16(numbers(order, ngByteOrder), 1), 0))
	for i, linkType := range []uint16{linkEthernet, linkRaw} {
		body := order.AppendUint16(order.AppendUint16(nil, linkType), 0)
		b = append(b, block(order, ngInterfaceBlock, order.AppendUint32(body, []uint32{5, 0}[i]))...)
	}
	return append(b, bytes.Join(blocks, nil)...)
}

func enhanced(order binary.AppendByteOrder, id, size uint32, data string) []byte {
	return block(order, ngEnhancedBlock, append(numbers(order, id, 0, 0, size, size), data...))
}

func simple(order binary.AppendByteOrder, size uint32, data string) []byte {
	return block(order, ngSimpleBlock, append(numbers(order, size), data...))
}

func old(order binary.AppendByteOrder, id uint16, data string) []byte {
	body := append(order.AppendUint16(order.AppendUint16(nil, id), 0), numbers(order, 0, 0, uint32(len(data)), 99)...)
	return block(order, ngPacketBlock, append(body, data...))
}

// Every kind of block, in both byte orders, one section behind the other.
func TestReadBlocks(t *testing.T) {
	var file []byte
	var want []captured
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		file = append(file, section(order,
			enhanced(order, 1, 3, "one"),
			block(order, 4, make([]byte, 2*maxRecord)), // names: of no interest
			simple(order, 4, "four"), simple(order, 9, "nine."), old(order, 1, "old"), enhanced(order, 0, 0, ""))...)
		want = append(want, captured{"one", wire.IP}, captured{"four", wire.Ethernet}, captured{"nine.", wire.Ethernet},
			captured{"old", wire.IP}, captured{"", wire.Ethernet})
	}
	list, err := readAll(file)
	require.NoError(t, err)
	require.Equal(t, want, list)
	for cut := 0; cut < len(file); cut += 9973 {
		some, _ := readAll(file[:cut])
		require.Equal(t, append([]captured(nil), want[:len(some)]...), some)
	}
}

func TestReadRefuses(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	head := append(numbers(le, classicMagic, 4<<16|2, 0, 0, 0xe7e7e7e7), numbers(le, linkEthernet)...)
	unequal := enhanced(le, 0, 3, "abc")
	unequal[len(unequal)-1]++
	for want, file := range map[string][]byte{
		"3870215629 bytes in one piece":   append(head, numbers(le, 0, 0, 0xe6aecdcd, 0xffffffff)...),
		"version 3":                       numbers(be, classicMagicNano, 3<<16, 0, 0, 0, linkEthernet),
		"neither pcap nor pcapng":         make([]byte, 24),
		"frame 1: unexpected EOF":         append(head, numbers(le, 0, 0, 4, 4)...),
		"link type 105":                   append(numbers(le, classicMagic, 2, 0, 0, 0, 105), numbers(le, 0, 0, 0, 0)...),
		"a block is too short":            section(le, enhanced(le, 0, 4_000_000_000, "abc")),
		"interface 2 of 2":                section(be, enhanced(be, 2, 3, "abc")),
		"two lengths differ":              section(le, unequal),
		"4294967283 bytes in one piece":   section(le, numbers(le, ngEnhancedBlock, 0xffffffff)),
		"unknown byte order":              append(block(le, ngSectionBlock, make([]byte, 16)), 0),
		"frame 2: a block is too short":   section(le, simple(le, 1, "a"), numbers(le, 77, 11)),
		"pcap: frame 1: interface 0 of 0": append(section(le)[:20], simple(le, 3, "abc")...),
		"pcap: frame 2: unexpected EOF":   section(le, enhanced(le, 0, 3, "abc"), numbers(le, 77, 4_000_000_000, 1)),
	} {
		_, err := readAll(file)
		require.ErrorContains(t, err, want)
	}
}

func TestReadNonsense(t *testing.T) {
	for _, s := range []string{"", "abc", "no capture at all", "\x0a\x0d\x0d\x0ahello"} {
		_, err := readAll([]byte(s))
		require.Error(t, err, "%q", s)
	}
}
