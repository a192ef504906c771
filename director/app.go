package director

import (
	"net/netip"

	"usvs/app"
	"usvs/conntrack"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

// A connection's helper reads what client and server say to each other, because
// it concerns addresses, and may change it. Only masqueraded connections to the
// ports of FTP have one (ipvs.md 5.8); theirs are the only frames that get here.

// What the FTP helper remembers, in Conn.AppMode: which reply it waits for. A
// reply that was rewritten is known again, by Conn.AppSeq, should it be sent
// again. The kernel lets it pass then, with the server's own address.
const (
	ftpIdle = iota
	ftpPassive
	ftpExtended
	ftpPassiveDone
	ftpExtendedDone
)

// maxAnnouncement is longer than any announcement is written.
const maxAnnouncement = len("255,255,255,255,255,255") + 1

// helpIn shows a client's packet to the connection's helper. It reports false
// if the packet has met its end.
func (w *Worker) helpIn(f *link.Frame) bool {
	if !w.helped(f) {
		return false
	}
	text := forward.Payload(&w.p)
	if w.c.State == conntrack.TCPEstablished && len(text) > 0 && !w.readCommand(f, text) {
		return false
	}
	w.shift(f, &w.c.InSeq, &w.c.OutSeq)
	return true
}

// helpOut shows a server's packet to the connection's helper, which may make it
// longer or shorter. It returns the frame the packet is in then, nil if it has
// met its end, and whether it must be cut for the route's MTU.
func (w *Worker) helpOut(f *link.Frame, mtu int) (out *link.Frame, fragment bool) {
	if !w.helped(f) {
		return nil, false
	}
	seq := wire.TCP(w.p.Transport()).Seq()
	text := forward.Payload(&w.p)
	if w.c.State == conntrack.TCPEstablished && len(text) > 0 && w.awaits(seq) {
		if f = w.readReply(f, text, seq); f == nil {
			return nil, false
		}
	}
	w.shift(f, &w.c.OutSeq, &w.c.InSeq)
	tooBig, fragment := forward.ExceedsMTU(f, &w.p, mtu)
	if tooBig {
		w.end(DropHelperTooBig) // nobody to tell: the server's packet was not
		return nil, false
	}
	return f, fragment
}

// helped reports whether a helper may trust the packet: nothing is made of one
// with a wrong checksum, which a rewritten payload would put right.
func (w *Worker) helped(f *link.Frame) bool {
	if forward.TCPChecksumOK(f, &w.p) {
		return true
	}
	w.end(DropHelperChecksum)
	return false
}

// shift makes the numbers of a packet those that its receiver knows.
func (w *Worker) shift(f *link.Frame, mine, theirs *conntrack.Seq) {
	if mine.Zero() && theirs.Zero() {
		return
	}
	forward.ShiftTCP(f, &w.p, mine.Offset(wire.TCP(w.p.Transport()).Seq()), theirs.AckOffset)
}

// readCommand looks for what concerns the director in what a client sent.
func (w *Worker) readCommand(f *link.Frame, text []byte) bool {
	command, at := app.ParseCommand(text, w.p.Version == 6)
	switch command {
	case app.Passive:
		w.c.AppMode = ftpPassive
	case app.ExtendedPassive:
		w.c.AppMode = ftpExtended
	case app.Active:
		c := &w.c
		return w.expect(f, conntrack.Spec{
			Client:  at,
			Virtual: netip.AddrPortFrom(c.Virtual.Addr(), c.Virtual.Port()-1),
			Real:    netip.AddrPortFrom(c.Real.Addr(), c.Real.Port()-1),
		})
	default:
		return true
	}
	return w.remember()
}

// remember stores what the helper knows. Two workers at one control connection
// are rare enough for the later one to have its packet sent again.
func (w *Worker) remember() bool {
	if w.d.Table.StoreApp(&w.c) {
		return true
	}
	w.end(DropHelperRace)
	return false
}

// awaits reports whether the helper wants to read what the server sends at seq.
func (w *Worker) awaits(seq uint32) bool {
	switch w.c.AppMode {
	case ftpPassive, ftpExtended:
		return true
	case ftpPassiveDone, ftpExtendedDone:
		return seq == w.c.AppSeq
	}
	return false
}

// readReply looks for the server's announcement of where it listens, expects the
// client's connection there, and announces the virtual address instead.
func (w *Worker) readReply(f *link.Frame, text []byte, seq uint32) *link.Frame {
	c := &w.c
	command, again := app.Passive, c.AppMode >= ftpPassiveDone
	if c.AppMode == ftpExtended || c.AppMode == ftpExtendedDone {
		command = app.ExtendedPassive
	}
	a, ok := app.ParseReply(text, command, w.p.Version == 6)
	if !ok {
		return f
	}
	rip := a.At.Addr()
	if !rip.IsValid() {
		rip = c.Real.Addr()
	}
	virtual := netip.AddrPortFrom(c.Virtual.Addr(), a.At.Port())
	if !again && !w.expect(f, conntrack.Spec{
		Client:  netip.AddrPortFrom(c.Client.Addr(), 0),
		Virtual: virtual,
		Real:    netip.AddrPortFrom(rip, a.At.Port()),
		Flags:   conntrack.FlagNoCPort,
	}) {
		return nil
	}
	announcement := app.Announce(w.text[:0], command, virtual)
	if w.recorder != nil {
		w.record(Step{Stage: StageHelper, Conn: c, Data: announcement})
	}
	if f = w.splice(f, a.Start, a.End, announcement); f == nil || again {
		return f
	}
	c.OutSeq.Grow(seq, int32(len(announcement)-(a.End-a.Start)))
	c.AppMode, c.AppSeq = c.AppMode+ftpPassiveDone-ftpPassive, seq
	if !w.remember() {
		return nil
	}
	return f
}

// splice puts text in the place of a part of the packet's payload. A frame
// without room for it is replaced.
func (w *Worker) splice(f *link.Frame, start, end int, text []byte) *link.Frame {
	if forward.Splice(f, &w.p, start, end, text) {
		return f
	}
	g := w.out.New()
	if g == nil || g.Cap() < f.Len()+len(text) {
		w.end(DropNoRoom)
		return nil
	}
	g.CopyFrom(f)
	if w.p.Parse(g.Bytes(), g.Medium) != wire.None || !forward.Splice(g, &w.p, start, end, text) {
		w.end(DropNoRoom)
		return nil
	}
	return g
}

// expect makes the connection n that the current one has announced, and which
// it controls. It does not count as a new one: no scheduler chose its server.
func (w *Worker) expect(f *link.Frame, n conntrack.Spec) bool {
	c := &w.c
	n.Protocol, n.Method, n.Server, n.Control, n.Mark = ipvs.TCP, c.Method, c.Server, c.Ref, f.Mark
	res := w.d.Table.Expect(w.now, &n, &w.tmpl)
	if w.recorder != nil {
		w.record(Step{Stage: StageExpect, Conn: &w.tmpl, OK: res < conntrack.ControlGone})
	}
	if res < conntrack.ControlGone {
		return true
	}
	w.end(DropTableFull)
	return false
}

// fillPort gives an expected connection the port of the client that has come.
func (w *Worker) fillPort() bool {
	if w.d.Table.FillPort(w.now, &w.c, w.p.SrcPort) {
		return true
	}
	w.end(DropTableFull)
	return false
}
