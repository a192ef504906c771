package main

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"usvs/api"
	"usvs/arp"
	"usvs/clock"
	"usvs/conntrack"
	"usvs/conntrack/keeper"
	"usvs/control"
	"usvs/director"
	"usvs/explain"
	"usvs/forward"
	"usvs/host"
	"usvs/ipvs"
	"usvs/ipvsadm/resolve"
	"usvs/keepalived"
	"usvs/link"
	"usvs/link/afpacket"
	"usvs/link/afxdp"
	"usvs/link/pcap"
	"usvs/link/steer"
	"usvs/link/tun"
	"usvs/localstack"
	"usvs/node/machine"
	"usvs/wire"
)

// node is a running director with everything around it.
type node struct {
	log   *slog.Logger
	clock clock.System
	own   control.Own
	dir   *director.Director
	ctl   *control.Control

	names     []string        // of the interfaces, in port order
	devices   [][]link.Device // by port: those that share an interface's frames
	wrappers  [][]wrapper     // by port: those of them that take super-frames within tunnels
	workers   workers
	receivers []*receiver       // of the interfaces that threads of the kernel's receive for
	steering  *steer.Steering   // nil: there is one worker, or the kernel does not permit it
	groups    []*afpacket.Group // the interfaces that workers share by it
	staffing  staffing
	pumps     []*link.Pump
	pumpNames []string
	capture   *pcap.File
	takers    []*afxdp.Device    // those of devices that have an XDP program
	taken     *director.Snapshot // what they know
	hide      *host.Suppressor
	handoff   *host.Handoff
	watcher   *host.Watcher
	sync      *host.SyncSockets
	hidden    *director.Hidden // as last applied
	ports     []string         // likewise
	joined    map[wire.MAC]int // multicast groups, on every Ethernet device, and how many addresses want them
	lastHide  error
	profiles  net.Listener       // nil: nobody may ask
	machine   *machine.Machine   // nil: there is no keepalived.conf
	conf      *keepalived.Config // what it runs by
	reload    func() error
	flushLog  func()
}

func openNode(f runFlags, own control.Own, vips []netip.Addr, ftpPorts []uint16, log *slog.Logger) (n *node, err error) {
	n = &node{log: log, clock: clock.NewSystem(), own: own, workers: f.plan, profiles: f.profiles, joined: map[wire.MAC]int{}}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if err := n.openDevices(f); err != nil {
		return n, err
	}
	if n.hide, err = host.NewSuppressor(); err != nil {
		log.Warn("the host's own stack may answer or forward virtual services' packets a second time", "err", err)
	}
	if n.handoff, err = host.OpenHandoff(); err != nil {
		log.Warn("packets for the host itself that share an address with a virtual service are lost", "err", err)
	}
	n.openSync()
	n.build(f, own, vips, ftpPorts)
	n.watcher, err = host.NewWatcher(n.names, n.ctl.SetHost)
	return n, err
}

// openDevices opens every interface; its index is its port.
func (n *node) openDevices(f runFlags) error {
	n.openSteering(len(f.interfaces) > 0 && f.method != ioXDP)
	for _, name := range f.interfaces {
		queues, err := n.openInterface(name, f.method)
		if err != nil {
			return err
		}
		n.names, n.devices = append(n.names, name), append(n.devices, queues)
		n.wrappers = append(n.wrappers, wrappersOf(queues))
		if err := n.openReceiver(name, f.receiving); err != nil {
			return err
		}
	}
	if f.tun != "" {
		if err := n.openTUN(f); err != nil {
			return err
		}
	}
	if f.pcap == "" {
		return nil
	}
	var err error
	if n.capture, err = pcap.Create(f.pcap); err != nil {
		return err
	}
	n.capture.Ended = func(err error) {
		n.log.Error("nothing more is recorded; frames go on", "pcap", f.pcap, "err", err)
	}
	for i, queues := range n.devices {
		n.devices[i] = n.capture.TapAll(queues...)
	}
	return nil
}

