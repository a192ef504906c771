package netsim

import (
	"net/netip"
	"slices"
	"time"

	"usvs/clock"
	"usvs/localstack"
	"usvs/wire"
)

// Times and limits of Linux's neighbour caches (arp(7), RFC 4861 section 10).
const (
	reachableTime = 30 * time.Second
	delayTime     = 5 * time.Second
	retransTime   = time.Second
	lockTime      = time.Second // a MAC is not replaced sooner, except by a gratuitous ARP
	maxProbes     = 3
	maxQueued     = 101  // frames that wait for a neighbour
	maxNeighbours = 1024 // Linux's gc_thresh3
)

// NeighbourState is what a host knows of a neighbour.
type NeighbourState uint8

// The states, with Linux's names.
const (
	Incomplete NeighbourState = iota // asked for, no answer yet
	Reachable                        // confirmed lately
	Stale                            // not confirmed lately; used all the same
	Delay                            // stale and in use; will be probed soon
	Probe                            // being probed; used all the same
	Failed                           // does not answer
	Permanent                        // set by the operator
)

var neighbourStates = [...]string{"INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "PERMANENT"}

// String is the state as ip-neighbour(8) prints it.
func (s NeighbourState) String() string { return neighbourStates[s] }

// Neighbour is an entry of a host's ARP or ND cache.
type Neighbour struct {
	Port  *Port
	Addr  netip.Addr
	MAC   wire.MAC
	State NeighbourState
}

// neighbour is an entry with what its life needs.
type neighbour struct {
	Neighbour
	updated   clock.Instant // when the MAC was last set
	confirmed clock.Instant
	due       clock.Instant // when to probe again, or to give up; Never: nothing to do
	probes    int
	waiting   []*frame
}

type neighKey struct {
	port *Port
	addr netip.Addr
}

// neighbours is a host's cache for both families.
type neighbours struct {
	h     *Host
	table map[neighKey]*neighbour
	list  []*neighbour // the same, in the order in which they became known
	last  *neighbour   // that was looked up
	timer *Timer
}

func (c *neighbours) init(h *Host) {
	c.h, c.table = h, map[neighKey]*neighbour{}
	c.timer = h.newTimer(c.tick)
}

// Neighbours lists the ARP and ND cache in the order in which the neighbours
// became known.
func (h *Host) Neighbours() []Neighbour {
	var list []Neighbour
	for _, e := range h.neigh.list {
		h.neigh.age(e)
		list = append(list, e.Neighbour)
	}
	return list
}

// SetNeighbour fixes a neighbour's MAC.
func (h *Host) SetNeighbour(p *Port, addr netip.Addr, mac wire.MAC) {
	e := h.neigh.enter(p, addr)
	e.State, e.due = Permanent, clock.Never
	h.neigh.resolved(e, mac)
}

// DelNeighbour forgets a neighbour.
func (h *Host) DelNeighbour(p *Port, addr netip.Addr) bool {
	e := h.neigh.table[neighKey{p, addr}]
	if e == nil {
		return false
	}
	h.neigh.drop(e)
	return true
}

// forget removes what is known behind a port, but for permanent entries.
func (c *neighbours) forget(p *Port) {
	for _, e := range slices.Clone(c.list) {
		if e.Port == p && e.State != Permanent {
			c.drop(e)
		}
	}
}

func (c *neighbours) drop(e *neighbour) {
	for _, f := range e.waiting {
		c.h.net.release(f)
	}
	delete(c.table, neighKey{e.Port, e.Addr})
	c.list = slices.DeleteFunc(c.list, func(x *neighbour) bool { return x == e })
	c.last = nil
}

func (c *neighbours) find(p *Port, addr netip.Addr) *neighbour {
	if e := c.last; e != nil && e.Port == p && e.Addr == addr {
		return e
	}
	e := c.table[neighKey{p, addr}]
	if e != nil {
		c.last = e
	}
	return e
}

// enter finds an entry or makes an empty one.
func (c *neighbours) enter(p *Port, addr netip.Addr) *neighbour {
	if e := c.find(p, addr); e != nil {
		return e
	}
	if len(c.list) >= maxNeighbours {
		c.evict()
	}
	e := &neighbour{Neighbour: Neighbour{Port: p, Addr: addr, State: Failed}, due: clock.Never}
	c.table[neighKey{p, addr}] = e
	c.list = append(c.list, e)
	return e
}

// evict forgets the neighbour known for longest that nothing waits for.
func (c *neighbours) evict() {
	i := slices.IndexFunc(c.list, func(e *neighbour) bool { return e.State != Permanent && len(e.waiting) == 0 })
	c.drop(c.list[max(i, 0)])
}

// send gives a complete frame the MAC of its next hop and sends it, or lets it
// wait for the neighbour to answer.
func (c *neighbours) send(p *Port, via netip.Addr, f *frame) {
	e := c.find(p, via)
	if e == nil {
		e = c.enter(p, via)
	}
	switch e.State {
	case Reachable:
		c.age(e)
	case Incomplete, Failed:
		c.wait(e, f)
		return
	}
	if e.State == Stale {
		e.State, e.probes = Delay, 0
		c.schedule(e, delayTime)
	}
	wire.EthernetHeader(f.Bytes()).SetDst(e.MAC)
	p.send(f)
}

func (c *neighbours) age(e *neighbour) {
	if e.State == Reachable && c.h.net.now.Sub(e.confirmed) > reachableTime {
		e.State = Stale
	}
}

// wait queues a frame and asks for the neighbour, if nobody did yet.
func (c *neighbours) wait(e *neighbour, f *frame) {
	if len(e.waiting) >= maxQueued {
		c.h.count("neighbour queue full")
		c.h.net.release(e.waiting[0])
		e.waiting = append(e.waiting[:0], e.waiting[1:]...)
	}
	e.waiting = append(e.waiting, f)
	if e.State == Failed {
		e.State, e.probes = Incomplete, 0
		c.ask(e)
	}
}

// ask sends the next question to a neighbour.
func (c *neighbours) ask(e *neighbour) {
	e.probes++
	var packet []byte
	if len(e.waiting) > 0 {
		packet = e.waiting[0].Bytes()[wire.EthernetLen:]
	}
	to := wire.MAC{}
	if e.State == Probe {
		to = e.MAC
	}
	if e.Addr.Is4() {
		c.h.askARP(e.Port, e.Addr, packet, to)
	} else {
		c.h.askND(e.Port, e.Addr, packet, to)
	}
	c.schedule(e, retransTime)
}

func (c *neighbours) schedule(e *neighbour, d time.Duration) {
	e.due = c.h.net.now.Add(d)
	if e.due < c.timer.Deadline() {
		c.timer.Set(e.due)
	}
}

// tick does what is due: probes, and giving up.
func (c *neighbours) tick() {
	now, next := c.h.net.now, clock.Never
	for _, e := range slices.Clone(c.list) {
		if e.due <= now {
			e.due = clock.Never
			c.advance(e)
		}
		next = next.Min(e.due)
	}
	c.timer.Set(next)
}

func (c *neighbours) advance(e *neighbour) {
	switch e.State {
	case Delay:
		e.State, e.probes = Probe, 0
		c.ask(e)
	case Incomplete, Probe:
		if e.probes < maxProbes {
			c.ask(e)
			return
		}
		c.fail(e)
	}
}

// fail gives a neighbour up and tells the senders of what waited.
func (c *neighbours) fail(e *neighbour) {
	c.h.net.logf(c.h.name, "%v does not answer %s on %s", e.Addr, question(e.Addr), e.Port.name)
	e.State = Failed
	waiting := e.waiting
	e.waiting = nil
	for _, f := range waiting {
		c.h.unreachable(e.Port, f, localstack.HostUnreachable())
	}
}

func question(a netip.Addr) string {
	if a.Is4() {
		return "ARP"
	}
	return "neighbour discovery"
}

// heard takes a neighbour's MAC from a message. A confirmed one answers a
// question of ours; override says that it may replace another MAC.
func (c *neighbours) heard(e *neighbour, mac wire.MAC, confirmed, override bool) {
	now := c.h.net.now
	usable := e.State != Incomplete && e.State != Failed
	switch {
	case e.State == Permanent:
		return
	case usable && e.MAC != mac && !override:
		if e.State == Reachable {
			e.State = Stale
		}
		return
	case usable && e.MAC != mac:
		c.h.net.logf(c.h.name, "%v is now at %v, was at %v", e.Addr, mac, e.MAC)
	case usable && !confirmed && e.MAC == mac:
		return // nothing new
	}
	e.State, e.due = Stale, clock.Never
	if confirmed {
		e.State, e.confirmed = Reachable, now
	}
	c.resolved(e, mac)
}

// resolved sets the MAC and sends what waited for it.
func (c *neighbours) resolved(e *neighbour, mac wire.MAC) {
	e.MAC, e.updated = mac, c.h.net.now
	waiting := e.waiting
	e.waiting = nil
	for _, f := range waiting {
		c.send(e.Port, e.Addr, f)
	}
}

// locked reports whether the entry was set so lately that another MAC is not
// believed (arp(7), locktime).
func (c *neighbours) locked(e *neighbour) bool {
	return e.updated > 0 && c.h.net.now.Sub(e.updated) < lockTime
}
