package marks

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// must applies commands, one a line, to an empty Ruleset.
func must(t testing.TB, f Family, commands ...string) *Ruleset {
	t.Helper()
	rs := New(f)
	for _, line := range commands {
		c, err := Parser{Family: f}.Parse(append([]string{"-t", "mangle"}, strings.Fields(line)...))
		require.NoError(t, err, line)
		rs, _, err = rs.Apply(c)
		require.NoError(t, err, line)
	}
	return rs
}

func pre(specs ...string) (commands []string) {
	for _, s := range specs {
		commands = append(commands, "-A PREROUTING "+s)
	}
	return commands
}

// pkt describes a packet: source, destination, protocol and ports.
func pkt(src, dst string, proto uint8, sport, dport uint16) *wire.Packet {
	p := &wire.Packet{
		Version: 4, Proto: proto, Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), End: 40,
		SrcPort: sport, DstPort: dport, Data: make([]byte, 40), L4: 20,
	}
	if p.Dst.Is6() {
		p.Version = 6
	}
	p.Full = proto == 6 || proto == 17 || proto == 132
	p.Ports = p.Full
	return p
}

func TestMark(t *testing.T) {
	web := pkt("198.51.100.7", "10.1.0.5", 6, 40000, 80)
	dns := pkt("198.51.100.7", "10.1.0.6", 17, 53, 53)
	frag := pkt("198.51.100.7", "10.1.0.5", 6, 0, 0)
	frag.Full, frag.Ports, frag.FragOffset, frag.Fragment = false, false, 1480, true
	lite := pkt("198.51.100.7", "10.1.0.5", protoUDPLite, 0, 0)
	lite.Data[23] = 80
	six := pkt("2001:db8::1", "fd00:9::1", 6, 1, 80)
	cases := []struct {
		name  string
		rules []string
		p     *wire.Packet
		in    uint32
		want  uint32
	}{
		{"no rules", nil, web, 5, 5},
		{"destination", []string{"-d 10.1.0.5 -j MARK --set-mark 1"}, web, 0, 1},
		{"other destination", []string{"-d 10.1.0.6 -j MARK --set-mark 1"}, web, 0, 0},
		{"not a destination", []string{"! -d 10.1.0.6 -j MARK --set-mark 1"}, web, 0, 1},
		{"network", []string{"-d 10.0.0.0/8 -j MARK --set-mark 1"}, web, 0, 1},
		{"mask with a hole", []string{"-d 10.9.0.5/255.0.0.255 -j MARK --set-mark 1"}, web, 0, 1},
		{"source", []string{"-s 198.51.100.0/24 -j MARK --set-mark 1"}, web, 0, 1},
		{"protocol", []string{"-p udp -j MARK --set-mark 1"}, web, 0, 0},
		{"not a protocol", []string{"! -p udp -j MARK --set-mark 1"}, web, 0, 1},
		{"port", []string{"-p tcp --dport 80 -j MARK --set-mark 1"}, web, 0, 1},
		{"port range", []string{"-p tcp --dport 79:81 -j MARK --set-mark 1"}, web, 0, 1},
		{"beyond the range", []string{"-p tcp --dport 81: -j MARK --set-mark 1"}, web, 0, 0},
		{"not a port", []string{"-p tcp ! --dport 80 -j MARK --set-mark 1"}, web, 0, 0},
		{"source port", []string{"-p tcp --sport 40000 -j MARK --set-mark 1"}, web, 0, 1},
		{"both ports", []string{"-p udp --sport 53 --dport 54 -j MARK --set-mark 1"}, dns, 0, 0},
		{"port of a fragment", []string{"-p tcp --dport 0 -j MARK --set-mark 1"}, frag, 0, 0},
		{"not a port of a fragment", []string{"-p tcp ! --dport 80 -j MARK --set-mark 1"}, frag, 0, 0},
		{"multiport of a fragment", []string{"-p tcp -m multiport ! --dports 80 -j MARK --set-mark 1"}, frag, 0, 0},
		{"protocol of a fragment", []string{"-p tcp -j MARK --set-mark 1"}, frag, 0, 1},
		{"multiport", []string{"-p tcp -m multiport --dports 443,80 -j MARK --set-mark 1"}, web, 0, 1},
		{"multiport range", []string{"-p tcp -m multiport --dports 443,70:90 -j MARK --set-mark 1"}, web, 0, 1},
		{"not multiport", []string{"-p tcp -m multiport ! --dports 443,80 -j MARK --set-mark 1"}, web, 0, 0},
		{"multiport either", []string{"-p tcp -m multiport --ports 40000 -j MARK --set-mark 1"}, web, 0, 1},
		{"multiport source", []string{"-p tcp -m multiport --sports 80 -j MARK --set-mark 1"}, web, 0, 0},
		{"multiport of UDP-Lite", []string{"-p udplite -m multiport --dports 80 -j MARK --set-mark 1"}, lite, 0, 1},
		{"interface", []string{"-i eth0 -j MARK --set-mark 1"}, web, 0, 1},
		{"other interface", []string{"-i eth1 -j MARK --set-mark 1"}, web, 0, 0},
		{"interface prefix", []string{"-i et+ -j MARK --set-mark 1"}, web, 0, 1},
		{"not an interface", []string{"! -i wlan+ -j MARK --set-mark 1"}, web, 0, 1},
		{"the whole mark is set", []string{"-j MARK --set-mark 1"}, web, 6, 1},
		{"masked: bits of the value and the mask", []string{"-j MARK --set-mark 0x3/0x1"}, web, 0xf4, 0xf7},
		{"xmark", []string{"-j MARK --set-xmark 0x3/0x1"}, web, 0x2, 0x1},
		{"or", []string{"-j MARK --or-mark 0x10"}, web, 0x3, 0x13},
		{"and", []string{"-j MARK --and-mark 0xf0"}, web, 0x33, 0x30},
		{"xor", []string{"-j MARK --xor-mark 0x1"}, web, 0x3, 0x2},
		{"mark match", []string{"-m mark --mark 3 -j MARK --set-mark 9"}, web, 3, 9},
		{"mark match fails", []string{"-m mark --mark 3 -j MARK --set-mark 9"}, web, 4, 4},
		{"masked mark match", []string{"-m mark --mark 1/1 -j MARK --set-mark 9"}, web, 3, 9},
		{"not a mark", []string{"-m mark ! --mark 1/1 -j MARK --set-mark 9"}, web, 2, 9},
		{"the last mark wins", []string{"-j MARK --set-mark 1", "-j MARK --set-mark 2"}, web, 0, 2},
		{"rules see earlier marks", []string{"-j MARK --set-mark 1", "-m mark --mark 1 -j MARK --or-mark 4"}, web, 0, 5},
		{"ACCEPT ends", []string{"-j ACCEPT", "-j MARK --set-mark 2"}, web, 0, 0},
		{"RETURN ends", []string{"-j MARK --set-mark 1", "-j RETURN", "-j MARK --set-mark 2"}, web, 0, 1},
		{"no target goes on", []string{"-p tcp", "-j MARK --set-mark 2"}, web, 0, 2},
		{"other family", []string{"-j MARK --set-mark 2"}, six, 0, 0},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			rs := must(t, IPv4, pre(tc.rules...)...)
			require.Equal(t, tc.want, rs.Mark("eth0", tc.p, tc.in))
		})
	}
	rs := must(t, IPv6, "-A PREROUTING -d fd00:9::1 -p tcp --dport 80 -j MARK --set-mark 3")
	require.EqualValues(t, 3, rs.Mark("eth0", six, 0))
	require.EqualValues(t, 0, rs.Mark("eth0", web, 0))
	require.EqualValues(t, 7, rs.Mark("eth0", &wire.Packet{EtherType: wire.TypeARP}, 7))
}

