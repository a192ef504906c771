package sched

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
)

// names are all schedulers, in the order of ipvsadm(8).
var names = []string{
	"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf", "twos",
}

// bench is a service with one scheduler, changed as control changes one.
type bench struct {
	t       testing.TB
	s       Scheduler
	servers []*ipvs.RealServer
	sysctls ipvs.Sysctls
	req     Request
}

func newBench(t testing.TB, name string) *bench {
	t.Helper()
	s, err := New(name, rand.New(rand.NewPCG(1, 2)))
	require.NoError(t, err)
	require.NoError(t, s.Update(Bind, nil, nil))
	b := &bench{t: t, s: s, sysctls: ipvs.DefaultSysctls()}
	b.req = Request{
		Now:        clock.Instant(time.Second),
		Protocol:   ipvs.TCP,
		Client:     netip.MustParseAddr("192.0.2.1"),
		ClientPort: 40000,
		Dst:        netip.MustParseAddr("10.9.0.1"),
		Sysctls:    &b.sysctls,
	}
	return b
}

// load binds a scheduler to servers that stand already: weights[0] is the oldest.
func (b *bench) load(weights ...int32) []*ipvs.RealServer {
	b.t.Helper()
	added := make([]*ipvs.RealServer, len(weights))
	for i, w := range weights {
		added[i] = newServer(i+1, w)
	}
	b.servers = slices.Clone(added)
	slices.Reverse(b.servers)
	require.NoError(b.t, b.s.Update(Bind, b.servers, nil))
	return added
}

// add links servers one at a time, so the last of them is the head.
func (b *bench) add(weights ...int32) []*ipvs.RealServer {
	added := make([]*ipvs.RealServer, len(weights))
	for i, w := range weights {
		added[i] = newServer(len(b.servers)+1, w)
		b.link(added[i])
	}
	return added
}

func (b *bench) link(rs *ipvs.RealServer) {
	b.t.Helper()
	rs.SetAvailable(true)
	b.servers = append([]*ipvs.RealServer{rs}, b.servers...)
	require.NoError(b.t, b.s.Update(Add, b.servers, rs))
}

func (b *bench) unlink(rs *ipvs.RealServer) {
	b.t.Helper()
	rs.SetAvailable(false)
	b.servers = slices.DeleteFunc(slices.Clone(b.servers), func(e *ipvs.RealServer) bool { return e == rs })
	require.NoError(b.t, b.s.Update(Delete, b.servers, rs))
}

func (b *bench) weight(rs *ipvs.RealServer, w int32) {
	b.t.Helper()
	setWeight(rs, w)
	require.NoError(b.t, b.s.Update(Edit, b.servers, rs))
}

func (b *bench) pick() *ipvs.RealServer { return b.s.Schedule(&b.req) }

// from picks for a client address or address:port.
func (b *bench) from(client string) *ipvs.RealServer {
	b.t.Helper()
	b.req.Client, b.req.ClientPort = mustClient(client)
	return b.pick()
}

// to picks for a packet destination.
func (b *bench) to(dst string) *ipvs.RealServer {
	b.req.Dst = netip.MustParseAddr(dst)
	return b.pick()
}

// sequence names the next n picks by letter: A is the server with the number
// 1, B the next; a dash is no server.
func (b *bench) sequence(n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = letter(b.pick())
	}
	return string(out)
}

func letter(rs *ipvs.RealServer) byte {
	if rs == nil {
		return '-'
	}
	a := rs.ID.Addr.AsSlice()
	return 'A' + a[len(a)-1] - 1
}

func newServer(i int, weight int32) *ipvs.RealServer {
	addr := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
	return ipvs.NewRealServer(ipvs.ServerID{Addr: addr, Port: 80}, nil, spec(weight))
}

func spec(weight int32) ipvs.ServerSpec {
	return ipvs.ServerSpec{Method: ipvs.DirectRoute, Weight: weight}
}

func setWeight(rs *ipvs.RealServer, w int32) {
	s := rs.Spec()
	s.Weight = w
	rs.SetSpec(s)
}

// counts gives rs that many connections on top of those it has.
func counts(rs *ipvs.RealServer, active, inactive int) {
	for range active {
		rs.Bind(true)
	}
	for range inactive {
		rs.Bind(false)
	}
}

// overload makes the connection thresholds hide rs.
func overload(rs *ipvs.RealServer) {
	s := rs.Spec()
	s.UpperThreshold = 1
	rs.SetSpec(s)
	rs.Bind(false)
}

func mustClient(s string) (netip.Addr, uint16) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr(), ap.Port()
	}
	return netip.MustParseAddr(s), 0
}

func TestNewKnowsEveryScheduler(t *testing.T) {
	require.Len(t, constructors, len(names))
	for _, name := range names {
		_, err := New(name, rand.New(rand.NewPCG(1, 2)))
		require.NoError(t, err, name)
	}
	for _, name := range []string{"none", "", "RR", "fifo"} {
		_, err := New(name, nil)
		require.ErrorIs(t, err, ipvs.ErrNoEntry, name)
	}
}

