package fuzz

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"usvs/director"
	"usvs/link"
	"usvs/netsim"
	"usvs/scenario"
	"usvs/wire"
)

// longest is more than any connection or template can last in a case.
const longest = 24 * time.Hour

// patience bounds the wait for the last connection to expire. Timeouts of a
// case are minutes; TCP's ends of simulated hosts may keep one alive for some.
const patience = 2 * time.Hour

// Play plays a case and returns the first invariant that broke: a *Violation,
// or nil. Any other error is of a text that cannot be read. Commands may fail,
// traffic may stay unanswered; only the director is judged.
func Play(text string, seed uint64, cover *Coverage) (err error) {
	f, err := scenario.Parse("case", []byte(text))
	if err != nil {
		return err
	}
	p := &player{sim: scenario.NewSim(seed), cover: cover}
	if err := p.sim.Build(&f.Topology); err != nil {
		return err
	}
	p.find(&f.Topology, strings.Contains(text, " corrupt "))
	defer func() {
		if r := recover(); r != nil {
			err = &Violation{"panic", fmt.Sprint(r)}
		}
	}()
	if err := p.steps(f, strings.Split(text, "\n")); err != nil {
		return err
	}
	p.drain()
	cover.Cases++
	for _, j := range p.judges {
		sumUp(cover.Reasons, j.dir.Core().Counters())
	}
	cover.Deliveries += p.sim.Net().Stats().Deliveries
	if v := p.broken(); v != nil {
		return v
	}
	return nil
}

// player is a case being played.
type player struct {
	sim    *scenario.Sim
	cover  *Coverage
	judges []*Judge
	links  []scenario.Interface
	worker map[*Judge]*director.Worker
}

func (p *player) find(t *scenario.Topology, dirty bool) {
	p.worker = map[*Judge]*director.Worker{}
	for _, n := range t.Nodes {
		for _, nic := range n.NICs {
			p.links = append(p.links, scenario.Interface{Node: n.Name, NIC: nic.Name})
		}
		if d, ok := p.sim.Net().Node(n.Name).(*netsim.Director); ok {
			j := Watch(d, p.cover, dirty)
			p.judges = append(p.judges, j)
			p.worker[j] = d.Core().NewWorker()
			p.worker[j].Record(j)
		}
	}
}

func (p *player) broken() *Violation {
	for _, j := range p.judges {
		if v := j.Err(); v != nil {
			return v
		}
	}
	return nil
}

// steps plays the file's steps and the directives between them, line by line.
func (p *player) steps(f *scenario.File, lines []string) error {
	at := map[int]scenario.Action{}
	for _, s := range f.Steps {
		at[s.Line] = s.Do
	}
	for i, line := range lines {
		if words, ok := strings.CutPrefix(line, "#! "); ok {
			p.directive(strings.Fields(words))
		}
		if a := at[i+1]; a != nil {
			if err := p.do(a); err != nil {
				return err
			}
		}
		if v := p.broken(); v != nil {
			return v
		}
	}
	return nil
}

func (p *player) do(a scenario.Action) error {
	switch a := a.(type) {
	case *scenario.Exec:
		for _, j := range p.judges {
			j.settle()
		}
		out, err := p.sim.Exec(a.Node, a.Command, nil)
		for _, j := range p.judges {
			if j.dir.Name() == a.Node {
				j.commanded(a.Command, out.Exit)
			}
		}
		return err
	case *scenario.Traffic:
		_, err := p.sim.Traffic(a)
		return err
	case *scenario.Inject:
		return p.sim.Inject(a.From, a.Frame)
	case *scenario.Fault:
		p.fault(&a.Set)
		return p.sim.Fault(a)
	case *scenario.Wait:
		return p.sim.Wait(a.For)
	}
	return nil
}

func (p *player) fault(s *scenario.LinkState) {
	for name, on := range map[string]bool{
		"link down": s.Down, "link cut one way": s.CutIn || s.CutOut, "delay": s.Delay > 0, "jitter": s.Jitter > 0,
		"loss": s.Loss > 0, "duplicate": s.Duplicate > 0, "reorder": s.Reorder > 0, "corrupt": s.Corrupt > 0, "rate": s.Rate > 0,
	} {
		if on {
			p.cover.Faults[name]++
		}
	}
}

// directive does what the scenario language has no words for. One that makes
// no sense, perhaps because of what was left out, does nothing.
func (p *player) directive(w []string) {
	switch {
	case len(w) == 2 && w[0] == "vs":
		p.sysctl(w[1])
	case len(w) == 3 && w[0] == "frame":
		if port, frame := p.port(w[1]), unhex(w[2]); port != nil && len(frame) >= wire.EthernetLen {
			port.Inject(frame)
			p.sim.Net().Run(300 * time.Microsecond)
		}
	case len(w) == 3 && w[0] == "arrive":
		if port, frame := p.port(w[1]), unhex(w[2]); port != nil && len(frame) >= wire.EthernetLen {
			port.Deliver(frame)
		}
	case len(w) == 5 && w[0] == "race":
		p.race(w[1], w[2], unhex(w[3]), unhex(w[4]))
	case len(w) == 4 && w[0] == "burst":
		n, _ := strconv.Atoi(w[2])
		if frame := unhex(w[3]); len(frame) >= wire.EthernetLen {
			p.burst(w[1], min(n, maxBurst), frame)
		}
	case len(w) == 4 && w[0] == "super":
		size, _ := strconv.Atoi(w[2])
		if frame := unhex(w[3]); len(frame) > 54 && size > 0 {
			p.super(w[1], size, frame)
		}
	}
}

