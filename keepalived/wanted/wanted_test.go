package wanted_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/control"
	"usvs/ipvs"
	"usvs/ipvsadm"
	"usvs/keepalived"
	"usvs/keepalived/wanted"
)

type epoch struct{}

func (epoch) Now() clock.Instant { return 0 }

func parse(t testing.TB, text string) *keepalived.Config {
	t.Helper()
	conf, _ := keepalived.Parse("test.conf", keepalived.Options{Files: keepalived.Text{"test.conf": text}})
	return conf
}

// apply makes a director have what is wanted, as keepalived does: servers one
// after another.
func apply(t testing.TB, all []wanted.VirtualServer) *control.Control {
	t.Helper()
	ctl := control.New(control.Config{Clock: epoch{}, Rand: rand.New(rand.NewPCG(1, 2)), Servers: new(ipvs.Registry), Sysctls: ipvs.DefaultSysctls()})
	for _, vs := range all {
		for _, svc := range vs.Services {
			require.NoError(t, ctl.AddService(svc.ID, svc.Spec), "%v", svc.ID)
			for _, s := range svc.Servers {
				require.NoError(t, ctl.AddServer(svc.ID, s.ID, s.Spec), "%v of %v", s.ID, svc.ID)
			}
		}
	}
	return ctl
}

// The table is what keepalived 2.2.7 made of the same configuration; the
// integration test of the same files holds it to that.
func TestAsKeepalived(t *testing.T) {
	text, err := os.ReadFile("testdata/table.conf")
	require.NoError(t, err)
	ctl := apply(t, wanted.VirtualServers(parse(t, string(text))))
	var out, errs bytes.Buffer
	require.Zero(t, ipvsadm.Run([]string{"ipvsadm", "-S", "-n"}, ctl, nil, nil, &out, &errs), "%s", &errs)
	saved, err := os.ReadFile("testdata/table.saved")
	require.NoError(t, err)
	require.Equal(t, string(saved), out.String())
}

func TestSorryServer(t *testing.T) {
	all := wanted.VirtualServers(parse(t, `
virtual_server_group G {
	10.0.0.1 80
	10.0.0.1 81
}
virtual_server group G {
	lb_algo rr
	lb_kind DR
	protocol TCP
	sorry_server 10.0.0.9 8080
	sorry_server_lvs_method NAT
	real_server 10.0.0.2 80 {
	}
}
virtual_server 10.0.0.3 80 {
	lb_algo rr
	lb_kind DR
	protocol TCP
	sorry_server 10.0.0.9
	real_server 10.0.0.2 80 {
		weight 3
		uthreshold 10
		lthreshold 5
	}
}
`))
	require.Len(t, all, 2)
	require.Len(t, all[0].Services, 2)
	at := netip.MustParseAddr("10.0.0.9")
	require.Equal(t, &wanted.Server{ID: ipvs.ServerID{Addr: at, Port: 8080}, Spec: ipvs.ServerSpec{Method: ipvs.Masquerade, Weight: 1}}, all[0].Services[1].Sorry)
	require.Equal(t, &wanted.Server{ID: ipvs.ServerID{Addr: at, Port: 80}, Spec: ipvs.ServerSpec{Method: ipvs.DirectRoute, Weight: 1}}, all[1].Services[0].Sorry)
	require.Equal(t, uint16(81), all[0].Services[1].Servers[0].ID.Port, "direct routing cannot change it")
	require.Equal(t, ipvs.ServerSpec{Method: ipvs.DirectRoute, Weight: 3, UpperThreshold: 10, LowerThreshold: 5}, all[1].Services[0].Servers[0].Spec)
}

func TestGroupsEnd(t *testing.T) {
	all := wanted.VirtualServers(parse(t, `
virtual_server_group G {
	10.0.0.0/8 80
	fwmark 5
}
virtual_server group G {
	lb_algo rr
	lb_kind NAT
	protocol TCP
	real_server 192.168.0.2 80 {
	}
}
virtual_server group missing {
	lb_algo rr
	lb_kind NAT
	protocol TCP
	real_server 192.168.0.2 80 {
	}
}
`))
	require.True(t, all[0].Truncated)
	require.Len(t, all[0].Services, wanted.MaxServices)
	if len(all) > 1 {
		require.Empty(t, all[1].Services)
	}
}
