package director

import (
	"usvs/clock"
	"usvs/conntrack"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/route"
	"usvs/sched"
	"usvs/wire"
)

// tickBudget bounds how many timers one Tick or batch sees to: what waits for
// memory for each keeps the frames behind it waiting, too.
const tickBudget = 128

// Worker is one goroutine's share of a director: its scratch and its counters.
type Worker struct {
	d      *Director
	number int // of the workers made before
	count  counters

	// Valid during one Handle or Tick.
	now  clock.Instant
	snap *Snapshot
	out  *link.Output

	// When the table's timers were last seen to, and are to be seen to next.
	ticked, due clock.Instant

	// Scratch, reused from frame to frame.
	p, q  wire.Packet    // the frame, and what an ICMP error quotes
	plain *wire.Plain    // the frame as the fast lane saw it, or nil
	seg   wire.Packet    // a segment of a super-frame
	c     conntrack.Conn // its connection
	tmpl  conntrack.Conn
	seen  Reason // how the last frame ended

	tally tally
	lane  lane

	ousted       *ipvs.RealServer // of a connection that makes way, still counted
	oustedActive bool
	oustedDirect bool // it was not a masqueraded one

	flow  flow                  // what is being scheduled
	text  [maxAnnouncement]byte // what a helper writes
	fresh conntrack.Spec
	req   sched.Request
	tun   forward.Tunnel
	hop   route.Hop // where the pieces of a packet that is cut go
	ipID  uint32    // of the last packet the director made

	recorder Recorder // nil: nobody asks why

	waits bool // the frame, or a piece of it, waits for its next hop
	lost  bool // a piece of the frame could not be made

	// Made once: a method value made per frame would allocate.
	alloc            func() *wire.Frame
	piece, cut, wrap func(*wire.Frame)
	host             func(*wire.Frame)
	orphan           func(*conntrack.Conn)
}

// Handle takes a batch of received frames, changes them in place, and appends
// what is to be sent, handed to the host or left alone to out. It returns when it wants
// Tick to be called.
func (w *Worker) Handle(now clock.Instant, batch []*link.Frame, out *link.Output) clock.Instant {
	w.begin(now, out)
	if !conntrack.SameTick(w.ticked, now) || !now.Before(w.due) {
		w.tick()
	}
	next, full := w.keepUp(), len(batch) >= link.BatchSize
	obs := w.d.observers.Load()
	settled := false // whether the table's timers are as they were
	if obs == nil && w.laneOpen() {
		settled, batch = w.takeLane(batch), nil
	}
	for _, f := range batch {
		if obs != nil {
			w.observed(*obs, f)
			continue
		}
		w.frame(f)
	}
	if !full || w.settleDue() <= now {
		w.settle()
	} else {
		next = next.Min(w.settleDue())
	}
	if !settled {
		w.tick()
	}
	return w.due.Min(w.d.Neighbours.Deadline()).Min(w.d.fragments.Deadline()).Min(next)
}

// Tick expires connections, neighbours and fragments, sends what is due, and returns when
// it wants to be called again. Any worker may call it at any time.
func (w *Worker) Tick(now clock.Instant, out *link.Output) clock.Instant {
	w.begin(now, out)
	w.tick()
	next := w.due.Min(w.d.Neighbours.Tick(now, w)).Min(w.d.fragments.Tick(now, w)).Min(w.keepUp())
	w.settle()
	return next
}

// tick expires connections.
func (w *Worker) tick() { w.ticked, w.due = w.now, w.d.Table.TickOf(w.number, w.now, tickBudget) }

func (w *Worker) begin(now clock.Instant, out *link.Output) {
	w.now, w.out, w.snap = now, out, w.d.snap.Load()
}

// frame decides what kind of frame f is and who handles it.
func (w *Worker) frame(f *link.Frame) {
	p := &w.p
	if m := p.Parse(f.Bytes(), f.Medium); m != wire.None {
		bump(&w.count.malformed[m])
		w.end(DropMalformed)
		return
	}
	if f.Medium == wire.Ethernet && !w.concerns(f, p) {
		return
	}
	switch {
	case p.EtherType == wire.TypeARP, isND(p), p.Version == 6 && p.Dst.IsMulticast():
		w.neighbour(f)
	case p.Version == 0:
		w.pass(f)
	default:
		w.ip(f)
	}
}

