package ipvs

import (
	"sync/atomic"

	"usvs/clock"
)

// VirtualService is the identity of a virtual service: what its connections
// and counters refer to while snapshots come and go.
type VirtualService struct {
	ID       ServiceID
	Counters Counters
}

// Counters count what passes. Bytes are whole IP packets.
type Counters struct {
	Conns, InPkts, OutPkts, InBytes, OutBytes atomic.Uint64
}

// In counts one packet from a client.
func (c *Counters) In(packets, bytes int) {
	c.InPkts.Add(uint64(packets))
	c.InBytes.Add(uint64(bytes))
}

// Out counts one packet to a client.
func (c *Counters) Out(packets, bytes int) {
	c.OutPkts.Add(uint64(packets))
	c.OutBytes.Add(uint64(bytes))
}

// RealServer is the identity of a real server. It outlives snapshots, and its
// deletion for as long as connections refer to it by its Index.
type RealServer struct {
	ID    ServerID
	Index uint32 // in its Registry; never 0

	Counters Counters

	service    atomic.Pointer[VirtualService]
	joined     atomic.Uint64
	method     atomic.Uint32
	weight     atomic.Int32
	lastWeight atomic.Int32
	upper      atomic.Uint32
	lower      atomic.Uint32
	tunnel     atomic.Uint64
	available  atomic.Bool
	overload   atomic.Bool

	active     atomic.Int32
	inactive   atomic.Int32
	persistent atomic.Int32

	note atomic.Pointer[Note] // where its scheduler hears of it; nil: nowhere

	path *path // never nil once the server is in its Registry
}

// path is what is known of the way to an address, by all servers that have it.
type path struct {
	mtu   atomic.Int32 // towards tunnel servers, learned from ICMP; 0: none
	until atomic.Int64

	servers int // how many share it; the Registry's
}

// NewRealServer returns a server that is available and has spec.
func NewRealServer(id ServerID, vs *VirtualService, spec ServerSpec) *RealServer {
	rs := &RealServer{ID: id, path: new(path)}
	rs.service.Store(vs)
	rs.lastWeight.Store(spec.Weight)
	rs.SetSpec(spec)
	rs.available.Store(true)
	return rs
}

// Joined is when it was added to its service, in the order of all additions.
func (rs *RealServer) Joined() uint64 { return rs.joined.Load() }

// Join says when it is added.
func (rs *RealServer) Join(order uint64) { rs.joined.Store(order) }

// Spec reads back what SetSpec stored.
func (rs *RealServer) Spec() ServerSpec {
	t := rs.tunnel.Load()
	return ServerSpec{
		Method:         rs.Method(),
		Weight:         rs.Weight(),
		UpperThreshold: rs.upper.Load(),
		LowerThreshold: rs.lower.Load(),
		Tunnel:         TunnelParams{Type: TunnelType(t >> 32), Port: uint16(t >> 16), Flags: uint16(t)},
	}
}

// SetSpec applies an edit. The overload flag is cleared if the new upper
// threshold is 0 or larger than the old one (ipvs.md 4.5, Linux 6.1).
func (rs *RealServer) SetSpec(s ServerSpec) {
	old := rs.upper.Load()
	rs.method.Store(uint32(s.Method))
	rs.weight.Store(s.Weight)
	if s.Weight != 0 {
		rs.lastWeight.Store(s.Weight)
	}
	rs.upper.Store(s.UpperThreshold)
	rs.lower.Store(s.LowerThreshold)
	rs.tunnel.Store(uint64(s.Tunnel.Type)<<32 | uint64(s.Tunnel.Port)<<16 | uint64(s.Tunnel.Flags))
	if s.UpperThreshold == 0 || s.UpperThreshold > old {
		rs.overload.Store(false)
	}
	rs.eased()
}

// Revive applies spec to a server that was deleted and is added again. Unlike
// an edit, it sets the last weight even to 0.
func (rs *RealServer) Revive(s ServerSpec) {
	rs.lastWeight.Store(s.Weight)
	rs.SetSpec(s)
	rs.available.Store(true)
}

