package node

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/control"
	"usvs/director"
	"usvs/health"
	"usvs/iproute"
	"usvs/ipvs"
	"usvs/keepalived"
	"usvs/vrrp"
	"usvs/wire"
)

// lab is some nodes on one wire, in virtual time.
type lab struct {
	t      testing.TB
	now    clock.Instant
	events events
	order  int
	nodes  []*machine
	// servers are the ports that answer; the others refuse.
	servers map[netip.AddrPort]bool
	cut     bool // the wire is
}

// machine is a node with its World.
type machine struct {
	lab       *lab
	name      string
	text      string
	node      *Node
	ctl       *control.Control
	addrs     []netip.Prefix // of eth0
	routes    []string
	refused   bool // the last address was
	batches   int  // snapshots published
	tick      int  // of the event that is to call Tick
	dead, up  bool
	setup     *Setup
	log       []string
	notified  []string
	announced []string
	scripts   map[string]vrrp.ScriptResult
	probes    map[health.CheckID]bool
}

type event struct {
	at    clock.Instant
	order int
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newLab(t testing.TB) *lab {
	return &lab{t: t, now: clock.Instant(time.Hour), servers: map[netip.AddrPort]bool{}}
}

func (l *lab) after(d time.Duration, do func()) {
	l.order++
	heap.Push(&l.events, event{l.now.Add(d), l.order, do})
}

// run lets time pass.
func (l *lab) run(d time.Duration) {
	end := l.now.Add(d)
	for len(l.events) > 0 && l.events[0].at <= end {
		e := heap.Pop(&l.events).(event)
		l.now = e.at
		e.do()
	}
	l.now = end
}

func (l *lab) serve(on bool, addrs ...string) {
	for _, a := range addrs {
		l.servers[netip.MustParseAddrPort(a)] = on
	}
}

type labClock struct{ l *lab }

func (c labClock) Now() clock.Instant { return c.l.now }

// add makes a machine, whose node does not run yet.
func (l *lab) add(name, addr, text string) *machine {
	m := &machine{lab: l, name: name, text: text, addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}
	l.nodes = append(l.nodes, m)
	return m
}

// boot starts the node anew.
func (m *machine) boot() {
	m.dead, m.probes = false, map[health.CheckID]bool{}
	m.ctl = control.New(control.Config{
		Clock: labClock{m.lab}, Rand: rand.New(rand.NewPCG(1, 2)), Servers: new(ipvs.Registry), Sysctls: ipvs.DefaultSysctls(),
		Publish: func(*director.Snapshot) { m.batches++ },
	})
	var err error
	m.node, err = New(Config{
		Keepalived: parsed(m.lab.t, m.text), Control: m.ctl, World: m, Rand: rand.New(rand.NewPCG(3, 4)), Hostname: m.name,
	})
	require.NoError(m.lab.t, err)
	m.link(true)
	m.node.Start(m.lab.now)
	m.wake()
}

// crash ends the machine at once; what it had is gone.
func (m *machine) crash() {
	m.dead = true
	m.addrs = m.addrs[:1]
}

// reload makes text the configuration.
func (m *machine) reload(text string) {
	m.text = text
	require.NoError(m.lab.t, m.node.Reload(m.lab.now, parsed(m.lab.t, text)))
	m.wake()
}

func (m *machine) link(up bool) {
	m.up = up
	m.node.SetInterface(m.lab.now, vrrp.Interface{Name: "eth0", Up: up, MAC: wire.MAC{2, 0, 0, 0, 0, byte(len(m.name))}, MTU: 1500, Addrs: slices.Clone(m.addrs)})
	m.wake()
}

// wake has Tick called when the node wants it.
func (m *machine) wake() {
	m.tick++
	this, node := m.tick, m.node
	at := clock.Never
	if !m.dead {
		at = node.Tick(m.lab.now)
	}
	if at != clock.Never {
		m.lab.after(max(0, at.Sub(m.lab.now)), func() {
			if this == m.tick && !m.dead {
				m.wake()
			}
		})
	}
}

// told has the node hear of something.
func (m *machine) told(d time.Duration, what func(now clock.Instant)) {
	node := m.node
	m.lab.after(d, func() {
		if !m.dead && m.node == node {
			what(m.lab.now)
			m.wake()
		}
	})
}

func (m *machine) Configure(s *Setup) { m.setup = s }

func (m *machine) SendVRRP(iface string, packet []byte, src wire.MAC) {
	for _, o := range m.lab.nodes {
		if p := slices.Clone(packet); o != m && !o.dead && !m.lab.cut && o.node != nil {
			o.told(50*time.Microsecond, func(now clock.Instant) { o.node.HandleVRRP(now, vrrp.Packet{Interface: iface, IP: p}) })
		}
	}
}

// Farewell does nothing: who fails here takes the whole machine along.
func (m *machine) Farewell(string, []vrrp.Packet) {}

func (m *machine) Announce(iface string, addr netip.Addr, mac wire.MAC) {
	m.announced = append(m.announced, fmt.Sprint(iface, " ", addr, " ", mac))
}

func (m *machine) AddAddress(a Address) {
	m.refused = a.Refused
	if !slices.Contains(m.addrs, a.Prefix) {
		m.addrs = append(m.addrs, a.Prefix)
	}
	m.told(0, func(clock.Instant) { m.link(m.up) })
}

func (m *machine) RemoveAddress(a Address) {
	m.addrs = slices.DeleteFunc(m.addrs, func(p netip.Prefix) bool { return p == a.Prefix })
	m.told(0, func(clock.Instant) { m.link(m.up) })
}

func (m *machine) AddRoute(r iproute.Route) {
	if !slices.Contains(m.routes, r.String()) {
		m.routes = append(m.routes, r.String())
	}
}

func (m *machine) RemoveRoute(r iproute.Route) {
	m.routes = slices.DeleteFunc(m.routes, func(s string) bool { return s == r.String() })
}

// StartProbe answers as a server's kernel would: in a moment.
func (m *machine) StartProbe(id health.CheckID, p *health.Probe) {
	m.probes[id] = true
	up := m.lab.servers[p.Target]
	m.told(time.Millisecond, func(now clock.Instant) {
		if !m.probes[id] {
			return
		}
		delete(m.probes, id)
		res := health.Result{}
		if !up {
			res = health.Result{Outcome: health.Failure, Reason: "failed"}
		}
		m.node.ProbeDone(now, id, res)
	})
}

func (m *machine) CancelProbe(id health.CheckID) { delete(m.probes, id) }

func (m *machine) RunTrackScript(name string) {
	m.told(time.Millisecond, func(now clock.Instant) { m.node.ScriptDone(now, name, m.scripts[name]) })
}

func (m *machine) RunScript(n Notification) {
	m.notified = append(m.notified, "script "+strings.Join(n.Args, " "))
}

func (m *machine) WriteFIFO(path, line string) { m.notified = append(m.notified, path+": "+line) }

func (m *machine) SendMail(mail Mail) {
	m.notified = append(m.notified, "mail "+mail.Subject+" | "+mail.Body)
}

func (m *machine) Log(_ vrrp.Level, text string) { m.log = append(m.log, text) }

func (m *machine) has(addr string) bool {
	return slices.ContainsFunc(m.addrs, func(p netip.Prefix) bool { return p.Addr() == netip.MustParseAddr(addr) })
}

// takeLog returns what was logged since it was called last.
func (m *machine) takeLog() []string {
	log := m.log
	m.log = nil
	return log
}

func (m *machine) takeNotified() []string {
	n := m.notified
	m.notified = nil
	return n
}

// table is what ipvsadm would list: services with their servers, oldest first.
func (m *machine) table() (lines []string) {
	services, err := m.ctl.Services()
	require.NoError(m.lab.t, err)
	for _, s := range services {
		line := fmt.Sprint(s.ID.Addr, ":", s.ID.Port, " ", s.Spec.Scheduler)
		for _, rs := range slices.Backward(s.Servers) {
			line += fmt.Sprintf(" %v/%d", rs.ID.Addr, rs.Spec.Weight)
		}
		lines = append(lines, line)
	}
	return lines
}

func parsed(t testing.TB, text string) *keepalived.Config {
	t.Helper()
	c, _ := keepalived.Parse("test.conf", keepalived.Options{Files: keepalived.Text{"test.conf": text}})
	return c
}
