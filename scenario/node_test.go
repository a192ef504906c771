package scenario

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pair is a network with two directors that run by a keepalived.conf.
const pair = `# A pair.
VIP=10.0.0.100
switch lan
director a lan 10.0.0.1/24 keepalived {
    ! a brace in a comment: {
    vrrp_script chk {
        script "/bin/chk {"
        interval 1
    }
    vrrp_instance VI_1 {
        interface eth0
        virtual_router_id 51
        priority 150
        track_script {
            chk
        }
        virtual_ipaddress {
            $VIP
        }
    }
}
director b lan 10.0.0.2/24 keepalived b.conf
client c lan 10.0.0.9/24
server rs1 lan 10.0.0.11/24
`

const pairData = `-- b.conf --
include both.conf
@b virtual_server 10.0.0.100 80 {
@b     lb_algo rr
@b     lb_kind DR
@b     protocol TCP
@b     real_server 10.0.0.11 80 {
@b         TCP_CHECK {
@b             connect_timeout 1
@b         }
@b     }
@b }
-- both.conf --
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority 100
    virtual_ipaddress {
        10.0.0.100
    }
}
`

func parsePair(t *testing.T, lines string) (*File, error) {
	t.Helper()
	return Parse("x.txt", []byte(pair+lines+"\n"+pairData))
}

func TestParseKeepalived(t *testing.T) {
	f, err := parsePair(t, "wait 1s")
	require.NoError(t, err)
	k := f.Topology.Node("a").Keepalived
	require.Equal(t, "x.txt a", k.Name+" "+k.Host)
	require.Contains(t, k.Text, "            10.0.0.100\n")
	require.Equal(t, "    ! a brace in a comment: {", strings.Split(k.Text, "\n")[4], "lines are counted as in the scenario")
	cfg, err := k.Parse()
	require.NoError(t, err)
	require.Len(t, cfg.Instances, 1)

	k = f.Topology.Node("b").Keepalived
	require.Equal(t, "b.conf b", k.Name+" "+k.Host)
	cfg, err = k.Parse()
	require.NoError(t, err)
	require.Len(t, cfg.Instances, 1)
	require.Len(t, cfg.VirtualServers, 1, "lines with @ are for one host")

	reason, ok := f.For("netns")
	require.False(t, ok)
	require.Equal(t, reasonSimOnly, reason)
	_, ok = f.For("sim")
	require.True(t, ok)
}

func TestParseDisturbances(t *testing.T) {
	vip := netip.MustParseAddr("10.0.0.100")
	web := netip.AddrPortFrom(vip, 80)
	for line, want := range map[string]Action{
		"pause a 3s":                          &Disturbance{Do: Pause, Node: "a", For: 3 * time.Second},
		"in 2s crash rs1":                     &Disturbance{In: 2 * time.Second, Do: Crash, Node: "rs1"},
		"restart a":                           &Disturbance{Do: Restart, Node: "a"},
		"skew a 1.05":                         &Disturbance{Do: Skew, Node: "a", Factor: 1.05},
		"stop a":                              &Disturbance{Do: Stop, Node: "a"},
		"start a":                             &Disturbance{Do: Start, Node: "a"},
		"script a chk exits 1":                &Disturbance{Do: Script, Node: "a", Name: "chk", Value: 1},
		"script a chk hangs":                  &Disturbance{Do: Script, Node: "a", Name: "chk", Hangs: true},
		"file a /tmp/x -5":                    &Disturbance{Do: TrackFile, Node: "a", Name: "/tmp/x", Value: -5},
		"process b haproxy 0":                 &Disturbance{Do: Process, Node: "b", Name: "haproxy"},
		"serve rs1 http:80 off":               &Disturbance{Do: Serve, Node: "rs1", Port: 80},
		"serve rs1 http:80 on":                &Disturbance{Do: Serve, Node: "rs1", Port: 80, Up: true},
		"serve rs1 http:80 slow 3s":           &Disturbance{Do: Serve, Node: "rs1", Port: 80, Up: true, For: 3 * time.Second},
		"serve rs1 http:80 status 503":        &Disturbance{Do: Serve, Node: "rs1", Port: 80, Up: true, Value: 503},
		"in 1s multicast lan off":             &Multicast{In: time.Second, Switch: "lan"},
		"multicast lan on":                    &Multicast{Switch: "lan", On: true},
		"expect a MASTER VI_1 within 4s":      &ExpectState{Node: "a", State: "MASTER", Instance: "VI_1", Within: 4 * time.Second},
		"expect vip $VIP at b a":              &ExpectVIP{Addr: vip, At: []string{"a", "b"}},
		"expect vip $VIP at nobody within 1s": &ExpectVIP{Addr: vip, Within: time.Second},
		"expect health b $VIP:80 up":          &ExpectHealth{Node: "b", Service: web, Up: true},
		"expect health b $VIP:80 rs1 down within 12s": &ExpectHealth{
			Node: "b", Service: web, Who: "rs1", Server: []netip.Addr{netip.MustParseAddr("10.0.0.11")}, Within: 12 * time.Second},
	} {
		f, err := parsePair(t, line)
		require.NoError(t, err, line)
		require.Equal(t, want, f.Steps[0].Do, line)
	}
	f, err := parsePair(t, "reload a both.conf")
	require.NoError(t, err)
	require.Equal(t, "both.conf", f.Steps[0].Do.(*Disturbance).Config.Name)
}

