package explain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/conntrack"
	"usvs/director"
	"usvs/link"
	"usvs/wire"
)

// A running director: a Bench of the same kind, whose traffic is its own.
func running(t *testing.T, rules string, packets ...string) *Bench {
	t.Helper()
	b, err := New(Options{}, "rules", strings.NewReader(rules))
	require.NoError(t, err)
	_, err = b.Answer(&Request{Packets: packets})
	require.NoError(t, err)
	known := []string{"10.2.0.11", "10.2.0.12", "10.2.0.13", "203.0.113.1", "198.51.7.7"}
	for i := range 9 {
		known = append(known, fmt.Sprint("198.51.100.", i))
	}
	for _, a := range known {
		hop := b.d.Snapshot().Routes.Lookup(netip.MustParseAddr(a))
		b.know(&hop)
	}
	return b
}

const everyScheduler = "rr wrr lc wlc lblc lblcr dh sh mh sed nq fo ovf twos"

// state is all that a running director's answers depend on.
func state(t *testing.T, b *Bench) string {
	var s strings.Builder
	snap := b.d.Snapshot()
	for _, svc := range snap.Services {
		c := &svc.VS.Counters
		fmt.Fprintln(&s, svc.VS.ID, c.Conns.Load(), c.InPkts.Load(), c.OutPkts.Load(), c.InBytes.Load())
		for _, rs := range svc.Servers {
			fmt.Fprintln(&s, rs.ID, rs.Active(), rs.Inactive(), rs.Persistent(), rs.Overloaded(), rs.Counters.InPkts.Load())
		}
	}
	var conns []string
	b.d.Table.Walk(b.now, func(c *conntrack.Conn) bool {
		conns = append(conns, fmt.Sprintln(*c))
		return true
	})
	slices.Sort(conns)
	counters, err := json.Marshal(b.d.Counters())
	require.NoError(t, err)
	fmt.Fprintln(&s, conns, string(counters), b.d.Neighbours.Entries(b.now), snap.Marks4)
	if snap.Marks4 != nil {
		fmt.Fprintln(&s, snap.Marks4.Commands())
	}
	return s.String()
}

// For every scheduler: a copy says of each packet what the director then does,
// asking changes nothing, and not asking would have led to the same.
func TestOfForetells(t *testing.T) {
	for _, name := range strings.Fields(everyScheduler) {
		for _, persistent := range []string{"", " -p 60"} {
			t.Run(name+persistent, func(t *testing.T) {
				rules := "-A -t 10.9.0.1:80 -s " + name + persistent + "\n" +
					"-a -t 10.9.0.1:80 -r 10.2.0.11:80 -m -w 1\n" +
					"-a -t 10.9.0.1:80 -r 10.2.0.12:80 -m -w 3 -x 5\n" +
					"-a -t 10.9.0.1:80 -r 10.2.0.13:80 -m -w 2\n"
				d, unasked := running(t, rules), running(t, rules)
				for i := range 18 {
					client := fmt.Sprintf("198.51.100.%d:%d", i%7, 1000+i%11)
					packet := fmt.Sprintf("tcp %s > 10.9.0.1:80 %s", client, [...]string{"S", "A", "S"}[i%3])
					before := state(t, d)
					foretold, err := Of(d.d, d.now).Answer(&Request{Packets: []string{packet}})
					require.NoError(t, err)
					require.Equal(t, before, state(t, d), "asking changes nothing")
					happened, err := d.Answer(&Request{Packets: []string{packet}})
					require.NoError(t, err)
					require.Equal(t, happened.Frames[0].Server, foretold.Frames[0].Server, packet)
					require.Equal(t, happened.Frames[0].Verdict, foretold.Frames[0].Verdict, packet)
					require.Equal(t, happened.Frames[0].Sent, foretold.Frames[0].Sent, packet)
					same, err := unasked.Answer(&Request{Packets: []string{packet}})
					require.NoError(t, err)
					require.Equal(t, same, happened, packet)
				}
			})
		}
	}
}

