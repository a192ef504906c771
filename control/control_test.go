package control

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/director"
	"usvs/ipvs"
	"usvs/route"
	"usvs/sched"
	"usvs/wire"
)

// fakeClock is moved by hand.
type fakeClock struct{ now clock.Instant }

func (f *fakeClock) Now() clock.Instant { return f.now }

// rig is a Control with what surrounds it.
type rig struct {
	*Control
	t         *testing.T
	clock     *fakeClock
	registry  *ipvs.Registry
	totals    *ipvs.Counters
	published int
	log       bytes.Buffer
}

func newRig(t *testing.T, change ...func(*Config)) *rig {
	r := &rig{t: t, clock: &fakeClock{now: clock.Instant(time.Second)}, registry: new(ipvs.Registry), totals: new(ipvs.Counters)}
	cfg := Config{
		Clock:   r.clock,
		Rand:    rand.New(rand.NewPCG(1, 2)),
		Servers: r.registry,
		Totals:  r.totals,
		Conns:   &noConnections{timeouts: ipvs.DefaultTimeouts},
		Sysctls: ipvs.DefaultSysctls(),
		Log: slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		}})),
		Publish: func(*director.Snapshot) { r.published++ },
	}
	for _, f := range change {
		f(&cfg)
	}
	r.Control = New(cfg)
	return r
}

// advance lets time pass, ticking whenever Tick asks for it.
func (r *rig) advance(d time.Duration) {
	end := r.clock.now.Add(d)
	for {
		next := r.Tick(r.clock.now)
		require.Greater(r.t, next, r.clock.now, "Tick asks for no progress")
		if next > end {
			break
		}
		r.clock.now = next
	}
	r.clock.now = end
}

func (r *rig) must(err error) {
	r.t.Helper()
	require.NoError(r.t, err)
}

func (r *rig) entry(id ipvs.ServiceID) ipvs.ServiceEntry {
	r.t.Helper()
	e, err := r.Service(id)
	r.must(err)
	return e
}

// real returns the object behind a listed server.
func (r *rig) real(svc ipvs.ServiceID, id ipvs.ServerID) *ipvs.RealServer {
	r.t.Helper()
	for _, s := range r.Snapshot().Services {
		for _, rs := range s.Servers {
			if s.VS.ID == svc && rs.ID == id {
				return rs
			}
		}
	}
	r.t.Fatalf("no server %v in %v", id, svc)
	return nil
}

func (r *rig) order(svc ipvs.ServiceID) (out []string) {
	for _, s := range r.entry(svc).Servers {
		out = append(out, s.ID.String())
	}
	return out
}

func tcp(addr string, port uint16) ipvs.ServiceID {
	a := netip.MustParseAddr(addr)
	return ipvs.ServiceID{Family: ipvs.FamilyOf(a), Protocol: ipvs.TCP, Addr: a, Port: port}
}

func mark(m uint32) ipvs.ServiceID {
	return ipvs.ServiceID{Family: ipvs.IPv4, Mark: m}
}

func at(s string) ipvs.ServerID {
	ap := netip.MustParseAddrPort(s)
	return ipvs.ServerID{Addr: ap.Addr(), Port: ap.Port()}
}

func by(scheduler string) ipvs.ServiceSpec {
	return ipvs.ServiceSpec{Scheduler: scheduler, PrefixLen: 128}
}

func weight(w int32) ipvs.ServerSpec { return ipvs.ServerSpec{Method: ipvs.DirectRoute, Weight: w} }

var (
	web = tcp("10.9.0.1", 80)
	rsA = at("10.1.0.11:80")
	rsB = at("10.1.0.12:80")
	rsC = at("10.1.0.13:80")
)

// pick asks the service's scheduler n times and returns the last bytes of the
// servers' addresses.
func (r *rig) pick(svc ipvs.ServiceID, n int) (out []byte) {
	for range n {
		for _, s := range r.Snapshot().Services {
			if s.VS.ID != svc {
				continue
			}
			rs := s.Picker.Schedule(&sched.Request{Client: netip.MustParseAddr("198.51.100.1"), Flags: s.Spec.Flags, Sysctls: &ipvs.Sysctls{}})
			if rs == nil {
				out = append(out, 0)
				continue
			}
			a := rs.ID.Addr.As16()
			out = append(out, a[15])
		}
	}
	return out
}

