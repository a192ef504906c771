package health

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// TestViaVIP: what is said of a server that clients do not reach, by method and
// by what a direct attempt finds.
func TestViaVIP(t *testing.T) {
	const failed = "TCP_CHECK on service [10.9.1.1]:tcp:80 failed."
	for _, c := range []struct {
		what   string
		method ipvs.ForwardMethod
		direct string
		line   string
	}{
		{"a DR server without the VIP", ipvs.DirectRoute, "ok",
			failed + " (answers on its own address but not on the VIP: is the VIP on its lo, and does the service listen there? (DR))"},
		{"a tunnel that leads nowhere", ipvs.Tunnel, "ok",
			failed + " (answers on its own address but not on the VIP: is the VIP on its tunnel device, the tunnel of the right type, rp_filter off? (TUN))"},
		{"a NAT server with another gateway", ipvs.Masquerade, "ok",
			failed + " (answers on its own address but not on the VIP: does its way back lead through the director? (NAT))"},
		{"a server that is dead", ipvs.DirectRoute, "failed", failed + " (does not answer on its own address either)"},
	} {
		t.Run(c.what, func(t *testing.T) {
			check := checkOf(TCP, 1, time.Second)
			check.Probe.Path = ViaVIP
			rs := realAt("10.9.1.1:80", 1, check)
			rs.Spec.Method = c.method
			l := newLab(t, &Config{VirtualServers: []*VirtualServer{virtual([]Service{serviceOf(tcp, "10.9.9.1", 80)}, 1, rs)}})
			l.does["vip 10.9.1.1:80"], l.does["10.9.1.1:80"] = "timeout", c.direct
			l.m.Start(0)
			l.run(2.5)
			assert.Contains(t, l.take(), "2.001 log "+c.line)
			require.Len(t, l.probes, 2, "by the VIP, then directly")
			assert.Equal(t, Via{Service: serviceOf(tcp, "10.9.9.1", 80).ID, Server: rs.ID, Spec: rs.Spec}, l.probes[0].p.Via)
			assert.Equal(t, Direct, l.probes[1].p.Path)
			status := l.m.Status().Services[0].Servers[0].Checks[0]
			assert.Equal(t, "vip", status.Path)
			assert.NotEmpty(t, status.Cause)

			l.does["vip 10.9.1.1:80"] = "ok"
			l.run(6)
			assert.Contains(t, l.take(), "4.002 log TCP connection to [10.9.1.1]:tcp:80 success.")
			assert.Empty(t, l.m.Status().Services[0].Servers[0].Checks[0].Cause)
		})
	}
}

func TestViaVIPNeedsAVIP(t *testing.T) {
	check := checkOf(TCP, 1, time.Second)
	check.Probe.Path = ViaVIP
	l := newLab(t, &Config{VirtualServers: []*VirtualServer{virtual([]Service{markOf(5)}, 1, realAt("10.9.1.1:80", 1, check))}})
	l.m.Start(0)
	l.run(2)
	require.Len(t, l.probes, 1)
	assert.Equal(t, Direct, l.probes[0].p.Path)
}

// TestInquiryEnds: a reload while the direct attempt runs forgets it.
func TestInquiryEnds(t *testing.T) {
	check := checkOf(TCP, 1, time.Second)
	check.Probe.Path = ViaVIP
	cfg := &Config{VirtualServers: []*VirtualServer{virtual([]Service{serviceOf(tcp, "10.9.9.1", 80)}, 1, realAt("10.9.1.1:80", 1, check))}}
	l := newLab(t, cfg)
	l.does["vip 10.9.1.1:80"], l.does["10.9.1.1:80"] = "failed", "timeout"
	l.m.Start(0)
	l.run(1.5)
	l.m.Reload(l.now, cfg)
	assert.Empty(t, l.running)
	assert.True(t, l.m.Status().Services[0].Servers[0].Up)
}
