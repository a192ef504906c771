package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/control"
	"usvs/explain"
	"usvs/ipvs"
	"usvs/keepalived"
	"usvs/wire"
)

type epoch struct{}

func (epoch) Now() clock.Instant { return 0 }

// rules is the State of a rules file.
func rules(t testing.TB, text string) *State {
	t.Helper()
	ctl := control.New(control.Config{Clock: epoch{}, Rand: rand.New(rand.NewPCG(1, 2)), Servers: new(ipvs.Registry)})
	require.NoError(t, ctl.Load("test.rules", strings.NewReader(text)))
	services, err := ctl.Services()
	require.NoError(t, err)
	return FromServices(services)
}

func conf(t testing.TB, text string) *State {
	t.Helper()
	c, report := keepalived.Parse("test.conf", keepalived.Options{Files: keepalived.Text{"test.conf": text}})
	require.NotNil(t, c)
	for _, p := range report.Problems {
		require.False(t, p.Class.Error(), "%v", p)
	}
	return FromKeepalived(c)
}

const before = `
-A -t 10.0.0.100:80 -s mh
-a -t 10.0.0.100:80 -r 10.0.0.1 -g -w 1
-a -t 10.0.0.100:80 -r 10.0.0.2 -g -w 1
-a -t 10.0.0.100:80 -r 10.0.0.3 -g -w 2
-A -u 10.0.0.100:53 -s wrr -p 300
-a -u 10.0.0.100:53 -r 10.0.0.1 -m -w 1
-a -u 10.0.0.100:53 -r 10.0.0.2 -m -w 3
-A -t 10.0.0.100:22 -s rr
-a -t 10.0.0.100:22 -r 10.0.0.1 -m
`

const after = `
-A -t 10.0.0.100:80 -s mh
-a -t 10.0.0.100:80 -r 10.0.0.1 -g -w 1
-a -t 10.0.0.100:80 -r 10.0.0.2 -g -w 0
-a -t 10.0.0.100:80 -r 10.0.0.3 -g -w 2
-A -u 10.0.0.100:53 -s wrr -p 300
-a -u 10.0.0.100:53 -r 10.0.0.1 -i -w 1 -x 100
-A -t 10.0.0.100:22 -s rr
-a -t 10.0.0.100:22 -r 10.0.0.1 -m
-A -t 10.0.0.101:443 -s rr -p 60
-a -t 10.0.0.101:443 -r 10.0.0.1 -m
`

const planned = `~ UDP 10.0.0.100:53
    ~ 10.0.0.1:53  25.0% -> 100.0%  forwarding Masq -> Tunnel, upper threshold none -> 100
    - 10.0.0.2:53  75.0% -> gone

~ TCP 10.0.0.100:80
      10.0.0.1:80  24.9% -> 33.4%
    ~ 10.0.0.2:80  24.8% -> 0.0%   weight 1 -> 0
      10.0.0.3:80  50.3% -> 66.6%
    24.9% of the clients get another server

+ TCP 10.0.0.101:443  rr persistent 60 s
    + 10.0.0.1:443  100.0%  Masq weight 1

1 service unchanged

Warnings
  UDP 10.0.0.100:53: 10.0.0.1:53 changes from Masq to Tunnel: connections that are there stay with Masq, so the server has to be set up for both
  UDP 10.0.0.100:53: 10.0.0.2:53 is removed, not drained: the packets of its connections are dropped until it returns; weight 0 lets them end first
  TCP 10.0.0.100:80: 10.0.0.2:80 gets weight 0 with mh: the table is made without it, and new connections of its clients go elsewhere at once
  10.0.0.1 serves TCP 10.0.0.100:22 by Masq and UDP 10.0.0.100:53 by Tunnel: it needs the set-up of both
`

func TestPlanOfRules(t *testing.T) {
	p := Compare(rules(t, before), rules(t, after))
	var out bytes.Buffer
	_, err := p.WriteTo(&out)
	require.NoError(t, err)
	require.Equal(t, planned, out.String())
	require.False(t, p.Same())
	text, err := json.Marshal(p)
	require.NoError(t, err)
	require.Contains(t, string(text), `"service":"TCP 10.0.0.100:80","change":"changed"`)
}