func TestServiceErrors(t *testing.T) {
	v6 := tcp("fd00:9::1", 80)
	tests := []struct {
		name string
		do   func(c *Control) error
		want error
	}{
		{"add twice", func(c *Control) error { return c.AddService(web, by("rr")) }, ipvs.ErrExists},
		{"existence before scheduler", func(c *Control) error { return c.AddService(web, by("nosuch")) }, ipvs.ErrExists},
		{"unknown scheduler", func(c *Control) error { return c.AddService(tcp("10.9.0.2", 80), by("nosuch")) }, ipvs.ErrNoEntry},
		{"no scheduler named", func(c *Control) error { return c.AddService(tcp("10.9.0.2", 80), by("")) }, ipvs.ErrInvalid},
		{"unknown engine", func(c *Control) error {
			return c.AddService(tcp("10.9.0.2", 80), ipvs.ServiceSpec{Scheduler: "rr", PE: "nosuch"})
		}, ipvs.ErrNoEntry},
		{"engine before prefix", func(c *Control) error { return c.AddService(v6, ipvs.ServiceSpec{Scheduler: "rr", PE: "nosuch"}) }, ipvs.ErrNoEntry},
		{"prefix 0", func(c *Control) error { return c.AddService(v6, ipvs.ServiceSpec{Scheduler: "rr"}) }, ipvs.ErrInvalid},
		{"prefix 129", func(c *Control) error { return c.AddService(v6, ipvs.ServiceSpec{Scheduler: "rr", PrefixLen: 129}) }, ipvs.ErrInvalid},
		{"protocol", func(c *Control) error {
			return c.AddService(ipvs.ServiceID{Family: ipvs.IPv4, Protocol: 47, Addr: web.Addr, Port: 1}, by("rr"))
		}, ipvs.ErrInvalid},
		{"family unknown", func(c *Control) error { return c.AddService(ipvs.ServiceID{Family: 9, Mark: 1}, by("rr")) }, ipvs.ErrFamily},
		{"family of another address", func(c *Control) error {
			return c.AddService(ipvs.ServiceID{Family: ipvs.IPv6, Protocol: ipvs.TCP, Addr: web.Addr, Port: 1}, by("rr"))
		}, ipvs.ErrInvalid},
		{"no address", func(c *Control) error {
			return c.AddService(ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.TCP, Port: 1}, by("rr"))
		}, ipvs.ErrInvalid},
		{"zone", func(c *Control) error { return c.AddService(tcp("fe80::1%eth0", 80), by("rr")) }, ipvs.ErrInvalid},
		{"edit missing", func(c *Control) error { return c.EditService(tcp("10.9.0.2", 80), by("rr")) }, ipvs.ErrNotFound},
		{"edit unknown scheduler", func(c *Control) error { return c.EditService(web, by("nosuch")) }, ipvs.ErrNoEntry},
		{"delete missing", func(c *Control) error { return c.DeleteService(mark(7)) }, ipvs.ErrNotFound},
		{"delete exactly", func(c *Control) error { return c.DeleteService(tcp("10.9.0.1", 81)) }, ipvs.ErrNotFound},
		{"show missing", func(c *Control) error { _, err := c.Service(mark(7)); return err }, ipvs.ErrNotFound},
		{"zero missing", func(c *Control) error { id := mark(7); return c.Zero(&id) }, ipvs.ErrNotFound},
		{"start daemon", func(c *Control) error { return c.StartDaemon(ipvs.Daemon{}) }, ipvs.ErrInvalid},
		{"stop daemon", func(c *Control) error { return c.StopDaemon(ipvs.DaemonMaster) }, ipvs.ErrNotFound},
		{"timeout", func(c *Control) error { return c.SetTimeouts(ipvs.Timeouts{TCP: 1, UDP: maxTimeoutSecs + 1}) }, ipvs.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.must(r.AddService(web, by("rr")))
			before, published := r.entry(web), r.published
			require.ErrorIs(t, tt.do(r.Control), tt.want)
			require.Equal(t, before, r.entry(web))
			require.Equal(t, published, r.published, "a refused change publishes nothing")
			to, err := r.Timeouts()
			r.must(err)
			require.Equal(t, ipvs.DefaultTimeouts, to)
		})
	}
}