func unhex(s string) []byte {
	b, _ := hex.DecodeString(s)
	return b
}

func (p *player) port(name string) *netsim.Port {
	node, nic, _ := strings.Cut(name, ":")
	h, _ := p.sim.Net().Node(node).(interface{ Port(string) *netsim.Port })
	if h == nil {
		return nil
	}
	return h.Port(nic)
}

// sysctl sets one of net.ipv4.vs on every director.
func (p *player) sysctl(word string) {
	key, value, _ := strings.Cut(word, "=")
	for _, j := range p.judges {
		j.settle()
		s := j.dir.Control().Sysctls()
		if s.SetSysctl(key, value) == nil {
			j.dir.Control().SetSysctls(s)
		}
	}
}

// maxBurst bounds a burst.
const maxBurst = 4096

// burst hands the director many copies of a frame in one batch, more than any
// device reads at once.
func (p *player) burst(name string, n int, frame []byte) {
	if len(p.judges) == 0 {
		return
	}
	j := p.judges[0]
	at := portIndex(j.dir, name)
	if at < 0 {
		return
	}
	batch := make([]*link.Frame, n)
	for i := range batch {
		batch[i] = wire.NewFrame(len(frame))
		batch[i].SetBytes(frame)
		batch[i].Port = at
	}
	var out link.Output
	p.worker[j].Handle(p.sim.Net().Now(), batch, &out)
	p.cover.Faults["burst"]++
}

// super hands the director a super-frame as a device with offloading does, and
// judges that the segments count, not their sum: RFC 791's and 8200's MTU is of
// packets on a link.
func (p *player) super(name string, size int, frame []byte) {
	port := p.port(name)
	if port == nil || len(p.judges) == 0 {
		return
	}
	j := p.judges[0]
	f := wire.NewFrame(wire.MaxFrame)
	f.SetBytes(frame)
	f.Port, f.GSO, f.GSOSize, f.Partial, f.CsumStart, f.CsumOffset = portIndex(j.dir, name), wire.GSOTCP4, uint16(size), true, 34, 16
	if f.Port < 0 {
		return
	}
	in, err := readIP(frame)
	if err != nil || in == nil || in.proto != protoTCP || len(in.body) < 20 {
		return
	}
	var out link.Output
	before := j.dir.Core().Counters()
	j.super = true
	p.worker[j].Handle(p.sim.Net().Now(), []*link.Frame{f}, &out)
	j.super = false
	after := j.dir.Core().Counters()
	tooBig := after[director.DropTooBig.String()] > before[director.DropTooBig.String()]
	p.cover.Faults["super-frame"]++
	head := len(in.raw) - len(in.body) + int(in.body[12]>>4)*4
	if mtu := j.smallestMTU(); tooBig && head+size <= mtu-tunnelHeaders {
		j.broken("super-frame", "segments of %d bytes were too big for an MTU of %d", head+size, mtu)
	}
	for _, g := range out.Tx {
		if g.GSO != wire.GSONone && g.GSOSize != uint16(size) {
			j.broken("super-frame", "segments of %d bytes became segments of %d", size, g.GSOSize)
		}
	}
}

// tunnelHeaders is more than any encapsulation adds.
const tunnelHeaders = 80

func (j *Judge) smallestMTU() int {
	mtu := 1 << 16
	for _, p := range j.dir.Ports() {
		mtu = min(mtu, p.MTU())
	}
	return mtu
}

func portIndex(d *netsim.Director, name string) int {
	for i, p := range d.Ports() {
		if p.String() == name {
			return i
		}
	}
	return -1
}

// drain heals the network and waits until nothing is left.
func (p *player) drain() {
	for _, l := range p.links {
		if err := p.sim.Fault(&scenario.Fault{Link: l}); err != nil {
			panic(err)
		}
	}
	for _, j := range p.judges {
		left := func() bool { return j.dir.Core().Table.Len() > 0 }
		p.sim.Net().RunWhile(patience, left)
		if n := j.dir.Core().Table.Len(); n > 0 && j.first == nil {
			j.broken("leak", "%d connections are left after %v of silence%s", n, patience, j.remaining())
		}
		for _, svc := range j.dir.Core().Snapshot().Services {
			for _, rs := range svc.Servers {
				if rs.Active() != 0 || rs.Inactive() != 0 || rs.Persistent() != 0 || rs.References() != 0 {
					j.broken("leak", "%v counts %d active, %d inactive, %d persistent, %d references when all have expired",
						rs.ID, rs.Active(), rs.Inactive(), rs.Persistent(), rs.References())
				}
			}
		}
	}
}

func (j *Judge) remaining() string {
	j.table.read(j.dir.Core().Table, j.net.Now())
	text := ""
	for i := range j.table.conns[:min(3, len(j.table.conns))] {
		c := &j.table.conns[i]
		text += fmt.Sprintf("\n  %v %v > %v to %v, %s, %v to go", c.Protocol, c.Client, c.Virtual, c.Real, c.StateName(), c.Expires.Sub(j.net.Now()))
	}
	return text
}
