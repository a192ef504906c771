package oracle

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/control"
	"usvs/director"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/localstack"
	"usvs/route"
	"usvs/wire"
)

// startup is when a trace begins: late enough that nothing is "long ago".
const startup = clock.Instant(1000 * time.Second)

// world is the recorded machine: a director between two links, with a host's
// routes, neighbours and stack around it, in virtual time.
type world struct {
	now     clock.Instant
	net     route.Config
	routes  *route.Table
	worker  *director.Worker
	dir     *director.Director
	ctl     *control.Control
	stack   *localstack.Stack // the host's own
	sysctls ipvs.Sysctls
	out     link.Output
	emitted []Emission

	messages syncStream
}

// Now makes the world its own clock.
func (w *world) Now() clock.Instant { return w.now }

func newWorld() *world {
	w := &world{now: startup, sysctls: ipvs.DefaultSysctls(), stack: localstack.New(localstack.Options{})}
	w.net.Interfaces = []route.Interface{
		{Name: "eth0", MAC: links["c"].mac, MTU: 1500, Up: true},
		{Name: "eth1", MAC: links["s"].mac, MTU: 1500, Up: true},
	}
	servers := new(ipvs.Registry)
	table := conntrack.New(conntrack.Config{Servers: servers, FTPPorts: []uint16{21}})
	w.dir = director.New(director.Config{Table: table, Fragments: forward.NewReassembler(forward.Limits{}, 1), Answers: w.stack})
	w.worker = w.dir.NewWorker()
	w.ctl = control.New(control.Config{
		Clock: w, Rand: rand.New(rand.NewPCG(1, 2)), Servers: servers, Conns: table,
		Totals: &w.dir.Totals, Sysctls: w.sysctls,
		Publish:  func(s *director.Snapshot) { w.dir.Publish(w.now, s) },
		Director: w.dir, Sync: syncTransport{w},
	})
	w.reroute()
	return w
}

// reroute gives the director the host's network as it is now.
func (w *world) reroute() {
	w.routes = route.New(w.net)
	w.ctl.SetRoutes(w.routes)
}

// settle lets everything due until t happen, and makes it t.
func (w *world) settle(t clock.Instant) {
	for {
		w.out.Reset()
		next := w.worker.Tick(w.now, &w.out).Min(w.ctl.Tick(w.now)).Min(w.ctl.SyncTick(w.now))
		w.collect()
		if w.now >= t {
			return
		}
		w.now = max(next, w.now+1).Min(t)
	}
}

// inject gives the director a frame and collects what it emits.
func (w *world) inject(name string, data []byte) {
	f := wire.NewFrame(wire.MaxFrame)
	f.SetBytes(data)
	f.Port = links[name].port
	w.out.Reset()
	w.worker.Handle(w.now, []*link.Frame{f}, &w.out)
	w.collect()
}

// collect records what the director sent; what it declined is the host's.
func (w *world) collect() {
	for _, f := range w.out.Tx {
		w.record(f)
	}
	for _, f := range append(append([]*link.Frame{}, w.out.Host...), w.out.Pass...) {
		w.hostStack(f)
	}
}

func (w *world) record(f *link.Frame) {
	for name, l := range links {
		if l.port == f.Port {
			w.emitted = append(w.emitted, Emission{name, append([]byte(nil), f.Bytes()...)})
		}
	}
}

// port is the number of a device by its name.
func (w *world) port(dev string) (int, error) {
	for i, ifc := range w.net.Interfaces {
		if ifc.Name == dev {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no device %q", dev)
}

// ip carries out an `ip` command of a trace's set-up.
func (w *world) ip(words []string) error {
	if len(words) > 0 && words[0] == "-6" {
		words = words[1:]
	}
	if len(words) < 3 {
		return fmt.Errorf("ip: %q is too short", words)
	}
	args := map[string]string{}
	for i := 3; i+1 < len(words); i += 2 {
		args[words[i]] = words[i+1]
	}
	switch words[0] + " " + words[1] {
	case "addr add":
		return w.addAddr(words[2], args["dev"])
	case "addr del":
		return w.delAddr(words[2], args["dev"])
	case "neigh add":
		return w.addNeighbour(words[2], args["lladdr"], args["dev"])
	case "route add":
		return w.addRoute(words[2:])
	}
	return fmt.Errorf("ip: %q is not understood", words)
}

func (w *world) addAddr(prefix, dev string) error {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		return err
	}
	port, err := w.port(dev)
	if err != nil {
		return err
	}
	ifc := &w.net.Interfaces[port]
	ifc.Addrs = append(ifc.Addrs, p)
	if !p.IsSingleIP() {
		w.net.Routes = append(w.net.Routes, route.Route{Prefix: p.Masked(), Kind: route.Unicast, Port: port, Src: p.Addr()})
	}
	w.reroute()
	return nil
}

func (w *world) delAddr(prefix, dev string) error {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		return err
	}
	port, err := w.port(dev)
	if err != nil {
		return err
	}
	ifc := &w.net.Interfaces[port]
	for i, a := range ifc.Addrs {
		if a == p {
			ifc.Addrs = append(ifc.Addrs[:i:i], ifc.Addrs[i+1:]...)
			w.reroute()
			return nil
		}
	}
	return fmt.Errorf("ip: %s has no address %s", dev, prefix)
}

func (w *world) addNeighbour(addr, lladdr, dev string) error {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return err
	}
	var m wire.MAC
	if _, err := fmt.Sscanf(lladdr, "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]); err != nil {
		return fmt.Errorf("ip neigh: bad lladdr %q", lladdr)
	}
	port, err := w.port(dev)
	if err != nil {
		return err
	}
	w.out.Reset()
	w.dir.Neighbours.SetStatic(w.now, port, a, m, w.worker)
	return nil
}

// addRoute takes "default via A", "PREFIX via A" and "local PREFIX dev lo".
func (w *world) addRoute(words []string) error {
	if words[0] == "local" {
		p, err := netip.ParsePrefix(words[1])
		if err != nil {
			return err
		}
		w.net.Routes = append(w.net.Routes, route.Route{Prefix: p, Kind: route.Local})
		w.reroute()
		return nil
	}
	if len(words) < 3 || words[1] != "via" {
		return fmt.Errorf("ip route: %q is not understood", words)
	}
	via, err := netip.ParseAddr(words[2])
	if err != nil {
		return err
	}
	p := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if via.Is6() {
		p = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	if words[0] != "default" {
		if p, err = netip.ParsePrefix(words[0]); err != nil {
			return err
		}
	}
	hop := w.routes.Lookup(via)
	w.net.Routes = append(w.net.Routes, route.Route{Prefix: p, Kind: route.Unicast, Port: hop.Port, Via: via})
	w.reroute()
	return nil
}
