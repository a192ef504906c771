package oracle

import (
	"usvs/forward"
	"usvs/link"
	"usvs/localstack"
	"usvs/route"
	"usvs/wire"
)

// hostStack is what the recorded machine's own stack does with a packet that
// the director declined: it answers for its addresses, on which nobody
// listens, and forwards the rest.
func (w *world) hostStack(f *link.Frame) {
	var p wire.Packet
	if p.Parse(f.Bytes(), f.Medium) != wire.None || p.Version == 0 {
		return
	}
	if w.receiveSync(f, &p) {
		return
	}
	if w.routes.Lookup(p.Dst).Kind == route.Local {
		w.answer(f, &p)
		return
	}
	w.forward(f, &p)
}

func (w *world) answer(f *link.Frame, p *wire.Packet) {
	g := wire.NewFrame(wire.MaxFrame)
	if !w.stack.Answer(w.now, w.request(f, p), g).Answered() {
		return
	}
	w.route(g)
}

func (w *world) request(f *link.Frame, p *wire.Packet) localstack.Request {
	return localstack.Request{Frame: f, Packet: p, MAC: w.net.Interfaces[f.Port].MAC}
}

// forward does what ip_forward does: TTL, MTU, then the next hop.
func (w *world) forward(f *link.Frame, p *wire.Packet) {
	hop := w.routes.Lookup(p.Dst)
	tooBig, fragment := forward.ExceedsMTU(f, p, hop.MTU)
	switch {
	case hop.Kind != route.Unicast:
		w.complain(f, p, localstack.HostUnreachable())
	case p.TTL <= 1:
		w.complain(f, p, localstack.TimeExceeded())
	case tooBig:
		w.complain(f, p, localstack.FragNeeded(hop.MTU))
	default:
		forward.DecrementTTL(p)
		if !fragment {
			w.route(f)
			return
		}
		forward.Fragment(f, p, hop.MTU, func() *wire.Frame { return wire.NewFrame(wire.MaxFrame) }, w.route)
	}
}

func (w *world) complain(f *link.Frame, p *wire.Packet, e localstack.Error) {
	g := wire.NewFrame(wire.MaxFrame)
	if w.stack.Error(w.now, w.request(f, p), w.routes.Lookup(p.Src).Src, e, g).Answered() {
		w.route(g)
	}
}

// route sends a frame to its destination's next hop.
func (w *world) route(f *link.Frame) {
	var p wire.Packet
	if p.Parse(f.Bytes(), f.Medium) != wire.None {
		return
	}
	hop := w.routes.Lookup(p.Dst)
	mac, ok := w.dir.Neighbours.Lookup(w.now, hop.Port, hop.Via)
	if hop.Kind != route.Unicast || !ok {
		return
	}
	f.Port = hop.Port
	eth := wire.EthernetHeader(f.Bytes())
	eth.SetSrc(w.net.Interfaces[hop.Port].MAC)
	eth.SetDst(mac)
	w.record(f)
}