func TestServerErrors(t *testing.T) {
	table := route.New(route.Config{
		Interfaces: []route.Interface{{Name: "eth0", Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix("10.1.0.1/16")}}},
		Locals:     []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("fe80::5")},
	})
	add := func(s ipvs.ServerID, spec ipvs.ServerSpec) func(*Control) error {
		return func(c *Control) error { return c.AddServer(web, s, spec) }
	}
	edit := func(s ipvs.ServerID, spec ipvs.ServerSpec) func(*Control) error {
		return func(c *Control) error { return c.EditServer(web, s, spec) }
	}
	gue := ipvs.ServerSpec{Method: ipvs.Tunnel, Weight: 1, Tunnel: ipvs.TunnelParams{Type: ipvs.GUE}}
	tests := []struct {
		name string
		do   func(c *Control) error
		want error
	}{
		{"no service", func(c *Control) error { return c.AddServer(mark(3), rsB, weight(-1)) }, ipvs.ErrNotFound},
		{"twice", add(rsA, weight(1)), ipvs.ErrExists},
		{"weight before existence", add(rsA, weight(-1)), ipvs.ErrRange},
		{"thresholds before existence", add(rsA, ipvs.ServerSpec{Method: ipvs.DirectRoute, LowerThreshold: 3}), ipvs.ErrRange},
		{"lower above upper", add(rsB, ipvs.ServerSpec{Method: ipvs.DirectRoute, UpperThreshold: 5, LowerThreshold: 10}), ipvs.ErrRange},
		{"upper too large", add(rsB, ipvs.ServerSpec{Method: ipvs.DirectRoute, UpperThreshold: 1 << 31}), ipvs.ErrInvalid},
		{"GUE without port", add(rsB, gue), ipvs.ErrInvalid},
		{"GUE before existence", add(rsA, gue), ipvs.ErrInvalid},
		{"method", add(rsB, ipvs.ServerSpec{Method: 9}), ipvs.ErrInvalid},
		{"multicast", add(at("224.0.0.1:80"), weight(1)), ipvs.ErrInvalid},
		{"broadcast", add(at("255.255.255.255:80"), weight(1)), ipvs.ErrInvalid},
		{"subnet broadcast", add(at("10.1.255.255:80"), weight(1)), ipvs.ErrInvalid},
		{"zero", add(at("0.0.0.0:80"), weight(1)), ipvs.ErrInvalid},
		{"only 0.0.0.0 is no address", add(at("0.1.2.3:80"), weight(1)), nil},
		{"no address", add(ipvs.ServerID{Port: 80}, weight(1)), ipvs.ErrInvalid},
		{"class E is unicast", add(at("240.0.0.1:80"), weight(1)), nil},
		{"foreign subnet broadcast is unicast", add(at("10.2.255.255:80"), weight(1)), nil},
		{"local", add(at("127.0.0.1:80"), weight(1)), nil},
		{"IPv6 without tunnel", add(at("[fd00::1]:80"), weight(1)), ipvs.ErrInvalid},
		{"IPv6 in a tunnel", add(at("[fd00::1]:80"), ipvs.ServerSpec{Method: ipvs.Tunnel, Weight: 1}), nil},
		{"IPv6 multicast", add(at("[ff02::1]:80"), ipvs.ServerSpec{Method: ipvs.Tunnel}), ipvs.ErrInvalid},
		{"IPv6 link-local", add(at("[fe80::1]:80"), ipvs.ServerSpec{Method: ipvs.Tunnel}), ipvs.ErrInvalid},
		{"IPv6 link-local of the host", add(at("[fe80::5]:80"), ipvs.ServerSpec{Method: ipvs.Tunnel}), nil},
		{"IPv6 zone", add(at("[fe80::5%eth0]:80"), ipvs.ServerSpec{Method: ipvs.Tunnel}), ipvs.ErrInvalid},
		{"IPv6 unspecified", add(at("[::]:80"), ipvs.ServerSpec{Method: ipvs.Tunnel}), ipvs.ErrInvalid},
		{"IPv4-mapped", add(at("[::ffff:10.1.0.1]:80"), ipvs.ServerSpec{Method: ipvs.Tunnel}), ipvs.ErrInvalid},
		{"edit missing", edit(rsB, weight(1)), ipvs.ErrNoEntry},
		{"edit other port", edit(at("10.1.0.11:81"), weight(1)), ipvs.ErrNoEntry},
		{"edit weight before existence", edit(rsB, weight(-1)), ipvs.ErrRange},
		{"edit thresholds", edit(rsA, ipvs.ServerSpec{LowerThreshold: 1}), ipvs.ErrRange},
		{"delete missing", func(c *Control) error { return c.DeleteServer(web, rsB) }, ipvs.ErrNoEntry},
		{"delete, no service", func(c *Control) error { return c.DeleteServer(mark(1), rsB) }, ipvs.ErrNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.SetRoutes(table)
			r.must(r.AddService(web, by("rr")))
			r.must(r.AddServer(web, rsA, weight(1)))
			before := r.entry(web)
			err := tt.do(r.Control)
			if tt.want == nil {
				r.must(err)
				return
			}
			require.ErrorIs(t, err, tt.want)
			require.Equal(t, before, r.entry(web))
		})
	}
}