// TestIndexAgainstModel compares Mark with a walk over all rules.
func TestIndexAgainstModel(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 4))
		addr := func() string { return "10.0." + strconv.Itoa(r.IntN(3)) + "." + strconv.Itoa(r.IntN(8)) }
		var rules []string
		for range r.IntN(60) {
			var s string
			switch r.IntN(4) {
			case 0, 1:
				s = "-d " + addr()
			case 2:
				s = "-d " + addr() + "/" + strconv.Itoa(20+r.IntN(12))
			}
			if r.IntN(3) == 0 {
				s = "! " + s
			}
			if s == "! " {
				s = ""
			}
			if r.IntN(2) == 0 {
				s += " -p tcp --dport " + strconv.Itoa(r.IntN(3)) + ":3"
			}
			s += " -j " + [...]string{"MARK --or-mark 0x", "MARK --xor-mark 0x", "MARK --set-mark 0x"}[r.IntN(3)] + strconv.FormatUint(r.Uint64N(1<<16), 16)
			if r.IntN(10) == 0 {
				s = "-d " + addr() + " -j RETURN"
			}
			rules = append(rules, s)
		}
		rs := must(t, IPv4, pre(rules...)...)
		model := must(t, IPv4, pre(rules...)...)
		for range 300 {
			p := pkt("198.51.100.7", addr(), 6, 1, uint16(r.IntN(4)))
			k := packet{Packet: p, src: pack(p.Src), dst: pack(p.Dst), in: "eth0"}
			require.Equal(t, traverse(model.rules, &k), rs.Mark("eth0", p, 0), "seed %d: %v", seed, rules)
		}
		for i := range rs.rules {
			require.Equal(t, model.rules[i].counter.packets.Load(), rs.rules[i].counter.packets.Load())
		}
	}
}

