package explain

import (
	"net/netip"

	"usvs/arp"
	"usvs/clock"
	"usvs/conntrack"
	"usvs/director"
	"usvs/ipvs"
	"usvs/marks"
	"usvs/wire"
)

// source is a running director. It is only read.
type source struct {
	d     *director.Director
	twins map[*ipvs.RealServer]*ipvs.RealServer
	moved map[conntrack.Ref]conntrack.Ref // connections, to where they are in the copy
}

// Of makes a private copy of a running director. Frames may flow through it
// meanwhile; what they change while the copy is made is in it or not.
func Of(d *director.Director, now clock.Instant) *Bench {
	b := newBench(now)
	b.source = &source{d: d, twins: map[*ipvs.RealServer]*ipvs.RealServer{}, moved: map[conntrack.Ref]conntrack.Ref{}}
	b.d.Table.AdoptTimeouts(d.Table)
	b.d.Publish(now, b.source.snapshot(b))
	b.d.AdoptTurn(d)
	for _, n := range d.Neighbours.Entries(now) {
		if usable(n.State) {
			b.d.Neighbours.SetStatic(now, n.Port, n.Addr, n.MAC, nowhere{})
		}
	}
	return b
}

// usable reports whether a neighbour in that state is sent to.
func usable(s arp.State) bool { return s != arp.None && s != arp.Incomplete && s != arp.Failed }

// snapshot copies the director's, over servers of its own.
func (s *source) snapshot(b *Bench) *director.Snapshot {
	was := s.d.Snapshot()
	is := &director.Snapshot{
		Sysctls: was.Sysctls, Routes: was.Routes, Owned: was.Owned, Hidden: was.Hidden,
		Marks4: copyRules(was.Marks4), Marks6: copyRules(was.Marks6),
		DropRate: was.DropRate, Standby: was.Standby,
	}
	services := map[*ipvs.VirtualService]*ipvs.VirtualService{}
	for _, svc := range was.Services {
		vs := &ipvs.VirtualService{ID: svc.VS.ID}
		services[svc.VS] = vs
		twin := &director.Service{VS: vs, Spec: svc.Spec}
		for _, rs := range svc.Servers {
			twin.Servers = append(twin.Servers, s.twin(b, rs, vs))
		}
		is.Services = append(is.Services, twin)
	}
	for i, svc := range was.Services {
		is.Services[i].Picker = svc.Picker.Clone(func(rs *ipvs.RealServer) *ipvs.RealServer {
			return s.twin(b, rs, services[rs.Service()])
		})
	}
	return is.Seal()
}

// twin is a server's copy, with the counts the server has in the running
// director, of which only some connections are copied.
func (s *source) twin(b *Bench, rs *ipvs.RealServer, vs *ipvs.VirtualService) *ipvs.RealServer {
	if rs == nil {
		return nil
	}
	twin := s.twins[rs]
	if twin == nil {
		twin = ipvs.NewRealServer(rs.ID, vs, rs.Spec())
		b.servers.Add(twin)
		twin.CopyFrom(rs)
		s.twins[rs] = twin
	}
	return twin
}

// copyRules builds the mark rules anew, with counters of their own.
func copyRules(rules *marks.Ruleset) *marks.Ruleset {
	if rules == nil {
		return nil
	}
	return rules.First(rules.Len())
}

// connections copies what can match the packet: connections of an address in
// it, or in what it quotes or carries, and templates of such an address masked
// in any way. What was copied before is left as it is.
func (s *source) connections(b *Bench, p *wire.Packet) {
	addrs := addresses(p)
	var list []conntrack.Conn
	s.d.Table.Walk(b.now, func(c *conntrack.Conn) bool {
		if _, done := s.moved[c.Ref]; !done && concerns(c, addrs) {
			list = append(list, *c)
		}
		return true
	})
	kept := map[*ipvs.RealServer]*ipvs.RealServer{}
	for _, templates := range []bool{true, false} { // what controls others first
		for i := range list {
			if c := &list[i]; c.Template() == templates {
				s.adopt(b, c, kept)
			}
		}
	}
	for rs, before := range kept {
		rs.CopyFrom(before)
	}
}

// adopt copies a connection. Its server counts it already: kept has what the
// server was before.
func (s *source) adopt(b *Bench, c *conntrack.Conn, kept map[*ipvs.RealServer]*ipvs.RealServer) {
	ref := c.Ref
	if rs := s.twin(b, c.Server, nil); rs != nil {
		c.Server = rs
		if kept[rs] == nil {
			before := ipvs.NewRealServer(rs.ID, nil, rs.Spec())
			before.CopyFrom(rs)
			kept[rs] = before
		}
	}
	c.Control = s.moved[c.Control]
	if b.d.Table.Adopt(b.now, c) {
		s.moved[ref] = c.Ref
	}
}

// addresses are those in a packet, in what it quotes and what it carries.
func addresses(p *wire.Packet) []netip.Addr {
	list := []netip.Addr{p.Src, p.Dst}
	var q wire.Packet
	b := p.Transport()
	if p.IsICMPError() && len(b) >= wire.ICMPLen && q.ParseQuoted(b[wire.ICMPLen:], p.Version) == wire.None {
		list = append(list, q.Src, q.Dst)
		var inner wire.Packet
		if inner.ParseQuoted(q.Transport(), 4) == wire.None { // an error about a tunnel
			list = append(list, inner.Src, inner.Dst)
		}
	}
	return list
}

func concerns(c *conntrack.Conn, addrs []netip.Addr) bool {
	client := c.Client.Addr()
	for _, a := range addrs {
		if a == client || c.Template() && masks(client, a) {
			return true
		}
	}
	return false
}

// masks reports whether some netmask makes masked of a.
func masks(masked, a netip.Addr) bool {
	if masked.Is4() != a.Is4() {
		return false
	}
	m, b := masked.As16(), a.As16()
	for i := range m {
		if m[i]&b[i] != m[i] {
			return false
		}
	}
	return true
}