func TestParseNodeMistakes(t *testing.T) {
	for line, want := range map[string]string{
		"pause nobody 3s":             `no machine called "nobody"`,
		"pause a":                     "how long is missing",
		"skew a 0":                    "want a number like 1.05",
		"skew a NaN":                  "want a number like 1.05",
		"skew rs1 2":                  "rs1 is no director",
		"in 1s wait 3s":               `"wait" cannot be put off`,
		"reload a nothing.conf":       "there is no `-- nothing.conf --`",
		"reload a bad.conf":           "bad.conf:",
		"script a chk says 1":         `want "exits", found "says"`,
		"script a chk exits 256":      "want a number from 0 to 255",
		"serve rs1 http:81 off":       "rs1 does not serve http:81",
		"serve rs1 udp:53 off":        "rs1 does not serve udp:53",
		"serve rs1 http:80 fast":      "want one of on, off, slow, status",
		"multicast wan off":           `no switch called "wan"`,
		"multicast lan maybe":         "want one of on, off",
		"expect a MASTER":             "the instance's name is missing",
		"expect c MASTER VI_1":        "c is no director",
		"expect vip $VIP at c":        "c is no director",
		"expect vip $VIP by a":        `want "at", found "by"`,
		"expect health a $VIP:80 rs1": "up or down is missing",
		"expect health d $VIP:80 up":  `no machine called "d"`,
	} {
		_, err := Parse("x.txt", []byte(pair+line+"\n"+pairData+"-- bad.conf --\nvrrp_instance VI_1 {\n  priority none\n}\n"))
		require.ErrorContains(t, err, want, line)
	}
	for text, want := range map[string]string{
		"switch l\ndirector a l 10.0.0.1/24 keepalived {\nvrrp_instance V {\n":                  "has no end",
		"switch l\ndirector a l 10.0.0.1/24 keepalived {\nvrrp_instance V {\n}\n} x\nwait 1s\n": "stands alone",
		"switch l\ndirector a l 10.0.0.1/24 keepalived { x\n}\n":                                "begins on the next line",
		"switch l\ndirector a l 10.0.0.1/24 keepalived no.conf\nwait 1s\n":                      "there is no `-- no.conf --`",
		"switch l\nserver a l 10.0.0.1/24 keepalived {\n}\n":                                    "is neither a switch nor an address",
		"switch l\n\n\ndirector a l 10.0.0.1/24 keepalived {\n  nonsense\n}\nwait 1s\n":         "x.txt:5:",
		"switch l\ndirector a l 10.0.0.1/24\nstop a\n":                                          "a has no keepalived.conf",
	} {
		_, err := Parse("x.txt", []byte(text))
		require.ErrorContains(t, err, want, text)
	}
}

