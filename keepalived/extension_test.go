package keepalived

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCheckPath: a keyword of usvs only is taken and handed down, and is an
// error for keepalived unless extensions are asked for.
func TestCheckPath(t *testing.T) {
	const text = `
global_defs {
	check_path vip
}
virtual_server 10.0.0.1 80 {
	lb_algo rr
	lb_kind DR
	protocol TCP
	real_server 10.0.0.2 80 {
		TCP_CHECK {
		}
		TCP_CHECK {
			check_path direct
		}
	}
	real_server 10.0.0.3 80 {
		check_path direct
		TCP_CHECK {
		}
	}
}
virtual_server 10.0.0.4 80 {
	lb_algo rr
	lb_kind DR
	protocol TCP
	check_path direct
	real_server 10.0.0.2 80 {
		TCP_CHECK {
			check_path both
		}
	}
}
`
	for _, tt := range []struct {
		extensions     bool
		status, errors int
	}{{false, 5, 6}, {true, 5, 1}} { // one value is wrong in any case
		c, report := Parse("c", Options{Files: Text{"c": text}, Extensions: tt.extensions})
		n, _ := report.Count()
		require.Equal(t, tt.errors, n, "%v", report.Problems)
		require.Equal(t, tt.status, report.Status())
		var paths []string
		for _, vs := range c.VirtualServers {
			for _, rs := range vs.RealServers {
				for _, check := range rs.Checkers {
					paths = append(paths, check.CheckPath.V)
				}
			}
		}
		require.Equal(t, []string{"vip", "direct", "direct", "direct"}, paths)
	}
	c, _ := Parse("c", Options{Files: Text{"c": "virtual_server 10.0.0.1 80 {\nreal_server 10.0.0.2 80 {\nTCP_CHECK {\n}\n}\n}\n"}})
	require.Equal(t, "direct", c.VirtualServers[0].RealServers[0].Checkers[0].CheckPath.V)
}

// TestInert: what usvs does not act on is said once, and is no error.
func TestInert(t *testing.T) {
	_, report := Parse("c", Options{Files: Text{"c": `
bfd_instance b {
	neighbor_ip 10.0.0.1
	source_ip 10.0.0.2
}
virtual_server 10.0.0.1 80 {
	lb_algo rr
	lb_kind DR
	protocol TCP
	real_server 10.0.0.2 80 {
		snmp_name x
	}
}
`}})
	var found []string
	for _, p := range report.Problems {
		require.False(t, p.Class.Error())
		found = append(found, p.String())
	}
	require.Equal(t, []string{
		"c:2: warning: bfd_instance is for keepalived: usvs does not act on it",
		"c:11: warning: snmp_name is for keepalived: usvs does not act on it",
	}, found)
	require.Zero(t, report.Status())
}

// TestInterfaceDelays: what keepalived 2.2.7 takes and rejects.
func TestInterfaceDelays(t *testing.T) {
	c, report := Parse("c", Options{Files: Text{"c": `interface_up_down_delays {
	eth0 1
	eth1 2.5 3
	eth2 300
	eth3 x
	eth4 1 x
	eth5
	eth6 1 2 3
	eth7 -1
	eth8 255.000001
	eth9 1 256
	eth0 4
}
`}})
	var errors []int
	for _, p := range report.Problems {
		if p.Class.Error() {
			errors = append(errors, p.Line)
		}
	}
	require.Equal(t, []int{4, 5, 6, 9, 10, 11}, errors)
	type delay struct {
		name     string
		down, up time.Duration
	}
	var got []delay
	for _, d := range c.InterfaceDelays {
		got = append(got, delay{d.Interface, d.Down, d.Up})
	}
	require.Equal(t, []delay{
		{"eth1", 2500 * time.Millisecond, 3 * time.Second}, {"eth5", 0, 0}, {"eth6", time.Second, 2 * time.Second}, {"eth0", 4 * time.Second, 4 * time.Second},
	}, got)
}