func (n *node) openTUN(f runFlags) error {
	opts, err := tunOptions(f)
	if err != nil {
		return err
	}
	queues, err := tun.OpenQueues(f.tun, n.workers.always(), n.steering, opts)
	if err != nil {
		return err
	}
	n.names, n.devices = append(n.names, queues[0].Name()), append(n.devices, asDevices(queues))
	if err := host.AcceptFromTUN(queues[0]); err != nil {
		n.log.Warn("the host may refuse packets that usvs sends by its TUN device", "err", err)
	}
	return nil
}

func asDevices[D link.Device](list []D) []link.Device {
	devices := make([]link.Device, len(list))
	for i, d := range list {
		devices[i] = d
	}
	return devices
}

func tunOptions(f runFlags) (tun.Options, error) {
	addrs, err := parsePrefixes("--tun-addr", f.tunAddrs)
	if err != nil {
		return tun.Options{}, err
	}
	routes, err := parsePrefixes("--tun-route", f.tunRoutes)
	return tun.Options{Addresses: addrs, Routes: routes}, err
}

// build makes the pure parts and joins them.
func (n *node) build(f runFlags, own control.Own, vips []netip.Addr, ftpPorts []uint16) {
	servers := new(ipvs.Registry)
	table := conntrack.New(conntrack.Config{Seed: seed(), MaxEntries: f.maxConns, Servers: servers, FTPPorts: ftpPorts})
	keeper.Prepare(table)
	n.dir = director.New(director.Config{
		Table:     table,
		ARP:       arp.Config{Seed: seed()},
		Fragments: forward.NewReassembler(forward.Limits{}, seed()),
		Answers:   localstack.New(localstack.Options{Seed: seed(), Limiter: localstack.NewLimiter(localstack.Limits{Seed: seed()})}),
		Seed:      seed(),
		Wraps:     n.wraps,
		Conflict: func(c arp.Conflict) {
			n.log.Warn("another host answers for VIP", "vip", c.Addr, "mac", c.MAC, "interface", n.names[c.Port])
		},
	})
	n.ctl = control.New(control.Config{
		Clock: n.clock, Rand: rand.New(rand.NewPCG(seed(), seed())), Servers: servers, Conns: table,
		Totals: &n.dir.Totals, Sysctls: f.settings, FreePages: freePages, Own: own, VIPs: vips,
		Resolver: resolve.SystemResolver(), Log: n.log, Publish: n.publish,
		Director: n.dir, Sync: n.sync,
	})
}

func seed() uint64 {
	var b [8]byte
	_, _ = crand.Read(b[:]) // never fails (crypto/rand)
	return binary.NativeEndian.Uint64(b[:])
}

// publish makes a snapshot effective. The host's stack is kept away first, so
// that it cannot answer for a service that is just being added.
func (n *node) publish(s *director.Snapshot) {
	n.applyHidden(s)
	n.joinGroups(s)
	n.joinStations(s)
	old := n.dir.Snapshot()
	n.dir.Publish(n.clock.Now(), s)
	n.applyTaken(s)
	n.applySteering(old, s)
	for _, queues := range n.devices {
		queues[0].Wake() // announcements are due
	}
}

// applyHidden tells the kernel what to hide, if that or the interfaces changed.
func (n *node) applyHidden(s *director.Snapshot) {
	if n.hide == nil {
		return
	}
	up := []string{}
	for _, ifc := range s.Routes.Interfaces {
		up = append(up, fmt.Sprint(ifc.Name, ifc.MAC, ifc.Up))
	}
	settled := n.lastHide == nil && n.hidden != nil && slices.Equal(n.ports, up)
	if settled && n.hidden.Same(s.Hidden) {
		return
	}
	n.hidden, n.ports = s.Hidden, up
	if settled {
		n.lastHide = n.hide.Update(s.Hidden)
	} else {
		n.lastHide = n.hide.Apply(s.Hidden, n.names)
	}
	if n.lastHide != nil {
		n.log.Error("cannot keep the host's own stack away", "err", n.lastHide)
	}
}

