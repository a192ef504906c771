package scenario

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lab is a network for tests of single lines.
const lab = `# A lab.
# For tests.
VIP=10.0.0.100
switch lan back
client client lan 10.0.0.9/24 2001:db8::9/64
director lvs lan 10.0.0.1/24 back 10.1.0.1/24 mtu 1400 own host
server rs1 lan 10.0.0.11/24
server rs2 back 10.1.0.12/24 via 10.1.0.1 serves http:8080 udp:5353
server rs3 lan 10.0.0.13/24 serves nothing
router r lan 10.0.0.254/24 back 10.1.0.254/24
`

// labLines is how many lines it has.
var labLines = strings.Count(lab, "\n")

// step parses a line in the lab, after some traffic that it may speak of.
func step(t *testing.T, line string) Action {
	t.Helper()
	f, err := Parse("x.txt", []byte(lab+"http client -> rs1:80 x2 hold as web\nmoment start\n"+line+"\n"))
	require.NoError(t, err)
	require.Len(t, f.Steps, 3)
	return f.Steps[2].Do
}

func TestParseTopology(t *testing.T) {
	f, err := Parse("x.txt", []byte(lab+"wait 1s\n"))
	require.NoError(t, err)
	require.Equal(t, "A lab.", f.Title)
	require.Equal(t, "For tests.", f.About)
	require.Equal(t, []string{"lan", "back"}, f.Topology.Switches)
	require.Len(t, f.Topology.Nodes, 6)

	lvs := f.Topology.Node("lvs")
	require.Equal(t, Director, lvs.Kind)
	require.Equal(t, "host", lvs.Own)
	require.Equal(t, []NIC{
		{Name: "eth0", Switch: "lan", Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}},
		{Name: "eth1", Switch: "back", Addrs: []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24")}, MTU: 1400},
	}, lvs.NICs)

	rs2 := f.Topology.Node("rs2")
	require.Equal(t, []uint16{8080}, rs2.HTTP)
	require.Equal(t, []uint16{5353}, rs2.UDP)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("10.1.0.1")}, rs2.Gateways)
	require.Equal(t, []uint16{80, 443, 8080}, f.Topology.Node("rs1").HTTP)
	require.Empty(t, f.Topology.Node("rs3").HTTP)
	require.Nil(t, f.Topology.Node("nobody"))
}

