package vrrp

import (
	"encoding/binary"
	"net/netip"

	"usvs/wire"
)

// allNodes is where unsolicited neighbour advertisements go, and its MAC.
var (
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = wire.MAC{0x33, 0x33, 0, 0, 0, 1}
)

// GratuitousARP is the Ethernet frame that announces addr at mac. It is a
// request whose target MAC is broadcast, as keepalived's is.
func GratuitousARP(mac wire.MAC, addr netip.Addr) []byte {
	f := make([]byte, wire.EthernetLen, wire.EthernetLen+wire.ARPLen)
	eth := wire.EthernetHeader(f)
	eth.SetDst(wire.Broadcast)
	eth.SetSrc(mac)
	eth.SetType(wire.TypeARP)
	f = append(f, 0, 1, 0x08, 0, 6, 4, 0, 1)
	f = append(append(f, mac[:]...), addr.AsSlice()...)
	f = append(f, wire.Broadcast[:]...)
	return append(f, addr.AsSlice()...)
}

// UnsolicitedNA is the Ethernet frame that announces the IPv6 address addr at
// mac (RFC 4861, 7.2.6). Router is whether the host forwards IPv6.
func UnsolicitedNA(mac wire.MAC, addr netip.Addr, router bool) []byte {
	const icmpLen = 32
	f := make([]byte, wire.EthernetLen+wire.IPv6Len+icmpLen)
	eth := wire.EthernetHeader(f)
	eth.SetDst(allNodesMAC)
	eth.SetSrc(mac)
	eth.SetType(wire.TypeIPv6)
	ip := wire.IPv6(f[wire.EthernetLen:])
	ip.SetFlow(0, 0)
	ip.SetPayloadLen(icmpLen)
	ip.SetNextHeader(wire.ProtoICMPv6)
	ip.SetHopLimit(255)
	ip.SetSrc(addr)
	ip.SetDst(allNodes)
	na := ip[wire.IPv6Len:]
	na[0] = wire.ICMPv6NeighAdv
	na[4] = 0x20 // override
	if router {
		na[4] |= 0x80
	}
	copy(na[8:24], addr.AsSlice())
	na[24], na[25] = 2, 1 // target link-layer address, 8 bytes
	copy(na[26:], mac[:])
	sum := wire.Sum(na, wire.PseudoSum(addr, allNodes, wire.ProtoICMPv6, icmpLen))
	binary.BigEndian.PutUint16(na[2:], ^wire.Fold(sum))
	return f
}
