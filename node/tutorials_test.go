package node

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/keepalived"
	"usvs/keepalived/wanted"
	"usvs/vrrp"
	"usvs/wire"
)

// tutorials are the configurations that tutorials show.
func tutorials(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("../keepalived/testdata/tutorials.txt")
	require.NoError(t, err)
	all := map[string]string{}
	var name string
	var text strings.Builder
	for line := range strings.Lines(string(data)) {
		switch {
		case strings.HasPrefix(line, "=== "):
			name = strings.TrimSpace(line[4:])
			text.Reset()
		case strings.HasPrefix(line, "--- "):
			all[name] = text.String()
		default:
			text.WriteString(line)
		}
	}
	require.NotEmpty(t, all)
	return all
}

// Every configuration that tutorials show runs unchanged: its instances that
// can be masters become so, its servers are looked at and are in the table,
// and nothing is left when it stops.
func TestTutorialsRun(t *testing.T) {
	for name, text := range tutorials(t) {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			m := l.add("director", "192.168.201.2/16", text)
			conf := parsed(t, text)
			for _, vs := range conf.VirtualServers {
				for _, rs := range vs.RealServers {
					for _, c := range rs.Checkers {
						l.serve(true, netip.AddrPortFrom(c.ConnectIP.V, c.ConnectPort.V).String())
					}
				}
			}
			m.addrs = append(m.addrs, netip.MustParsePrefix("fe80::99/64"))
			m.boot()
			for _, i := range conf.Instances {
				if i.Interface.V != "eth0" {
					m.node.SetInterface(l.now, vrrp.Interface{Name: i.Interface.V, Up: true, MAC: wire.MAC{2, 0, 0, 0, 9, 9}, MTU: 1500, Addrs: m.addrs[:2]})
				}
			}
			m.wake()
			l.run(3 * time.Minute)
			requireMasters(t, m, conf)
			require.ElementsMatch(t, wantedTable(conf), m.table(), "%q", m.log)
			m.node.Stop(l.now)
			require.Empty(t, m.table())
			require.Len(t, m.addrs, 2, "the addresses are given up")
		})
	}
}

// requireMasters wants every instance to be what a lonely node's is.
func requireMasters(t *testing.T, m *machine, conf *keepalived.Config) {
	t.Helper()
	status := m.node.Status(m.lab.now)
	require.Len(t, status.VRRP.Instances, len(conf.Instances))
	for _, i := range status.VRRP.Instances {
		require.Equal(t, vrrp.Master, i.State, "%s: %q %q", i.Name, i.Faults, m.log)
	}
}

// wantedTable is the table with all servers up, in any order.
func wantedTable(conf *keepalived.Config) (lines []string) {
	for _, vs := range wanted.VirtualServers(conf) {
		for _, svc := range vs.Services {
			line := fmt.Sprint(svc.ID.Addr, ":", svc.ID.Port, " ", svc.Spec.Scheduler)
			for _, rs := range svc.Servers {
				line += fmt.Sprintf(" %v/%d", rs.ID.Addr, rs.Spec.Weight)
			}
			lines = append(lines, line)
		}
	}
	return lines
}