// joinGroups makes the interfaces receive, and a snooping switch deliver, the
// solicitations for owned IPv6 addresses. It is called before s is published.
func (n *node) joinGroups(s *director.Snapshot) {
	gained, lost := s.AnsweredSince(n.dir.Snapshot())
	for _, a := range gained {
		for _, m := range arp.JoinMACs([]netip.Addr{a}) {
			if n.joined[m]++; n.joined[m] == 1 {
				n.eachMember(func(d member) error { return d.AddMembership(m) })
			}
		}
	}
	for _, a := range lost {
		for _, m := range arp.JoinMACs([]netip.Addr{a}) {
			if n.joined[m]--; n.joined[m] == 0 {
				delete(n.joined, m)
				n.eachMember(func(d member) error { return d.DropMembership(m) })
			}
		}
	}
}

// joinStations makes the interfaces receive frames to the virtual MACs that
// VRRP holds. Each of an interface's devices has to know them.
func (n *node) joinStations(s *director.Snapshot) {
	var old []director.Station
	if before := n.dir.Snapshot(); before != nil {
		old = before.Stations.Virtual()
	}
	is := s.Stations.Virtual()
	n.eachStation(is, old, member.AddMembership)
	n.eachStation(old, is, member.DropMembership)
}

// eachStation does something for every virtual MAC of some that is not among
// others.
func (n *node) eachStation(some, others []director.Station, do func(member, wire.MAC) error) {
	for _, st := range some {
		port := slices.Index(n.names, st.Interface)
		if port < 0 || slices.Contains(others, st) {
			continue
		}
		for _, d := range n.devices[port] {
			m, ok := d.(member)
			if !ok {
				continue
			}
			if err := do(m, st.MAC); err != nil {
				n.log.Warn("virtual MAC", "interface", st.Interface, "mac", st.MAC, "err", err)
			}
		}
	}
}

// member is a device that can join multicast groups, and be further stations.
type member interface {
	AddMembership(wire.MAC) error
	DropMembership(wire.MAC) error
}

// eachMember does something for every interface that has groups; one of its
// devices does for all.
func (n *node) eachMember(do func(member) error) {
	for i, queues := range n.devices {
		if m, ok := queues[0].(member); ok {
			if err := do(m); err != nil {
				n.log.Warn("multicast membership", "interface", n.names[i], "err", err)
			}
		}
	}
}

// run works until outer is done. ready is called when frames flow and the
// control socket answers.
func (n *node) run(outer context.Context, ln net.Listener, signals <-chan os.Signal, ready func()) error {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(outer))
	defer cancel(nil)
	var wg sync.WaitGroup
	start := func(what string, f func() error) {
		wg.Go(func() {
			defer n.flushLog() // before what a panic says
			if err := f(); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	for _, p := range n.newPumps() {
		start("pump", func() error { return p.Run(ctx) })
	}
	if n.profiles != nil {
		start("profiles", func() error { return serveProfiles(ctx, n.profiles, n.log) })
	}
	start("control socket", func() error { return api.Serve(ctx, ln, n.ctl, n.handlers()) })
	start("timer", func() error { n.tick(ctx); return nil })
	if len(n.receivers) > 0 {
		start("receivers", func() error { n.followReceivers(ctx); return nil })
	}
	start("memory", func() error { keeper.Trim(ctx, n.dir.Table); return nil })
	start("synchronisation", func() error { n.synchronise(ctx); return nil })
	if n.staffed() {
		start("workers", func() error { n.staff(ctx); return nil })
	}
	stopMachine := n.startMachine()
	ready()
	n.serveSignals(signals, outer, ctx)
	n.log.Info("stopping")
	stopMachine() // while frames still flow
	cancel(nil)
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(stopGrace):
	}
	if outer.Err() != nil {
		return nil // asked to stop
	}
	return context.Cause(ctx)
}

// catchSignals is called early: a director that is still starting must not die
// of a reload.
func catchSignals() chan os.Signal {
	signals := make(chan os.Signal, 1)
	// A log whose reader has gone is not the end.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, signalJSON)
	return signals
}

// serveSignals does what signals ask for until the director is to stop, or
// cannot go on.
func (n *node) serveSignals(signals <-chan os.Signal, stop, broken context.Context) {
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				n.log.Info("state is not written to files: see usvs vrrp, usvs health and usvs status, with --json as JSON", "signal", s)
				continue
			}
			_, _ = daemon.SdNotify(false, daemon.SdNotifyReloading)
			if err := n.reload(); err != nil {
				n.log.Error("not reloaded; everything stays as it was", "err", err)
			}
			_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
		case <-stop.Done():
			return
		case <-broken.Done():
			return
		}
	}
}

