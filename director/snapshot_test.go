package director

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// TestServerAtTakesTheLatest: of servers with one address in several services
// the one added last is meant, of the packet's protocol or of a firewall mark.
func TestServerAtTakesTheLatest(t *testing.T) {
	rip := netip.MustParseAddr("10.2.0.16")
	add := func(s *Snapshot, id ipvs.ServiceID, joined uint64) *ipvs.RealServer {
		vs := &ipvs.VirtualService{ID: id}
		rs := ipvs.NewRealServer(ipvs.ServerID{Addr: rip, Port: 8001}, vs, ipvs.ServerSpec{Method: ipvs.Masquerade})
		rs.Join(joined)
		s.Services = append(s.Services, &Service{VS: vs, Servers: []*ipvs.RealServer{rs}})
		return rs
	}
	udp := func(port uint16) ipvs.ServiceID {
		return ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.UDP, Addr: netip.MustParseAddr("10.9.0.1"), Port: port}
	}
	for _, c := range []struct {
		joined [3]uint64
		want   int
	}{{[3]uint64{1, 2, 0}, 1}, {[3]uint64{2, 1, 0}, 0}, {[3]uint64{1, 2, 3}, 2}, {[3]uint64{1, 3, 2}, 1}, {[3]uint64{0, 0, 0}, 0}} {
		s := new(Snapshot)
		all := []*ipvs.RealServer{
			add(s, udp(81), c.joined[0]), add(s, udp(82), c.joined[1]), add(s, ipvs.ServiceID{Family: ipvs.IPv4, Mark: 5}, c.joined[2]),
		}
		s.Seal()
		require.Same(t, all[c.want], s.serverAt(ipvs.UDP, rip, 8001), "%v", c.joined)
		require.Same(t, all[2], s.serverAt(ipvs.TCP, rip, 8001))
		require.Nil(t, s.serverAt(ipvs.UDP, rip, 8002))
	}
}