func TestNothingChanges(t *testing.T) {
	p := Compare(rules(t, before), rules(t, before))
	require.True(t, p.Same())
	var out bytes.Buffer
	_, err := p.WriteTo(&out)
	require.NoError(t, err)
	require.Equal(t, "Nothing changes.\n", out.String())
}

// pair is one of a pair of directors, by its parts that tests change.
func pair(advert int, vips, extra string) string {
	return fmt.Sprintf(`
vrrp_instance web {
	state MASTER
	interface eth0
	virtual_router_id 51
	priority 150
	advert_int %d
	authentication {
		auth_type PASS
		auth_pass secret
	}
	virtual_ipaddress {
		%s
	}
}
%s
`, advert, vips, extra)
}

func server(port, weight int) string {
	return fmt.Sprintf(`
virtual_server 10.0.0.100 80 {
	lb_algo wlc
	lb_kind NAT
	protocol TCP
	quorum 2
	real_server 10.0.0.1 %d {
		weight %d
	}
	real_server 10.0.0.2 80 {
	}
}`, port, weight)
}

func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		conf           bool
		want           string // part of a warning; empty: none
	}{
		{"a scheduler without memory", "-A -t 10.0.0.100:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.1", "-A -t 10.0.0.100:80 -s wlc\n-a -t 10.0.0.100:80 -r 10.0.0.1", false, ""},
		{"a scheduler with memory", "-A -t 10.0.0.100:80 -s sh\n-a -t 10.0.0.100:80 -r 10.0.0.1", "-A -t 10.0.0.100:80 -s wlc\n-a -t 10.0.0.100:80 -r 10.0.0.1", false, "clients that sh sends to one server get others"},
		{"persistence goes", "-A -t 10.0.0.100:80 -s rr -p 50\n-a -t 10.0.0.100:80 -r 10.0.0.1", "-A -t 10.0.0.100:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.1", false, "persistence goes"},
		{"granularity", "-A -t 10.0.0.100:80 -s rr -p 50\n-a -t 10.0.0.100:80 -r 10.0.0.1", "-A -t 10.0.0.100:80 -s rr -p 50 -M 255.255.255.0\n-a -t 10.0.0.100:80 -r 10.0.0.1", false, "templates that are there are not found"},
		{"a persistent server is drained", "-A -t 10.0.0.100:80 -s rr -p 50\n-a -t 10.0.0.100:80 -r 10.0.0.1\n-a -t 10.0.0.100:80 -r 10.0.0.2", "-A -t 10.0.0.100:80 -s rr -p 50\n-a -t 10.0.0.100:80 -r 10.0.0.1 -w 0\n-a -t 10.0.0.100:80 -r 10.0.0.2", false, "expire_quiescent_template"},
		{"a service goes", "-A -t 10.0.0.100:80 -s rr", "-A -t 10.0.0.100:81 -s rr\n-a -t 10.0.0.100:81 -r 10.0.0.1", false, "goes with its connections"},
		{"no servers", "-A -t 10.0.0.100:80 -s rr", "-A -t 10.0.0.100:80 -s wlc", false, "has no servers"},
		{"no weight", "-A -t 10.0.0.100:80 -s rr", "-A -t 10.0.0.100:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.1 -w 0", false, "every server has weight 0"},
		{"the drained server goes", "-A -t 10.0.0.100:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.1 -w 0\n-a -t 10.0.0.100:80 -r 10.0.0.2", "-A -t 10.0.0.100:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.2", false, ""},
		{"advert_int", pair(1, "10.0.0.100", ""), pair(2, "10.0.0.100", ""), true, "both become master"},
		{"addresses", pair(1, "10.0.0.100", ""), pair(1, "10.0.0.100\n10.0.0.101", ""), true, "adverts with other addresses are dropped"},
		{"the router's id", pair(1, "10.0.0.100", ""), strings.Replace(pair(1, "10.0.0.100", ""), "id 51", "id 52", 1), true, "sends priority 0"},
		{"a moving address", pair(1, "10.0.0.100\n10.0.0.101", ""), pair(1, "10.0.0.101", "vrrp_instance b {\ninterface eth0\nvirtual_router_id 7\nvirtual_ipaddress {\n10.0.0.100\n}\n}"), true, "10.0.0.100 moves from vrrp_instance web to b"},
		{"a tight quorum", "", server(80, 1), true, "lost when one server fails"},
		{"a quorum with reserves", "", server(80, 5), true, "lost when one server fails"},
		{"the sync id", "global_defs {\nlvs_sync_daemon eth0 web id 3\n}\n" + pair(1, "10.0.0.100", ""), "global_defs {\nlvs_sync_daemon eth0 web id 4\n}\n" + pair(1, "10.0.0.100", ""), true, "connections are not synchronised"},
	} {
		t.Run(c.name, func(t *testing.T) {
			read := rules
			if c.conf {
				read = conf
			}
			p := Compare(read(t, c.from), read(t, c.to))
			if c.want == "" {
				assert.Empty(t, p.Warnings)
				return
			}
			assert.True(t, slices.ContainsFunc(p.Warnings, func(w string) bool { return strings.Contains(w, c.want) }), "%q", p.Warnings)
		})
	}
}