// Tunnel is the server's encapsulation.
func (rs *RealServer) Tunnel() TunnelParams { return rs.Spec().Tunnel }

// Method is the forwarding method new connections get.
func (rs *RealServer) Method() ForwardMethod { return ForwardMethod(rs.method.Load()) }

// Weight is the server's weight, at least 0; 0 means quiesced.
func (rs *RealServer) Weight() int32 { return rs.weight.Load() }

// LastWeight is the most recent weight that was not 0, or the initial one.
func (rs *RealServer) LastWeight() int32 { return rs.lastWeight.Load() }

// Service is the virtual service the server belongs to. A server that comes
// back under a re-created service moves to that one.
func (rs *RealServer) Service() *VirtualService      { return rs.service.Load() }
func (rs *RealServer) SetService(vs *VirtualService) { rs.service.Store(vs) }

// Available is false once the server was deleted from its service.
func (rs *RealServer) Available() bool     { return rs.available.Load() }
func (rs *RealServer) SetAvailable(v bool) { rs.available.Store(v) }

// Overloaded reports whether the connection thresholds hide the server from schedulers.
func (rs *RealServer) Overloaded() bool { return rs.overload.Load() }

// Active, Inactive and Persistent count connections and templates.
func (rs *RealServer) Active() int32     { return rs.active.Load() }
func (rs *RealServer) Inactive() int32   { return rs.inactive.Load() }
func (rs *RealServer) Persistent() int32 { return rs.persistent.Load() }

// References is how many connections and templates name this server.
func (rs *RealServer) References() int32 {
	return rs.active.Load() + rs.inactive.Load() + rs.persistent.Load()
}

// Bind counts a new connection. It starts inactive unless active is set.
func (rs *RealServer) Bind(active bool) {
	if active {
		rs.active.Add(1)
	} else {
		rs.inactive.Add(1)
	}
	if u := rs.upper.Load(); u != 0 && rs.total() >= int64(u) {
		rs.overload.Store(true)
	}
}

// Unbind takes a connection's count back.
func (rs *RealServer) Unbind(active bool) {
	if active {
		rs.active.Add(-1)
	} else {
		rs.inactive.Add(-1)
	}
	if rs.overload.Load() {
		rs.relieve()
	}
	rs.eased()
}

// relieve shows rs to schedulers again if its connections allow that.
func (rs *RealServer) relieve() {
	u, l, total := int64(rs.upper.Load()), int64(rs.lower.Load()), rs.total()
	switch {
	case l != 0 && total < l, l == 0 && u != 0 && total*4 < u*3, u == 0:
		rs.overload.Store(false)
	}
}

// Keep counts a connection that is gone, until Unbind. The thresholds do not
// take it for a new one.
func (rs *RealServer) Keep(active bool) {
	if active {
		rs.active.Add(1)
	} else {
		rs.inactive.Add(1)
	}
}

// Promote moves a connection from inactive to active, Demote back.
func (rs *RealServer) Promote() { rs.active.Add(1); rs.inactive.Add(-1) }
func (rs *RealServer) Demote()  { rs.inactive.Add(1); rs.active.Add(-1); rs.eased() }

// BindTemplate and UnbindTemplate count persistence templates.
func (rs *RealServer) BindTemplate()   { rs.persistent.Add(1) }
func (rs *RealServer) UnbindTemplate() { rs.persistent.Add(-1) }

// LearnPathMTU remembers the path MTU a router announced towards the server, for
// all servers with its address, as the kernel's routes do.
func (rs *RealServer) LearnPathMTU(mtu int, until clock.Instant) {
	rs.path.mtu.Store(int32(mtu))
	rs.path.until.Store(int64(until))
}

// PathMTU is what LearnPathMTU remembered, or 0.
func (rs *RealServer) PathMTU(now clock.Instant) int {
	mtu := rs.path.mtu.Load()
	if mtu == 0 || int64(now) >= rs.path.until.Load() {
		return 0
	}
	return int(mtu)
}

func (rs *RealServer) total() int64 { return int64(rs.active.Load()) + int64(rs.inactive.Load()) }