func TestCountersStayWithTheirRules(t *testing.T) {
	rs := must(t, IPv4, pre("-d 10.1.0.5 -j MARK --set-mark 1", "-p udp -j ACCEPT")...)
	for range 3 {
		rs.Mark("eth0", pkt("1.1.1.1", "10.1.0.5", 6, 1, 2), 0)
	}
	rs, _, _ = run(rs, strings.Fields("-t mangle -I PREROUTING -j MARK --set-mark 9"))
	_, output, _ := run(rs, strings.Fields("-t mangle -S PREROUTING -v"))
	require.Equal(t, `-P PREROUTING ACCEPT -c 0 0
-A PREROUTING -c 0 0 -j MARK --set-xmark 0x9/0xffffffff
-A PREROUTING -d 10.1.0.5/32 -c 3 120 -j MARK --set-xmark 0x1/0xffffffff
-A PREROUTING -p udp -c 0 0 -j ACCEPT
`, output)
	zeroed, _, _ := run(rs, strings.Fields("-t mangle -Z"))
	require.Zero(t, zeroed.rules[1].counter.packets.Load())
	require.EqualValues(t, 3, rs.rules[1].counter.packets.Load(), "the old Ruleset is as it was")
}

func TestCountText(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "    0 ", 99999: "99999 ", 100000: " 100K ", 9999499: "9999K ", 9999500: "  10M ",
		9999499499: "9999M ", 9999499500: "  10G ", 12345678901234567: "12346T ",
	} {
		require.Equal(t, want, Command{}.countText(n), n)
	}
	require.Equal(t, "  123456 ", Command{exact: true}.countText(123456))
}

func TestSingleDests(t *testing.T) {
	rs := must(t, IPv4, pre(
		"-d 10.1.0.5,10.1.0.6 -j MARK --set-mark 1",
		"-d 10.1.0.5 -p tcp -j MARK --set-mark 2",
		"-d 10.2.0.0/16 -j MARK --set-mark 3",
		"! -d 10.1.0.7 -j MARK --set-mark 4",
		"-d 10.1.0.8 -j ACCEPT",
		"-j MARK --set-mark 5")...)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("10.1.0.5"), netip.MustParseAddr("10.1.0.6")}, rs.SingleDests())
	rs = must(t, IPv6, "-A PREROUTING -d fd00:9::1 -j MARK --set-mark 1")
	require.Equal(t, []netip.Addr{netip.MustParseAddr("fd00:9::1")}, rs.SingleDests())
}