func TestParseSteps(t *testing.T) {
	to := netip.MustParseAddrPort
	for line, want := range map[string]Action{
		"http client -> $VIP:80": &Traffic{Kind: HTTP, Node: "client", To: to("10.0.0.100:80"), Count: 1, Concurrency: 1, Timeout: 3 * time.Second},
		"http client -> ${VIP}:80 x30 concurrency 5 every 10ms timeout 2s size 100 upload 200 from 10.0.0.9 hold as a": &Traffic{
			Kind: HTTP, Node: "client", To: to("10.0.0.100:80"), Count: 30, Concurrency: 5, Every: 10 * time.Millisecond,
			Timeout: 2 * time.Second, Size: 100, Upload: 200, From: netip.MustParseAddr("10.0.0.9"), Hold: true, As: "a"},
		"udp client -> [2001:db8::1]:53 port 4000": &Traffic{Kind: UDP, Node: "client", To: to("[2001:db8::1]:53"), Count: 1, Concurrency: 1, Timeout: time.Second, Port: 4000},
		"ping client -> rs1 x2":                    &Traffic{Kind: Ping, Node: "client", To: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.11"), 0), Count: 2, Concurrency: 1, Timeout: time.Second},
		"again web":                                &Again{Name: "web", Timeout: 3 * time.Second},
		"close web":                                &Hangup{Name: "web"},
		"wait 90s":                                 &Wait{90 * time.Second},
		"moment m":                                 &Moment{"m"},
		"link rs1 down":                            &Fault{Link: Interface{"rs1", "eth0"}, Set: LinkState{Down: true}},
		"link lvs:eth1 up":                         &Fault{Link: Interface{"lvs", "eth1"}},
		"in 2s link rs1 loss 10% delay 5ms rate 10mbit":      &Fault{In: 2 * time.Second, Link: Interface{"rs1", "eth0"}, Set: LinkState{Loss: 0.1, Delay: 5 * time.Millisecond, Rate: 1e7}},
		"link rs1 cut in cut out":                            &Fault{Link: Interface{"rs1", "eth0"}, Set: LinkState{CutIn: true, CutOut: true}},
		"lvs$ ipvsadm -A -t $VIP:80":                         &Exec{Node: "lvs", Command: "ipvsadm -A -t 10.0.0.100:80"},
		"! lvs$ ipvsadm -C":                                  &Exec{Node: "lvs", Command: "ipvsadm -C", Fails: true},
		"expect answered 30":                                 &ExpectAnswered{Total: &Range{30, 30}},
		"expect answered rs1 15 rs2 1.. of web":              &ExpectAnswered{Of: "web", Shares: []Share{{"rs1", Range{15, 15}}, {"rs2", Range{1, unbounded}}}},
		"expect order rs1 rs2 ...":                           &ExpectOrder{Servers: []string{"rs1", "rs2"}, Repeat: true},
		"expect one server of web":                           &ExpectOneServer{Of: "web"},
		"expect same server as web":                          &ExpectOneServer{SameAs: "web"},
		"expect other server as web":                         &ExpectOneServer{SameAs: "web", Other: true},
		"expect failed ..3 timeout":                          &ExpectFailed{N: Range{0, 3}, By: Timeout},
		"expect counter lvs drop_no_server 1..2":             &ExpectCounter{"lvs", "drop_no_server", Range{1, 2}},
		"expect log lvs another host":                        &ExpectLog{Node: "lvs", Text: "another host"},
		"expect no log lvs panic":                            &ExpectLog{Node: "lvs", Text: "panic", No: true},
		"expect neighbour client $VIP lvs":                   &ExpectNeighbour{"client", netip.MustParseAddr("10.0.0.100"), "lvs"},
		"expect neighbour client $VIP nobody":                &ExpectNeighbour{"client", netip.MustParseAddr("10.0.0.100"), ""},
		"expect frame at rs1":                                &ExpectFrame{At: Interface{"rs1", "eth0"}},
		"expect no frame at lvs:eth1 out udp after 1s":       &ExpectFrame{At: Interface{"lvs", "eth1"}, Dir: Out, Count: &Range{}, After: "1s", Match: Pattern{Proto: "udp"}},
		"expect 2..3 frames at rs1 in icmp echo after start": &ExpectFrame{At: Interface{"rs1", "eth0"}, Dir: In, Count: &Range{2, 3}, After: "start", Match: Pattern{Proto: "icmp", Type: "echo"}},
	} {
		require.Equal(t, want, step(t, line), line)
	}
}

func TestParsePattern(t *testing.T) {
	x := step(t, "expect frame at rs1 in tcp client:* > [2001:db8::1]:80 SA eth.dst=rs1 ttl=60..64 inner.src=rs2:80").(*ExpectFrame)
	require.Equal(t, Pattern{
		Proto: "tcp", Flags: "SA",
		Src: Endpoint{Addrs: []addr{netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("2001:db8::9")}},
		Dst: Endpoint{Addrs: []addr{netip.MustParseAddr("2001:db8::1")}, Port: 80},
		Fields: []Field{
			{Key: "eth.dst", Text: "rs1", MACs: x.Match.Fields[0].MACs},
			{Key: "ttl", Text: "60..64", Range: Range{60, 64}},
			{Key: "inner.src", Text: "rs2:80", Addrs: []addr{netip.MustParseAddr("10.1.0.12")}, Port: 80},
		},
	}, x.Match)
	require.Equal(t, MAC(2, 0), x.Match.Fields[0].MACs[0])
}

func TestParseWorldsDataAndOutput(t *testing.T) {
	f, err := Parse("x.txt", []byte("only sim netns: there is no kernel in it\n"+lab+`[!ipvs] lvs$ ipvsadm-restore < rules
| one  two *
[sim] |! three
[sim netns] wait 1s
-- rules --
-A -t 10.0.0.1:80

-- more --
x`))
	require.NoError(t, err)
	reason, ok := f.For("ipvs")
	require.False(t, ok)
	require.Equal(t, "there is no kernel in it", reason)
	_, ok = f.For("netns")
	require.True(t, ok)
	x := f.Steps[0].Do.(*Exec)
	require.Equal(t, []string{"sim", "netns"}, f.Steps[0].Worlds)
	require.Equal(t, "rules", x.Stdin)
	require.Equal(t, "-A -t 10.0.0.1:80\n", string(f.Data["rules"]))
	require.Equal(t, "x\n", string(f.Data["more"]))
	require.Equal(t, []OutputLine{
		{Line: labLines + 3, Words: []string{"one", "two", "*"}},
		{Line: labLines + 4, Worlds: []string{"sim"}, Words: []string{"three"}, No: true},
	}, x.Output)
}

func TestParseMistakes(t *testing.T) {
	for line, want := range map[string]string{
		"fly away":                               `"fly" is neither`,
		"nobody$ ls":                             `no machine called "nobody"`,
		"lvs$ cat < nothing":                     "there is no `-- nothing --`",
		"| output":                               "belong below a command",
		"switch more":                            "the network comes before the first step",
		"http client $VIP:80":                    `want "->", found "10.0.0.100:80"`,
		"http client -> $VIP":                    "has no port",
		"http client -> $NOTHING:80":             "the variable NOTHING has no value",
		"http client -> $VIP:80 x0":              "want a number from 1 to 10000",
		"http client -> $VIP:80 fast":            `http has no option "fast"`,
		"http client -> $VIP:80 hold":            "needs a name",
		"http client -> $VIP:99999":              "want a number from 1 to 65535",
		"udp client -> $VIP:53 size 70000":       "want a number from 0 to 65000",
		"ping client -> $VIP:80":                 "ping knows no ports",
		"again nothing":                          `no connections are held as "nothing"`,
		"wait 2 days":                            "want a duration",
		"wait 500h":                              "want a duration",
		"link rs1:eth7 down":                     "there is no interface rs1:eth7",
		"link rs1 loss 10":                       "want a share like 5%",
		"link rs1 explode":                       `a link has no "explode"`,
		"link rs1 rate fast":                     "want one like 10mbit",
		"in 2s http":                             `"http" cannot be put off`,
		"expect":                                 "want answered",
		"expect answered client 3":               "client serves nothing",
		"expect answered rs1":                    "how many is missing",
		"expect answered 3..1":                   `no machine called "3..1"`,
		"expect failed some":                     "want a number or a range",
		"expect frame at nobody":                 "there is no interface nobody:eth0",
		"expect frame at rs1 in tcp colour=red":  `frames have no "colour"`,
		"expect frame at rs1 in tcp ttl=many":    "is no number or range",
		"expect frame at rs1 in tcp after never": "neither a moment nor a duration",
		"expect counter rs1 x 1":                 "rs1 is no director",
		"expect log lvs":                         "which words?",
		"[mars] wait 1s":                         `no world "mars"`,
		"[sim wait 1s":                           "want `[WORLD...] step`",
		"wait 1s 2s":                             `did not expect "2s"`,
		"inject client tcp 10.0.0.9:1 > $VIP:80 S ttl=1..2": "not a range",
		"inject client tcp > $VIP:80":                       "want a condition like",
		"inject client sctp 10.0.0.9:1 > $VIP:80":           "no others",
		"inject client tcp 10.0.0.9:1 > [2001:db8::1]:80":   "different families",
		"inject client icmp unreachable 10.0.0.9 > $VIP":    "what it quotes",
	} {
		_, err := Parse("x.txt", []byte(lab+"http client -> rs1:80\n"+line+"\n"))
		var at *Error
		require.ErrorAs(t, err, &at, line)
		require.Contains(t, at.Msg, want, line)
		require.Equal(t, labLines+2, at.Line, line)
		require.Contains(t, at.Error(), "x.txt:")
	}
}

func TestParseMistakesInTheNetwork(t *testing.T) {
	for text, want := range map[string]string{
		"":                                         "no steps",
		"wait 1s":                                  "the network comes first",
		"switch lan\nswitch lan":                   "two of the name",
		"switch lan\nclient lan lan 10.0.0.1/24":   "two of the name",
		"switch lan\nclient Bob lan 10.0.0.1/24":   "want a small letter",
		"switch lan\nclient bob":                   "plugged into no switch",
		"switch lan\nclient bob wan 10.0.0.1/24":   `no switch called "wan"`,
		"switch lan\nclient bob lan 10.0.0.1":      "prefix length",
		"switch lan\nclient bob lan mtu 9":         "want a number from 68",
		"switch lan\nclient bob lan via x":         "neither an address",
		"switch lan\nserver bob lan serves ftp:21": "want `serves http:80",
		"switch lan\ndirector bob lan own nothing": "want one of services, host",
		"switch lan\nclient a lan 10.0.0.1/24\nclient b lan 10.0.0.1/24": "has the address 10.0.0.1 already",
		"switch lan\nclient a lan via 10.0.0.1 via 10.0.0.2":             "two gateways",
		"only sim":               "the reason",
		"only mars: it is there": `no world "mars"`,
	} {
		_, err := Parse("x.txt", []byte(text+"\n"))
		require.ErrorContains(t, err, want, text)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../scenarios/*.txt")
	require.NoError(f, err)
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(string(text))
	}
	f.Add(lab + "inject client icmp unreachable 10.0.0.9 > $VIP code=4 mtu=100 inner.proto=tcp inner.src=$VIP:80 inner.dst=client:1\n")
	f.Add(lab + "inject client udp client:1 > $VIP:53 payload=65535 offset=8 mf=yes df=yes tos=300 ttl=999\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("x.txt", []byte(text))
		if err != nil {
			return
		}
		require.NotEmpty(t, file.Steps)
		for _, s := range file.Steps {
			require.NotZero(t, s.Line)
			if x, ok := s.Do.(*Inject); ok {
				describe(x.Frame, &file.Topology)
			}
		}
	})
}

// Whatever a file is, its lines do nothing to a terminal.
func TestMistakesAreShownPlainly(t *testing.T) {
	_, err := Parse("x", []byte("\x1b[2Jclear \xff é"+strings.Repeat("y", 1000)))
	require.ErrorContains(t, err, "x:1: ")
	require.NotContains(t, err.Error(), "\x1b")
	require.ErrorContains(t, err, "\t?[2Jclear ? éyyy")
	require.Less(t, len(err.Error()), 1000)
}