func TestEditServerAcrossFamilies(t *testing.T) {
	r := newRig(t)
	r.must(r.AddService(web, by("rr")))
	six := at("[fd00::1]:80")
	r.must(r.AddServer(web, six, ipvs.ServerSpec{Method: ipvs.Tunnel, Weight: 1}))
	require.ErrorIs(t, r.EditServer(web, six, weight(1)), ipvs.ErrInvalid)
	require.Equal(t, ipvs.Tunnel, r.entry(web).Servers[0].Spec.Method)
}

func TestRegistered(t *testing.T) {
	r := newRig(t)
	r.must(r.AddService(web, by("rr")))
	r.must(r.AddServer(web, rsA, weight(1)))
	require.NotZero(t, r.real(web, rsA).Index)
	require.Same(t, r.real(web, rsA), r.registry.Get(r.real(web, rsA).Index))
}

// Newest first, edits keep the place, a deleted server comes back at the head.
func TestServerOrder(t *testing.T) {
	r := newRig(t)
	r.must(r.AddService(web, by("rr")))
	for _, id := range []ipvs.ServerID{rsA, rsB, rsC} {
		r.must(r.AddServer(web, id, weight(1)))
	}
	require.Equal(t, []string{"10.1.0.13:80", "10.1.0.12:80", "10.1.0.11:80"}, r.order(web))
	require.Equal(t, []byte{13, 12, 11, 13}, r.pick(web, 4))
	r.must(r.EditServer(web, rsB, ipvs.ServerSpec{Method: ipvs.Masquerade, Weight: 7}))
	require.Equal(t, []string{"10.1.0.13:80", "10.1.0.12:80", "10.1.0.11:80"}, r.order(web))
	r.must(r.DeleteServer(web, rsA))
	r.must(r.AddServer(web, rsA, weight(1)))
	require.Equal(t, []string{"10.1.0.11:80", "10.1.0.13:80", "10.1.0.12:80"}, r.order(web))
	e := r.entry(web)
	require.Equal(t, ipvs.ServerSpec{Method: ipvs.Masquerade, Weight: 7}, e.Servers[2].Spec)
}

// A snapshot taken before a change does not see it.
func TestSnapshotImmutable(t *testing.T) {
	r := newRig(t)
	r.must(r.AddService(web, by("rr")))
	r.must(r.AddServer(web, rsA, weight(1)))
	r.must(r.AddServer(web, rsB, weight(1)))
	old := r.Snapshot()
	svc, list := old.Services[0], old.Services[0].Servers
	r.must(r.DeleteServer(web, rsB))
	r.must(r.EditService(web, by("lc")))
	r.must(r.AddServer(web, rsC, weight(1)))
	r.must(r.Flush())
	require.Len(t, old.Services, 1)
	require.Same(t, svc, old.Services[0])
	require.Equal(t, "rr", svc.Spec.Scheduler)
	require.Equal(t, []ipvs.ServerID{rsB, rsA}, []ipvs.ServerID{list[0].ID, list[1].ID})
	require.Empty(t, r.Snapshot().Services)
}

// With the same scheduler its state stays: wrr goes on where it was. With
// another one, or the same one bound again later, it starts anew.
func TestEditServiceScheduler(t *testing.T) {
	r := newRig(t)
	r.must(r.AddService(web, by("rr")))
	for _, id := range []ipvs.ServerID{rsA, rsB, rsC} {
		r.must(r.AddServer(web, id, weight(1)))
	}
	require.Equal(t, []byte{13, 12}, r.pick(web, 2))
	spec := by("rr")
	spec.Flags, spec.Timeout = ipvs.FlagPersistent, 60
	r.must(r.EditService(web, spec))
	require.Equal(t, []byte{11, 13}, r.pick(web, 2), "rr keeps its cursor")
	r.must(r.EditService(web, by("none")))
	require.Equal(t, []byte{0}, r.pick(web, 1))
	require.Equal(t, "none", r.entry(web).Spec.Scheduler)
	r.must(r.EditService(web, by("rr")))
	require.Equal(t, []byte{13, 12}, r.pick(web, 2), "rr starts again")
}

