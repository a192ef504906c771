package control

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/procnet"
)

// The files show the services, and counters before and after zeroing.
func TestWriteProc(t *testing.T) {
	totals := new(ipvs.Counters)
	r := newRig(t, func(c *Config) { c.Totals = totals })
	r.must(r.AddService(tcp("10.9.0.1", 80), ipvs.ServiceSpec{Scheduler: "rr"}))
	file := func(name string) string {
		var b bytes.Buffer
		r.must(r.WriteProc(&b, name))
		return b.String()
	}
	require.Contains(t, file("ip_vs"), "TCP  0A090001:0050 rr  \n")
	totals.In(26, 256)
	require.Contains(t, file("ip_vs_stats_percpu"), "  0        0       1A        0              100                0\n")
	require.Contains(t, file("ip_vs_stats_percpu"), "  ~        0        0        0                0                0\n", "not folded yet")
	r.must(r.Zero(nil))
	require.Contains(t, file("ip_vs_stats_percpu"), "  0        0       1A        0              100                0\n", "nothing zeroes these")
	for _, name := range procnet.Names() {
		require.NotEmpty(t, file(name))
	}
	require.ErrorIs(t, r.WriteProc(&bytes.Buffer{}, "ip_vs_none"), ipvs.ErrNoEntry)
}