// The name is not what makes an instance the same.
func TestInstancesAreTheSameByTheirID(t *testing.T) {
	p := Compare(conf(t, pair(1, "10.0.0.100", "")), conf(t, strings.Replace(pair(1, "10.0.0.100", ""), "instance web", "instance www", 1)))
	require.Len(t, p.Instances, 1)
	require.Equal(t, Changed, p.Instances[0].Kind)
	require.Equal(t, []Field{{"name", "web", "www"}}, p.Instances[0].Fields)
}

// Routes are listed by their owner, those of instances that come or go, too.
func TestRoutes(t *testing.T) {
	routes := func(name, list string) string { return name + " {\n" + list + "\n}\n" }
	with := func(static, virtual string) string {
		return routes("static_routes", static) + strings.Replace(pair(1, "10.0.0.100", ""), "virtual_ipaddress", routes("virtual_routes", virtual)+"virtual_ipaddress", 1)
	}
	from := conf(t, with("10.1.0.0/16 via 10.0.0.1 dev eth0", "10.2.0.0/16 via 10.0.0.1 dev eth0\n10.3.0.0/16 via 10.0.0.1 dev eth0"))
	to := conf(t, with("10.1.0.0/16 via 10.0.0.2 dev eth0", "10.3.0.0/16 via 10.0.0.1 dev eth0\nblackhole 10.4.0.0/16 no_track"))
	p := Compare(from, to)
	require.Empty(t, p.Instances)
	require.False(t, p.Same())
	var out bytes.Buffer
	_, err := p.WriteTo(&out)
	require.NoError(t, err)
	require.Equal(t, `  routes of static_routes
    - 10.1.0.0/16 via 10.0.0.1 dev eth0
    + 10.1.0.0/16 via 10.0.0.2 dev eth0

  routes of vrrp_instance web
    - 10.2.0.0/16 via 10.0.0.1 dev eth0
    + blackhole 10.4.0.0/16
`, out.String())
	require.Empty(t, Compare(from, from).Routes)

	other := conf(t, strings.Replace(with("10.1.0.0/16 via 10.0.0.1 dev eth0", "10.2.0.0/16 via 10.0.0.1 dev eth0"), "id 51", "id 52", 1))
	require.Equal(t, []Route{
		{"vrrp_instance web", Removed, "10.2.0.0/16 via 10.0.0.1 dev eth0"},
		{"vrrp_instance web", Removed, "10.3.0.0/16 via 10.0.0.1 dev eth0"},
		{"vrrp_instance web", Added, "10.2.0.0/16 via 10.0.0.1 dev eth0"},
	}, Compare(from, other).Routes)
}

