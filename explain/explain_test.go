package explain

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/control"
	"usvs/director"
	"usvs/wire"
)

const webRules = `
-A -t 10.9.0.1:80 -s wlc
-a -t 10.9.0.1:80 -r 10.2.0.11:80 -g -w 1
-a -t 10.9.0.1:80 -r 10.2.0.12:80 -g -w 2
`

func ask(t *testing.T, o Options, rules string, packets ...string) *Report {
	t.Helper()
	b, err := New(o, "rules", strings.NewReader(rules))
	require.NoError(t, err)
	r, err := b.Answer(&Request{Packets: packets})
	require.NoError(t, err)
	return r
}

// What a described network makes of packets; docs/explain.md has the rest.
func TestNetworks(t *testing.T) {
	const (
		syn        = "tcp 198.51.100.7:40000 > 10.9.0.1:80 S"
		quoting    = "icmp 198.51.100.7 > 10.9.0.1 unreachable about tcp 10.9.0.1:80 > 198.51.100.7:40000"
		toOrigin   = "tcp 198.51.100.7:40000 > 10.2.0.99:80 S"
		cacheRules = "iptables -t mangle -A PREROUTING -d 10.2.0.0/24 -j MARK --set-mark 7\n-A -f 7 -s rr"
	)
	lan := Options{Interfaces: []string{"eth0=10.1.0.1/24", "eth1=10.2.0.1/24,mtu=1400"}, Routes: []string{"0.0.0.0/0 via 10.1.0.254"}}
	for _, tt := range []struct {
		name          string
		o             Options
		rules, packet string
		stage, want   string
		verdict       string
	}{
		{"two interfaces", lan, webRules, syn, "route", "to 10.2.0.12 on eth1, directly", "forwarded"},
		{"a smaller MTU", lan, webRules, syn + " len=1361 df", "mtu", "1401 bytes exceed 1400, and they must not be cut", "drop_too_big"},
		{"cut", lan, webRules, syn + " len=1361", "mtu", "it is cut into fragments", "forwarded"},
		{"no route", Options{Interfaces: []string{"eth0=10.1.0.1/24"}}, webRules, syn, "route", "none to 10.2.0.12", "drop_no_route"},
		{"TTL", lan, webRules, syn + " ttl=1", "answer", "ttl exceeded", "drop_ttl"},
		{"martian", Options{Interfaces: []string{"eth0=10.1.0.1/24"}}, webRules, "tcp 10.1.0.1:5 > 10.9.0.1:80 S", "connection", "none", "drop_martian"},
		{"own host, not carried", Options{Own: control.OwnHost}, webRules, syn, "address", "is not ours", "passed"},
		{"own host, carried", Options{Own: control.OwnHost, Addrs: []string{"10.9.0.1"}}, webRules, syn, "address", "is ours", "forwarded"},
		{"tun", Options{Interfaces: []string{"tun0,tun"}, Routes: []string{"0.0.0.0/0 dev tun0"}}, strings.ReplaceAll(webRules, "-g", "-m"), syn, "route", "on tun0", "forwarded"},
		{"local server", Options{}, "-A -t 10.9.0.1:80 -s rr\n-a -t 10.9.0.1:80 -r 100.64.0.1:8080 -m", syn, "sent", "to the host", "handed_to_host"},
		{"IPv6", Options{}, "-A -t [fd00::1]:80 -s rr\n-a -t [fd00::1]:80 -r [fd00::2]:8080 -m", "tcp [2001:db8::7]:5 > [fd00::1]:80 S", "rewrite", "IPv6 hop limit       64 -> 63", "forwarded"},
		{"IPv6 MTU", Options{Interfaces: []string{"eth0=fd00::9/64,mtu=1300"}, Routes: []string{"::/0 dev eth0"}},
			"-A -u [fd00::1]:53 -s rr\n-a -u [fd00::1]:53 -r [fd00::2]:53 -m", "udp [2001:db8::7]:5 > [fd00::1]:53 len=1400", "mtu", "not cut on the way", "drop_too_big"},
		{"SCTP", Options{}, "-A --sctp-service 10.9.0.1:9 -s rr\n-a --sctp-service 10.9.0.1:9 -r 10.2.0.11:9 -m", "sctp 198.51.100.7:5 > 10.9.0.1:9 data", "service", "only an INIT does", "answered"},
		{"one packet", Options{}, "-A -u 10.9.0.1:53 -s rr -o\n-a -u 10.9.0.1:53 -r 10.2.0.11:53 -m", "udp 198.51.100.7:5 > 10.9.0.1:53", "connection", "for this packet only", "forwarded"},
		{"initial mark", Options{}, "-A -f 5 -s rr\n-a -f 5 -r 10.2.0.11 -g", "tcp 1.2.3.4:5 > 100.64.0.1:80 S mark=5", "address", "because a service has mark 5", "forwarded"},
		{"unmarked", Options{}, "iptables -t mangle -A PREROUTING -d 10.9.0.1 -p udp -j MARK --set-mark 5\n" + webRules, syn, "mark", "none of the 1 mark rules matches", "forwarded"},
		{"ICMP error schedules", lan, "sysctl -w net.ipv4.vs.schedule_icmp=1\n" + webRules, quoting, "schedule", "opens one (schedule_icmp 1)", "forwarded"},
		{"ICMP error finds a service", lan, "sysctl -w net.ipv4.vs.schedule_icmp=1\n" + webRules, quoting, "connection", "new: TCP 198.51.100.7:40000 -> 10.9.0.1:80", "forwarded"},
		{"ICMP error without a service", lan, "sysctl -w net.ipv4.vs.schedule_icmp=1\n-A -t 10.9.0.1:81 -s rr", quoting, "service", "none for TCP 10.9.0.1:80", "ignored"},
		{"ICMP error without a server", lan, "sysctl -w net.ipv4.vs.schedule_icmp=1\n-A -t 10.9.0.1:80 -s rr", quoting, "scheduler", "nobody", "drop_related_no_server"},
		{"past the servers", lan, "sysctl -w net.ipv4.vs.cache_bypass=1\n" + cacheRules, toOrigin, "connection", "new, past all servers (cache_bypass 1): TCP 198.51.100.7:40000 -> 10.2.0.99:80 (Bypass)", "forwarded"},
		{"past the servers, route", lan, "sysctl -w net.ipv4.vs.cache_bypass=1\n" + cacheRules, toOrigin, "route", "to 10.2.0.99 on eth1, directly", "forwarded"},
		{"not past the servers", lan, cacheRules, toOrigin, "scheduler", "nobody", "drop_no_server"},
		{"drop_packet", lan, "sysctl -w net.ipv4.vs.drop_packet=3 net.ipv4.vs.am_droprate=4\n" + webRules, syn, "defence", "drop_packet 3 drops one of 4 packets that would open a connection: it is this one's turn", "drop_defence"},
		{"GRE", Options{}, "-A -t 10.9.0.1:80 -s rr\n-a -t 10.9.0.1:80 -r 10.2.0.11:80 -i --tun-type gre", syn, "sent", "gre [tcp 198.51.100.7", "forwarded"},
		{"GUE", Options{}, "-A -t 10.9.0.1:80 -s rr\n-a -t 10.9.0.1:80 -r 10.2.0.11:80 -i --tun-type gue --tun-port 6080", syn, "sent", "gue [tcp 198.51.100.7", "forwarded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := ask(t, tt.o, tt.rules, tt.packet)
			f := &r.Frames[0]
			require.Equal(t, tt.verdict, f.Verdict, f)
			require.Contains(t, said(f, tt.stage), tt.want)
		})
	}
}

