package pcap

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"usvs/wire"
)

// ngMagic is how a pcapng file begins.
const ngMagic = 0x0a0d0d0a

// Read calls yield with every frame of a pcap or pcapng file, in order, until
// it returns an error. data is yield's to keep. Frames of interfaces that are
// neither Ethernet nor bare IP are an error.
func Read(r io.Reader, yield func(data []byte, m wire.Medium) error) error {
	in := bufio.NewReader(r)
	magic, err := in.Peek(4)
	if err != nil {
		return fmt.Errorf("pcap: %w", err)
	}
	if binary.BigEndian.Uint32(magic) == ngMagic {
		ng, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{WantMixedLinkType: true})
		if err != nil {
			return fmt.Errorf("pcap: %w", err)
		}
		return read(ng.ReadPacketData, func(ci gopacket.CaptureInfo) layers.LinkType {
			ifc, err := ng.Interface(ci.InterfaceIndex)
			if err != nil {
				return layers.LinkTypeNull
			}
			return ifc.LinkType
		}, yield)
	}
	old, err := pcapgo.NewReader(in)
	if err != nil {
		return fmt.Errorf("pcap: %w", err)
	}
	return read(old.ReadPacketData, func(gopacket.CaptureInfo) layers.LinkType { return old.LinkType() }, yield)
}

func read(next func() ([]byte, gopacket.CaptureInfo, error), linkType func(gopacket.CaptureInfo) layers.LinkType,
	yield func([]byte, wire.Medium) error) error {
	for n := 1; ; n++ {
		data, ci, err := next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("pcap: frame %d: %w", n, err)
		}
		m := wire.Ethernet
		switch t := linkType(ci); t {
		case layers.LinkTypeEthernet:
		case layers.LinkTypeRaw, layers.LinkTypeIPv4, layers.LinkTypeIPv6:
			m = wire.IP
		default:
			return fmt.Errorf("pcap: frame %d: link type %v is neither Ethernet nor IP", n, t)
		}
		if err := yield(data, m); err != nil {
			return err
		}
	}
}
