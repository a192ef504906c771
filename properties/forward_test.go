package properties

import (
	"testing"

	"usvs/ipvs"
)

// modes are all ways through a director but ICMP errors.
func modes() (list []mode) {
	for _, v6 := range []bool{false, true} {
		list = append(list,
			mode{method: ipvs.DirectRoute, v6: v6},
			mode{method: ipvs.Masquerade, v6: v6},
			mode{method: ipvs.Masquerade, v6: v6, out: true})
		for _, far6 := range []bool{false, true} {
			for _, tunnel := range []ipvs.TunnelParams{
				{Type: ipvs.IPIP}, {Type: ipvs.GRE}, {Type: ipvs.GRE, Flags: ipvs.TunnelCsum},
				{Type: ipvs.GUE, Port: 6080}, {Type: ipvs.GUE, Port: 6080, Flags: ipvs.TunnelCsum},
				{Type: ipvs.GUE, Port: 6080, Flags: ipvs.TunnelRemCsum},
			} {
				list = append(list, mode{method: ipvs.Tunnel, v6: v6, far6: far6, tunnel: tunnel})
			}
		}
	}
	return list
}

// families is how many modes there are that differ from m in families only.
func (m mode) families() int {
	if m.method == ipvs.Tunnel {
		return 4
	}
	return 2
}

// Every packet that is forwarded is what it was, but for what its mode changes.
func TestEveryForwardedFrame(t *testing.T) {
	for i, m := range modes() {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			newTraffic(t, m, uint64(i)).run(count(2000, m.families()))
		})
	}
}
