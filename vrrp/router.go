package vrrp

import (
	"net/netip"

	"usvs/clock"
)

// Router is all instances and sync groups of a node.
type Router struct {
	cfg *Config
	fx  Effects
}

// New returns a Router that has not been started. What it is told about
// interfaces, scripts, processes and files before Start counts from Start on.
func New(cfg *Config, fx Effects) *Router { return &Router{cfg: cfg, fx: fx} }

// Start brings the instances up.
func (r *Router) Start(now clock.Instant) {}

// Handle takes in a packet: VRRP over IPv4 or IPv6, or IPv4 AH with VRRP in it.
// Anything else is ignored. The packet is not kept.
func (r *Router) Handle(now clock.Instant, p Packet) {}

// Tick does what is due and returns when there is more to do.
func (r *Router) Tick(now clock.Instant) clock.Instant { return clock.Never }

// Reload makes cfg the configuration. Instances that are the same router before
// and after keep their state.
func (r *Router) Reload(now clock.Instant, cfg *Config) { r.cfg = cfg }

// Stop has every instance leave: masters say so with priority 0. The Router
// does nothing more afterwards.
func (r *Router) Stop(now clock.Instant) {}

// SetInterface tells what has become of an interface. An interface that nobody
// has told of is down.
func (r *Router) SetInterface(now clock.Instant, i Interface) {}

// SetScript tells how the run of a script ended that RunScript began.
func (r *Router) SetScript(now clock.Instant, name string, res ScriptResult) {}

// SetProcess tells how many of a tracked process run.
func (r *Router) SetProcess(now clock.Instant, name string, count int) {}

// SetFile tells the number in a tracked file.
func (r *Router) SetFile(now clock.Instant, name string, value int) {}

// AddressLost tells that somebody else took addr off an interface. A master it
// belongs to is elected again.
func (r *Router) AddressLost(now clock.Instant, iface string, addr netip.Addr) {}

// Status returns what the Router is doing, in the order of the configuration.
func (r *Router) Status() Status { return Status{} }
