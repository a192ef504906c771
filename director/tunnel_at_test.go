package director

import (
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// TestTunnelAddedLastIsKnown: of IPIP and GRE to one address, as recorded.
func TestTunnelAddedLastIsKnown(t *testing.T) {
	server := func(port uint16, joined uint64, params ipvs.TunnelParams) *Service {
		vs := &ipvs.VirtualService{ID: tcpID(vip, port)}
		rs := ipvs.NewRealServer(ipvs.ServerID{Addr: rip1, Port: port}, vs, ipvs.ServerSpec{Method: ipvs.Tunnel, Tunnel: params})
		rs.Join(joined)
		return &Service{VS: vs, Servers: []*ipvs.RealServer{rs}}
	}
	for _, order := range [][3]uint64{{1, 2, 3}, {2, 1, 3}} {
		ipip := server(80, order[0], ipvs.TunnelParams{Type: ipvs.IPIP})
		gre := server(81, order[1], ipvs.TunnelParams{Type: ipvs.GRE})
		gue := server(82, order[2], ipvs.TunnelParams{Type: ipvs.GUE, Port: 6080})
		s := (&Snapshot{Services: []*Service{ipip, gre, gue}}).Seal()
		require.Equal(t, order[0] > order[1], s.tunnelAt(ipvs.IPIP, rip1, 0) == ipip.Servers[0])
		require.Equal(t, order[1] > order[0], s.tunnelAt(ipvs.GRE, rip1, 0) == gre.Servers[0])
		require.Equal(t, gue.Servers[0], s.tunnelAt(ipvs.GUE, rip1, 6080))
		require.Nil(t, s.tunnelAt(ipvs.GUE, rip1, 6081))
		require.Nil(t, s.tunnelAt(ipvs.GUE, rip1, 0))
		require.Nil(t, s.tunnelAt(ipvs.GRE, rip2, 0))
	}
}