func TestConnections(t *testing.T) {
	p := Compare(rules(t, before), rules(t, after))
	at := netip.MustParseAddrPort
	conns := []ipvs.ConnEntry{
		{Protocol: ipvs.TCP, Client: at("192.0.2.1:1"), Virtual: at("10.0.0.100:80"), Real: at("10.0.0.2:80")},
		{Protocol: ipvs.TCP, Client: at("192.0.2.1:2"), Virtual: at("10.0.0.100:80"), Real: at("10.0.0.3:80")},
		{Protocol: ipvs.UDP, Client: at("192.0.2.1:3"), Virtual: at("10.0.0.100:53"), Real: at("10.0.0.2:53")},
		{Protocol: ipvs.UDP, Client: at("192.0.2.1:0"), Virtual: at("10.0.0.100:53"), Real: at("10.0.0.2:53"), Template: true},
		{Protocol: ipvs.UDP, Client: at("192.0.2.2:0"), Virtual: at("10.0.0.100:53"), Real: at("10.0.0.1:53"), Template: true},
		{Protocol: ipvs.TCP, Client: at("192.0.2.1:4"), Virtual: at("10.0.0.100:22"), Real: at("10.0.0.1:22")},
	}
	require.NoError(t, p.Connections(func(yield func(*ipvs.ConnEntry) bool) error {
		for i := range conns {
			if !yield(&conns[i]) {
				break
			}
		}
		return nil
	}))
	require.Equal(t, &Live{Connections{Stay: 2, Cut: 1, Followed: 1, Forgotten: 1}, 1}, p.Live)
	var out bytes.Buffer
	_, err := p.WriteTo(&out)
	require.NoError(t, err)
	require.Contains(t, out.String(), "Connections now: 1 cut, 2 stay, 1 templates forgotten, 1 templates kept; 1 of other services\n")
	require.Regexp(t, `- 10.0.0.2:53  75.0% -> gone +1 cut, 1 templates forgotten\n`, out.String())
}

func bench(t *testing.T, text string) *explain.Bench {
	t.Helper()
	b, err := explain.New(explain.Options{}, "test.rules", strings.NewReader(text))
	require.NoError(t, err)
	return b
}

func TestClientsOfACapture(t *testing.T) {
	player := NewPlayer(
		bench(t, "-A -t 10.0.0.100:80 -s sh\n-a -t 10.0.0.100:80 -r 10.1.0.1 -m\n-a -t 10.0.0.100:80 -r 10.1.0.2 -m\n-A -t 10.0.0.100:81 -s rr\n-a -t 10.0.0.100:81 -r 10.1.0.1 -m"),
		bench(t, "-A -t 10.0.0.100:80 -s sh\n-a -t 10.0.0.100:80 -r 10.1.0.1 -m"))
	frame := func(packet string) {
		p, err := explain.ParsePacket(packet)
		require.NoError(t, err)
		for _, f := range p.Frames(wire.MAC{2, 0, 0, 0, 0, 1}, wire.MAC{2, 0, 0, 0, 0, 2}) {
			require.NoError(t, player.Frame(f.Bytes(), f.Medium))
		}
	}
	for i := range 20 {
		frame(fmt.Sprintf("tcp 192.0.2.%d:1000 > 10.0.0.100:80 S", i+1))
		frame(fmt.Sprintf("tcp 192.0.2.%d:1000 > 10.0.0.100:80 S", i+1)) // again
		frame(fmt.Sprintf("tcp 192.0.2.%d:1000 > 10.0.0.100:80 A", i+1))
	}
	frame("tcp 192.0.2.1:1001 > 10.0.0.100:81 S")
	frame("udp 192.0.2.1:1001 > 10.0.0.100:9")
	p := &Plan{}
	p.Played(player)
	require.Equal(t, 20, p.Flows.Same+p.Flows.Moved)
	require.Positive(t, p.Flows.Moved)
	require.Positive(t, p.Flows.Same)
	require.Equal(t, 1, p.Flows.Lost)
	require.Equal(t, 1, p.Flows.Unserved)
	require.NoError(t, player.Frame([]byte{1, 2, 3}, wire.Ethernet))
}
