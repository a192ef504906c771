package netsim

import (
	"usvs/forward"
	"usvs/localstack"
	"usvs/wire"
)

// gathering is what a host has of datagrams that are not complete.
type gathering struct {
	*forward.Reassembler
	host   *Host
	timer  *Timer
	lapsed *frame // a first fragment that waited in vain
}

func newGathering(h *Host) *gathering {
	l := forward.Limits{Datagrams: 64, Bytes: 512 << 10}
	g := &gathering{Reassembler: forward.NewReassembler(l, h.net.derived("fragments "+h.name)), host: h}
	g.timer = h.newTimer(func() { g.timer.Set(g.Tick(h.net.now, g)) })
	return g
}

// reassemble keeps a fragment and returns the datagram that it completes,
// which is then the host's current packet.
func (h *Host) reassemble(p *Port, f *frame) *frame {
	if h.frags == nil {
		h.frags = newGathering(h)
	}
	g := h.net.frame(wire.MaxFrame)
	switch h.frags.Add(h.net.now, &f.Frame, &h.p, &g.Frame) {
	case forward.Complete:
		if h.p.Parse(g.Bytes(), wire.Ethernet) == wire.None && !h.p.Fragment {
			return g
		}
	case forward.Alone:
		h.answer(p, f) // it says what is wrong with it
	case forward.Kept:
		h.frags.timer.Set(h.frags.Deadline())
	}
	h.net.release(g)
	return nil
}

// New returns a frame for a first fragment whose others did not come in time.
func (g *gathering) New() *wire.Frame {
	g.lapsed = g.host.net.frame(wire.MaxFrame)
	return &g.lapsed.Frame
}

// Lapsed tells the sender of the frame that New returned.
func (g *gathering) Lapsed(*wire.Frame) {
	h, f := g.host, g.lapsed
	h.count("reassembly timed out")
	if h.p.Parse(f.Bytes(), wire.Ethernet) == wire.None && f.Port >= 0 && f.Port < len(h.ports) {
		h.complain(h.ports[f.Port], f, localstack.ReassemblyTimeExceeded())
	}
	h.net.release(f)
}
