package node

import (
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/vrrp"
)

var update = flag.Bool("update", false, "write the tables of usvs vrrp and usvs health into testdata")

var faults = regexp.MustCompile(": fault: .*")

// TestTables: what operators see, of a node with some of everything.
func TestTables(t *testing.T) {
	conf := `
vrrp_script chk_haproxy {
	script "/usr/bin/killall -0 haproxy"
	interval 2
	weight -20
}
track_file load {
	file /run/load
}
vrrp_track_process nginx {
	process nginx
	weight 10
}
vrrp_sync_group inside_and_outside {
	group { VI_2 VI_3 }
}
vrrp_instance VI_2 {
	interface eth0
	virtual_router_id 52
	priority 150
	virtual_ipaddress {
		10.0.0.1/24
		10.0.0.2/24 dev eth1
	}
	track_script { chk_haproxy }
	track_process { nginx }
}
vrrp_instance VI_3 {
	interface eth0
	use_vmac
	virtual_router_id 53
	virtual_ipaddress { 10.0.1.1 }
}
vrrp_instance VI_4 {
	interface eth5
	virtual_router_id 54
	virtual_ipaddress { 10.0.2.1 }
	track_file { load }
}
virtual_server 10.0.0.1 443 {
	delay_loop 5
	protocol TCP
	lb_algo wrr
	lb_kind DR
	quorum 2
	hysteresis 1
	sorry_server 192.168.1.99 443
	real_server 192.168.1.21 443 {
		weight 2
		TCP_CHECK {
			warmup 0
			retry 5
		}
		PING_CHECK {
			warmup 0
			retry 9
		}
	}
	real_server 192.168.1.22 443 {
		TCP_CHECK {
			warmup 0
		}
	}
	real_server 192.168.1.23 443 {
	}
}
`
	l, a, b := tutorialPair(t)
	a.text += conf
	a.scripts = map[string]vrrp.ScriptResult{"chk_haproxy": {Status: 1}}
	b.boot()
	a.boot()
	a.node.SetFile(l.now, "load", 7)
	a.node.SetProcess(l.now, "nginx", 2)
	l.serve(true, "192.168.1.21:443")
	l.run(8 * time.Second)
	l.serve(false, "192.168.1.21:443")
	l.run(3 * time.Second)
	for file, m := range map[string]*machine{"testdata/status_a.txt": a, "testdata/status_b.txt": b} {
		s := m.node.Status(l.now)
		var out strings.Builder
		require.NoError(t, s.WriteVRRP(&out))
		out.WriteString("\n")
		require.NoError(t, s.WriteHealth(&out))
		text := faults.ReplaceAllString(out.String(), ": fault: REASON") // in words of package vrrp
		if *update {
			require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), text)
		_, err = json.Marshal(s)
		require.NoError(t, err)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 1234 * time.Millisecond: "1.2s", 61 * time.Second: "1m1s", 2*time.Hour + 3*time.Minute: "2h3m", 49 * time.Hour: "2d1h",
	} {
		require.Equal(t, want, span(d))
	}
}
