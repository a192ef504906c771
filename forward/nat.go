package forward

import (
	"net/netip"

	"usvs/wire"
)

// DecrementTTL takes one off the packet's TTL or hop limit. The caller has
// made sure that it is above 1.
func DecrementTTL(p *wire.Packet) {
	if p.TTL == 0 {
		return
	}
	p.TTL--
	if p.Version == 6 {
		p.V6().SetHopLimit(p.TTL)
		return
	}
	h := p.V4()
	old := be16(h[8:])
	h.SetTTL(p.TTL)
	h.SetChecksum(wire.Update16(h.Checksum(), old, be16(h[8:])))
}

// RewriteDst sends a packet to the real server to: destination NAT of a
// client's packet. Of a later fragment, which has no port, and of a packet too
// short for its transport header only the address changes. The address must
// be of the packet's family.
func RewriteDst(f *wire.Frame, p *wire.Packet, to netip.AddrPort) {
	old, oldPort := p.Dst, p.DstPort
	p.Dst = to.Addr()
	d := change{oldAddr: addrSum(old), newAddr: addrSum(p.Dst)}
	setDst(p, p.Dst, &d)
	if !p.Full || !p.Ports {
		return
	}
	gatherHeader(f, p)
	p.DstPort = to.Port()
	put16(p.Data[p.L4+2:], p.DstPort)
	d.oldPort, d.newPort = oldPort, p.DstPort
	patchTransport(f, p, &d)
}

// RewriteSrc makes a packet come from the virtual service from: source NAT of
// a real server's reply. It is RewriteDst's mirror image, and fills in a record
// route option: with the address that the packet leaves from, as Linux does.
func RewriteSrc(f *wire.Frame, p *wire.Packet, from netip.AddrPort) {
	old, oldPort := p.Src, p.SrcPort
	p.Src = from.Addr()
	d := change{oldAddr: addrSum(old), newAddr: addrSum(p.Src)}
	setSrc(p, p.Src, &d)
	RecordRoute(p, p.Src)
	if !p.Full || !p.Ports {
		return
	}
	gatherHeader(f, p)
	p.SrcPort = from.Port()
	put16(p.Data[p.L4:], p.SrcPort)
	d.oldPort, d.newPort = oldPort, p.SrcPort
	patchTransport(f, p, &d)
}

// gatherHeader forgets how a reassembled datagram was cut if its first piece
// did not hold the whole transport header: to rewrite that, Linux takes it from
// the pieces behind, and what is left of those is cut anew.
func gatherHeader(f *wire.Frame, p *wire.Packet) {
	if len(f.Pieces) == 0 {
		return
	}
	need := wire.TCPLen
	switch p.Proto {
	case wire.ProtoUDP:
		need = wire.UDPLen
	case wire.ProtoSCTP:
		need = wire.SCTPLen
	}
	if p.Version == 6 {
		end, _ := unfragmentable(p)
		need += p.L4 - end
	}
	if need > int(f.Pieces[0]) {
		f.Pieces = f.Pieces[:0]
	}
}

// change is what a rewrite replaces: the sums of the addresses, and the ports.
type change struct {
	oldAddr, newAddr uint64
	oldPort, newPort uint16
}

func setDst(p *wire.Packet, a netip.Addr, d *change) {
	if p.Version == 6 {
		p.V6().SetDst(a)
		return
	}
	h := p.V4()
	h.SetDst(a)
	patch16(h[10:], d.oldAddr, d.newAddr)
}

func setSrc(p *wire.Packet, a netip.Addr, d *change) {
	if p.Version == 6 {
		p.V6().SetSrc(a)
		return
	}
	h := p.V4()
	h.SetSrc(a)
	patch16(h[10:], d.oldAddr, d.newAddr)
}

// patchTransport makes the transport checksum follow d (ipvs.md 5.6). The
// whole transport header is there, and the packet already says the new addresses.
func patchTransport(f *wire.Frame, p *wire.Packet, d *change) {
	switch p.Proto {
	case wire.ProtoTCP:
		d.patch(f, p, tcpChecksum)
	case wire.ProtoUDP:
		patchUDP(f, p, d)
	case wire.ProtoSCTP:
		// No pseudo-header: the addresses do not matter. A fragment's CRC
		// covers bytes that are not here.
		if (d.oldPort != d.newPort || partialAt(f, p, sctpChecksum)) && !p.Fragment {
			setSCTPChecksum(p)
			f.Partial = false
		}
	}
}

// patch updates the checksum at offset off of the transport header. A partial
// one does not cover the ports yet.
func (d *change) patch(f *wire.Frame, p *wire.Packet, off int) {
	field := p.Data[p.L4+off:]
	if partialAt(f, p, off) {
		patchPartial(field, d.oldAddr, d.newAddr)
		return
	}
	patch16(field, d.oldAddr+uint64(d.oldPort), d.newAddr+uint64(d.newPort))
}

// patchUDP also gives a datagram without a checksum one, as Linux does.
func patchUDP(f *wire.Frame, p *wire.Packet, d *change) {
	field := p.Data[p.L4+udpChecksum:]
	switch {
	case partialAt(f, p, udpChecksum):
		d.patch(f, p, udpChecksum)
		return
	case be16(field) != 0:
		d.patch(f, p, udpChecksum)
	case p.Fragment || f.GSO != wire.GSONone:
		return // the rest of the datagram is not here
	default:
		put16(field, transportSum(f, p))
	}
	if be16(field) == 0 {
		put16(field, zeroIsNoneUDP)
	}
}
