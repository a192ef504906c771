package properties

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// sound asks gopacket whether a packet is: every layer of it is decoded and
// written again with lengths and checksums computed anew, and must come out as
// it was. So must what a tunnel carries, and what an error quotes, as far as it
// goes. transport says that the transport checksum ought to be right, too.
func sound(b []byte, transport bool) error {
	p := look(b)
	first := gopacket.LayerType(layers.LayerTypeIPv4)
	if p.v6 {
		first = layers.LayerTypeIPv6
	}
	decoded := gopacket.NewPacket(p.b, first, gopacket.DecodeOptions{NoCopy: true})
	if failure := decoded.ErrorLayer(); failure != nil && decoded.NetworkLayer() == nil {
		return fmt.Errorf("gopacket cannot read the IP header: %v", failure.Error())
	}
	switch ip := decoded.NetworkLayer().(type) {
	case *layers.IPv4:
		if int(ip.Length) != len(p.b) || int(ip.IHL)*4 != p.l4 || sum(p.b[:p.l4], 0) != 0xffff {
			return fmt.Errorf("IPv4: header %x", p.b[:p.l4])
		}
		if p.l4 > 20 {
			break // gopacket does not write every option as it read it
		}
		if err := rewritten(ip, ip.Contents, ip.Payload); err != nil {
			return fmt.Errorf("IPv4: %w", err)
		}
	case *layers.IPv6:
		if int(ip.Length) != len(p.b)-40 {
			return errors.New("IPv6: length")
		}
	}
	if !transport || p.isFragment() {
		return nil
	}
	return soundTransport(p, decoded.NetworkLayer())
}

// soundTransport judges what p carries, which gopacket decodes by itself: it
// does not know every extension header.
func soundTransport(p view, network gopacket.NetworkLayer) error {
	var l interface {
		gopacket.SerializableLayer
		gopacket.DecodingLayer
	}
	switch p.proto {
	case tcp:
		t := new(layers.TCP)
		l = t
		t.SetNetworkLayerForChecksum(network)
	case udp:
		u := new(layers.UDP)
		l = u
		if get16(p.body()[6:]) == 0 {
			return nil // without a checksum
		}
		u.SetNetworkLayerForChecksum(network)
	case sctp:
		l = new(layers.SCTP)
	case icmp4:
		l = new(layers.ICMPv4)
	case icmp6:
		i := new(layers.ICMPv6)
		l = i
		i.SetNetworkLayerForChecksum(network)
	default:
		return nil
	}
	if err := l.DecodeFromBytes(p.body(), gopacket.NilDecodeFeedback); err != nil {
		return fmt.Errorf("gopacket cannot read protocol %d: %w", p.proto, err)
	}
	payload := l.LayerPayload()
	if err := rewritten(l, p.body()[:len(p.body())-len(payload)], payload); err != nil {
		return fmt.Errorf("protocol %d: %w", p.proto, err)
	}
	return nil
}

// rewritten wants a layer to be what gopacket makes of it, with lengths and
// checksums of its own.
func rewritten(l gopacket.SerializableLayer, header, payload []byte) error {
	buf := gopacket.NewSerializeBufferExpectedSize(len(header), len(payload))
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, l, gopacket.Payload(payload)); err != nil {
		return err
	}
	want := buf.Bytes()
	if len(want) != len(header)+len(payload) || !bytes.Equal(want[:len(header)], header) && !sameButZero(l, want, header) {
		return fmt.Errorf("header %x, gopacket writes %x", header, want[:min(len(want), len(header))])
	}
	return nil
}

// sameButZero accepts that in one's complement there are two zeros. gopacket
// always writes the positive one; UDP must use the negative one.
func sameButZero(l gopacket.SerializableLayer, want, header []byte) bool {
	at := map[gopacket.LayerType]int{layers.LayerTypeTCP: 16, layers.LayerTypeUDP: 6}[l.LayerType()]
	return at != 0 && get16(want[at:]) == 0 && get16(header[at:]) == 0xffff &&
		bytes.Equal(want[:at], header[:at]) && bytes.Equal(want[at+2:len(header)], header[at+2:])
}

// equal compares a packet that left with what it must be, which has the right
// transport checksum if right; else a wrong one that the packet's must equal,
// give or take the sign of zero.
func equal(got, want view) error {
	if bytes.Equal(got.b, want.b) {
		return nil
	}
	at := want.field()
	if at >= 0 && len(got.b) == len(want.b) && len(want.body()) >= at+2 {
		at += want.l4
		g, w := get16(got.b[at:]), get16(want.b[at:])
		zero := (g == 0 || g == 0xffff) && (w == 0 || w == 0xffff) && !(want.proto == udp && g == 0)
		if zero && bytes.Equal(got.b[:at], want.b[:at]) && bytes.Equal(got.b[at+2:], want.b[at+2:]) {
			return nil
		}
	}
	i := 0
	for i < len(got.b) && i < len(want.b) && got.b[i] == want.b[i] {
		i++
	}
	return fmt.Errorf("differs at byte %d of %d:\n got %x\nwant %x", i, len(want.b), got.b, want.b)
}

// forwarded is what becomes of a packet on its way through the director in
// any case: the TTL.
func (p view) forwarded() view {
	p = p.clone()
	*p.ttl()--
	p.sealIP()
	return p
}

// recorded has an address in the first record route option with a free slot:
// the virtual service's, which is where it was sent to or where it leaves from.
func (p view) recorded(a []byte) view {
	if p.v6 {
		return p
	}
	p = p.clone()
	for o := p.b[20:p.l4]; len(o) > 0; {
		n := 1
		if o[0] != 1 {
			n = int(o[1])
		}
		if o[0] == 7 && int(o[2])+3 <= n {
			copy(o[o[2]-1:], a)
			o[2] += 4
			break
		}
		o = o[n:]
	}
	p.sealIP()
	return p
}

// translated also gives it another destination, or source.
func (p view) translated(a []byte, port uint16, source bool) view {
	before := p
	p = p.clone()
	src, dst := p.addresses()
	b := p.body()
	if source {
		copy(src, a)
		put16(b, port)
	} else {
		copy(dst, a)
		put16(b[2:], port)
	}
	p.sealIP()
	p.follow(before)
	return p
}

// follow makes the transport checksum as right or wrong as it was before.
func (p view) follow(before view) {
	if p.proto == sctp {
		if !bytes.Equal(p.body()[:4], before.body()[:4]) {
			p.seal()
		}
		return
	}
	at := p.field()
	was := get16(before.body()[at:])
	p.seal()
	if p.proto == udp && was == 0 {
		return // a datagram without a checksum gets one
	}
	right := before.clone()
	right.seal()
	off := add(was, ^get16(right.body()[at:])) // by how much it was wrong
	if v := add(get16(p.body()[at:]), off); off != 0 && off != 0xffff {
		put16(p.body()[at:], v)
	}
}

// canonical reports whether the transport checksum is what a sender writes: of
// the two zeros of one's complement the one that comes out of the sum.
func (p view) canonical() bool {
	s := p.clone()
	s.seal()
	return bytes.Equal(s.b, p.b)
}

// right reports whether the transport checksum is.
func (p view) right() bool {
	if p.proto == sctp {
		return p.canonical()
	}
	if p.proto == udp && get16(p.body()[6:]) == 0 {
		return false // there is none
	}
	return p.residue() == 0xffff
}
