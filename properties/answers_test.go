package properties

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"usvs/ipvs"
)

// Everything the director says itself, resets, echo replies and ICMP errors,
// is sound and is about what was asked.
func TestEveryAnswer(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("v6=%v", v6), func(t *testing.T) {
			t.Parallel()
			tr := newTraffic(t, mode{method: ipvs.DirectRoute, v6: v6}, 77)
			tr.r = random{rand.New(rand.NewPCG(77, 1))}
			tr.service(ipvs.TCP, at(tr.flows[0].virtual.Addr(), 99)) // has no server
			answers := 0
			for range count(10_000, 2) {
				s := tr.question()
				frames := tr.deliver(s)
				answers += len(frames)
				for _, f := range frames {
					if err := tr.answered(s, onWire(f)[0]); err != nil {
						tr.fail(s, err)
					}
				}
			}
			if answers < count(10_000, 2)/2 {
				t.Fatalf("%d answers", answers)
			}
		})
	}
}

// question is a packet that is not forwarded.
func (tr *traffic) question() (s shipment) {
	r := tr.r
	s.flow = tr.flows[r.IntN(len(tr.flows))]
	h := header{src: s.client.Addr(), dst: s.virtual.Addr(), proto: s.proto}
	r.fill(&h)
	dport := []uint16{80, 99, 7}[r.IntN(3)] // a service, one without servers, none
	body := r.body(s.proto, 30000, dport, 1400-len(h.options))
	switch r.IntN(4) {
	case 0: // too far away, if it has a service
		h.ttl = 1
	case 1:
		h.proto, body = icmp4, append([]byte{8, 0, 0, 0}, r.bytes(4+r.size(1300))...)
		if h.src.Is6() {
			h.proto, body[0] = icmp6, 128
		}
	}
	if h.options != nil && h.src.Is6() { // lead to the protocol that it is now
		h.options, h.first = r.extensions(h.proto)
	}
	if dport == 80 && h.ttl != 1 && h.proto == s.proto { // that would be forwarded
		put16(body[2:], 7)
	}
	s.in = look(h.packet(body))
	s.in.seal()
	s.sent = []view{s.in}
	s.frames = [][]byte{ethernet(s.port, s.in.b)}
	return s
}

// answered judges what the director said.
func (tr *traffic) answered(s shipment, p view) error {
	if err := sound(p.b, true); err != nil {
		return err
	}
	src, dst := p.addresses()
	asked, by := s.in.addresses()
	if string(dst) != string(asked) || string(src) != string(by) {
		return fmt.Errorf("from %x to %x: %x", src, dst, p.b)
	}
	b, q := p.body(), s.in.body()
	switch {
	case p.proto == tcp:
		return resets(b, q)
	case b[0] == 0 && !p.v6 || b[0] == 129 && p.v6:
		if string(b[4:]) != string(q[4:]) || b[1] != 0 {
			return fmt.Errorf("the echo differs: %x", p.b)
		}
		return nil
	}
	quoted := s.in.recorded(s.virtual.Addr().AsSlice())
	if n := len(b) - 8; n < 28 || n > len(quoted.b) || string(b[8:]) != string(quoted.b[:n]) {
		return fmt.Errorf("the error quotes %x", b[8:])
	}
	known := map[[3]byte]bool{
		{4, 3, 3}: true, {4, 11, 0}: true, {6, 1, 4}: true, {6, 3, 0}: true,
	}
	version := byte(4)
	if p.v6 {
		version = 6
	}
	if version == 4 && b[0] == 3 && b[1] == 2 && s.proto == sctp || version == 6 && b[0] == 4 && s.proto == sctp {
		return nil // a protocol that nobody speaks
	}
	if !known[[3]byte{version, b[0], b[1]}] {
		return fmt.Errorf("an error of type %d, code %d", b[0], b[1])
	}
	return nil
}

// resets judges a reset (RFC 9293, 3.10.7.1).
func resets(b, q []byte) error {
	seq, ackno := binary.BigEndian.Uint32(q[4:]), binary.BigEndian.Uint32(q[8:])
	length := uint32(len(q) - int(q[12]>>4)*4)
	for _, f := range []byte{syn, fin} {
		if q[13]&f != 0 {
			length++
		}
	}
	want := [3]uint32{ackno, 0, rst}
	if q[13]&ack == 0 {
		want = [3]uint32{0, seq + length, rst | ack}
	}
	got := [3]uint32{binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), uint32(b[13])}
	if got != want || get16(b) != get16(q[2:]) || get16(b[2:]) != get16(q) || len(b) != 20 {
		return fmt.Errorf("reset %x for %x", b, q[:20])
	}
	return nil
}
