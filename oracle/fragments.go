package oracle

import (
	"bytes"
	"slices"

	"usvs/clock"
	"usvs/forward"
	"usvs/link"
	"usvs/localstack"
	"usvs/route"
	"usvs/wire"
)

// fragmentLimits are enough for a recording, which has one sender.
var fragmentLimits = forward.Limits{Datagrams: 64, Bytes: 1 << 20}

// whole returns what f is to be handled as, parsed: the datagram that it
// completes, or f if it is none that is kept; or nil.
func (w *world) whole(f *link.Frame, p *wire.Packet) *link.Frame {
	if !p.Fragment {
		return f
	}
	g := w.New()
	switch w.fragments.Add(w.now, f, p, g) {
	case forward.Alone:
		return f
	case forward.Complete:
		if p.Parse(g.Bytes(), g.Medium) == wire.None {
			return g
		}
	}
	return nil
}

// gathered is whole for a packet that the host forwards: where ip_vs has
// services, Linux puts fragments together on their way, IPv4's after it has
// judged each of them.
func (w *world) gathered(f *link.Frame, p *wire.Packet) *link.Frame {
	if len(w.dir.Snapshot().Services) == 0 {
		return f
	}
	return w.whole(f, p)
}

// overhear lets the host's stack have a fragment that the director has kept, but
// that was not hidden from the host. The datagram is for the director to hand over.
func (w *world) overhear(f *link.Frame) {
	var p wire.Packet
	if f.Hidden || p.Parse(f.Bytes(), f.Medium) != wire.None || !p.Fragment {
		return
	}
	if w.routes.Lookup(p.Dst).Kind == route.Local && !slices.Contains(w.out.Pass, f) {
		w.fragments.Add(w.now, f, &p, w.New())
	}
}

// lapse is the world's part of Tick: datagrams whose rest did not come.
func (w *world) lapse() clock.Instant { return w.fragments.Tick(w.now, w) }

// New and Lapsed make the world a forward.Lapsed.
func (w *world) New() *wire.Frame { return wire.NewFrame(wire.MaxFrame) }

func (w *world) Lapsed(first *wire.Frame) {
	var p wire.Packet
	switch {
	case p.Parse(first.Bytes(), first.Medium) != wire.None:
	case w.routes.Lookup(p.Dst).Kind != route.Local:
		w.complain(first, &p, localstack.ReassemblyTimeExceeded())
	default:
		g := w.New()
		if w.stack.Error(w.now, w.request(first, &p), p.Dst, localstack.ReassemblyTimeExceeded(), g).Answered() {
			w.send(g)
		}
	}
}

// byLapse orders the errors about datagrams whose rest did not come: those of a
// moment come in any order.
func byLapse(frames []Emission) []Emission {
	sorted := slices.Clone(frames)
	at := []int{}
	for i, e := range frames {
		if lapsed(e.Data) {
			at = append(at, i)
		}
	}
	order := slices.Clone(at)
	slices.SortStableFunc(order, func(i, j int) int { return bytes.Compare(quoted(frames[i].Data), quoted(frames[j].Data)) })
	for k, i := range at {
		sorted[i] = frames[order[k]]
	}
	return sorted
}

// lapsed reports whether a frame is a "reassembly time exceeded".
func lapsed(frame []byte) bool {
	var p wire.Packet
	if p.Parse(frame, wire.Ethernet) != wire.None || !p.IsICMPError() {
		return false
	}
	kind, code := p.Transport()[0], p.Transport()[1]
	return code == 1 && (p.Version == 4 && kind == wire.ICMPTimeExceeded || p.Version == 6 && kind == wire.ICMPv6TimeExceeded)
}

// quoted is what such a frame quotes.
func quoted(frame []byte) []byte {
	var p wire.Packet
	p.Parse(frame, wire.Ethernet)
	return p.Transport()[wire.ICMPLen:]
}