// TestCommandsRebuild: what Commands lists makes the same rules again.
func TestCommandsRebuild(t *testing.T) {
	for file, family := range map[string]Family{"commands4": IPv4, "commands6": IPv6} {
		rs := New(family)
		for _, s := range readGolden(t, "testdata/"+file+".golden") {
			if strings.Contains(s.command, "-F") {
				continue
			}
			rs, _, _ = run(rs, strings.Fields(s.command))
			again := must(t, family, rs.Commands()...)
			require.Equal(t, rs.Commands(), again.Commands())
		}
	}
}

// TestRefusals: what is not supported is named, and so is what is.
func TestRefusals(t *testing.T) {
	cases := []struct {
		command string
		code    int
		words   []string
	}{
		{"-A PREROUTING -j MARK --set-mark 1", 3, []string{"filter", "-t mangle"}},
		{"-t nat -L", 3, []string{"nat", "-t mangle"}},
		{"-t mangle -A INPUT -j ACCEPT", 1, []string{"INPUT", "PREROUTING"}},
		{"-t mangle -L POSTROUTING", 1, []string{"POSTROUTING", "PREROUTING"}},
		{"-t mangle -A PREROUTING -j DROP", 2, []string{"DROP", "MARK, ACCEPT and RETURN"}},
		{"-t mangle -A PREROUTING -m conntrack --ctstate NEW -j ACCEPT", 2, []string{"conntrack", "multiport and mark"}},
		{"-t mangle -A PREROUTING -p tcp --syn -j ACCEPT", 2, []string{"--syn", "--dport"}},
		{"-t mangle -A PREROUTING -m tcp --dport 5 -j ACCEPT", 1, []string{"tcp", "-p tcp"}},
		{"-t mangle -A PREROUTING -p udp -m tcp --dport 5 -j ACCEPT", 1, []string{"needs -p tcp"}},
		{"-t mangle -A PREROUTING ! -p tcp --dport 5 -j ACCEPT", 1, []string{"needs -p tcp"}},
		{"-t mangle -A PREROUTING --dport 5 -j ACCEPT", 2, []string{`unknown option "--dport"; supported are such options behind -p tcp, udp or sctp`}},
		{"-t mangle -A PREROUTING -p tcp --dports 5,6 -j ACCEPT", 2, []string{"behind -m multiport"}},
		{"-t mangle -A PREROUTING --set-mark 5", 2, []string{"behind -j MARK"}},
		{"-t mangle -A PREROUTING -f -j ACCEPT", 2, []string{"-f", "--dport"}},
		{"-t mangle -A PREROUTING -g chain", 2, []string{"-g", "-j"}},
		{"-t mangle -A PREROUTING -6 -j ACCEPT", 2, []string{"-6", "ip6tables"}},
		{"-t mangle -P PREROUTING DROP", 2, []string{"-P", "-A"}},
		{"-t mangle -N chain", 2, []string{"-N", "-A"}},
		{"-t mangle -X", 2, []string{"-X", "-A"}},
		{"-h", 2, []string{"-h", "-A"}},
		{"-V", 2, []string{"-V", "-A"}},
	}
	for _, tc := range cases {
		t.Run(tc.command, func(t *testing.T) {
			_, message, code := run(New(IPv4), strings.Fields(tc.command))
			require.Equal(t, tc.code, code)
			for _, w := range tc.words {
				require.Contains(t, message, w)
			}
		})
	}
}

