package health

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
)

// site is a configuration of services with servers, each with a TCP_CHECK every
// 6 s.
func site(services, servers int) *Config {
	cfg := &Config{RouterID: "lvs1"}
	for s := range services {
		vip := netip.AddrFrom4([4]byte{10, 0, byte(s >> 8), byte(s)})
		vs := &VirtualServer{Protocol: ipvs.TCP, Quorum: 1, Services: []Service{{
			ID: ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.TCP, Addr: vip, Port: 80}, Spec: ipvs.ServiceSpec{Scheduler: "wlc"},
		}}}
		for n := range servers {
			id := ipvs.ServerID{Addr: netip.AddrFrom4([4]byte{192, byte(s >> 8), byte(s), byte(n)}), Port: 80}
			c := tcpCheck(id)
			c.Warmup = c.DelayLoop
			vs.Servers = append(vs.Servers, &Server{ID: id, Spec: ipvs.ServerSpec{Weight: 1}, SMTPAlert: true, Checks: []*Check{c}})
		}
		cfg.VirtualServers = append(cfg.VirtualServers, vs)
	}
	return cfg
}

// silence does nothing but count.
type silence struct{ changes, probes, cancels, lines int }

func (s *silence) change() error { s.changes++; return nil }

func (s *silence) AddService(ipvs.ServiceID, ipvs.ServiceSpec) error  { return s.change() }
func (s *silence) EditService(ipvs.ServiceID, ipvs.ServiceSpec) error { return s.change() }
func (s *silence) DeleteService(ipvs.ServiceID) error                 { return s.change() }
func (s *silence) AddServer(ipvs.ServiceID, ipvs.ServerID, ipvs.ServerSpec) error {
	return s.change()
}
func (s *silence) EditServer(ipvs.ServiceID, ipvs.ServerID, ipvs.ServerSpec) error {
	return s.change()
}
func (s *silence) DeleteServer(ipvs.ServiceID, ipvs.ServerID) error { return s.change() }
func (s *silence) Probe(CheckID, *Probe)                            { s.probes++ }
func (s *silence) Cancel(CheckID)                                   { s.cancels++ }
func (s *silence) Notify(Event)                                     {}
func (s *silence) Log(Level, string)                                { s.lines++ }

func random() *rand.Rand { return rand.New(rand.NewPCG(3, 4)) }

func TestReloadTouchesWhatChanged(t *testing.T) {
	fx := &silence{}
	m := New(site(200, 10), fx, random())
	m.Start(0)
	require.Equal(t, 200+2000, fx.changes)
	fx.changes, fx.lines = 0, 0
	next := site(200, 10)
	next.VirtualServers[77].Servers[3].Spec.Weight = 5
	m.Reload(clock.Instant(time.Minute), next)
	assert.Equal(t, 1, fx.changes)
	assert.Zero(t, fx.cancels)
	assert.Equal(t, 1, fx.lines, "the weight; nothing is said of checks that go on")

	m.Reload(clock.Instant(time.Minute), site(200, 10))
	assert.Equal(t, 2, fx.changes)
	assert.Len(t, m.queue, 2000, "every check waits once")
}

// TestSpread has many checks run whose answers all take the same time: no part of
// the loop has more of them than chance explains, right after the start as well
// as long afterwards.
func TestSpread(t *testing.T) {
	for _, c := range []struct {
		checks, shares int
		from           time.Duration
	}{
		{20000, 60, time.Second},
		{20000, 60, 31 * time.Second},
		{1000, 10, time.Hour},
	} {
		l := &spread{}
		l.m = New(site(c.checks/10, 10), l, random())
		l.m.Start(0)
		l.runTo(clock.Instant(c.from))
		const round = 6*time.Second + 2*time.Millisecond
		counts := make([]int, c.shares)
		l.begun = func(at clock.Instant) {
			if i := int(at.Sub(clock.Instant(c.from)) * time.Duration(c.shares) / round); i < c.shares {
				counts[i]++
			}
		}
		l.runTo(clock.Instant(c.from + round))
		fair := float64(c.checks) / float64(c.shares)
		for i, n := range counts {
			assert.InDelta(t, fair, n, 5*math.Sqrt(fair), "share %d of the loop after %v: %v", i, c.from, counts)
		}
	}
}

// spread answers every attempt with success after 2 ms.
type spread struct {
	silence
	m     *Monitor
	now   clock.Instant
	due   []struct{ at, id uint64 }
	begun func(clock.Instant)
}

func (l *spread) Probe(id CheckID, _ *Probe) {
	if l.begun != nil {
		l.begun(l.now)
	}
	l.due = append(l.due, struct{ at, id uint64 }{uint64(l.now.Add(2 * time.Millisecond)), uint64(id)})
}

func (l *spread) runTo(end clock.Instant) {
	for {
		next := l.m.Tick(l.now)
		if len(l.due) > 0 && clock.Instant(l.due[0].at) <= next {
			e := l.due[0]
			l.due = l.due[1:]
			l.now = clock.Instant(e.at)
			l.m.Result(l.now, CheckID(e.id), Result{})
			continue
		}
		if next.After(end) {
			return
		}
		l.now = next
	}
}

func TestTickCostsWhatIsDue(t *testing.T) {
	fx := &silence{}
	m := New(site(100, 10), fx, random())
	m.Start(0)
	now := clock.Instant(0)
	for range 100 {
		now = m.Tick(now)
		before := fx.probes
		m.Tick(now)
		require.LessOrEqual(t, fx.probes-before, 3, "attempts of one instant")
	}
	allocs := testing.AllocsPerRun(100, func() { m.Tick(now) })
	assert.Zero(t, allocs, "nothing is due")
}

func BenchmarkStart(b *testing.B) {
	cfg := site(2000, 10)
	for b.Loop() {
		New(cfg, &silence{}, random()).Start(0)
	}
}

func BenchmarkReload(b *testing.B) {
	cfgs := [2]*Config{site(2000, 10), site(2000, 10)}
	cfgs[1].VirtualServers[77].Servers[3].Spec.Weight = 5
	m := New(cfgs[0], &silence{}, random())
	m.Start(0)
	i := 0
	for b.Loop() {
		i++
		m.Reload(clock.Instant(i), cfgs[i%2])
	}
}

// BenchmarkRound is one attempt of each of 20,000 checks.
func BenchmarkRound(b *testing.B) {
	l := &spread{}
	l.m = New(site(2000, 10), l, random())
	l.m.Start(0)
	end := clock.Instant(10 * time.Second)
	for b.Loop() {
		l.runTo(end)
		l.now = end
		end = end.Add(6 * time.Second)
	}
}
