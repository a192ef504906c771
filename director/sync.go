package director

import (
	"net/netip"

	"usvs/clock"
	"usvs/connsync"
	"usvs/conntrack"
	"usvs/ipvs"
)

// SetMaster makes m hear of every client's packet, so that it tells other
// directors; nil: nobody does.
func (d *Director) SetMaster(m *connsync.Master) {
	d.master.Store(m)
	if m == nil {
		d.Table.OnLater(nil)
		return
	}
	d.Table.OnLater(func(now clock.Instant, r conntrack.Ref) { m.Later(now, &d.Snapshot().Sysctls, r) })
}

// ServerOf finds the real server of an entry that another director told of, or
// nil (ipvs.md 4.2).
func (s *Snapshot) ServerOf(e *connsync.Entry) *ipvs.RealServer {
	svc := s.find(ipvs.FamilyOf(e.Client.Addr()), e.Mark, e.Protocol, e.Virtual.Addr(), e.Virtual.Port())
	if svc == nil {
		return nil
	}
	first, second := e.Real.Port(), uint16(0)
	if e.Mark != 0 && e.Method != ipvs.Masquerade {
		first, second = second, first
	}
	if rs := svc.server(e.Real.Addr(), first); rs != nil {
		return rs
	}
	return svc.server(e.Real.Addr(), second)
}

// server finds a service's real server.
func (svc *Service) server(addr netip.Addr, port uint16) *ipvs.RealServer {
	for _, rs := range svc.Servers {
		if rs.ID.Addr == addr && rs.ID.Port == port {
			return rs
		}
	}
	return nil
}