// A copy finds what the running director would: templates masked any way,
// connections by what an ICMP error quotes, mark rules, replies.
func TestOfFindsWhatMatches(t *testing.T) {
	d := running(t, `
iptables -t mangle -A PREROUTING -d 10.9.0.3 -p tcp --dport 443 -j MARK --set-mark 9
-A -t 10.9.0.1:80 -s rr
-a -t 10.9.0.1:80 -r 10.2.0.11:8080 -m
-A -t 10.9.0.2:443 -s rr -p 60 -M 255.255.0.0
-a -t 10.9.0.2:443 -r 10.2.0.11 -g
-a -t 10.9.0.2:443 -r 10.2.0.12 -g
-A -f 9 -s rr -p 60
-a -f 9 -r 10.2.0.13 -g
`, "tcp 198.51.100.7:40000 > 10.9.0.1:80 S", "tcp 198.51.100.7:40000 > 10.9.0.2:443 S", "tcp 198.51.100.7:1 > 10.9.0.3:443 S")
	for _, tt := range []struct{ packet, stage, want string }{
		{"tcp 198.51.100.7:40000 > 10.9.0.1:80 A", "connection", "SYN_RECV"},
		{"tcp 10.2.0.11:8080 > 198.51.100.7:40000 SA", "sent", "tcp 10.9.0.1:80 > 198.51.100.7:40000 SA"},
		{"tcp 198.51.7.7:40000 > 10.9.0.2:443 S", "template", "198.51.0.0:0 -> 10.9.0.2:443 -> 10.2.0.12"},
		{"tcp 198.51.100.7:2 > 10.9.0.3:443 S", "template", "198.51.100.7:0 -> mark 9 -> 10.2.0.13"},
		{"tcp 198.51.100.8:2 > 10.9.0.3:443 S", "template", "none for 198.51.100.8 to mark 9"},
		{"tcp 198.51.100.8:2 > 10.9.0.3:443 S", "mark", "by rule 1"},
		{"icmp 203.0.113.1 > 10.9.0.1 unreachable about tcp 10.9.0.1:80 > 198.51.100.7:40000", "connection", "SYN_RECV"},
		{"icmp 10.2.0.11 > 198.51.100.7 unreachable about tcp 198.51.100.7:40000 > 10.2.0.11:8080", "sent", "icmp 10.9.0.1 > 198.51.100.7"},
	} {
		before := state(t, d)
		r, err := Of(d.d, d.now).Answer(&Request{Packets: []string{tt.packet}})
		require.NoError(t, err)
		require.Contains(t, said(&r.Frames[0], tt.stage), tt.want, tt.packet)
		require.Equal(t, before, state(t, d))
	}
}

func said(f *Frame, stage string) (text string) {
	for _, s := range f.Stages {
		if s.Name == stage {
			text += strings.Join(s.Lines, "\n") + "\n"
		}
	}
	return text
}

// What the running director cannot reach yet shows as it is there.
func TestOfUnknownNeighbour(t *testing.T) {
	d := running(t, webRules)
	d.d.Neighbours.Delete(0, netip.MustParseAddr("10.2.0.12"))
	r, err := Of(d.d, d.now).Answer(&Request{Packets: []string{"tcp 198.51.100.7:40000 > 10.9.0.1:80 S"}})
	require.NoError(t, err)
	require.Contains(t, said(&r.Frames[0], "route"), "MAC not known yet")
	require.Equal(t, director.Waiting.String(), r.Frames[0].Verdict)
}

// A deleted server's connection is explained though no service has the server.
func TestOfDeletedServer(t *testing.T) {
	d := running(t, webRules, "tcp 198.51.100.7:40000 > 10.9.0.1:80 S")
	s := *d.d.Snapshot()
	for _, rs := range s.Services[0].Servers {
		rs.SetAvailable(false)
	}
	s.Services = nil
	old := d.d.Snapshot().Services[0]
	s.Services = append(s.Services, &director.Service{VS: old.VS, Spec: old.Spec, Picker: old.Picker})
	d.d.Publish(d.now, s.Seal())
	r, err := Of(d.d, d.now).Answer(&Request{Packets: []string{"tcp 198.51.100.7:40000 > 10.9.0.1:80 A"}})
	require.NoError(t, err)
	require.Equal(t, "drop_server_gone", r.Frames[0].Verdict)
}

// Copies are made while frames flow.
func TestOfWhileTrafficFlows(t *testing.T) {
	d := running(t, webRules)
	w := d.d.NewWorker()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var out link.Output
		p := Packet{Proto: wire.ProtoTCP, TTL: 64, Flags: wire.FlagSYN,
			Dst: netip.MustParseAddrPort("10.9.0.1:80")}
		for i := uint16(1); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			p.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), i)
			out.Reset()
			w.Handle(d.now.Add(time.Duration(i)*time.Millisecond), p.Frames(wire.MAC{2, 9}, wire.MAC{2, 0, 0, 0, 0, 1}), &out)
		}
	}()
	for range 50 {
		r, err := Of(d.d, d.now).Answer(&Request{Packets: []string{"tcp 198.51.100.7:40000 > 10.9.0.1:80 S"}})
		require.NoError(t, err)
		require.NotEmpty(t, r.Frames[0].Server)
	}
	close(stop)
	<-done
}

// A report survives its way over the control socket.
func TestReportJSON(t *testing.T) {
	r := ask(t, Options{}, webRules, "tcp 198.51.100.7:40000 > 10.9.0.1:80 S")
	text, err := json.Marshal(r)
	require.NoError(t, err)
	var back Report
	require.NoError(t, json.Unmarshal(text, &back))
	var a, b bytes.Buffer
	r.WriteTo(&a)
	back.WriteTo(&b)
	require.Equal(t, a.String(), b.String())
	require.NotEmpty(t, a.String())
}
