package localstack

import (
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"usvs/wire"
)

// FuzzAnswer: whatever is asked, nothing panics, what is answered is read by
// gopacket, carries right checksums, and is itself answered by neither a reset
// nor an error: two of us never talk for ever.
func FuzzAnswer(f *testing.F) {
	for _, x := range readTrace(f, "testdata/linux.trace", "#") {
		f.Add(x.in, uint8(0))
	}
	for _, x := range readTrace(f, "testdata/ipvs.trace", "error") {
		f.Add(x.in, uint8(1))
	}
	f.Fuzz(func(t *testing.T, raw []byte, kind uint8) {
		if len(raw) > 3000 {
			return
		}
		in := wire.NewFrame(3000)
		in.SetBytes(raw)
		in.Medium = wire.Medium(kind >> 7)
		in.Partial = kind>>6&1 != 0
		var p wire.Packet
		if p.Parse(in.Bytes(), in.Medium) != wire.None {
			return
		}
		s, out := New(Options{}), wire.NewFrame(3000)
		r := Request{Frame: in, Packet: &p, MAC: dirMAC}
		if s.Answer(now, r, out).Answered() {
			checkAnswer(t, s, out)
		}
		errors := []Error{TimeExceeded(), FragNeeded(1280), ProtocolUnreachable(), HostUnreachable()}
		if s.Error(now, r, p.Dst, errors[kind%4], out).Answered() {
			checkAnswer(t, s, out)
		}
	})
}

func checkAnswer(t *testing.T, s *Stack, f *wire.Frame) {
	b := f.Bytes()
	first := gopacket.Decoder(layers.LayerTypeEthernet)
	if f.Medium == wire.IP {
		first = layers.LayerTypeIPv4
		if b[0]>>4 == 6 {
			first = layers.LayerTypeIPv6
		}
	}
	pkt := gopacket.NewPacket(b, first, gopacket.Default)
	if e := pkt.ErrorLayer(); e != nil {
		t.Fatalf("%x: %v", b, e.Error())
	}
	var p wire.Packet
	if m := p.Parse(b, f.Medium); m != wire.None {
		t.Fatalf("%x: %v", b, m)
	}
	sum := uint64(0)
	if p.Proto != wire.ProtoICMP {
		sum = wire.PseudoSum(p.Src, p.Dst, p.Proto, len(p.Transport()))
	}
	if wire.Fold(wire.Sum(p.Transport(), sum)) != 0xffff {
		t.Fatalf("%x: wrong transport checksum", b)
	}
	if o := s.Answer(now, Request{Frame: f, Packet: &p, MAC: dirMAC}, wire.NewFrame(3000)); o.Answered() {
		t.Fatalf("%x would be answered by %v", b, o)
	}
}
