package pcap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"usvs/wire"
)

// maxRecord bounds what a file is believed to have in one piece, a frame with
// its description: twice the longest frame of libpcap (MAXIMUM_SNAPLEN).
const maxRecord = 512 << 10

// Link types (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcaplinktype).
const (
	linkEthernet = 1
	linkRaw      = 101
	linkIPv4     = 228
	linkIPv6     = 229
)

// source reads a file frame by frame; io.EOF is its end.
type source interface {
	next() (data []byte, linkType uint32, err error)
}

// Read calls yield with every frame of a pcap or pcapng file, in order, until
// it returns an error. data is yield's to keep. Frames of interfaces that are
// neither Ethernet nor bare IP are an error. Read does not
// believe a file that promises more than it has: a frame takes no more
// memory than maxRecord.
func Read(r io.Reader, yield func(data []byte, m wire.Medium) error) error {
	in := bufio.NewReader(r)
	from, err := open(in)
	if err != nil {
		return fmt.Errorf("pcap: %w", err)
	}
	for n := 1; ; n++ {
		data, linkType, err := from.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("pcap: frame %d: %w", n, err)
		}
		m := wire.Ethernet
		switch linkType {
		case linkEthernet:
		case linkRaw, linkIPv4, linkIPv6:
			m = wire.IP
		default:
			return fmt.Errorf("pcap: frame %d: link type %d is neither Ethernet nor IP", n, linkType)
		}
		if err := yield(data, m); err != nil {
			return err
		}
	}
}

func open(in *bufio.Reader) (source, error) {
	magic, err := in.Peek(4)
	if err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(magic) == ngSectionBlock {
		return &ngReader{in: in, order: binary.LittleEndian}, nil
	}
	return newClassicReader(in)
}

// take reads n bytes that have to be there.
func take(in io.Reader, n uint32) ([]byte, error) {
	if n > maxRecord {
		return nil, fmt.Errorf("%d bytes in one piece", n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(in, b)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// classicReader reads a pcap file: a header, and records of a frame each.
type classicReader struct {
	in       *bufio.Reader
	order    binary.ByteOrder
	linkType uint32
}

const (
	classicMagic     = 0xa1b2c3d4 // times in microseconds
	classicMagicNano = 0xa1b23c4d
)

func newClassicReader(in *bufio.Reader) (*classicReader, error) {
	h, err := take(in, 24)
	if err != nil {
		return nil, err
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		magic := order.Uint32(h)
		if magic != classicMagic && magic != classicMagicNano {
			continue
		}
		if major := order.Uint16(h[4:]); major != 2 {
			return nil, fmt.Errorf("version %d of the format", major)
		}
		return &classicReader{in, order, order.Uint32(h[20:]) & (1<<28 - 1)}, nil
	}
	return nil, errors.New("neither pcap nor pcapng")
}

func (c *classicReader) next() ([]byte, uint32, error) {
	var h [16]byte
	if _, err := io.ReadFull(c.in, h[:]); err != nil {
		return nil, 0, err
	}
	data, err := take(c.in, c.order.Uint32(h[8:]))
	return data, c.linkType, err
}