func TestNetworkErrors(t *testing.T) {
	for _, o := range []Options{
		{Interfaces: []string{""}}, {Interfaces: []string{"eth0=10.1.0.1"}}, {Interfaces: []string{"eth0,mtu=x"}}, {Interfaces: []string{"eth0,mtu=20"}},
		{Addrs: []string{"host"}}, {Routes: []string{"10.0.0.0/8"}}, {Routes: []string{"10.0.0.0 dev eth0"}}, {Routes: []string{"10.0.0.0/8 dev eth7"}},
		{Routes: []string{"10.0.0.0/8 via here"}}, {Routes: []string{"10.0.0.0/8 by eth0"}}, {Routes: []string{"10.0.0.0/8 via 192.0.2.1"}},
	} {
		_, err := New(o, "rules", strings.NewReader(webRules))
		require.Error(t, err, "%+v", o)
	}
	b, err := New(Options{}, "rules", strings.NewReader(webRules))
	require.NoError(t, err)
	_, err = b.Answer(&Request{Packets: []string{"udp 1.2.3.4:5 > 10.9.0.1:53"}, Interface: "eth9"})
	require.ErrorContains(t, err, "eth9")
	_, err = b.Answer(&Request{Packets: make([]string, maxFrames+1)})
	require.ErrorContains(t, err, "too many")
}

// Captured frames are for the director whatever station they were sent to, and
// what cannot be read is said to be so.
func TestFrames(t *testing.T) {
	b, err := New(Options{}, "rules", strings.NewReader(webRules))
	require.NoError(t, err)
	p, err := ParsePacket("tcp 198.51.100.7:40000 > 10.9.0.1:80 S")
	require.NoError(t, err)
	frame := p.Frames(wire.MAC{2, 9}, wire.MAC{2, 8})[0].Bytes()
	r, err := b.Answer(&Request{Frames: []Captured{
		{frame, wire.Ethernet}, {frame[wire.EthernetLen:], wire.IP}, {frame[:20], wire.Ethernet}, {nil, wire.Ethernet}, {frame[:14], wire.Ethernet},
		{append(append([]byte{}, frame[:12]...), 0x81, 0, 0, 5, 8, 0, 0x45), wire.Ethernet},
	}})
	require.NoError(t, err)
	var verdicts []string
	for _, f := range r.Frames {
		verdicts = append(verdicts, f.Verdict)
	}
	require.Equal(t, []string{"forwarded", "forwarded", "drop_malformed", "drop_malformed", "drop_malformed", "drop_malformed"}, verdicts)
	_, err = b.Answer(&Request{Frames: []Captured{{make([]byte, wire.MaxFrame+1), wire.Ethernet}}})
	require.ErrorContains(t, err, "too long")
}