// mh cannot take over more servers than it has slots; the service stays as it was.
func TestEditServiceBindFails(t *testing.T) {
	r := newRig(t)
	r.must(r.AddService(web, by("rr")))
	r.held++ // thousands of servers, one snapshot
	for i := range 4094 {
		a := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		r.must(r.AddServer(web, ipvs.ServerID{Addr: a, Port: 80}, weight(1)))
	}
	r.held--
	require.ErrorIs(t, r.EditService(web, by("mh")), ipvs.ErrInvalid)
	require.Equal(t, "rr", r.entry(web).Spec.Scheduler)
	r.must(r.EditService(web, by("rr")))
	require.NotEqual(t, []byte{0}, r.pick(web, 1))
}

func TestSpecAsStored(t *testing.T) {
	mask := netip.MustParseAddr("255.255.255.0")
	ones := netip.MustParseAddr("255.255.255.255")
	tests := []struct {
		name     string
		id       ipvs.ServiceID
		in, want ipvs.ServiceSpec
	}{
		{"defaults", web, ipvs.ServiceSpec{Scheduler: "rr"}, ipvs.ServiceSpec{Scheduler: "rr", Flags: ipvs.FlagHashed, Netmask: ones}},
		{"timeout needs persistence", web, ipvs.ServiceSpec{Scheduler: "rr", Timeout: 5, Netmask: mask},
			ipvs.ServiceSpec{Scheduler: "rr", Flags: ipvs.FlagHashed, Netmask: mask}},
		{"persistent", web, ipvs.ServiceSpec{Scheduler: "rr", Flags: ipvs.FlagPersistent, Timeout: 5, Netmask: mask, PE: "sip"},
			ipvs.ServiceSpec{Scheduler: "rr", Flags: ipvs.FlagPersistent | ipvs.FlagHashed, Timeout: 5, Netmask: mask, PE: "sip"}},
		{"IPv6", tcp("fd00:9::1", 80), ipvs.ServiceSpec{Scheduler: "rr", PrefixLen: 64, Netmask: mask},
			ipvs.ServiceSpec{Scheduler: "rr", Flags: ipvs.FlagHashed, PrefixLen: 64}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.must(r.AddService(tt.id, tt.in))
			require.Equal(t, tt.want, r.entry(tt.id).Spec)
			r.must(r.EditService(tt.id, tt.in))
			require.Equal(t, tt.want, r.entry(tt.id).Spec)
		})
	}
}

// A fwmark service is found whatever protocol and address the request names.
func TestFwmarkIdentity(t *testing.T) {
	r := newRig(t)
	six := ipvs.ServiceID{Family: ipvs.IPv6, Mark: 5}
	r.must(r.AddService(ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.UDP, Addr: web.Addr, Port: 9, Mark: 5}, by("rr")))
	r.must(r.AddService(six, by("rr")))
	require.Equal(t, mark(5), r.entry(ipvs.ServiceID{Family: ipvs.IPv4, Mark: 5}).ID)
	r.must(r.DeleteService(six))
	require.Len(t, r.Snapshot().Services, 1)
}

func TestServicesOrder(t *testing.T) {
	r := newRig(t)
	ids := []ipvs.ServiceID{mark(1), web, tcp("10.9.0.2", 80), mark(2)}
	for _, id := range ids {
		r.must(r.AddService(id, by("rr")))
	}
	all, err := r.Services()
	r.must(err)
	var got []ipvs.ServiceID
	for _, e := range all {
		got = append(got, e.ID)
	}
	require.Equal(t, []ipvs.ServiceID{ids[2], ids[1], ids[3], ids[0]}, got)
}

