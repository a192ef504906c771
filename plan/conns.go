package plan

import (
	"net/netip"

	"usvs/ipvs"
)

// Live is what becomes of connections that are there.
type Live struct {
	Connections
	// Elsewhere belong to services that do not change.
	Elsewhere int `json:"elsewhere"`
}

// Connections counts connections by what becomes of them.
type Connections struct {
	Stay int `json:"stay"` // they go on with their server
	// Cut belong to a server or service that is deleted: IPVS drops their
	// packets, or, with expire_nodest_conn, forgets them at their next packet.
	Cut int `json:"cut"`
	// Templates of persistent clients.
	Followed  int `json:"followed"`  // clients that return to their server
	Forgotten int `json:"forgotten"` // clients that get a server anew
}

func (c *Connections) add(o Connections) {
	c.Stay += o.Stay
	c.Cut += o.Cut
	c.Followed += o.Followed
	c.Forgotten += o.Forgotten
}

// Connections adds what becomes of connections. It is to be called once with
// all of them.
func (p *Plan) Connections(list func(yield func(*ipvs.ConnEntry) bool) error) error {
	p.Live = &Live{}
	find := p.finder()
	err := list(func(c *ipvs.ConnEntry) bool {
		svc := find(c)
		if svc == nil {
			p.Live.Elsewhere++
			return true
		}
		svc.connection(c)
		return true
	})
	for i := range p.Services {
		svc := &p.Services[i]
		svc.Live = new(Connections)
		for _, rs := range svc.Servers {
			if rs.Live != nil {
				svc.Live.add(*rs.Live)
			}
		}
		p.Live.add(*svc.Live)
	}
	return err
}

// finder finds a connection's service in the plan by its virtual address, and
// one without a port by its address alone. A connection of a mark has the
// address that its client asked for, and is not told from others.
func (p *Plan) finder() func(*ipvs.ConnEntry) *Service {
	type key struct {
		proto ipvs.Protocol
		at    netip.AddrPort
	}
	byKey, byMark := map[key]*Service{}, map[netip.AddrPort]*Service{}
	for i := range p.Services {
		svc := &p.Services[i]
		switch {
		case svc.old == nil: // it has none yet
		case svc.ID.Mark != 0:
			byMark[markAddr(svc.ID.Mark)] = svc
		default:
			byKey[key{svc.ID.Protocol, netip.AddrPortFrom(svc.ID.Addr, svc.ID.Port)}] = svc
		}
	}
	return func(c *ipvs.ConnEntry) *Service {
		if svc := byKey[key{c.Protocol, c.Virtual}]; svc != nil {
			return svc
		}
		if c.Template {
			if svc := byMark[c.Virtual]; svc != nil {
				return svc
			}
		}
		return byKey[key{c.Protocol, netip.AddrPortFrom(c.Virtual.Addr(), 0)}]
	}
}

// markAddr is how a template names its mark.
func markAddr(mark uint32) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(mark >> 24), byte(mark >> 16), byte(mark >> 8), byte(mark)}), 0)
}

// connection counts a connection with its server.
func (s *Service) connection(c *ipvs.ConnEntry) {
	for i := range s.Servers {
		rs := &s.Servers[i]
		if rs.ID.Addr != c.Real.Addr() || rs.ID.Port != 0 && c.Real.Port() != 0 && rs.ID.Port != c.Real.Port() {
			continue
		}
		if rs.Live == nil {
			rs.Live = new(Connections)
		}
		rs.Live.add(s.fate(c, lookup(s.new, rs.ID)))
		return
	}
}

// fate is what becomes of a connection of a server that is still there, or nil.
func (s *Service) fate(c *ipvs.ConnEntry, rs *ServerState) Connections {
	switch {
	case c.Template && (rs == nil || s.new.Spec.Flags&ipvs.FlagPersistent == 0 || granularity(s.old) != granularity(s.new)):
		return Connections{Forgotten: 1}
	case c.Template:
		return Connections{Followed: 1}
	case rs == nil:
		return Connections{Cut: 1}
	}
	return Connections{Stay: 1}
}
