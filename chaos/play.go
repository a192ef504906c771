package chaos

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"usvs/ipvs"
	"usvs/netsim"
	"usvs/wire"
)

// Play builds the lab, breaks what the schedule says, and tells what happened.
func Play(l *Lab, b Bounds, s Schedule, seed uint64) (*History, error) {
	p := &player{lab: l, bounds: b, h: &History{Seed: seed, Schedule: s}, changes: s.changes()}
	r, err := build(l, seed)
	if err != nil {
		return nil, err
	}
	p.rig = r
	p.h.End = b.Ready + 3*(b.Elect+b.Together) + tail
	if len(s) > 0 {
		p.h.End = s.End() + b.settle(l) + tail
	}
	r.net.OnLog(p.logged)
	for _, e := range r.net.Log() {
		p.logged(e)
	}
	br := &breaker{rig: r, active: map[Fault]bool{}}
	br.schedule(s, 0)
	p.clients()
	r.net.Run(p.h.End - r.net.Elapsed())
	slices.SortStableFunc(p.h.Requests, func(a, b Request) int { return int(a.At - b.At) })
	return p.h, nil
}

// tail is how long it is looked on after everything should be well.
const tail = 5 * time.Second

// player is a run under way.
type player struct {
	lab     *Lab
	bounds  Bounds
	rig     *rig
	h       *History
	changes []time.Duration // at which faults begin and end
}

// logged takes note of a line, and of the state that it may tell of.
func (p *player) logged(e netsim.Entry) {
	at := netsim.Since(e.At)
	p.h.Log = append(p.h.Log, Line{at, e.Who, e.Text})
	for i, d := range p.lab.Directors {
		if d.Name == e.Who {
			p.transition(at, i, e.Text)
		}
	}
}

// entering is how keepalived's log tells of a state: (NAME) Entering STATE STATE.
const entering = ") Entering "

func (p *player) transition(at time.Duration, director int, text string) {
	if strings.Contains(text, "has crashed") {
		for k := range p.lab.Routers {
			p.enter(at, director, k, Off)
		}
		return
	}
	before, after, ok := strings.Cut(text, entering)
	if !ok {
		return
	}
	_, name, _ := strings.Cut(before, "(")
	state, _, _ := strings.Cut(after, " ")
	for k, r := range p.lab.Routers {
		if m := r.Members[director]; m != nil && m.Name == name {
			p.enter(at, director, k, State(state))
		}
	}
}

func (p *player) enter(at time.Duration, director, router int, state State) {
	p.h.Transitions = append(p.h.Transitions, Transition{at, director, router, state})
}

// picked finds the server that a director has given a connection to.
func (p *player) picked(client, vip netip.AddrPort) (server, via string) {
	for i, d := range p.rig.directors {
		_ = d.Control().Connections(func(c *ipvs.ConnEntry) bool {
			if c.Client == client && c.Virtual == vip && !c.Template {
				server, via = p.serverName(c.Real.Addr()), p.lab.Directors[i].Name
			}
			return true
		})
	}
	return server, via
}

func (p *player) serverName(rip netip.Addr) string {
	for _, s := range p.lab.Servers {
		if s.Addr.Addr() == rip {
			return s.Name
		}
	}
	return ""
}

// believed is the director whose MAC address the router has for an address.
func (p *player) believed(vip netip.Addr) string {
	for _, n := range p.rig.router.Neighbours() {
		if n.Addr == vip {
			return p.owner(n.MAC)
		}
	}
	return ""
}

func (p *player) owner(mac wire.MAC) string {
	for i, d := range p.rig.directors {
		for _, port := range d.Ports() {
			if port.MAC() == mac {
				return p.lab.Directors[i].Name
			}
		}
	}
	return ""
}
