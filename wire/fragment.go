package wire

// Headless reports whether an IPv6 first fragment lacks a part of the headers up
// to and including the transport's: no datagram is made of it (RFC 8200 4.5).
func (p *Packet) Headless() bool {
	if p.Version != 6 || !p.Fragment || p.FragOffset != 0 {
		return false
	}
	need := 1
	switch p.Proto {
	case ProtoTCP:
		need = TCPLen
	case ProtoUDP, ProtoICMPv6:
		need = UDPLen
	}
	return p.L4+need > p.End
}

// Uneven reports whether an IPv6 fragment that is not the last carries no
// multiple of 8 bytes: no datagram can come of it (RFC 8200 4.5).
func (p *Packet) Uneven() bool {
	const headerLen = 8
	return p.Version == 6 && p.Fragment && p.MoreFrags && (p.End-p.FragHeader-headerLen)%8 != 0
}
