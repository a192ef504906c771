package oracle

import (
	"math/rand/v2"
	"slices"
	"time"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/control"
	"usvs/director"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/localstack"
	"usvs/oracle/shell"
	"usvs/route"
	"usvs/wire"
)

// startup is when a trace begins: late enough that nothing is "long ago".
const startup = clock.Instant(1000 * time.Second)

// world is the recorded machine: a director between its links, with a host's
// routes, neighbours, stack and programs around it, in virtual time.
type world struct {
	now     clock.Instant
	net     route.Config
	routes  *route.Table
	worker  *director.Worker
	dir     *director.Director
	ctl     *control.Control
	out     link.Output
	emitted []Emission // not yet compared

	injected *link.Frame // the frame being handled

	// The host.
	stack     *localstack.Stack
	fragments *forward.Reassembler
	shell     *shell.Shell
	files     *shell.Memory
	names     *names
	neigh     map[neighbour]wire.MAC
	modules   map[string]bool   // loaded on demand
	settings  map[string]string // outside net.ipv4.vs, as written
	ruled     map[rule]bool     // marks that keep a packet on this machine
	sockets   []socket

	messages syncStream
}

// Now makes the world its own clock.
func (w *world) Now() clock.Instant { return w.now }

func newWorld(n *names) *world {
	w := &world{
		now: startup, stack: localstack.New(localstack.Options{}), fragments: forward.NewReassembler(fragmentLimits, 2),
		names: n, neigh: map[neighbour]wire.MAC{}, modules: map[string]bool{}, settings: map[string]string{}, ruled: map[rule]bool{},
	}
	for _, l := range links {
		w.net.Interfaces = append(w.net.Interfaces, route.Interface{Name: l.device, MAC: l.mac, MTU: 1500, Up: true})
	}
	w.net.Locals = append(w.net.Locals, loopback4, loopback6)
	servers := new(ipvs.Registry)
	table := conntrack.New(conntrack.Config{Servers: servers})
	w.dir = director.New(director.Config{Table: table, Fragments: forward.NewReassembler(fragmentLimits, 1), Answers: w.stack})
	w.worker = w.dir.NewWorker()
	w.ctl = control.New(control.Config{
		Clock: w, Rand: rand.New(rand.NewPCG(1, 2)), Servers: servers, Conns: table, Resolver: n,
		Totals: &w.dir.Totals, Sysctls: ipvs.DefaultSysctls(), Own: control.OwnHost,
		Publish:  func(s *director.Snapshot) { w.dir.Publish(w.now, s) },
		Director: w.dir, Sync: syncTransport{w},
	})
	w.files = &shell.Memory{Device: w.device, Devices: w.devices}
	w.shell = shell.New(w.files, w.programs())
	w.reroute()
	return w
}

// reroute gives the director the host's network as it is now.
func (w *world) reroute() {
	up := w.net
	up.Routes = slices.DeleteFunc(slices.Clone(up.Routes), func(r route.Route) bool {
		return r.Kind == route.Unicast && !w.net.Interfaces[r.Port].Up
	})
	w.routes = route.New(up)
	w.ctl.SetRoutes(w.routes)
}

// maxRounds bounds how often there may be still more to do at one moment.
const maxRounds = 10_000

// settle lets everything due until t happen, and makes it t.
func (w *world) settle(t clock.Instant) {
	for rounds := 0; ; {
		w.out.Reset()
		next := w.worker.Tick(w.now, &w.out).Min(w.ctl.Tick(w.now)).Min(w.ctl.SyncTick(w.now)).Min(w.lapse())
		w.collect()
		if w.now < t {
			w.now = max(next, w.now+1).Min(t)
			continue
		}
		if rounds++; next > w.now || rounds > maxRounds {
			return
		}
	}
}

// tolerated is how much longer than its link's MTU a frame may be to get in.
const tolerated = wire.EthernetLen + 4

// inject gives the director a frame and collects what it emits. A frame that is
// too long for the link is lost on it.
func (w *world) inject(l *wireEnd, data []byte) {
	if len(data) > w.net.Interfaces[l.port].MTU+tolerated {
		return
	}
	f := wire.NewFrame(wire.MaxFrame)
	f.SetBytes(data)
	f.Port = l.port
	w.injected = f
	w.out.Reset()
	w.worker.Handle(w.now, []*link.Frame{f}, &w.out)
	w.overhear(f)
	w.collect()
	w.injected = nil
}

// collect records what the director sent; what it declined is the host's.
func (w *world) collect() {
	sent, declined := slices.Clone(w.out.Tx), append(slices.Clone(w.out.Host), w.out.Pass...)
	for _, f := range sent {
		w.record(f, f != w.injected)
	}
	for _, f := range declined {
		if w.taken(f) {
			w.keep(f)
		} else {
			w.hostStack(f)
		}
	}
}

// record takes a frame that leaves by a link; made says that it is not the one
// that came in.
func (w *world) record(f *link.Frame, made bool) {
	if f.Port >= 0 && f.Port < len(links) {
		w.emitted = append(w.emitted, Emission{Link: links[f.Port].name, Data: append([]byte(nil), f.Bytes()...), made: made})
	}
}

// take returns what was emitted since the last time, link by link: recordings
// do not tell which of two links was first.
func (w *world) take() []Emission {
	got := w.emitted
	w.emitted = nil
	return byLink(got)
}
