package control

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/director"
	"usvs/ipvs"
	"usvs/marks"
	"usvs/route"
	"usvs/wire"
)

// whole is a snapshot's ownership as one would build it from nothing.
func (c *Control) whole() (owned []netip.Addr, hidden *director.Hidden) {
	virtual := map[netip.Addr]bool{}
	add := func(a netip.Addr) { virtual[a] = virtual[a] || ownable(a) }
	for _, svc := range c.services {
		if svc.vs.ID.Mark == 0 {
			add(svc.vs.ID.Addr)
		}
	}
	for _, a := range slices.Concat(c.marks4.SingleDests(), c.marks6.SingleDests(), c.cfg.VIPs) {
		add(a)
	}
	for a, st := range c.own.held {
		if !st.MAC.IsZero() {
			add(a)
		}
	}
	ownOf := func(a netip.Addr) Own {
		_, held := c.own.held[a]
		_, managed := c.own.managed[a]
		switch {
		case held:
			return OwnServices
		case managed:
			return OwnHost
		}
		return c.cfg.Own
	}
	local := func(a netip.Addr) bool { return c.routes != nil && c.routes.IsLocal(a) }
	var always []netip.Addr
	for a, ok := range virtual {
		if ok && (ownOf(a) == OwnServices || local(a)) {
			owned = append(owned, a)
			if !local(a) {
				always = append(always, a)
			}
		}
	}
	slices.SortFunc(owned, netip.Addr.Compare)

	var services, servers []director.Endpoint
	whileLocal := func(e director.Endpoint) {
		_, managed := c.own.managed[e.Addr]
		if (managed || !slices.Contains(always, e.Addr)) && virtual[e.Addr] {
			services = append(services, e)
		}
	}
	takes := map[ipvs.Family][]uint32{}
	for _, svc := range c.services {
		id := svc.vs.ID
		if id.Mark == 0 {
			whileLocal(director.Endpoint{Protocol: id.Protocol, Addr: id.Addr, Port: id.Port})
		} else {
			takes[id.Family] = append(takes[id.Family], id.Mark)
		}
		for _, rs := range svc.reals {
			if rs.Method() == ipvs.Masquerade {
				servers = append(servers, serverEndpoint(id, rs))
			}
		}
	}
	c.trash.each(func(srv *server) {
		if srv.rs.Method() == ipvs.Masquerade {
			servers = append(servers, serverEndpoint(srv.rs.Service().ID, srv.rs))
		}
	})
	hidden = &director.Hidden{Addrs: director.AddrsOf(always...)}
	for f, rules := range map[ipvs.Family]*marks.Ruleset{ipvs.IPv4: c.marks4, ipvs.IPv6: c.marks6} {
		for _, m := range rules.Markings() {
			switch {
			case !slices.ContainsFunc(takes[f], m.Gives):
			case !m.Dst.IsValid():
				hidden.Local4, hidden.Local6 = hidden.Local4 || f == ipvs.IPv4, hidden.Local6 || f == ipvs.IPv6
			case m.Dst.IsSingleIP():
				whileLocal(director.Endpoint{Addr: m.Dst.Addr()})
			default:
				hidden.Prefixes = append(hidden.Prefixes, m.Dst)
			}
		}
	}
	slices.SortFunc(hidden.Prefixes, comparePrefixes)
	hidden.Prefixes = slices.Compact(hidden.Prefixes)
	hidden.Services, hidden.Servers = director.EndpointsOf(services...), director.EndpointsOf(servers...)
	return owned, hidden
}

// checkSnapshot compares the last snapshot with one built whole.
func (r *rig) checkSnapshot(want []ipvs.ServiceID) {
	s := r.Snapshot()
	ids := []ipvs.ServiceID{}
	for i, svc := range s.Services {
		ids = append(ids, svc.VS.ID)
		have := r.services[i]
		require.Equal(r.t, []any{have.vs, have.spec, have.picker, have.reals}, []any{svc.VS, svc.Spec, svc.Picker, svc.Servers})
	}
	require.Equal(r.t, want, ids)
	require.NoError(r.t, s.Check())
	owned, hidden := r.whole()
	require.Equal(r.t, owned, s.Owned.Sorted())
	_, got := owns(s)
	_, wanted := owns(&director.Snapshot{Hidden: hidden})
	require.Equal(r.t, wanted, got)
}

// editor makes edits at random, of few things, so that they meet each other.
type editor struct {
	*rig
	rng  *rand.Rand
	want []ipvs.ServiceID // oldest first
}

var (
	editedServices = []ipvs.ServiceID{
		tcp("10.9.0.1", 80), tcp("10.9.0.1", 0), tcp("10.9.0.2", 80), tcp("fd00:9::1", 80), tcp("224.0.0.1", 80),
		mark(1), mark(2), {Family: ipvs.IPv6, Mark: 1},
	}
	editedRules = []string{
		"-d 10.9.0.1 -j MARK --set-mark 1", "-d 10.9.0.5 -j MARK --set-mark 2", "-d 10.9.1.0/24 -j MARK --set-mark 1", "-j MARK --set-mark 3",
		"-p tcp -j MARK --set-mark 2",
	}
	editedHosts = []*route.Table{nil, hostWith(), hostWith("10.9.0.1"), hostWith("10.9.0.1", "fd00:9::1", "10.9.0.7"), hostWith("10.9.0.5")}
)