// Every verdict has its words.
func TestMeanings(t *testing.T) {
	n := 0
	for ; known(director.Reason(n)); n++ {
		require.NotEmpty(t, meanings[director.Reason(n)], director.Reason(n).String())
	}
	require.Len(t, meanings, n)
}

// known reports whether there is such a reason: another one has no name.
func known(r director.Reason) (ok bool) {
	defer func() { ok = recover() == nil }()
	_ = r.String()
	return true
}

func TestParsePacket(t *testing.T) {
	for _, tt := range []struct{ text, line string }{
		{"tcp 1.2.3.4:5 > 5.6.7.8:80", "tcp 1.2.3.4:5 > 5.6.7.8:80 A"},
		{"tcp 1.2.3.4:5 > 5.6.7.8:80 SA len=3 ttl=9 df mark=0x10", "tcp 1.2.3.4:5 > 5.6.7.8:80 SA"},
		{"udp [::1]:5 > [::2]:53", "udp [::1]:5 > [::2]:53"},
		{"sctp 1.2.3.4:5 > 5.6.7.8:80 init", "sctp 1.2.3.4:5 > 5.6.7.8:80"},
		{"icmp 1.2.3.4 > 5.6.7.8", "icmp 1.2.3.4 > 5.6.7.8 echo request"},
		{"icmp 1.2.3.4 > 5.6.7.8 reply", "icmp 1.2.3.4 > 5.6.7.8 echo reply"},
		{"icmp ::1 > ::2", "icmpv6 ::1 > ::2 echo request"},
		{"icmp ::1 > ::2 frag-needed mtu=1300 about udp [::2]:1 > [::3]:2", "icmpv6 ::1 > ::2 packet too big (mtu 1300) about udp [::2]:1 > [::3]:2"},
		{"icmp 1.2.3.4 > 5.6.7.8 ttl-exceeded about udp 5.6.7.8:1 > 9.9.9.9:2 len=8", "icmp 1.2.3.4 > 5.6.7.8 ttl exceeded about udp 5.6.7.8:1 > 9.9.9.9:2"},
	} {
		p, err := ParsePacket(tt.text)
		require.NoError(t, err, tt.text)
		f := p.Frames(wire.MAC{2, 1}, wire.MAC{2, 2})
		require.Len(t, f, 1)
		require.Equal(t, tt.line+", ", describe(f[0], parsed(t, f[0].Bytes()))[:len(tt.line)+2])
	}
	for _, text := range []string{
		"", "tcp", "arp 1.2.3.4 > 5.6.7.8", "tcp 1.2.3.4 > 5.6.7.8:80", "tcp 1.2.3.4:5 5.6.7.8:80", "tcp 1.2.3.4:5 > [::1]:80",
		"tcp 1.2.3.4:5 > 5.6.7.8:80 X", "udp 1.2.3.4:5 > 5.6.7.8:80 S", "tcp 1.2.3.4:5 > 5.6.7.8:80 ttl=256", "tcp 1.2.3.4:5 > 5.6.7.8:80 len=x",
		"tcp 1.2.3.4:5 > 5.6.7.8:80 frag=10", "tcp 1.2.3.4:5 > 5.6.7.8:80 what=1", "icmp 1.2.3.4:5 > 5.6.7.8", "icmp 1.2.3.4 > 5.6.7.8 unreachable",
		"icmp 1.2.3.4 > 5.6.7.8 echo about udp 1.1.1.1:1 > 2.2.2.2:2", "icmp 1.2.3.4 > 5.6.7.8 unreachable about udp [::1]:1 > [::2]:2",
	} {
		_, err := ParsePacket(text)
		require.Error(t, err, text)
	}
}

func parsed(t *testing.T, b []byte) *wire.Packet {
	var p wire.Packet
	require.Equal(t, wire.None, p.Parse(b, wire.Ethernet))
	return &p
}

// Whatever can be written can be made and explained.
func FuzzParsePacket(f *testing.F) {
	f.Add("tcp 1.2.3.4:5 > 10.9.0.1:80 SA len=3 ttl=9 df frag=100 mark=0x10")
	f.Add("icmp ::1 > ::2 frag-needed mtu=1300 about udp [::2]:1 > [::3]:2")
	f.Add("sctp 1.2.3.4:5 > 10.9.0.1:80 init len=3000 frag=68")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePacket(text)
		if err != nil {
			return
		}
		b, err := New(Options{}, "rules", strings.NewReader(webRules))
		require.NoError(t, err)
		_, err = b.Explain(&p, "")
		require.NoError(t, err)
	})
}
