package fuzz

import (
	"net/netip"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/director"
	"usvs/ipvs"
)

// shadow is the slow model of the connection table: a list of what was there
// after the last frame, searched from end to end.
type shadow struct {
	conns []conntrack.Conn
	old   map[conntrack.Ref]conntrack.Conn // before the frame at hand
	now   map[conntrack.Ref]int            // index into conns
}

func (s *shadow) init() {
	s.old, s.now = map[conntrack.Ref]conntrack.Conn{}, map[conntrack.Ref]int{}
}

// read makes the model what the table lists.
func (s *shadow) read(t *conntrack.Table, now clock.Instant) {
	clear(s.old)
	for _, c := range s.conns {
		s.old[c.Ref] = c
	}
	s.conns = s.conns[:0]
	clear(s.now)
	t.Walk(now, func(c *conntrack.Conn) bool {
		s.now[c.Ref] = len(s.conns)
		s.conns = append(s.conns, *c)
		return true
	})
}

// inbound is the connection of a packet from a client; nil if there is none.
func (s *shadow) inbound(p *packet) *conntrack.Conn {
	if p == nil || !p.ports {
		return nil
	}
	for i := range s.conns {
		c := &s.conns[i]
		if uint8(c.Protocol) == p.proto && c.Client == p.src && c.Virtual == p.dst && !c.Template() {
			return c
		}
	}
	return nil
}

// outbound is the connection of a packet from a server. There may be several:
// NAT makes one address and port of two services on one server. Then it is the
// one to a virtual service, if that is among them.
func (s *shadow) outbound(p *packet, virtual netip.AddrPort) (found *conntrack.Conn) {
	if p == nil || !p.ports {
		return nil
	}
	for i := range s.conns {
		c := &s.conns[i]
		end := c.Virtual
		if c.Method == ipvs.Masquerade {
			end = c.Real
		}
		if uint8(c.Protocol) == p.proto && c.Client == p.dst && end == p.src && !c.Template() {
			if found = c; c.Virtual == virtual {
				break
			}
		}
	}
	return found
}

// account brings the model up to date and judges the difference.
func (j *Judge) account() {
	t := j.dir.Core().Table
	j.table.read(t, j.ev.Now)
	j.foresee()
	j.compare()
	for i := range j.table.conns {
		c := &j.table.conns[i]
		if old, known := j.table.old[c.Ref]; known {
			j.changed(&old, c)
		} else {
			j.appearance(c)
		}
		if c.Expires > j.ev.Now.Add(longest) {
			j.broken("expiry", "%v > %v lives until %v", c.Client, c.Virtual, c.Expires.Sub(j.ev.Now))
		}
	}
	if t.Len() == len(j.table.conns) {
		j.counts()
	}
}

// concerns reports whether the frame at hand may change a connection: it is one
// of its packets, a fragment or an ICMP error (which the Judge does not take
// apart), or one of a connection that it controls.
func (j *Judge) concerns(c *conntrack.Conn) bool {
	p := j.in
	if p == nil {
		return false
	}
	if !p.ports || p.frag || p.icmpError() {
		return true
	}
	if c.Template() {
		return true
	}
	return uint8(c.Protocol) == p.proto && (c.Client == p.src && c.Virtual == p.dst ||
		c.Client == p.dst && (c.Real == p.src || c.Virtual == p.src))
}

// changed judges what became of a connection.
func (j *Judge) changed(old, c *conntrack.Conn) {
	if c.Server != old.Server || c.Method != old.Method || c.Client != old.Client ||
		!c.Template() && (c.Real != old.Real || c.Virtual != old.Virtual) {
		j.broken("affinity", "the connection %v > %v to %v became one to %v", old.Client, old.Virtual, old.Real, c.Real)
	}
	if c.State != old.State {
		j.cover.transition(old, c)
	}
	if (c.State != old.State || c.InPackets != old.InPackets) && !j.concerns(c) {
		j.broken("table", "a foreign packet changed the connection %v > %v from %s to %s",
			c.Client, c.Virtual, old.StateName(), c.StateName())
	}
}

// appearance judges a new connection or template.
func (j *Judge) appearance(c *conntrack.Conn) {
	if !j.concerns(c) {
		j.broken("table", "a foreign packet opened the connection %v > %v", c.Client, c.Virtual)
		return
	}
	j.cover.transition(nil, c)
	if c.Template() {
		return
	}
	if svc := j.service(c); svc != nil {
		j.cover.Schedulers[svc.Spec.Scheduler]++
	}
	var found conntrack.Conn
	t := j.dir.Core().Table
	if !t.LookupIn(j.ev.Now, c.Protocol, c.Client, c.Virtual, &found) || found.Ref != c.Ref {
		j.broken("table", "the listing has a connection %v > %v that a lookup does not find", c.Client, c.Virtual)
	}
	n := 0
	for i := range j.table.conns {
		o := &j.table.conns[i]
		if o.Protocol == c.Protocol && o.Client == c.Client && o.Virtual == c.Virtual && !o.Template() {
			n++
		}
	}
	if n != 1 {
		j.broken("table", "there are %d connections %v > %v", n, c.Client, c.Virtual)
	}
}

// service is the service that opened c, found the slow way.
func (j *Judge) service(c *conntrack.Conn) *director.Service {
	for _, svc := range j.dir.Core().Snapshot().Services {
		for _, rs := range svc.Servers {
			if rs == c.Server {
				return svc
			}
		}
	}
	return nil
}

// masked is a client as a service remembers it.
func masked(a netip.Addr, spec *ipvs.ServiceSpec) netip.Addr {
	b, mask := a.AsSlice(), spec.Netmask.AsSlice()
	for i := range b {
		switch {
		case a.Is4() && len(mask) == 4:
			b[i] &= mask[i]
		case a.Is6() && spec.PrefixLen > 0 && spec.PrefixLen < 128:
			left := min(max(int(spec.PrefixLen)-8*i, 0), 8)
			b[i] &= ^(byte(0xff) >> left)
		}
	}
	m, _ := netip.AddrFromSlice(b)
	return m
}