// signalJSON is what has keepalived write its state as JSON: SIGRTMIN+2.
const signalJSON = syscall.Signal(36)

// tick does control's timed work.
func (n *node) tick(ctx context.Context) {
	for {
		now := n.clock.Now()
		wait := n.ctl.Tick(now).Sub(now)
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(min(wait, time.Minute), time.Millisecond)):
		}
	}
}

func (n *node) handlers() api.Handlers {
	return api.Handlers{
		Iptables: n.ctl.Iptables, Status: func() any { return n.status() },
		Reload: n.reload, Node: n.nodeStatus, Settings: n.ctl, Proc: n.ctl.WriteProc, Trace: n.trace, Explain: n.explain, Log: n.log,
	}
}

// explain answers what would happen to packets, on a private copy.
func (n *node) explain(question json.RawMessage) (any, error) {
	var q explain.Request
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("explain: %v: %w", err, ipvs.ErrInvalid)
	}
	return explain.Of(n.dir, n.clock.Now()).Answer(&q)
}

// status is every counter by group and name.
func (n *node) status() map[string]map[string]uint64 {
	t := n.dir.Table
	groups := map[string]map[string]uint64{
		"frames":      n.dir.Counters(),
		"neighbours":  {},
		"ownership":   {ownership[n.own]: 1},
		"connections": {"entries": uint64(t.Len()), "buckets": uint64(t.Buckets())},
	}
	for _, k := range arp.Counters() {
		if v := n.dir.Neighbours.Count(k); v > 0 {
			groups["neighbours"][k.String()] = v
		}
	}
	for i, queues := range n.devices {
		groups["interface "+n.names[i]] = statNames(interfaceStats(queues))
	}
	for i, p := range n.pumps {
		groups[n.pumpNames[i]] = statNames(p.Stats())
	}
	if n.staffed() {
		groups["workers"] = map[string]uint64{"open": uint64(n.workers.count), "active": uint64(n.staffing.active.Load())}
	}
	n.syncStatus(groups)
	n.machineStatus(groups)
	return groups
}

// ownership are the words of --own.
var ownership = map[control.Own]string{control.OwnServices: "services", control.OwnHost: "host"}

func statNames(s link.Stats) map[string]uint64 {
	m := map[string]uint64{"rx frames": s.RxFrames, "rx bytes": s.RxBytes, "tx frames": s.TxFrames, "tx bytes": s.TxBytes}
	for d, v := range s.Drops {
		m["drop "+link.Drop(d).String()] = v
	}
	maps.DeleteFunc(m, func(_ string, v uint64) bool { return v == 0 })
	return m
}

// traceBacklog is how many events wait for a slow reader before new ones are
// left out.
const traceBacklog = 1024

// trace emits what becomes of the next frames.
func (n *node) trace(ctx context.Context, most int, emit func(any) error) error {
	events := make(chan *director.Event, traceBacklog)
	stop := n.dir.Observe(func(ev *director.Event) {
		select {
		case events <- ev:
		default:
		}
	})
	defer stop()
	for i := 0; most == 0 || i < most; i++ {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-events:
			if err := emit(newTraceEvent(ev, n.whereabouts)); err != nil {
				return err
			}
		}
	}
	return nil
}

// whereabouts says which interface a port is, and what its frames begin with.
func (n *node) whereabouts(port int) (string, wire.Medium) {
	return n.names[port], n.devices[port][0].Medium()
}

func (n *node) close() {
	if n.sync != nil {
		n.sync.Shutdown()
	}
	if n.watcher != nil {
		n.watcher.Close()
	}
	n.closeReceivers()
	for _, queues := range n.devices {
		for _, d := range queues {
			d.Close()
		}
	}
	if n.steering != nil {
		n.steering.Close()
	}
	if n.capture != nil {
		n.capture.Close()
	}
	if n.handoff != nil {
		n.handoff.Close()
	}
	if n.hide != nil {
		n.hide.Close()
	}
}
