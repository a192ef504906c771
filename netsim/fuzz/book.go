package fuzz

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/ipvs"
	"usvs/netsim/fuzz/machine"
	"usvs/sched/model"
)

// book is the second connection table: what package model and this file's rules
// say there must be, entry by entry, kept up frame by frame from the packets
// alone. The director's table is compared with it and never copied into it,
// except for the names (Refs) of entries that were foreseen.
type book struct {
	entries []*record
	byRef   map[conntrack.Ref]*record
	servers map[*ipvs.RealServer]*model.Server
	near    map[*ipvs.RealServer]bool // a connection ended within the timers' grain
}

// record is a connection or template as it must be.
type record struct {
	ref     conntrack.Ref // zero until the table shows the entry
	proto   ipvs.Protocol
	client  netip.AddrPort
	virtual netip.AddrPort
	real    netip.AddrPort
	method  ipvs.ForwardMethod
	server  *ipvs.RealServer
	control *record // the template

	template bool
	invalid  bool // a template that is not to be found any more
	state    machine.Conn
	timeout  time.Duration
	expires  clock.Instant
	packets  uint32
	doubtful bool // a template of which only the timers know whether it stays
}

// gone reports whether the entry's server was deleted.
func (r *record) gone() bool { return r.server != nil && !r.server.Available() }

// later is how much longer an entry stays whose time is over while it controls
// others, and its timeout from then on (ipvs.md 2.4).
const later = time.Minute

func (b *book) init() {
	b.byRef, b.servers = map[conntrack.Ref]*record{}, map[*ipvs.RealServer]*model.Server{}
	b.near = map[*ipvs.RealServer]bool{}
}

func (b *book) add(r *record) { b.entries = append(b.entries, r) }

func (b *book) remove(r *record) {
	b.forget(r)
	b.uncount(r)
}

// forget takes an entry out that its server still counts.
func (b *book) forget(r *record) {
	b.entries = slices.DeleteFunc(b.entries, func(o *record) bool { return o == r })
	delete(b.byRef, r.ref)
}

// uncount gives back what an entry counted on.
func (b *book) uncount(r *record) {
	if !r.template && r.server != nil {
		b.servers[r.server].Close(!r.state.Inactive)
	}
}

// expire takes out what has reached its end. Where two ends are so near that
// the timers' grain decides, it asks what the table made of it.
func (b *book) expire(now clock.Instant, listed func(conntrack.Ref) *conntrack.Conn) {
	for _, r := range b.entries {
		for r.template && r.expires <= now && b.postpones(r, listed(r.ref)) {
			r.expires, r.timeout = r.expires.Add(later), later
		}
	}
	b.entries = slices.DeleteFunc(b.entries, func(r *record) bool {
		if r.expires <= now {
			delete(b.byRef, r.ref)
			b.uncount(r)
			b.near[r.server] = b.near[r.server] || now.Sub(r.expires) < grain
		}
		return r.expires <= now
	})
}

// grain is more than it takes until a timer that is over is seen to.
const grain = 20 * time.Millisecond

// postpones reports whether a template whose time is over controls connections
// then, and so stays. Where their ends are near, that is what the table shows
// until its timers have come to it, and then it may be gone all the same.
func (b *book) postpones(r *record, c *conntrack.Conn) bool {
	near := false
	for _, o := range b.entries {
		if o.control != r {
			continue
		}
		switch d := o.expires.Sub(r.expires); {
		case d > grain:
			r.doubtful = false
			return true
		case d > -grain:
			near = true
		}
	}
	r.doubtful = near
	return near && c != nil && c.Expires > r.expires
}

// agrees compares a server's counts with what they must be. Whether a threshold
// was passed depends on what came first, and a timer may see to an end a little
// after a packet has opened something new.
func (b *book) agrees(rs *ipvs.RealServer) string {
	s := b.servers[rs]
	if b.near[rs] {
		s.Overload = rs.Overloaded()
	}
	text := s.Differs(rs)
	if text == "" {
		delete(b.near, rs)
	}
	return text
}

// inbound is the connection of a client's packets.
func (b *book) inbound(proto uint8, client, virtual netip.AddrPort) *record {
	for _, r := range b.entries {
		if !r.template && uint8(r.proto) == proto && r.client == client && r.virtual == virtual {
			return r
		}
	}
	return nil
}

// outbound are the connections that a server's packets may belong to: with NAT,
// one port of a server may serve a client for several services.
func (b *book) outbound(proto uint8, server, client netip.AddrPort) (list []*record) {
	for _, r := range b.entries {
		end := r.virtual
		if r.method == ipvs.Masquerade {
			end = r.real
		}
		if !r.template && uint8(r.proto) == proto && r.client == client && end == server {
			list = append(list, r)
		}
	}
	return list
}

// remembered is the template with a key.
func (b *book) remembered(proto ipvs.Protocol, client netip.Addr, virtual netip.AddrPort) *record {
	for _, r := range b.entries {
		if r.template && !r.invalid && r.proto == proto && r.client.Addr() == client && r.virtual == virtual {
			return r
		}
	}
	return nil
}

// machine is the one that a protocol's connections follow.
func machineOf(proto ipvs.Protocol, secure bool) *machine.Machine {
	switch {
	case proto == ipvs.TCP && secure:
		return machine.SecureTCP
	case proto == ipvs.TCP:
		return machine.TCP
	case proto == ipvs.SCTP:
		return machine.SCTP
	}
	return nil
}

// stateName is the state as the listing shows it.
func (r *record) stateName() string {
	switch {
	case r.template, r.proto == ipvs.TCP, r.proto == ipvs.SCTP:
		return r.state.State
	}
	return "UDP"
}

// differs says in which way a table's entry is not what it must be, "" if in none.
func (r *record) differs(c *conntrack.Conn) (rule, text string) {
	flag := func(f conntrack.Flags) bool { return c.Flags&f != 0 }
	switch {
	case c.StateName() != r.stateName():
		return "state", fmt.Sprintf("its state is %s, not %s", c.StateName(), r.stateName())
	case !r.template && flag(conntrack.FlagInactive) != r.state.Inactive:
		return "state", fmt.Sprintf("in %s it is counted as inactive: %v", c.StateName(), flag(conntrack.FlagInactive))
	case !r.template && flag(conntrack.FlagNoOutput) != r.state.Silent:
		return "state", fmt.Sprintf("in %s its NOOUTPUT is %v", c.StateName(), flag(conntrack.FlagNoOutput))
	case c.Timeout != r.timeout:
		return "timeout", fmt.Sprintf("in %s its timeout is %v, not %v", c.StateName(), c.Timeout, r.timeout)
	case c.Expires != r.expires:
		return "timeout", fmt.Sprintf("in %s it ends %v too late", c.StateName(), c.Expires.Sub(r.expires))
	case !r.template && c.InPackets != r.packets:
		return "table", fmt.Sprintf("it counts %d packets, not %d", c.InPackets, r.packets)
	}
	return "", ""
}
