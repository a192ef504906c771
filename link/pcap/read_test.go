package pcap

import (
	"bytes"
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

// What is no capture, or breaks off, is an error and never a panic.
func FuzzRead(f *testing.F) {
	f.Add([]byte{0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0})
	f.Add([]byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = readAll(b) })
}

func TestReadNonsense(t *testing.T) {
	for _, s := range []string{"", "abc", "no capture at all", "\x0a\x0d\x0d\x0ahello"} {
		_, err := readAll([]byte(s))
		require.Error(t, err, "%q", s)
	}
}
