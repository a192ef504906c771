package vrrp

import (
	"encoding/binary"
	"net/netip"

	"usvs/wire"
)

// Fields of an advert, as offsets behind the IP header.
const (
	offPriority = 2
	offCount    = 3
	offChecksum = 6
)

// Farewell makes of an advert that was sent the one that says that its master
// is gone: the same with priority 0. It is for who is left when a Router could not
// Stop. It also returns the virtual addresses. ok is false if packet is no advert
// without an authentication header, or says farewell already.
func Farewell(packet []byte) (farewell []byte, addrs []netip.Addr, ok bool) {
	at, size := wire.IPv4Len, 4
	switch {
	case len(packet) > wire.IPv4Len && packet[0] == 0x45 && wire.IPv4(packet).Proto() == protoVRRP:
	case len(packet) > wire.IPv6Len && packet[0]>>4 == 6 && wire.IPv6(packet).NextHeader() == protoVRRP:
		at, size = wire.IPv6Len, 16
	default:
		return nil, nil, false
	}
	m := packet[at:]
	if len(m) < headerLen || m[offPriority] == 0 || len(m) < headerLen+int(m[offCount])*size {
		return nil, nil, false
	}
	for list := m[headerLen:][:int(m[offCount])*size]; len(list) > 0; list = list[size:] {
		a, _ := netip.AddrFromSlice(list[:size])
		addrs = append(addrs, a)
	}
	farewell = append([]byte(nil), packet...)
	m = farewell[at:]
	old := binary.BigEndian.Uint16(m[offPriority:])
	m[offPriority] = 0
	sum := wire.Update16(binary.BigEndian.Uint16(m[offChecksum:]), old, binary.BigEndian.Uint16(m[offPriority:]))
	binary.BigEndian.PutUint16(m[offChecksum:], sum)
	return farewell, addrs, true
}
