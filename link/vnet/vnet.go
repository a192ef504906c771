// Package vnet translates between a Frame's offload metadata and the kernel's
// struct virtio_net_hdr, which packet sockets (PACKET_VNET_HDR) and TUN devices
// (IFF_VNET_HDR) put in front of every packet.
//
// Packets between namespaces, containers and virtual machines are rarely
// finished: their checksum is half made and they may be super-frames of 64 KiB
// that somebody further on will cut. The header says so, in both directions.
//
// The package is pure. Offsets count from the start of the packet.
package vnet

import (
	"encoding/binary"

	"usvs/wire"
)

// HeaderLen is the length of the header in its basic form, which is in the
// machine's byte order:
//
//	flags u8, gso_type u8, hdr_len u16, gso_size u16, csum_start u16, csum_offset u16
const HeaderLen = 10

// Flags and GSO types of the virtio specification 1.2, section 5.1.6.
const (
	needsCsum = 1

	gsoNone  = 0
	gsoTCP4  = 1
	gsoTCP6  = 4
	gsoUDPL4 = 5
	gsoECN   = 0x80
)

// Decode sets f's metadata from the header h of the packet f holds. It reports
// false for what a Frame cannot express or what points outside the packet.
func Decode(h []byte, f *wire.Frame) bool {
	ne := binary.NativeEndian
	if h[0]&needsCsum != 0 {
		f.Partial, f.CsumStart, f.CsumOffset = true, ne.Uint16(h[6:]), ne.Uint16(h[8:])
		if !fieldInside(f) {
			return false
		}
	}
	switch h[1] &^ gsoECN {
	case gsoNone:
		return true
	case gsoTCP4:
		f.GSO = wire.GSOTCP4
	case gsoTCP6:
		f.GSO = wire.GSOTCP6
	case gsoUDPL4:
		f.GSO = wire.GSOUDP
	default: // UFO, which no kernel makes any more, and segmentation inside tunnels
		return false
	}
	f.ECN = h[1]&gsoECN != 0
	f.GSOSize = ne.Uint16(h[4:])
	return f.GSOSize != 0
}

// Encode writes f's metadata to the header h.
func Encode(h []byte, f *wire.Frame) {
	clear(h[:HeaderLen])
	ne := binary.NativeEndian
	if f.Partial {
		h[0] = needsCsum
		ne.PutUint16(h[6:], f.CsumStart)
		ne.PutUint16(h[8:], f.CsumOffset)
	}
	if f.GSO == wire.GSONone {
		return
	}
	h[1] = gsoType(f)
	ne.PutUint16(h[2:], headersLen(f))
	ne.PutUint16(h[4:], f.GSOSize)
}

func gsoType(f *wire.Frame) byte {
	t := [...]byte{wire.GSOTCP4: gsoTCP4, wire.GSOTCP6: gsoTCP6, wire.GSOUDP: gsoUDPL4}[f.GSO]
	if f.ECN {
		t |= gsoECN
	}
	return t
}

// headersLen is the length of a super-frame's headers, which the kernel wants
// in one piece; 0 leaves it to find out.
func headersLen(f *wire.Frame) uint16 {
	if !f.Partial {
		return 0
	}
	b, n := f.Bytes(), int(f.CsumStart)
	switch {
	case f.GSO == wire.GSOUDP:
		n += wire.UDPLen
	case n+wire.TCPLen > len(b):
		return 0
	default:
		n += wire.TCP(b[n:]).HeaderLen()
	}
	if n > len(b) || n > 0xffff {
		return 0
	}
	return uint16(n)
}

// Complete fills in a partial checksum, for a device that cannot. It reports
// false, and changes nothing, if the metadata points outside the packet.
func Complete(f *wire.Frame) bool {
	if !f.Partial {
		return true
	}
	if !fieldInside(f) {
		return false
	}
	// The field holds the pseudo-header's sum, so summing over it is right.
	data := f.Bytes()[f.CsumStart:]
	sum := wire.Checksum(data)
	if sum == 0 {
		sum = 0xffff // RFC 768: zero means no checksum
	}
	binary.BigEndian.PutUint16(data[f.CsumOffset:], sum)
	f.Partial, f.CsumStart, f.CsumOffset = false, 0, 0
	return true
}

func fieldInside(f *wire.Frame) bool {
	return int(f.CsumStart)+int(f.CsumOffset)+2 <= f.Len()
}