func TestWordsTheRecordingsCannotHold(t *testing.T) {
	base := []string{"-t", "mangle", "-A", "PREROUTING", "-j", "ACCEPT"}
	for name, words := range map[string][]string{
		"empty interface":  {"-i", ""},
		"empty address":    {"-d", ""},
		"empty port list":  {"-p", "tcp", "-m", "multiport", "--dports", ""},
		"empty port":       {"-p", "tcp", "--dport", ""},
		"empty word":       {""},
		"lone dash":        {"-"},
		"two dashes":       {"--"},
		"empty mark":       {"-m", "mark", "--mark", ""},
		"attached to none": {"--numeric=5"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, code := run(New(IPv4), append(base, words...))
			require.Equal(t, 2, code)
		})
	}
	rs, _, code := run(New(IPv4), append(base, "--source=9.9.9.9", "-p", "tcp", "--dport= 10", "--wait=5"))
	require.Zero(t, code)
	require.Equal(t, []string{"-A PREROUTING -s 9.9.9.9/32 -p tcp -m tcp --dport 10 -j ACCEPT"}, rs.Commands())
}

// hosts resolves one name.
type hosts struct{ NoNames }

func (hosts) Addrs(host string) []netip.Addr {
	if host != "www" {
		return nil
	}
	return []netip.Addr{netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("fd00:9::1"), netip.MustParseAddr("::ffff:10.9.0.2")}
}

func TestHostNames(t *testing.T) {
	words := strings.Fields("-t mangle -A PREROUTING -d www -j MARK --set-mark 1")
	c, err := Parser{Names: hosts{}}.Parse(words)
	require.NoError(t, err)
	rs, _, err := New(IPv4).Apply(c)
	require.NoError(t, err)
	require.Equal(t, []string{
		"-A PREROUTING -d 10.9.0.1/32 -j MARK --set-xmark 0x1/0xffffffff",
		"-A PREROUTING -d 10.9.0.2/32 -j MARK --set-xmark 0x1/0xffffffff",
	}, rs.Commands())
	_, _, err = New(IPv6).Apply(c)
	require.Error(t, err, "a command is for its family")
}

func TestExpansionIsBounded(t *testing.T) {
	many := strings.Repeat("10.0.0.1,", 300) + "10.0.0.1"
	_, err := Parser{}.Parse([]string{"-t", "mangle", "-A", "PREROUTING", "-s", many, "-d", many})
	require.ErrorContains(t, err, "combinations")
}

func TestReadOnly(t *testing.T) {
	for command, want := range map[string]bool{"-L": true, "-S": true, "-F": false, "-C PREROUTING": true} {
		c, err := Parser{}.Parse(strings.Fields("-t mangle " + command))
		require.NoError(t, err)
		require.Equal(t, want, c.ReadOnly(), command)
	}
}

func TestMarkDoesNotAllocate(t *testing.T) {
	var rules []string
	for i := range 200 {
		rules = append(rules, "-d 10.1.0."+strconv.Itoa(i)+" -p tcp -m multiport --dports 80,443 -j MARK --set-mark "+strconv.Itoa(i+1))
	}
	p := pkt("198.51.100.7", "10.1.0.77", 6, 40000, 443)
	for _, rs := range []*Ruleset{must(t, IPv4, pre(rules...)...), must(t, IPv4, pre(rules[:5]...)...), New(IPv4)} {
		require.Zero(t, testing.AllocsPerRun(100, func() { rs.Mark("eth0", p, 0) }))
	}
}

func BenchmarkMark(b *testing.B) {
	p := pkt("198.51.100.7", "10.1.0.77", 6, 40000, 443)
	for _, n := range []int{0, 1, 200} {
		var rules []string
		for i := range n {
			rules = append(rules, "-d 10.1.0."+strconv.Itoa(77-i&255)+" -p tcp -m multiport --dports 80,443 -j MARK --set-mark 1")
			if 77-i < 0 {
				rules[i] = "-d 10.2.0." + strconv.Itoa(i&255) + " -j MARK --set-mark 1"
			}
		}
		rs := must(b, IPv4, pre(rules...)...)
		b.Run(strconv.Itoa(n)+" rules", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rs.Mark("eth0", p, 0)
			}
		})
	}
}
