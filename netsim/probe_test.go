package netsim

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/health"
	"usvs/netsim/http"
	"usvs/netsim/tcp"
)

// smtp answers like a mail server: a greeting, and a line for each line.
func smtp(banner, hello string) func(clock.Instant, *tcp.Conn) tcp.Events {
	return func(now clock.Instant, c *tcp.Conn) tcp.Events {
		say := func(now clock.Instant, line string) { _, _ = c.Write(now, []byte(line+"\r\n")) }
		say(now, banner)
		var in []byte
		return tcp.Events{Readable: func(now clock.Instant, c *tcp.Conn) {
			var b [512]byte
			n, _ := c.Read(now, b[:])
			in = append(in, b[:n]...)
			for {
				line, rest, ok := strings.Cut(string(in), "\r\n")
				if !ok {
					return
				}
				in = []byte(rest)
				if strings.HasPrefix(line, "QUIT") {
					say(now, "221 bye")
					c.Close(now)
					continue
				}
				say(now, hello)
			}
		}}
	}
}

// checked is a director that looks at one server with one check.
type checked struct {
	*Net
	d      *Director
	server *Host
}

// gone makes the server silent: its MAC address is known, so that not even the
// director's own ARP says that it is not there.
func gone(c *checked) {
	c.d.SetNeighbour(c.d.Port("eth0"), addrPort("10.0.0.2:0").Addr(), c.server.Port("eth0").MAC())
	c.server.Crash()
}

func newChecked(t *testing.T, check string, prepare func(*checked)) *checked {
	t.Helper()
	n := New(3)
	c := &checked{Net: n, d: n.Director("d"), server: n.Host("rs")}
	n.Link(c.d.NIC("eth0", "10.0.0.1/24"), c.server.NIC("eth0", "10.0.0.2/24"), LinkOptions{Delay: time.Millisecond})
	if prepare != nil {
		prepare(c)
	}
	require.NoError(t, c.d.StartKeepalived(Keepalived{Text: `
vrrp_track_file f {
    file "/run/f"
}
virtual_server 10.0.0.100 80 {
    delay_loop 2
    lb_algo rr
    lb_kind NAT
    protocol TCP
    real_server 10.0.0.2 80 {
        weight 5
        ` + check + `
    }
}
`}))
	c.Run(10 * time.Second)
	return c
}

// state is whether the server is up, and what was said of it last.
func (c *checked) state() string {
	s := c.d.Node().Status(c.Now()).Health.Services[0].Servers[0]
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", upDown(s.Up), s.Checks[0].Reason, s.Checks[0].Cause))
}