// Every scheduler, whatever its taste, obeys these.
func TestEveryScheduler(t *testing.T) {
	cases := []struct {
		about string
		setup func(b *bench)
		want  string
	}{
		{"no server", func(*bench) {}, "---"},
		{"one server", func(b *bench) { b.add(1) }, "AAA"},
		{"one server, bound", func(b *bench) { b.load(1) }, "AAA"},
		{"quiesced", func(b *bench) { b.add(0, 0) }, "---"},
		{"quiesced later", func(b *bench) { b.weight(b.add(3)[0], 0) }, "---"},
		{"back again", func(b *bench) { a := b.add(3)[0]; b.weight(a, 0); b.weight(a, 3) }, "AAA"},
		{"overloaded", func(b *bench) { overload(b.add(1)[0]) }, "---"},
		{"the last one deleted", func(b *bench) { b.unlink(b.add(1)[0]) }, "---"},
		{"the other one deleted", func(b *bench) { b.unlink(b.add(1, 1)[1]) }, "AAA"},
		{"zero sysctls", func(b *bench) { b.sysctls = ipvs.Sysctls{}; b.add(1) }, "AAA"},
	}
	for _, name := range names {
		for _, c := range cases {
			t.Run(name+"/"+c.about, func(t *testing.T) {
				b := newBench(t, name)
				c.setup(b)
				require.Equal(t, c.want, b.sequence(3))
			})
		}
	}
}

// Hostile or absurd requests are answered without a panic.
func TestOddRequests(t *testing.T) {
	odd := []netip.Addr{
		{}, netip.IPv6Unspecified(), netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("fe80::1%eth0"),
		netip.MustParseAddr("255.255.255.255"),
	}
	for _, name := range names {
		b := newBench(t, name)
		b.add(1, 1<<31-1, 3)
		for _, a := range odd {
			b.req.Client, b.req.Dst = a, a
			b.req.Flags = ipvs.FlagSched1 | ipvs.FlagSched2
			require.NotNil(t, b.pick(), "%s %v", name, a)
		}
	}
}

// Random changes to a service: a pick is a linked server that may be given
// connections, and nothing depends on anything but what went in.
func TestRandomServices(t *testing.T) {
	for _, name := range names {
		for seed := range uint64(20) {
			t.Run(fmt.Sprintf("%s/seed%d", name, seed), func(t *testing.T) {
				require.Equal(t, randomService(t, name, seed), randomService(t, name, seed))
			})
		}
	}
}

func randomService(t *testing.T, name string, seed uint64) string {
	rng := rand.New(rand.NewPCG(seed, 0))
	b := newBench(t, name)
	var bound []*ipvs.RealServer
	var log []byte
	for range 400 {
		b.req.Now = b.req.Now.Add(time.Duration(rng.Int64N(int64(time.Minute))))
		switch op := rng.IntN(20); {
		case op == 0 && len(b.servers) < 12:
			b.link(newServer(rng.IntN(60)+1, rng.Int32N(5)))
		case op == 1 && len(b.servers) > 0:
			b.unlink(b.servers[rng.IntN(len(b.servers))])
		case op == 2 && len(b.servers) > 0:
			b.weight(b.servers[rng.IntN(len(b.servers))], rng.Int32N(5))
		case op < 6 && len(bound) > 0:
			bound[0].Unbind(true)
			bound = bound[1:]
		default:
			b.req.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(rng.IntN(32))})
			b.req.Dst = netip.AddrFrom4([4]byte{10, 9, 1, byte(rng.IntN(8))})
			rs := b.pick()
			log = append(log, letter(rs))
			if rs == nil {
				continue
			}
			require.Contains(t, b.servers, rs)
			require.Positive(t, rs.Weight())
			require.True(t, rs.Available())
			rs.Bind(true)
			bound = append(bound, rs)
		}
	}
	return string(log)
}

func TestScheduleDoesNotAllocate(t *testing.T) {
	for _, name := range names {
		for _, flags := range []ipvs.ServiceFlags{0, ipvs.FlagSched1 | ipvs.FlagSched2} {
			b := newBench(t, name)
			servers := b.add(1, 2, 3, 4, 5)
			setWeight(servers[0], 0) // something to fall back from
			b.req.Flags = flags
			for i := range 256 { // every cache entry is there
				b.req.Dst = netip.AddrFrom4([4]byte{10, 9, 1, byte(i)})
				b.pick()
			}
			i := 0
			require.Zero(t, testing.AllocsPerRun(1000, func() {
				i++
				b.req.Now = b.req.Now.Add(time.Second)
				b.req.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
				b.req.Dst = netip.AddrFrom4([4]byte{10, 9, 1, byte(i)})
				if rs := b.pick(); rs != nil {
					rs.Bind(true)
				}
			}), "%s flags %#x", name, flags)
		}
	}
}
