package director

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// indexed is an Index with the services it is to have.
type indexed struct {
	*Index
	rng      *rand.Rand
	services []*Service
	joined   uint64
}

func (x *indexed) snapshot() *Snapshot {
	return x.Seal(&Snapshot{Services: slices.Clone(x.services)})
}

// serviceID draws from few, so that they meet each other.
func (x *indexed) serviceID() ipvs.ServiceID {
	pick := func(v ...uint16) uint16 { return v[x.rng.IntN(len(v))] }
	id := ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.Protocol(pick(6, 17)), Addr: vip, Port: pick(0, 21, 80)}
	if x.rng.IntN(3) == 0 {
		id.Family, id.Addr = ipvs.IPv6, vip6
	}
	if x.rng.IntN(4) == 0 {
		id = ipvs.ServiceID{Family: id.Family, Mark: uint32(pick(1, 2))}
	}
	return id
}

func (x *indexed) serverSpec() ipvs.ServerSpec {
	spec := ipvs.ServerSpec{Method: ipvs.ForwardMethod(x.rng.IntN(4))}
	if spec.Method == ipvs.Tunnel {
		spec.Tunnel = ipvs.TunnelParams{Type: ipvs.TunnelType(x.rng.IntN(3)), Port: uint16(x.rng.IntN(2))}
	}
	return spec
}

// replace gives a service another view.
func (x *indexed) replace(i int, servers []*ipvs.RealServer, pe string) {
	old := x.services[i]
	x.services[i] = &Service{VS: old.VS, Spec: ipvs.ServiceSpec{PE: pe}, Servers: servers}
	x.RemoveService(old)
	x.AddService(x.services[i])
}

// change does something at random to a service or its servers.
func (x *indexed) change() {
	id := x.serviceID()
	i := slices.IndexFunc(x.services, func(s *Service) bool { return s.VS.ID == id })
	if i < 0 {
		svc := &Service{VS: &ipvs.VirtualService{ID: id}}
		x.services = append(x.services, svc)
		x.AddService(svc)
		return
	}
	svc := x.services[i]
	n := len(svc.Servers)
	switch op := x.rng.IntN(10); {
	case op == 0:
		for _, rs := range svc.Servers {
			x.RemoveServer(id, rs)
		}
		x.RemoveService(svc)
		x.services = slices.Delete(slices.Clone(x.services), i, i+1)
	case op == 1:
		x.replace(i, svc.Servers, []string{"", "sip"}[x.rng.IntN(2)])
	case op < 4 && n > 0:
		rs := svc.Servers[x.rng.IntN(n)]
		x.RemoveServer(id, rs)
		rs.SetSpec(x.serverSpec())
		x.AddServer(id, rs)
	case op < 6 && n > 0:
		j := x.rng.IntN(n)
		x.RemoveServer(id, svc.Servers[j])
		x.replace(i, slices.Delete(slices.Clone(svc.Servers), j, j+1), svc.Spec.PE)
	default:
		rip := netip.AddrFrom4([4]byte{10, 2, 0, byte(x.rng.IntN(3))})
		rs := ipvs.NewRealServer(ipvs.ServerID{Addr: rip, Port: uint16(x.rng.IntN(2))}, svc.VS, x.serverSpec())
		x.joined++
		rs.Join(x.joined)
		x.AddServer(id, rs)
		x.replace(i, append([]*ipvs.RealServer{rs}, svc.Servers...), svc.Spec.PE)
	}
}

// TestIndexAgainstModel: after every change the index finds what maps built
// whole find.
func TestIndexAgainstModel(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			x := &indexed{Index: NewIndex(), rng: rand.New(rand.NewPCG(seed, 0))}
			var old *Snapshot
			found := map[ipvs.ServiceID]*Service{}
			for i := range 1000 {
				x.change()
				s := x.snapshot()
				require.NoError(t, s.Check(), "change %d", i)
				require.NoError(t, (&Snapshot{Services: s.Services}).Seal().Check())
				for _, svc := range s.Services {
					id := svc.VS.ID
					require.Same(t, svc, s.find(id.Family, id.Mark, id.Protocol, id.Addr, id.Port))
				}
				if i == 500 {
					old = s
					for _, svc := range s.Services {
						found[svc.VS.ID] = svc
					}
				}
			}
			require.Equal(t, len(found), old.services.Len()+old.byMark.Len(), "an old snapshot stays what it was")
			for id, svc := range found {
				require.Same(t, svc, old.service(id))
			}
		})
	}
}

// TestCheckFinds: a snapshot whose tables are not of its services is found out.
func TestCheckFinds(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:80")
	s := b.d.Snapshot()
	require.NoError(t, s.Check())
	other := *s
	other.Services = nil
	require.Error(t, other.Check())
}

// TestLookupsDoNotAllocate: what new connections and strangers' packets ask.
func TestLookupsDoNotAllocate(t *testing.T) {
	s := manyServices(1000)
	hidden := &Hidden{Addrs: s.Owned, Servers: EndpointsOf(Endpoint{ipvs.TCP, rip1, 80})}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		s.find(ipvs.IPv4, 7, ipvs.TCP, vip, 80)
		s.answersFor(vip)
		s.servers.Has(Endpoint{Addr: rip1})
		s.serverAt(ipvs.TCP, rip1, 80)
		s.tunnels.Has(Endpoint{Addr: rip1})
		contains(&hidden.Servers, 6, rip1, 9, true)
	}))
}

// manyServices is a snapshot with n services of two servers each.
func manyServices(n int) *Snapshot {
	s, owned := &Snapshot{Sysctls: ipvs.DefaultSysctls()}, NewAddrs()
	for i := range n {
		vs := &ipvs.VirtualService{ID: tcpID(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 80)}
		svc := &Service{VS: vs}
		for j := range 2 {
			rs := ipvs.NewRealServer(ipvs.ServerID{Addr: netip.AddrFrom4([4]byte{10, byte(50 + j), byte(i >> 8), byte(i)}), Port: 80}, vs,
				ipvs.ServerSpec{Method: ipvs.Masquerade})
			rs.Join(uint64(2*i + j))
			svc.Servers = append(svc.Servers, rs)
		}
		s.Services = append(s.Services, svc)
		owned.Add(vs.ID.Addr)
	}
	s.Owned = owned.Freeze()
	return s.Seal()
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprint(n, " services"), func(b *testing.B) {
			s := manyServices(n)
			for i := 0; b.Loop(); i++ {
				svc := s.Services[i%n]
				id := &svc.VS.ID
				if s.find(ipvs.IPv4, 0, id.Protocol, id.Addr, id.Port) != svc {
					b.Fatal("not found")
				}
			}
		})
	}
}
