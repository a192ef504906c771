package chaos

import (
	"time"

	"usvs/netsim"
)

// breaker applies the faults of a schedule to a rig.
type breaker struct {
	rig    *rig
	active map[Fault]bool
}

// schedule lets every fault begin and end at its time.
func (b *breaker) schedule(s Schedule, start time.Duration) {
	for _, f := range s {
		b.rig.net.After(start+f.At, func() { b.set(f, true) })
		b.rig.net.After(start+f.End(), func() { b.set(f, false) })
	}
}

// set begins or ends a fault.
func (b *breaker) set(f Fault, on bool) {
	if on {
		b.active[f] = true
	} else {
		delete(b.active, f)
	}
	switch f.Kind.info().at {
	case atInterface:
		b.cable(f.target())
	case atDirector:
		b.director(f, on)
	case atServer:
		b.server(f, on)
	case atNetwork:
		b.network(f, on)
	}
}

// cable makes a link what the faults that are active say.
func (b *breaker) cable(name string) {
	c := b.rig.cables[name]
	o := netsim.LinkOptions{Delay: wireDelay}
	in, out, up := false, false, true
	for f := range b.active {
		if f.target() != name {
			continue
		}
		switch f.Kind {
		case Cut, ServerDead:
			in, out = true, true
		case CutIn:
			in = true
		case CutOut:
			out = true
		case Down:
			up = false
		case Loss:
			o.Loss = max(o.Loss, f.Amount)
		case Duplicate:
			o.Duplicate = max(o.Duplicate, f.Amount)
		case Reorder:
			o.Reorder = max(o.Reorder, f.Amount)
		}
	}
	c.link.Set(o)
	near, far := c.link.Ends()
	c.link.Cut(near, out)
	c.link.Cut(far, in)
	c.link.SetUp(up)
}

func (b *breaker) director(f Fault, on bool) {
	for i, d := range b.rig.lab.Directors {
		if d.Name != f.Node {
			continue
		}
		sim := b.rig.directors[i]
		switch {
		case f.Kind == Pause && on:
			sim.Pause(f.For)
		case f.Kind == Crash && on:
			sim.Crash()
		case f.Kind == Crash:
			sim.Restart()
		case f.Kind == Skew && on:
			sim.SetSkew(f.Amount)
		case f.Kind == Skew:
			sim.SetSkew(1)
		}
	}
}

func (b *breaker) server(f Fault, on bool) {
	m := b.rig.servers[f.Node]
	switch f.Kind {
	case ServerStop:
		m.stop(on)
		b.scripts(m)
	case ServerDead:
		b.cable(f.Node)
		b.scripts(m)
	case ServerSlow:
		m.slow(0)
		if on {
			m.slow(time.Duration(f.Amount * float64(time.Second)))
		}
	case VIPMissing:
		m.carryVIPs(!on)
	}
}

// scripts has the directors' scripts and files say whether a server is well.
func (b *breaker) scripts(m *machine) {
	fails := false
	for f := range b.active {
		fails = fails || f.Node == m.Name && (f.Kind == ServerStop || f.Kind == ServerDead)
	}
	for _, d := range b.rig.directors {
		d.SetServerFails(m.Addr.Addr(), fails)
	}
}

func (b *breaker) network(f Fault, on bool) {
	sw := b.rig.switches[b.rig.lab.network(f.Node)]
	if on {
		sw.FilterGroups(notMulticast)
		return
	}
	sw.FilterGroups(nil)
}
