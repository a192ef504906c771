package node

import (
	"errors"
	"math/rand/v2"
	"net/netip"

	"usvs/clock"
	"usvs/control"
	"usvs/health"
	"usvs/keepalived"
	"usvs/vrrp"
)

// Config is what a Node is made from. All of it is required but for Hostname.
type Config struct {
	// Keepalived is the configuration to run by. It must not change any more, but
	// for its VirtualServers, which nobody but New and Reload looks at.
	Keepalived *keepalived.Config
	Control    *control.Control
	World      World
	// Rand spreads the first run of checks.
	Rand *rand.Rand
	// Hostname stands for a router_id that is not set.
	Hostname string
}

// Node is an LVS node that runs by a keepalived.conf.
type Node struct {
	ctl      *control.Control
	world    World
	hostname string

	plan    *plan
	router  *vrrp.Router
	monitor *health.Monitor

	old *plan // the one before, during Reload

	placed  map[placing]placed
	routes  map[string]heldRoute
	carried map[netip.Addr]int // interfaces that have an address, for ha_suspend
	ifaces  map[string]vrrp.Interface
	table   table
	running bool
	now     clock.Instant // of the call
}

// New returns a Node that has not been started. The error says what of the
// configuration cannot be done.
func New(cfg Config) (*Node, error) {
	p, err := newPlan(cfg.Keepalived, cfg.Hostname, nil)
	if err != nil {
		return nil, err
	}
	n := &Node{
		ctl: cfg.Control, world: cfg.World, hostname: cfg.Hostname, plan: p,
		placed:  map[placing]placed{},
		routes:  map[string]heldRoute{},
		carried: map[netip.Addr]int{}, ifaces: map[string]vrrp.Interface{},
	}
	n.router = vrrp.New(&p.vrrp, (*routerEffects)(n))
	n.monitor = health.New(&p.health, (*monitorEffects)(n), cfg.Rand)
	return n, nil
}

// Start brings the node up: first the virtual services with their servers, then
// the instances. What is known of interfaces and files is told before.
func (n *Node) Start(now clock.Instant) {
	n.now = now
	n.running = true
	n.configure()
	n.addStatic(nil)
	n.ctl.SetManaged(n.plan.managed)
	n.ctl.Together(func() {
		n.prepareTable()
		n.monitor.Start(now)
	})
	n.router.Start(now)
	n.startSync()
}

// Stop takes the node down: instances leave first, so that another director
// takes over, then services and servers go.
func (n *Node) Stop(now clock.Instant) {
	n.now = now
	if !n.running {
		return
	}
	n.running = false
	n.world.Log(vrrp.Info, "Stopping")
	n.router.Stop(now)
	n.stopSync()
	n.ctl.Together(func() {
		n.monitor.Stop(now)
		n.leaveTable()
	})
	n.removeStatic(nil)
	n.ctl.SetManaged(nil)
}

// Reload makes cfg the configuration. What is in both keeps its connections, its
// state and the results of its checks. A configuration that cannot be done is
// refused as a whole.
func (n *Node) Reload(now clock.Instant, cfg *keepalived.Config) error {
	n.now = now
	if !n.running {
		return errors.New("the node does not run")
	}
	p, err := newPlan(cfg, n.hostname, n.plan)
	if err != nil {
		return err
	}
	if err := n.plan.replaceable(p); err != nil {
		return err
	}
	n.removeStatic(p)
	n.old, n.plan = n.plan, p
	defer func() { n.old = nil }()
	n.configure()
	n.addStatic(n.old)
	n.ctl.SetManaged(union(n.old.managed, p.managed))
	n.ctl.Together(func() {
		n.adjustTable()
		n.monitor.Reload(now, &p.health)
	})
	n.router.Reload(now, &p.vrrp)
	n.ctl.SetManaged(p.managed)
	n.restartSync(n.old)
	return nil
}

// configure tells the World of the plan.
func (n *Node) configure() {
	n.world.Configure(&n.plan.setup)
	for _, w := range n.plan.warnings {
		n.world.Log(vrrp.Warning, w)
	}
}

// Tick does what is due and returns when it wants to be called again.
func (n *Node) Tick(now clock.Instant) clock.Instant {
	n.now = now
	if !n.running {
		return clock.Never
	}
	next := n.router.Tick(now)
	n.ctl.Together(func() { next = next.Min(n.monitor.Tick(now)) })
	return next
}

// HandleVRRP takes in a packet that came by one of the Setup's sockets. It is not
// kept.
func (n *Node) HandleVRRP(now clock.Instant, p vrrp.Packet) {
	n.now = now
	if n.running {
		n.router.Handle(now, p)
	}
}

// SetInterface tells what has become of an interface. An interface that nobody
// has told of is down.
func (n *Node) SetInterface(now clock.Instant, i vrrp.Interface) {
	n.now = now
	old := n.ifaces[i.Name]
	n.ifaces[i.Name] = i
	n.router.SetInterface(now, i)
	if i.Up && !old.Up && n.running {
		n.restoreRoutes(i.Name)
	}
	for _, p := range i.Addrs {
		n.carry(p.Addr(), 1)
	}
	n.uncarry(old)
}

// uncarry tells of the addresses that an interface had.
func (n *Node) uncarry(i vrrp.Interface) {
	for _, p := range i.Addrs {
		n.carry(p.Addr(), -1)
	}
}

// RemoveInterface tells that an interface is gone.
func (n *Node) RemoveInterface(now clock.Instant, name string) {
	n.now = now
	old := n.ifaces[name]
	delete(n.ifaces, name)
	n.router.RemoveInterface(now, name)
	n.uncarry(old)
}

// carry tells the Monitor, for ha_suspend, of an address that is here once more
// or less: on an interface, or with a virtual MAC.
func (n *Node) carry(a netip.Addr, more int) {
	was := n.carried[a]
	n.carried[a] += more
	switch is := was + more; {
	case is == 0:
		delete(n.carried, a)
		n.monitor.SetAddress(n.now, a, false)
	case was == 0:
		n.monitor.SetAddress(n.now, a, true)
	}
}

// AddressLost tells that somebody else took an address off an interface that
// World.AddAddress had put there.
func (n *Node) AddressLost(now clock.Instant, iface string, addr netip.Addr) {
	n.now = now
	if n.running {
		n.router.AddressLost(now, iface, addr)
	}
}

// SetProcess tells how many of a tracked process run.
func (n *Node) SetProcess(now clock.Instant, name string, count int) {
	n.now = now
	n.router.SetProcess(now, name, count)
}

// SetFile tells the number in a tracked file.
func (n *Node) SetFile(now clock.Instant, name string, value int) {
	n.now = now
	n.router.SetFile(now, name, value)
}

// ScriptDone tells how a run of a track script ended.
func (n *Node) ScriptDone(now clock.Instant, name string, res vrrp.ScriptResult) {
	n.now = now
	if n.running {
		n.router.SetScript(now, name, res)
	}
}

// ProbeDone tells what came of an attempt.
func (n *Node) ProbeDone(now clock.Instant, id health.CheckID, res health.Result) {
	n.now = now
	if n.running {
		n.ctl.Together(func() { n.monitor.Result(now, id, res) })
	}
}