func (e *editor) edit() {
	r, rng := e.rig, e.rng
	svc := editedServices[rng.IntN(len(editedServices))]
	id := ipvs.ServerID{Addr: netip.AddrFrom4([4]byte{10, 1, 0, byte(1 + rng.IntN(3))}), Port: uint16(80 + rng.IntN(2))}
	server := ipvs.ServerSpec{Method: ipvs.Masquerade, Weight: 1}
	if rng.IntN(3) == 0 {
		server.Method = ipvs.Tunnel
		server.Tunnel.Type = ipvs.TunnelType(rng.IntN(3) / 2 * 2) // not GUE, which needs a port
	}
	switch op := rng.IntN(36); {
	case op < 5:
		if r.AddService(svc, by("rr")) == nil {
			e.want = append(e.want, svc)
		}
	case op < 7:
		if r.DeleteService(svc) == nil {
			e.want = slices.DeleteFunc(slices.Clone(e.want), func(o ipvs.ServiceID) bool { return o == svc })
		}
	case op < 9:
		spec := by([]string{"rr", "wlc", "none"}[rng.IntN(3)])
		spec.PE = []string{"", "sip"}[rng.IntN(2)]
		_ = r.EditService(svc, spec)
	case op < 17:
		_ = r.AddServer(svc, id, server)
	case op < 20:
		_ = r.EditServer(svc, id, server)
	case op < 25:
		_ = r.DeleteServer(svc, id)
	case op < 27:
		r.SetRoutes(editedHosts[rng.IntN(len(editedHosts))])
	case op < 30:
		words := append([]string{"-t", "mangle", []string{"-A", "-D"}[rng.IntN(2)], "PREROUTING"}, strings.Fields(editedRules[rng.IntN(len(editedRules))])...)
		_, _ = r.Iptables(rng.IntN(4) == 0, words)
	case op == 30:
		r.advance(time.Duration(rng.IntN(400)) * time.Second)
		r.SetSysctls(r.Sysctls()) // the trash publishes nothing by itself
	case op < 35 && op > 31:
		e.manage()
	case rng.IntN(8) == 0:
		r.must(r.Flush())
		e.want = []ipvs.ServiceID{}
	}
}

// manage has VRRP manage, hold or let go of some addresses.
func (e *editor) manage() {
	var some []netip.Addr
	for _, a := range []string{"10.9.0.1", "10.9.0.2", "10.9.0.5", "10.9.0.7", "10.9.0.50", "fd00:9::1"} {
		if e.rng.IntN(2) == 0 {
			some = append(some, netip.MustParseAddr(a))
		}
	}
	switch e.rng.IntN(3) {
	case 0:
		e.SetManaged(some)
	case 1:
		e.Release(some...)
	case 2:
		held := map[netip.Addr]director.Station{}
		for _, a := range some {
			held[a] = director.Station{Interface: "eth0", MAC: wire.MAC{5: byte(e.rng.IntN(2))}}
		}
		e.Hold(held)
	}
}

// TestSnapshotsAgainstWhole: after every edit the snapshot is the one that
// would be built from nothing.
func TestSnapshotsAgainstWhole(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			e := &editor{rng: rand.New(rand.NewPCG(seed, 7)), want: []ipvs.ServiceID{}}
			e.rig = newRig(t, func(c *Config) {
				c.Own = Own(seed % 2)
				c.VIPs = []netip.Addr{netip.MustParseAddr("10.9.0.7"), netip.MustParseAddr("fd00:9::1")}
			})
			old, before := e.Snapshot(), e.want
			for i := range 600 {
				e.edit()
				e.checkSnapshot(e.want)
				if i%50 == 0 {
					old, before = e.Snapshot(), slices.Clone(e.want)
				}
				require.Len(t, old.Services, len(before), "an old snapshot stays what it was")
				for j, svc := range old.Services {
					require.Equal(t, before[j], svc.VS.ID)
				}
			}
		})
	}
}

// BenchmarkEdit edits one of many services, with ten servers each.
func BenchmarkEdit(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprint(n, " services"), func(b *testing.B) {
			c := New(Config{Clock: &fakeClock{now: 1}, Rand: rand.New(rand.NewPCG(1, 2)), Servers: new(ipvs.Registry), Sysctls: ipvs.DefaultSysctls()})
			c.held++
			for i := range n {
				svc := benchService(i)
				require.NoError(b, c.AddService(svc, by("wlc")))
				for j := range 10 {
					require.NoError(b, c.AddServer(svc, benchServer(i, j), benchSpec))
				}
			}
			c.held--
			edits := map[string]func(i int) error{
				"weight": func(i int) error {
					return c.EditServer(benchService(i%n), benchServer(i%n, 3), ipvs.ServerSpec{Method: ipvs.Masquerade, Weight: int32(i % 5)})
				},
				"server": func(i int) error {
					return errors.Join(c.DeleteServer(benchService(i%n), benchServer(i%n, 3)), c.AddServer(benchService(i%n), benchServer(i%n, 3), benchSpec))
				},
				"service": func(int) error { return errors.Join(c.AddService(web, by("rr")), c.DeleteService(web)) },
			}
			for name, edit := range edits {
				b.Run(name, func(b *testing.B) {
					b.ReportAllocs()
					for i := 0; b.Loop(); i++ {
						require.NoError(b, edit(i))
					}
				})
			}
		})
	}
}

var benchSpec = ipvs.ServerSpec{Method: ipvs.Masquerade, Weight: 1}

func benchService(i int) ipvs.ServiceID {
	return ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.TCP, Addr: netip.AddrFrom4([4]byte{10, 9, byte(1 + i>>8), byte(i)}), Port: 80}
}

func benchServer(i, j int) ipvs.ServerID {
	return ipvs.ServerID{Addr: netip.AddrFrom4([4]byte{10, byte(20 + j), byte(i >> 8), byte(i)}), Port: 8080}
}