func TestTimeouts(t *testing.T) {
	r := newRig(t)
	for _, step := range []struct{ set, want ipvs.Timeouts }{
		{ipvs.Timeouts{}, ipvs.DefaultTimeouts},
		{ipvs.Timeouts{TCP: 100, TCPFin: 20, UDP: 30}, ipvs.Timeouts{TCP: 100, TCPFin: 20, UDP: 30}},
		{ipvs.Timeouts{UDP: 77}, ipvs.Timeouts{TCP: 100, TCPFin: 20, UDP: 77}},
	} {
		r.must(r.SetTimeouts(step.set))
		got, err := r.Timeouts()
		r.must(err)
		require.Equal(t, step.want, got)
	}
	r.must(r.Flush())
	got, _ := r.Timeouts()
	require.Equal(t, uint32(77), got.UDP, "flush does not reset timeouts")
}

func TestSettings(t *testing.T) {
	r := newRig(t)
	s := r.Sysctls()
	s.SloppyTCP = 1
	r.SetSysctls(s)
	require.Equal(t, 1, r.Snapshot().Sysctls.SloppyTCP)
	r.must(r.Flush())
	require.Equal(t, 1, r.Sysctls().SloppyTCP, "flush does not reset settings")
	info, err := r.Info()
	r.must(err)
	require.Equal(t, ipvs.Info{Version: [3]int{1, 2, 1}}, info)
}

// listed is a connection table that has two entries.
type listed struct{ noConnections }

func (listed) Buckets() int { return 4096 }
func (listed) List(now clock.Instant, yield func(*ipvs.ConnEntry) bool) {
	for i := range 2 {
		if !yield(&ipvs.ConnEntry{Expires: int64(now) + int64(i)}) {
			return
		}
	}
}

func TestConnections(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Conns = &listed{} })
	var got []int64
	r.must(r.Connections(func(e *ipvs.ConnEntry) bool { got = append(got, e.Expires); return len(got) < 2 }))
	require.Equal(t, []int64{int64(time.Second), int64(time.Second) + 1}, got)
	info, _ := r.Info()
	require.Equal(t, 4096, info.ConnTableSize)
}

// A Control works with the least there is.
func TestMinimalConfig(t *testing.T) {
	c := New(Config{Clock: &fakeClock{}, Rand: rand.New(rand.NewPCG(1, 1)), Servers: new(ipvs.Registry)})
	require.NoError(t, c.AddService(web, by("rr")))
	require.NoError(t, c.Load("x", bytes.NewBufferString("-A -t 10.9.0.1:80 -s rr")))
	require.NoError(t, c.Connections(func(*ipvs.ConnEntry) bool { return true }))
	require.True(t, errors.Is(c.AddService(web, by("rr")), ipvs.ErrExists))
}

// The host says where FTP's data connections begin; settings leave that alone.
func TestSetHost(t *testing.T) {
	r := newRig(t)
	require.EqualValues(t, 1024, r.Snapshot().Sysctls.UnprivilegedPortStart)
	table := route.New(route.Config{})
	r.SetHost(table, 80)
	require.Same(t, table, r.Snapshot().Routes)
	r.must(r.SetSysctl("sloppy_tcp", "1"))
	require.EqualValues(t, 80, r.Snapshot().Sysctls.UnprivilegedPortStart)
}

// Direct routing rewrites MAC addresses: through a TUN device it cannot work,
// and saying so beats black-holing the clients.
func TestDirectRoutingNeedsEthernet(t *testing.T) {
	r := newRig(t)
	r.SetRoutes(route.New(route.Config{
		Interfaces: []route.Interface{{Name: "eth0"}, {Name: "tun0", Medium: wire.IP}},
		Routes: []route.Route{
			{Prefix: netip.MustParsePrefix("10.1.0.0/16"), Kind: route.Unicast, Port: 0},
			{Prefix: netip.MustParsePrefix("10.2.0.0/16"), Kind: route.Unicast, Port: 1},
		},
	}))
	r.must(r.AddService(web, by("rr")))
	direct := ipvs.ServerSpec{Method: ipvs.DirectRoute, Weight: 1}
	r.must(r.AddServer(web, at("10.1.0.11:80"), direct))
	require.ErrorIs(t, r.AddServer(web, at("10.2.0.11:80"), direct), ErrNeedsEthernet)
	r.must(r.AddServer(web, at("10.2.0.11:80"), ipvs.ServerSpec{Method: ipvs.Masquerade, Weight: 1}))
	err := r.EditServer(web, at("10.2.0.11:80"), direct)
	require.ErrorIs(t, err, ErrNeedsEthernet)
	require.ErrorContains(t, err, "tun0")
}
