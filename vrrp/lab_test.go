package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"usvs/clock"
	"usvs/wire"
)

// recorder is Effects that writes down what it is asked for.
type recorder struct {
	sent   []sentPacket
	owns   map[string][]netip.Prefix
	said   []string // everything, in order
	log    []string
	plain  []string // of log, what is not Detail
	events []string
	runs   []string
	send   func(iface string, packet []byte)

	farewells map[string][]Packet
	bequests  int // how often they changed
}

type sentPacket struct {
	iface  string
	packet []byte
	mac    wire.MAC
}

func newRecorder() *recorder {
	return &recorder{owns: map[string][]netip.Prefix{}, farewells: map[string][]Packet{}}
}

func (r *recorder) say(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func (r *recorder) Send(iface string, packet []byte, mac wire.MAC) {
	r.sent = append(r.sent, sentPacket{iface, packet, mac})
	p, _, ok := unpack(iface, packet)
	if !ok {
		panic("sent something that is not VRRP")
	}
	r.say("send %d to %s", p.msg[2], p.dst)
	if r.send != nil {
		r.send(iface, packet)
	}
}

func (r *recorder) Farewell(router string, packets []Packet) {
	r.bequests++
	if len(packets) == 0 {
		delete(r.farewells, router)
		return
	}
	r.farewells[router] = packets
}

func (r *recorder) AddAddresses(instance string, addrs []Address) {
	for _, a := range addrs {
		if slices.Contains(r.owns[instance], a.Prefix) {
			panic("added twice: " + a.Prefix.String())
		}
		r.owns[instance] = append(r.owns[instance], a.Prefix)
		r.say("add %s", a.Prefix.Addr())
	}
}

func (r *recorder) RemoveAddresses(instance string, addrs []Address) {
	for _, a := range addrs {
		r.owns[instance] = slices.DeleteFunc(r.owns[instance], func(p netip.Prefix) bool { return p == a.Prefix })
		r.say("remove %s", a.Prefix.Addr())
	}
}

func (r *recorder) AddRoutes(_ string, routes []string) {
	for _, route := range routes {
		r.say("add route %s", route)
	}
}

func (r *recorder) RemoveRoutes(_ string, routes []string) {
	for _, route := range routes {
		r.say("remove route %s", route)
	}
}

func (r *recorder) Announce(iface string, addr netip.Addr, mac wire.MAC) {
	r.say("announce %s on %s", addr, iface)
}
func (r *recorder) RunScript(name string) { r.runs = append(r.runs, name); r.say("run %s", name) }
func (r *recorder) Notify(e Event) {
	r.events = append(r.events, e.Line())
	r.say("notify %s", e.Line())
}
func (r *recorder) Log(level Level, text string) {
	r.log = append(r.log, text)
	if level != Detail {
		r.plain = append(r.plain, text)
	}
	r.say("log %s", text)
}

// took returns what was said since the last time, without what has a prefix.
func (r *recorder) took(without ...string) (out []string) {
	for _, s := range r.said {
		if !slices.ContainsFunc(without, func(p string) bool { return strings.HasPrefix(s, p) }) {
			out = append(out, s)
		}
	}
	r.said = nil
	return out
}

const second = clock.Instant(time.Second)

// lan is Routers on one Ethernet segment, eth0, in virtual time.
type lan struct {
	t     *testing.T
	now   clock.Instant
	nodes []*node
	queue []delivery
	lose  func(from, to *node) (lost bool, delay time.Duration)
}

type delivery struct {
	at     clock.Instant
	to     *node
	packet []byte
}

type node struct {
	*Router
	*recorder
	name string
	next clock.Instant
	dead bool
}

func newLAN(t *testing.T) *lan {
	return &lan{t: t, now: second, lose: func(_, _ *node) (bool, time.Duration) { return false, time.Millisecond }}
}

// face is eth0 of the n-th node.
func faceOf(n int) Interface {
	return Interface{
		Name: "eth0", Up: true, MAC: wire.MAC{2, 0, 0, 0, 0, byte(n)},
		Addrs: []netip.Prefix{
			netip.MustParsePrefix(fmt.Sprintf("10.9.0.%d/24", n)),
			netip.MustParsePrefix(fmt.Sprintf("fe80::%x/64", 0x100+n)),
		},
	}
}

// add starts another node.
func (l *lan) add(cfg Config) *node {
	n := &node{recorder: newRecorder(), name: fmt.Sprint("node", len(l.nodes)+1)}
	n.Router = New(&cfg, n.recorder)
	n.recorder.send = func(_ string, packet []byte) { l.carry(n, packet) }
	l.nodes = append(l.nodes, n)
	n.SetInterface(l.now, faceOf(len(l.nodes)))
	n.Start(l.now)
	return n
}

// carry delivers a packet to everybody, or to whose address it has.
func (l *lan) carry(from *node, packet []byte) {
	for k, to := range l.nodes {
		p, _, _ := unpack("eth0", packet)
		mine := slices.ContainsFunc(faceOf(k+1).Addrs, func(x netip.Prefix) bool { return x.Addr() == p.dst })
		if to == from || to.dead || !p.dst.IsMulticast() && !mine {
			continue
		}
		if lost, delay := l.lose(from, to); !lost {
			l.queue = append(l.queue, delivery{l.now.Add(delay), to, slices.Clone(packet)})
		}
	}
}

// run lets time pass.
func (l *lan) run(d time.Duration) {
	for end := l.now.Add(d); l.step(end); {
	}
}

// step does the next thing that is due before end, and reports whether there
// was one.
func (l *lan) step(end clock.Instant) bool {
	at := end
	for _, q := range l.queue {
		at = at.Min(q.at)
	}
	for _, n := range l.nodes {
		if !n.dead {
			at = at.Min(n.next)
		}
	}
	if at < l.now {
		at = l.now
	}
	l.now = at
	if at == end {
		return false
	}
	for k := 0; k < len(l.queue); k++ {
		if q := l.queue[k]; q.at <= at {
			l.queue = slices.Delete(l.queue, k, k+1)
			k--
			if !q.to.dead {
				q.to.Handle(at, Packet{Interface: "eth0", IP: q.packet})
				q.to.next = 0
			}
		}
	}
	for _, n := range l.nodes {
		if n.dead {
			continue
		}
		if n.next <= at {
			n.next = n.Tick(at)
			if n.next <= at {
				l.t.Fatalf("%s: Tick(%d) returned %d", n.name, at, n.next)
			}
		}
	}
	return true
}

// state is that of the node's first instance.
func (n *node) state() State { return n.instances[0].state }

func prefixes(s ...string) (out []Address) {
	for _, a := range s {
		addr := netip.MustParseAddr(a)
		out = append(out, Address{Prefix: netip.PrefixFrom(addr, addr.BitLen())})
	}
	return out
}

// basic is an instance with two addresses.
func basic(priority int) Instance {
	return Instance{
		Name: "VI_1", Interface: "eth0", VRID: 51, Priority: priority,
		Addresses: prefixes("10.9.0.100", "10.9.0.101"), GARP: defaultGARP,
	}
}

func one(i Instance) Config { return Config{Instances: []Instance{i}} }

// defaultGARP is what keepalived does without garp_ keywords.
var defaultGARP = GARP{Delay: 5 * time.Second, Repeat: 5, RefreshRepeat: 1, LowerPrioDelay: 5 * time.Second, LowerPrioRepeat: 5}
