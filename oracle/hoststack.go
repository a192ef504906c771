package oracle

import (
	"usvs/forward"
	"usvs/link"
	"usvs/localstack"
	"usvs/route"
	"usvs/wire"
)

// hostStack is what the recorded machine's own stack does with a packet that
// the director declined: it answers for its addresses, or a program does, and
// forwards the rest.
func (w *world) hostStack(f *link.Frame) {
	var p wire.Packet
	if p.Parse(f.Bytes(), f.Medium) != wire.None || p.Version == 0 {
		return
	}
	if w.receiveSync(f, &p) {
		return
	}
	if w.routes.Lookup(p.Dst).Kind != route.Local {
		w.forward(f, &p)
		return
	}
	if f = w.whole(f, &p); f != nil {
		w.answer(f, &p)
	}
}

func (w *world) answer(f *link.Frame, p *wire.Packet) {
	if w.serve(p) {
		return
	}
	g := wire.NewFrame(wire.MaxFrame)
	if w.stack.Answer(w.now, w.request(f, p), g).Answered() {
		w.send(g)
	}
}

func (w *world) request(f *link.Frame, p *wire.Packet) localstack.Request {
	return localstack.Request{Frame: f, Packet: p, MAC: w.net.Interfaces[f.Port].MAC}
}

// forward does what ip_forward does: TTL, MTU, then the next hop.
func (w *world) forward(f *link.Frame, p *wire.Packet) {
	if p.Version == 6 {
		if f = w.gathered(f, p); f == nil {
			return
		}
	}
	hop := w.routes.Lookup(p.Dst)
	tooBig, _ := forward.ExceedsMTU(f, p, hop.MTU)
	switch {
	case !w.forwards(p.Version):
	case hop.Kind != route.Unicast:
		w.complain(f, p, localstack.HostUnreachable())
	case p.TTL <= 1:
		w.complain(f, p, localstack.TimeExceeded())
	case tooBig && p.IPLen() > hop.MTU:
		w.complain(f, p, localstack.FragNeeded(hop.MTU))
	default:
		forward.DecrementTTL(p)
		if f = w.gathered(f, p); f != nil {
			_, fragment := forward.ExceedsMTU(f, p, hop.MTU)
			w.route(f, p, &hop, fragment, f != w.injected)
		}
	}
}

func (w *world) complain(f *link.Frame, p *wire.Packet, e localstack.Error) {
	g := wire.NewFrame(wire.MaxFrame)
	hop := w.routes.Lookup(p.Src)
	if w.stack.Error(w.now, w.request(f, p), w.sourceTo(p.Src, &hop), e, g).Answered() {
		w.send(g)
	}
}

// send sends a packet of the host's own, which the director sees on its way.
func (w *world) send(f *link.Frame) {
	var out link.Output
	w.worker.HandleSent(w.now, []*link.Frame{f}, &out)
	var p wire.Packet
	for _, f := range out.Pass {
		if p.Parse(f.Bytes(), f.Medium) != wire.None {
			continue
		}
		hop := w.routes.Lookup(p.Dst)
		_, fragment := forward.ExceedsMTU(f, &p, hop.MTU)
		w.route(f, &p, &hop, fragment, true)
	}
}

// route sends a packet to its next hop, in fragments if need be.
func (w *world) route(f *link.Frame, p *wire.Packet, hop *route.Hop, fragment, made bool) {
	if hop.Kind != route.Unicast {
		return
	}
	if !fragment {
		w.transmit(f, hop, made)
		return
	}
	piece := func(g *wire.Frame) { w.transmit(g, hop, made) }
	forward.Fragment(f, p, hop.MTU, func() *wire.Frame { return wire.NewFrame(wire.MaxFrame) }, piece)
}

// transmit gives a frame its next hop's MAC. Nobody is asked for it: the
// machine's neighbours are all known.
func (w *world) transmit(f *link.Frame, hop *route.Hop, made bool) {
	mac, ok := w.dir.Neighbours.Lookup(w.now, hop.Port, hop.Via)
	if !ok {
		return
	}
	f.Port = hop.Port
	eth := wire.EthernetHeader(f.Bytes())
	eth.SetSrc(w.net.Interfaces[hop.Port].MAC)
	eth.SetDst(mac)
	w.record(f, made)
}
