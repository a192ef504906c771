package ipvsadm

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

func cutProto(key string) (name, proto string) {
	name, proto, _ = strings.Cut(key, "/")
	return name, proto
}

// estimatorTicks says, for the recordings with traffic, how many runs of the
// estimator fell into each pause, and after how many frames of a long burst
// one fell into that. Both can be told from the rates that were recorded.
var estimatorTicks = map[string]struct {
	pauses     []int
	burst      int // length of the burst
	afterFrame int
}{
	"stats-traffic": {pauses: []int{2, 3}},
	"stats-bignum":  {pauses: []int{1, 1, 1, 1}, burst: 14000, afterFrame: 140},
}

// traffic feeds the traffic lines of a recording to the model.
type traffic struct {
	t      *testing.T
	m      *model
	name   string
	pauses int
}

// line takes a line of traffic: a frame, a repeated frame or a pause.
func (f *traffic) line(text string) {
	fields := strings.Fields(text)
	switch fields[0] {
	case "@":
		f.pause(fields[1])
	case "rep":
		n, err := strconv.Atoi(fields[1])
		require.NoError(f.t, err)
		ticks := estimatorTicks[f.name]
		for i := range n {
			if n == ticks.burst && i == ticks.afterFrame {
				f.m.tick()
			}
			f.frame(fields[2:])
		}
	case "tcp", "udp":
		f.frame(fields)
	default:
		f.t.Fatalf("unknown traffic: %s", text)
	}
}

func (f *traffic) pause(seconds string) {
	s, err := strconv.ParseFloat(seconds, 64)
	require.NoError(f.t, err)
	f.m.now += time.Duration(s * float64(time.Second))
	for range estimatorTicks[f.name].pauses[f.pauses] {
		f.m.tick()
	}
	f.pauses++
}

// frame is PROTO [s] [FLAGS] SRC DST [len=N] -> VERDICT.
func (f *traffic) frame(fields []string) {
	proto, overhead, payload := ipvs.TCP, 20, 0
	if fields[0] == "udp" {
		proto, overhead, payload = ipvs.UDP, 8, len("ping")
	}
	fields = fields[1:]
	reply := fields[0] == "s"
	if reply {
		fields = fields[1:]
	}
	flags := ""
	if proto == ipvs.TCP {
		flags, fields = fields[0], fields[1:]
	}
	src, dst := netip.MustParseAddrPort(fields[0]), netip.MustParseAddrPort(fields[1])
	if n, ok := strings.CutPrefix(fields[2], "len="); ok {
		payload, _ = strconv.Atoi(n)
	}
	size := 20 + overhead + payload
	if src.Addr().Is6() {
		size += 20
	}
	if reply {
		f.reply(proto, src, dst, size)
		return
	}
	f.request(proto, flags, src, dst, size, fields[len(fields)-1])
}

func (f *traffic) request(proto ipvs.Protocol, flags string, src, dst netip.AddrPort, size int, verdict string) {
	id := ipvs.ServiceID{Family: ipvs.FamilyOf(dst.Addr()), Protocol: proto, Addr: dst.Addr(), Port: dst.Port()}
	s, err := f.m.find(id)
	require.NoError(f.t, err)
	c := f.conn(proto, src)
	if c == nil {
		c = f.open(s, proto, src, dst, verdict)
	}
	c.entry.State, c.expires = "UDP", f.m.now+300*time.Second
	if proto == ipvs.TCP {
		c.entry.State, c.expires = "SYN_RECV", f.m.now+60*time.Second
		if flags == "A" {
			c.entry.State, c.expires = "ESTABLISHED", f.m.now+900*time.Second
		}
	}
	s.stats.count(0, 1, 0, size, 0)
	c.server.stats.count(0, 1, 0, size, 0)
}

func (f *traffic) reply(proto ipvs.Protocol, src, dst netip.AddrPort, size int) {
	c := f.conn(proto, dst)
	require.NotNil(f.t, c)
	require.Equal(f.t, src, c.entry.Real)
	s, err := f.m.find(ipvs.ServiceID{Family: ipvs.IPv4, Protocol: proto, Addr: c.entry.Virtual.Addr(), Port: c.entry.Virtual.Port()})
	require.NoError(f.t, err)
	s.stats.count(0, 0, 1, 0, size)
	c.server.stats.count(0, 0, 1, 0, size)
}

func (f *traffic) conn(proto ipvs.Protocol, client netip.AddrPort) *modelConn {
	for _, c := range f.m.conns {
		if c.entry.Protocol == proto && c.entry.Client == client {
			return c
		}
	}
	return nil
}

func (f *traffic) open(s *modelService, proto ipvs.Protocol, src, dst netip.AddrPort, verdict string) *modelConn {
	d := f.chosen(s, verdict)
	add := func(client netip.AddrPort) *modelConn {
		c := &modelConn{server: d, entry: ipvs.ConnEntry{
			Protocol: proto, Client: client, Virtual: dst, Real: netip.AddrPortFrom(d.id.Addr, d.id.Port),
		}}
		f.m.conns = append(f.m.conns, c)
		return c
	}
	template := netip.AddrPortFrom(src.Addr(), 0)
	if s.spec.Flags&ipvs.FlagPersistent != 0 && f.conn(proto, template) == nil {
		c := add(template)
		c.entry.State, c.expires = "ASSURED", f.m.now+time.Duration(s.spec.Timeout)*time.Second
		d.persistent++
	}
	if proto == ipvs.TCP {
		d.active++
	} else {
		d.inactive++
	}
	s.stats.count(1, 0, 0, 0, 0)
	d.stats.count(1, 0, 0, 0, 0)
	return add(src)
}

// chosen is the server the recorded verdict names.
func (f *traffic) chosen(s *modelService, verdict string) *modelServer {
	if verdict == "frames" {
		require.Len(f.t, s.servers, 1)
		return s.servers[0]
	}
	want := verdict
	if mac, ok := strings.CutPrefix(verdict, "mac:"); ok { // the last four bytes stand for fd00:N::D
		var net, host int
		_, err := fmt.Sscanf(mac, "%04d%04d", &net, &host)
		require.NoError(f.t, err)
		want = fmt.Sprintf("fd00:%d::%d", net, host)
	}
	for _, d := range s.servers {
		if d.id.Addr.String() == want {
			return d
		}
	}
	f.t.Fatalf("no server %s", verdict)
	return nil
}