func TestBraces(t *testing.T) {
	for line, want := range map[string]int{
		"a {": 1, "}": -1, "a { b } {": 1, "# {": 0, "a ! {": 0, `script "x {"`: 0, "a {#}": 1, "": 0,
	} {
		require.Equal(t, want, braces(line), line)
	}
}

// TestNodeExpectationsFail with what there was instead.
func TestNodeExpectationsFail(t *testing.T) {
	for lines, want := range map[string]string{
		"expect a MASTER VI_1":                                        "VI_1 of a is INIT, not MASTER",
		"expect a MASTER VI_2":                                        "a has no instance VI_2",
		"wait 5s\nexpect vip $VIP at b":                               "10.0.0.100 is at a, not at b",
		"expect vip $VIP at a within 1s":                              "10.0.0.100 is at nobody, not at a",
		"expect health b $VIP:81 up":                                  "b has no virtual server 10.0.0.100:81:",
		"expect health b $VIP:80 c up":                                "10.0.0.100:80 has no server c",
		"wait 5s\nexpect health b $VIP:80 rs1 down within 1s":         "[10.0.0.11]:tcp:80 is up on b",
		"serve rs1 http:80 off\nwait 70s\nexpect health b $VIP:80 up": "10.0.0.100:80 is down on b",
		"crash a\nexpect a MASTER VI_1":                               "keepalived does not run on a",
		"stop a\nexpect a MASTER VI_1":                                "keepalived does not run on a",
		"start a":                                                     "keepalived runs already",
		"a$ usvs vrrp\n| VI_2 *":                                      "the output has no line",
		"crash a\na$ usvs vrrp":                                       "a does not respond",
	} {
		f, err := parsePair(t, lines)
		require.NoError(t, err, lines)
		require.ErrorContains(t, Run(f, NewSim(1), Options{World: "sim"}), want, lines)
	}
}

func TestDisturbancesHappen(t *testing.T) {
	for _, lines := range []string{
		"expect a MASTER VI_1 within 4s\nin 1s stop a\nwait 500ms\nexpect vip $VIP at a\nexpect vip $VIP at b within 2s\nin 1s start a\nexpect vip $VIP at a within 6s",
		"expect a MASTER VI_1 within 4s\nin 1s crash a\nexpect vip $VIP at b within 6s\nin 1s restart a\nexpect vip $VIP at a within 8s",
		"crash rs1\nhttp c -> rs1:80 timeout 500ms\nexpect failed 1\nrestart rs1\nhttp c -> rs1:80 timeout 9s\nexpect answered rs1 1",
		"in 1s pause rs1 2s\nwait 1100ms\nhttp c -> rs1:80 timeout 500ms\nexpect failed 1 timeout\nwait 2s\nhttp c -> rs1:80\nexpect answered rs1 1",
		"serve rs1 http:80 slow 2s\nhttp c -> rs1:80 timeout 1s\nexpect failed 1 timeout\nserve rs1 http:80 on\nhttp c -> rs1:80\nexpect answered rs1 1",
		"serve rs1 http:80 status 503\nhttp c -> rs1:80\nexpect failed 1 garbled",
		"script a chk hangs\nexpect a FAULT VI_1 within 5s\nscript a chk exits 0\nexpect a MASTER VI_1 within 9s",
		"reload b both.conf\nb$ ipvsadm -Ln\n|! TCP *",
		"expect a MASTER VI_1 within 4s\nmulticast lan off\nexpect vip $VIP at a b within 4s\nin 1s multicast lan on\nexpect vip $VIP at a within 3s",
		"expect health b $VIP:80 rs1 up\nb$ usvs health\n| *:80 *",
	} {
		f, err := parsePair(t, lines)
		require.NoError(t, err, lines)
		require.NoError(t, Run(f, NewSim(1), Options{World: "sim"}), lines)
	}
}