func TestChecks(t *testing.T) {
	web := func(status int, body string) func(*checked) {
		return func(c *checked) {
			_, err := c.server.Serve(80, http.Serve(func(string) http.Answer { return http.Answer{Status: status, Body: []byte(body)} }))
			require.NoError(t, err)
		}
	}
	slow := func(c *checked) { web(200, "")(c); c.server.Service(80).SetDelay(time.Hour) }
	mail := func(banner, hello string) func(*checked) {
		return func(c *checked) {
			_, err := c.server.Serve(25, smtp(banner, hello))
			require.NoError(t, err)
		}
	}
	dns := func(rcode byte) func(*checked) {
		return func(c *checked) {
			u, err := c.server.UDP(addrPort("10.0.0.2:53"))
			require.NoError(t, err)
			u.OnReceive = func(d Datagram) {
				answer := append([]byte(nil), d.Payload...)
				_ = u.Send(d.From, append([]byte{answer[0], answer[1], 0}, answer[3:]...)) // no answer
				answer[2], answer[3] = answer[2]|0x80, rcode
				_ = u.Send(d.From, answer)
			}
		}
	}
	const timing = "connect_timeout 1\nretry 0\n"
	get := func(url string) string { return "HTTP_GET {\nurl {\npath /\n" + url + "\n}\n" + timing + "}" }
	for _, c := range []struct {
		name, check string
		prepare     func(*checked)
		want        string
	}{
		{"TCP", "TCP_CHECK {\n" + timing + "}", web(200, ""), "up"},
		{"TCP refused", "TCP_CHECK {\n" + timing + "}", nil, "down failed connection refused"},
		{"TCP of nobody", "TCP_CHECK {\n" + timing + "}", gone, "down timeout"},
		{"HTTP", get(""), web(204, ""), "up"},
		{"HTTP status", get(""), web(503, ""), "down HTTP status code error to the status is 503"},
		{"HTTP wanted status", get("status_code 503"), web(503, ""), "up"},
		{"HTTP digest", get("digest 5d41402abc4b2a76b9719d911017c592"), web(200, "hello"), "up"},
		{"HTTP other digest", get("digest 5d41402abc4b2a76b9719d911017c592"), web(200, "hallo"), "down MD5 digest error to the digest is 598d4c200461b81522a3328565c25f7c"},
		{"HTTP regex", get(`regex "h.l+o"`), web(200, "hello"), "up"},
		{"HTTP other regex", get(`regex "h.l+o"`), web(200, "bye"), "down Regex match failed"},
		{"HTTP refused", get(""), nil, "down Connection failed connection refused"},
		{"HTTP hangs", get(""), slow, "down Timeout WEB read"},
		{"HTTP of nobody", get(""), gone, "down Timeout connecting"},
		{"SSL", "SSL_GET {\nurl {\npath /\n}\n" + timing + "}", web(200, ""), "up"},
		{"SMTP", "SMTP_CHECK {\nconnect_port 25\n" + timing + "}", mail("220-rs\r\n220 rs", "250 rs"), "up"},
		{"SMTP banner", "SMTP_CHECK {\nconnect_port 25\n" + timing + "}", mail("554 no", "250 rs"), `down Bad greeting banner from server it says "554 no"`},
		{"SMTP hello", "SMTP_CHECK {\nconnect_port 25\n" + timing + "}", mail("220 rs", "500 what"), `down Bad HELO response from server it says "500 what"`},
		{"SMTP refused", "SMTP_CHECK {\nconnect_port 25\n" + timing + "}", nil, "down Could not connect to server connection refused"},
		{"SMTP hangs", "SMTP_CHECK {\nconnect_port 25\n" + timing + "}", func(c *checked) {
			_, err := c.server.Serve(25, func(clock.Instant, *tcp.Conn) tcp.Events { return tcp.Events{} })
			require.NoError(t, err)
		}, "down Read timeout from server"},
		{"DNS", "DNS_CHECK {\nconnect_port 53\ntype A\nname example.org\n" + timing + "}", dns(0), "up"},
		{"DNS error", "DNS_CHECK {\nconnect_port 53\n" + timing + "}", dns(2), "down read error occurred. (rcode = 2)"},
		{"DNS silence", "DNS_CHECK {\nconnect_port 53\n" + timing + "}", gone, "down read timeout from socket"},
		{"UDP", "UDP_CHECK {\nconnect_port 53\n" + timing + "}", func(c *checked) { echo(t, c.server, "10.0.0.2:53") }, "up"},
		{"UDP silence is fine", "UDP_CHECK {\nconnect_port 53\n" + timing + "}", gone, "up"},
		{"UDP unreachable", "UDP_CHECK {\nconnect_port 53\n" + timing + "}", nil, "down failed 10.0.0.2: ICMP port unreachable"},
		{"UDP reply", "UDP_CHECK {\nconnect_port 53\npayload 6162\nrequire_reply 7273XX61\n" + timing + "}", func(c *checked) { echo(t, c.server, "10.0.0.2:53") }, "up"},
		{"UDP other reply", "UDP_CHECK {\nconnect_port 53\npayload 6162\nrequire_reply 7374\n" + timing + "}", func(c *checked) { echo(t, c.server, "10.0.0.2:53") }, "down failed the reply is not the one that is asked for"},
		{"UDP no reply", "UDP_CHECK {\nconnect_port 53\nrequire_reply\n" + timing + "}", gone, "down failed there was no reply"},
		{"ping", "PING_CHECK {\n" + timing + "}", nil, "up"},
		{"ping of nobody", "PING_CHECK {\n" + timing + "}", gone, "down timeout"},
		{"script", "MISC_CHECK {\nmisc_path \"/bin/look at\"\nmisc_timeout 1\n}", nil, "up"},
		{"script fails", "MISC_CHECK {\nmisc_path \"/bin/look at\"\nmisc_timeout 1\n}", func(c *checked) { c.d.SetScript("look", Script{Status: 1}) }, "down"},
		{"script hangs", "MISC_CHECK {\nmisc_path \"/bin/look at\"\nmisc_timeout 1\n}", func(c *checked) { c.d.SetScript("/bin/look at", Script{Hangs: true}) }, "down"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab := newChecked(t, c.check, c.prepare)
			require.Equal(t, c.want, lab.state(), lab.LogText())
			lab.Run(time.Minute)
			require.LessOrEqual(t, len(lab.d.probes.runs), 1, "attempts end")
			require.Less(t, len(lab.d.udp.bound), 2, "and give back their sockets")
		})
	}
}

// TestScriptsDecideTheWeight, and tracked files.
func TestScriptsDecideTheWeight(t *testing.T) {
	c := newChecked(t, "MISC_CHECK {\nmisc_path /bin/look\nmisc_dynamic\n}", nil)
	c.d.SetScript("look", Script{Status: 12})
	c.Run(5 * time.Second)
	require.Contains(t, c.d.MustExec("ipvsadm -Ln"), "Masq    10 ")

	c = newChecked(t, "FILE_CHECK {\ntrack_file f\nweight 2\n}", nil)
	require.Contains(t, c.d.MustExec("ipvsadm -Ln"), "Masq    5 ")
	c.d.SetFile("/run/f", 4)
	c.Run(time.Second)
	require.Contains(t, c.d.MustExec("ipvsadm -Ln"), "Masq    13 ")
}