// concerns reports whether an Ethernet frame is for this station. The host's
// own stack has seen every other kind of frame anyway.
func (w *Worker) concerns(f *link.Frame, p *wire.Packet) bool {
	if p.L3 != wire.EthernetLen {
		w.out.Pass = append(w.out.Pass, f)
		w.end(VLANTagged)
		return false
	}
	dst := wire.EthernetHeader(p.Data).Dst()
	if dst == w.mac(f.Port) || p.EtherType == wire.TypeARP && dst == wire.Broadcast {
		return true
	}
	if dst.IsMulticast() && p.Version == 6 && p.Proto == wire.ProtoICMPv6 {
		return true
	}
	if w.virtual(f.Port, dst) {
		return true
	}
	w.out.Pass = append(w.out.Pass, f)
	w.end(NotForUs)
	return false
}

// virtual reports whether a port has that virtual MAC.
func (w *Worker) virtual(port int, mac wire.MAC) bool {
	s := &w.snap.Stations
	return len(s.macs) > 0 && s.Has(w.portName(port), mac)
}

// ip splits traffic to virtual services from everything else.
func (w *Worker) ip(f *link.Frame) {
	p := &w.p
	f.Truncate(p.End) // what pads a short frame is no part of the packet
	if f.Partial && p.Proto == wire.ProtoSCTP {
		forward.FinishChecksum(f, p) // no device completes a CRC32c half made elsewhere
	}
	if w.snap.Marks4 != nil || w.snap.Marks6 != nil {
		f.Mark = w.mark(f)
	}
	if w.recorder != nil {
		w.record(Step{Stage: StageMark, Mark: f.Mark})
	}
	stray := p.Fragment
	if p.Fragment && w.gathers() {
		if f = w.whole(f); f == nil {
			return
		}
		stray = false
	}
	switch {
	case w.inbound(f):
		w.input(f)
	default:
		w.outbound(f, stray)
	}
}

// outbound handles a packet that is not for a virtual service. stray says that
// it is a fragment whose datagram nobody gathers.
func (w *Worker) outbound(f *link.Frame, stray bool) {
	switch {
	case w.snap.Routes.IsLocal(w.p.Dst):
		w.toHostItself(f)
	case stray, !w.snap.active(w.p.Version):
		w.pass(f)
	default:
		w.output(f)
	}
}

// gathers reports whether the current fragment's datagram may concern the
// director. Only a first fragment has the ports that a mark may depend on.
func (w *Worker) gathers() bool {
	p, s := &w.p, w.snap
	return s.Owned.Has(p.Dst) || s.marked(p.Version) && w.markable() ||
		s.active(p.Version) && s.servers.Has(Endpoint{Addr: p.Src}) && !s.Routes.IsLocal(p.Dst)
}

// inbound reports whether the packet is for a virtual service's address: one
// the director owns, or one whose mark a service takes and that is the host's
// or named by a mark rule.
func (w *Worker) inbound(f *link.Frame) bool {
	p, s := &w.p, w.snap
	if s.Owned.Has(p.Dst) {
		return true
	}
	return f.Mark != 0 && s.hasMark(family(p.Version), f.Mark) && w.markable()
}

// markable reports whether the director may take a marked packet to that
// address, which it does not own.
func (w *Worker) markable() bool {
	s := w.snap
	return s.Routes.Lookup(w.p.Dst).Kind == route.Local || s.Hidden.inPrefixes(w.p.Dst)
}

func (w *Worker) mark(f *link.Frame) uint32 {
	rules := w.snap.Marks4
	if w.p.Version == 6 {
		rules = w.snap.Marks6
	}
	if rules == nil {
		return f.Mark
	}
	return rules.Mark(w.portName(f.Port), &w.p, f.Mark)
}

// end records how the current frame ended.
func (w *Worker) end(r Reason) {
	w.seen = r
	bump(&w.count.reason[r])
}

func family(version uint8) ipvs.Family {
	if version == 6 {
		return ipvs.IPv6
	}
	return ipvs.IPv4
}

// isND reports whether p is a neighbour discovery message (RFC 4861).
func isND(p *wire.Packet) bool {
	return p.Proto == wire.ProtoICMPv6 && p.Version == 6 && p.Full && !p.Fragment &&
		p.Data[p.L4] >= wire.ICMPv6NeighSol && p.Data[p.L4] <= wire.ICMPv6NeighAdv
}
