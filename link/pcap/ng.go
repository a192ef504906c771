package pcap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Block types of a pcapng file (draft-ietf-opsawg-pcapng section 11.1).
const (
	ngSectionBlock   = 0x0a0d0d0a // reads the same in both byte orders
	ngInterfaceBlock = 1
	ngPacketBlock    = 2
	ngSimpleBlock    = 3
	ngEnhancedBlock  = 6
)

const (
	ngByteOrder   = 0x1a2b3c4d // begins a section's body
	ngBlockFrame  = 12         // bytes of a block around its body
	ngPacketFixed = 20         // bytes of a packet block's body before the frame
)

var errShortBlock = errors.New("a block is too short")

// ngReader reads a pcapng file: blocks, each with its length before and behind.
type ngReader struct {
	in         *bufio.Reader
	order      binary.ByteOrder
	interfaces []ngLink // of the section
}

// ngLink is what an interface block says.
type ngLink struct {
	linkType uint16
	snapLen  uint32 // 0: no limit
}

func (r *ngReader) next() ([]byte, uint32, error) {
	for {
		kind, body, err := r.block()
		if err != nil {
			return nil, 0, err
		}
		switch kind {
		case ngSectionBlock:
			r.interfaces = nil
		case ngInterfaceBlock:
			if len(body) < 8 {
				return nil, 0, errShortBlock
			}
			r.interfaces = append(r.interfaces, ngLink{r.order.Uint16(body), r.order.Uint32(body[4:])})
		case ngEnhancedBlock, ngPacketBlock:
			return r.packet(kind, body)
		case ngSimpleBlock:
			return r.simple(body)
		}
	}
}

// block reads the next block, without the body if it is of no interest.
func (r *ngReader) block() (kind uint32, body []byte, err error) {
	var h [8]byte
	if _, err := io.ReadFull(r.in, h[:]); err != nil {
		return 0, nil, err
	}
	if kind = r.order.Uint32(h[:]); kind == ngSectionBlock {
		if err := r.section(); err != nil {
			return 0, nil, err
		}
	}
	size := r.order.Uint32(h[4:])
	if size < ngBlockFrame {
		return 0, nil, errShortBlock
	}
	switch kind {
	case ngSectionBlock, ngInterfaceBlock, ngPacketBlock, ngSimpleBlock, ngEnhancedBlock:
		body, err = take(r.in, size-ngBlockFrame)
	default:
		_, err = io.CopyN(io.Discard, r.in, int64(size-ngBlockFrame))
	}
	if err != nil {
		return 0, nil, unexpected(err)
	}
	end, err := take(r.in, 4)
	if err == nil && r.order.Uint32(end) != size {
		err = errors.New("a block's two lengths differ")
	}
	return kind, body, err
}

// section finds out the byte order of the section whose header begins here.
func (r *ngReader) section() error {
	mark, err := r.in.Peek(4)
	if err != nil {
		return unexpected(err)
	}
	switch uint32(ngByteOrder) {
	case binary.LittleEndian.Uint32(mark):
		r.order = binary.LittleEndian
	case binary.BigEndian.Uint32(mark):
		r.order = binary.BigEndian
	default:
		return errors.New("a section of unknown byte order")
	}
	return nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// packet is the frame of a packet block, of either kind.
func (r *ngReader) packet(kind uint32, body []byte) ([]byte, uint32, error) {
	if len(body) < ngPacketFixed {
		return nil, 0, errShortBlock
	}
	id := r.order.Uint32(body)
	if kind == ngPacketBlock {
		id = uint32(r.order.Uint16(body))
	}
	return r.frame(id, body[ngPacketFixed:], r.order.Uint32(body[12:]))
}

// simple is the frame of a block that says only how long it was on the wire.
func (r *ngReader) simple(body []byte) ([]byte, uint32, error) {
	if len(body) < 4 {
		return nil, 0, errShortBlock
	}
	size := r.order.Uint32(body)
	if len(r.interfaces) > 0 && r.interfaces[0].snapLen != 0 {
		size = min(size, r.interfaces[0].snapLen)
	}
	return r.frame(0, body[4:], size)
}

func (r *ngReader) frame(id uint32, rest []byte, size uint32) ([]byte, uint32, error) {
	if uint64(id) >= uint64(len(r.interfaces)) {
		return nil, 0, fmt.Errorf("interface %d of %d", id, len(r.interfaces))
	}
	if uint64(size) > uint64(len(rest)) {
		return nil, 0, errShortBlock
	}
	return rest[:size:size], uint32(r.interfaces[id].linkType), nil
}