// TestServersThatScriptsFindFailing, and files: until they are well again, and
// also by a director that was off meanwhile.
func TestServersThatScriptsFindFailing(t *testing.T) {
	for _, check := range []string{"MISC_CHECK {\nmisc_path /bin/look\n}", "FILE_CHECK {\ntrack_file f\nweight 2\n}", "FILE_CHECK {\ntrack_file f\nweight -1\n}"} {
		c := newChecked(t, check, nil)
		up := func() bool { return c.d.Node().Status(c.Now()).Health.Services[0].Servers[0].Up }
		require.True(t, up())
		c.d.SetServerFails(addrPort("10.0.0.2:0").Addr(), true)
		c.d.SetServerFails(addrPort("10.0.0.3:0").Addr(), true)
		c.Run(5 * time.Second)
		require.False(t, up(), check)
		c.d.Crash()
		c.Run(time.Second)
		c.d.Restart()
		c.Run(5 * time.Second)
		require.False(t, up(), check)
		c.d.SetServerFails(addrPort("10.0.0.2:0").Addr(), false)
		c.Run(5 * time.Second)
		require.True(t, up(), check)
	}
}

// TestChecksByTheVIP: see scenarios/ha-check-path.txt for TCP; here are the other
// kinds, and what becomes of a director that is master meanwhile.
func TestChecksByTheVIP(t *testing.T) {
	for _, kind := range []string{"DR", "TUN"} {
		for check, port := range map[string]string{
			"HTTP_GET {\nurl {\npath /\n}\nconnect_timeout 1\nretry 0\ncheck_path vip\n}": "80",
			"UDP_CHECK {\nrequire_reply\nconnect_timeout 1\nretry 0\ncheck_path vip\n}":   "80",
			"PING_CHECK {\nconnect_timeout 1\nretry 0\ncheck_path vip\n}":                 "80",
			"SMTP_CHECK {\nconnect_timeout 1\nretry 0\ncheck_path vip\n}":                 "25",
			"DNS_CHECK {\nconnect_port 53\nconnect_timeout 1\nretry 0\ncheck_path vip\n}": "53",
		} {
			n := New(5)
			d, rs := n.Director("d"), n.Host("rs")
			n.Link(d.NIC("eth0", "10.0.0.1/24"), rs.NIC("eth0", "10.0.0.2/24"), LinkOptions{Delay: time.Millisecond})
			_, err := rs.Serve(80, http.Serve(page(rs)))
			require.NoError(t, err)
			_, err = rs.Serve(25, smtp("220 x", "250 x"))
			require.NoError(t, err)
			echo(t, rs, "0.0.0.0:80")
			u, err := rs.UDP(addrPort("0.0.0.0:53"))
			require.NoError(t, err)
			u.OnReceive = func(g Datagram) {
				answer := append([]byte(nil), g.Payload...)
				answer[2] |= 0x80
				_ = u.SendFrom(g.To.Addr(), g.From, answer)
			}
			require.NoError(t, d.StartKeepalived(Keepalived{Text: `
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority 255
    virtual_ipaddress {
        10.0.0.100
    }
}
virtual_server 10.0.0.100 ` + port + ` {
    delay_loop 2
    lb_algo rr
    lb_kind ` + kind + `
    protocol TCP
    real_server 10.0.0.2 ` + port + ` {
        ` + check + `
    }
}
`}))
			up := func() bool { return d.Node().Status(n.Now()).Health.Services[0].Servers[0].Up }
			n.Run(10 * time.Second)
			if !strings.HasPrefix(check, "PING") {
				require.False(t, up(), check)
			}
			rs.MustExec("usvs realserver up --vip 10.0.0.100 --mode " + strings.ToLower(kind))
			n.Run(10 * time.Second)
			require.True(t, up(), "%s %s\n%s", kind, check, n.LogText())
			require.NotContains(t, n.LogText(), "martian", "the host's stack does not see the answers")
		}
	}
}

func TestCancelledAttempts(t *testing.T) {
	c := newChecked(t, "TCP_CHECK {\nconnect_timeout 50\nretry 0\n}", gone)
	require.Len(t, c.d.probes.runs, 1)
	require.NoError(t, c.d.Reload(Keepalived{Text: "virtual_server 10.0.0.101 80 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nreal_server 10.0.0.3 80 {\n}\n}\n"}))
	require.Empty(t, c.d.probes.runs)
	c.d.probes.cancel(77)
	require.Zero(t, c.d.TCP().Len(), "the connection attempt is given up")
}

func TestSourceOfProbes(t *testing.T) {
	c := newChecked(t, "TCP_CHECK {\nconnect_timeout 1\n}", nil)
	rs := (&attempt{p: &health.Probe{Path: health.ViaVIP}}).forwarded()
	require.Nil(t, rs, "masquerading is not needed")
	a := &attempt{p: &health.Probe{Path: health.ViaVIP, Via: health.Via{}}}
	a.p.Via.Spec.Method = 0
	a.p.Via.Server.Addr, a.p.Via.Service.Port = netip.MustParseAddr("10.0.0.2"), 80
	require.Equal(t, addrPort("10.0.0.2:80"), a.target(), "a server of every port")
	_ = c
}
