package conntrack

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"usvs/clock"
	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// aimed is a probe of a packet between two addresses, in or out: peer is the
// virtual service or the server.
func aimed(t *Table, dir Dir, proto ipvs.Protocol, client, peer netip.AddrPort) (p Probe) {
	c, o := pack(client.Addr()), pack(peer.Addr())
	switch {
	case dir == DirIn && c.v6:
		t.AimIn6(&p, uint8(proto), Words{c.hi, c.lo}, Words{o.hi, o.lo}, client.Port(), peer.Port())
	case dir == DirIn:
		t.AimIn4(&p, uint8(proto), uint32(c.lo), uint32(o.lo), client.Port(), peer.Port())
	case c.v6:
		t.AimOut6(&p, uint8(proto), Words{o.hi, o.lo}, Words{c.hi, c.lo}, peer.Port(), client.Port())
	default:
		t.AimOut4(&p, uint8(proto), uint32(o.lo), uint32(c.lo), peer.Port(), client.Port())
	}
	return p
}

// hit is Hit of a packet by itself.
func hit(t *Table, now clock.Instant, dir Dir, proto ipvs.Protocol, client, peer netip.AddrPort, ev Event, h *Hot) bool {
	p := []Probe{aimed(t, dir, proto, client, peer)}
	t.Touch(p)
	return t.Hit(now, &p[0], ev, h)
}

// requireHot verifies that h says of a connection what c does.
func requireHot(t testing.TB, c *Conn, h *Hot) {
	t.Helper()
	unpacked := func(w Words, v6 bool) netip.Addr { return addr{w.Hi, w.Lo, v6}.unpack() }
	require.Equal(t, c.Ref, h.Ref)
	require.Same(t, c.Server, h.Server)
	require.Equal(t, c.Method, h.Method())
	require.Equal(t, c.Mark, h.Mark)
	require.Equal(t, c.Virtual, netip.AddrPortFrom(unpacked(h.Virtual()), h.VirtualPort()))
	require.Equal(t, c.Real, netip.AddrPortFrom(unpacked(h.Real()), h.RealPort()))
}

// twins are two tables that are told the same, packets by two different ways.
type twins struct {
	*testing.T
	rng     *rand.Rand
	now     clock.Instant
	servers []*ipvs.RealServer
	fast    *Table
	slow    *Table
	hits    map[string]int // by protocol, direction and event; of those that missed
}

// TestHitIsLookupAndPacket plays one history to two tables. In one, packets go
// by Hit and, where that declines, by the usual way; in the other by the usual
// way alone. What they hold must be the same at any time.
func TestHitIsLookupAndPacket(t *testing.T) {
	hits := map[string]int{}
	for seed := range uint64(8) {
		reg, all := servers(4, ipvs.Masquerade)
		cfg := Config{Seed: seed, Shards: 2, Servers: reg, FTPPorts: []uint16{81}}
		w := twins{T: t, rng: rand.New(rand.NewPCG(seed, 4)), now: t0, servers: all, fast: New(cfg), slow: New(cfg), hits: hits}
		for range 6000 {
			w.step()
		}
		w.compare()
	}
	for _, what := range []string{"TCP in", "TCP out", "UDP in", "UDP out", "SCTP in", "SCTP out"} {
		require.Greater(t, hits[what], 300, what)
		require.Greater(t, hits["no "+what], 300, what)
	}
}

func (w *twins) step() {
	w.now = w.now.Add(time.Duration(w.rng.IntN(40)) * time.Millisecond)
	switch n := w.rng.IntN(40); {
	case n < 4, n > 32:
		w.insert()
	case n == 4:
		w.template()
	case n == 5 && w.rng.IntN(4) == 0:
		w.now = w.now.Add(time.Duration(w.rng.IntN(60)) * time.Second)
	case n == 6 && w.rng.IntN(8) == 0:
		v := ipvs.Timeouts{TCP: uint32(1 + w.rng.IntN(900)), UDP: uint32(1 + w.rng.IntN(300))}
		w.fast.SetTimeouts(v)
		w.slow.SetTimeouts(v)
	case n == 7 && w.rng.IntN(3) == 0:
		rs := w.servers[w.rng.IntN(len(w.servers))]
		rs.SetAvailable(!rs.Available())
	case n == 8 && w.rng.IntN(8) == 0:
		secure := w.rng.IntN(2) == 0
		w.fast.SetSecureTCP(secure)
		w.slow.SetSecureTCP(secure)
	case n == 9:
		w.fast.Tick(w.now, 1<<20)
		w.slow.Tick(w.now, 1<<20)
		w.compare()
	default:
		w.packet()
	}
}

func (w *twins) both(n *Spec) {
	var c, d Conn
	require.Equal(w, w.slow.Insert(w.now, n, &c), w.fast.Insert(w.now, n, &d))
}

func (w *twins) insert() {
	proto, client, virtual := w.tuple()
	rs := w.servers[w.rng.IntN(len(w.servers))]
	n := &Spec{Protocol: proto, Client: client, Virtual: virtual, Real: serverAddr(rs), Server: rs, Mark: uint32(w.rng.IntN(2)),
		Method: []ipvs.ForwardMethod{ipvs.Masquerade, ipvs.DirectRoute, ipvs.Tunnel}[w.rng.IntN(3)]}
	switch w.rng.IntN(12) {
	case 0:
		n.Server = nil
	case 1:
		n.Flags = FlagNoCPort
	case 2:
		n.State, n.Timeout, n.Flags = 1, time.Duration(w.rng.IntN(1e10)), FlagSync
	}
	if client.Addr().Is6() && n.Method == ipvs.Masquerade {
		n.Real = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0xfd, 15: 1}), 80)
	}
	if w.rng.IntN(3) == 0 {
		var c, d Conn
		require.Equal(w, w.slow.LookupTemplate(w.now, proto, client.Addr(), virtual, &c), w.fast.LookupTemplate(w.now, proto, client.Addr(), virtual, &d))
		require.Equal(w, c.Ref, d.Ref)
		n.Control = c.Ref
	}
	w.both(n)
}

func (w *twins) template() {
	proto, client, virtual := w.tuple()
	rs := w.servers[w.rng.IntN(len(w.servers))]
	w.both(&Spec{Protocol: proto, Client: masked(client), Virtual: virtual, Real: serverAddr(rs), Server: rs,
		Template: true, Timeout: time.Duration(w.rng.IntN(100)) * time.Second})
}

func (w *twins) tuple() (proto ipvs.Protocol, client, virtual netip.AddrPort) {
	proto = []ipvs.Protocol{ipvs.TCP, ipvs.UDP, ipvs.SCTP}[w.rng.IntN(3)]
	n := byte(w.rng.IntN(4))
	c, v := netip.AddrFrom4([4]byte{10, 0, 0, n}), netip.AddrFrom4([4]byte{10, 9, 0, byte(w.rng.IntN(2))})
	if w.rng.IntN(3) == 0 {
		c, v = netip.AddrFrom16([16]byte{0xfd, 1, 15: n}), netip.AddrFrom16([16]byte{0xfd, 2, 15: 1})
	}
	return proto, netip.AddrPortFrom(c, uint16(1000+w.rng.IntN(2))), netip.AddrPortFrom(v, uint16(80+w.rng.IntN(2)))
}

func (w *twins) event(proto ipvs.Protocol) Event {
	switch n := w.rng.IntN(12); {
	case n == 0:
		return EventNone
	case proto == ipvs.UDP:
		return EventUDP
	case n < 6 && proto == ipvs.TCP:
		return tcpACK
	case proto == ipvs.TCP:
		return firstTCP + Event(w.rng.IntN(5))
	case n < 6:
		return firstSCTP
	}
	return firstSCTP + Event(w.rng.IntN(10))
}

// packet has one come for a connection of the table, or for none.
func (w *twins) packet() {
	proto, client, virtual := w.tuple()
	dir, ev := Dir(w.rng.IntN(2)), w.event(proto)
	peer := virtual
	if dir == DirOut && w.rng.IntN(2) == 0 {
		peer = serverAddr(w.servers[w.rng.IntN(len(w.servers))])
		if client.Addr().Is6() {
			peer = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0xfd, 15: 1}), 80)
		}
	}
	for range 1 + w.rng.IntN(3) {
		requireFound(w, w.fast, w.now, dir, proto, client, peer)
		c, ok := w.usual(w.slow, dir, proto, client, peer, ev)
		var h Hot
		what := fmt.Sprintf("%v %s", proto, [...]string{"in", "out"}[dir])
		if !hit(w.fast, w.now, dir, proto, client, peer, ev, &h) {
			_, again := w.usual(w.fast, dir, proto, client, peer, ev)
			require.Equal(w, ok, again)
			w.hits["no "+what]++
			continue
		}
		w.hits[what]++
		require.True(w, ok)
		requireHot(w, &c, &h)
		h = Hot{}
		h.Set(&c)
		requireHot(w, &c, &h)
	}
}

// usual is what a director does with a packet, as far as the table goes.
func (w *twins) usual(t *Table, dir Dir, proto ipvs.Protocol, client, peer netip.AddrPort, ev Event) (c Conn, ok bool) {
	if dir == DirIn {
		ok = t.LookupIn(w.now, proto, client, peer, &c)
	} else {
		ok = t.LookupOut(w.now, proto, peer, client, &c)
	}
	if !ok || c.Server != nil && !c.Server.Available() {
		return c, false
	}
	return c, t.Packet(w.now, &c, dir, ev)
}

func (w *twins) compare() {
	w.Helper()
	list := func(t *Table) (all []Conn) {
		t.Walk(w.now, func(c *Conn) bool {
			all = append(all, *c)
			return true
		})
		return all
	}
	require.Equal(w, list(w.slow), list(w.fast))
}

// TestHitDeclines: what is not usual is left to the usual way.
func TestHitDeclines(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	rs := all[0]
	table := New(Config{Servers: reg, FTPPorts: []uint16{21}})
	var c Conn
	var h Hot
	try := func(now clock.Instant, ev Event) bool {
		return hit(table, now, DirIn, ipvs.TCP, c.Client, c.Virtual, ev, &h)
	}
	require.Equal(t, Inserted, table.Insert(t0, tcpSpec(1, rs), &c))
	require.False(t, try(t0, tcpSYN), "the state changes")
	require.True(t, table.Packet(t0, &c, DirIn, tcpACK))
	require.True(t, try(t0, tcpACK))
	require.True(t, try(t0, EventNone))
	require.False(t, try(t0, tcpFIN), "the state changes")
	require.False(t, try(c.Expires, tcpACK), "its time is over")
	rs.SetAvailable(false)
	require.False(t, try(t0, tcpACK), "its real server is gone")
	rs.SetAvailable(true)
	table.SetTimeouts(ipvs.Timeouts{TCP: 17})
	require.False(t, try(t0, tcpACK), "its timeout changes")
	require.True(t, try(t0, EventNone))
	require.True(t, table.Get(c.Ref, &c))
	require.EqualValues(t, 4, c.InPackets, "declining counts nothing")
	require.False(t, hit(table, t0, DirIn, ipvs.UDP, c.Client, c.Virtual, EventUDP, &h), "another protocol's")
	require.False(t, hit(table, t0, DirIn, ipvs.TCP, client(2), c.Virtual, tcpACK, &h), "another client's")
	require.True(t, table.Expire(t0, c.Ref))
	require.False(t, try(t0, EventNone), "it has ended")
}

// TestHitAllocatesNothing holds the batch to its promise.
func TestHitAllocatesNothing(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	var c Conn
	for n := range 64 {
		table.Insert(t0, tcpSpec(n, all[0]), &c)
		table.Packet(t0, &c, DirIn, tcpACK)
	}
	probes := make([]Probe, 64)
	now := t0
	require.Zero(t, testing.AllocsPerRun(100, func() {
		now = now.Add(tick)
		for n := range probes {
			probes[n] = aimed(table, DirIn, ipvs.TCP, client(n), testVIP)
		}
		table.Touch(probes)
		var h Hot
		for n := range probes {
			if !table.Hit(now, &probes[n], tcpACK, &h) {
				t.Fatal("declined")
			}
		}
	}))
}

// TestTouchChangesNothing: touching reads, whatever state the table is in.
func TestTouchChangesNothing(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	histories := [2][]Ref{}
	for h, touch := range []bool{false, true} {
		table := New(Config{Seed: 1, Servers: reg})
		probes := make([]Probe, 200)
		for round := range 3 {
			for i := range probes {
				c := client(i)
				table.AimIn4(&probes[i], 6, uint32(pack(c.Addr()).lo), uint32(pack(testVIP.Addr()).lo), c.Port(), testVIP.Port())
			}
			if touch {
				table.Touch(probes)
				table.TouchFree(0, probes)
			}
			refs := flood(t, table, all[0], t0, round*200, 200)
			histories[h] = append(histories[h], refs...)
			for _, r := range refs[round*30:] {
				require.True(t, table.Expire(t0, r))
			}
		}
		checkEmpty(t, table, t0, all)
	}
	require.Equal(t, histories[0], histories[1])
}

// TestTouchLeads: however many probes there are, each is led to its entry, and
// one that has none to nowhere or to what is not its own.
func TestTouchLeads(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Seed: 1, Servers: reg})
	table.Touch(nil)
	var refs []Ref
	for n := range 3 * touchedAtOnce {
		var c Conn
		require.Equal(t, Inserted, table.Insert(t0, tcpSpec(n, all[0]), &c))
		refs = append(refs, c.Ref)
	}
	for n := range len(refs) + 1 {
		probes := make([]Probe, n)
		for i := range probes {
			probes[i] = aimed(table, DirIn, ipvs.TCP, client(i), testVIP)
		}
		table.Touch(probes)
		for i := range probes {
			require.Equal(t, refs[i].index(), probes[i].number, "%d of %d", i, n)
			require.Same(t, table.entries.at(probes[i].number), probes[i].entry)
		}
	}
	p := []Probe{aimed(New(Config{}), DirIn, ipvs.TCP, client(1), testVIP)}
	empty := New(Config{})
	p[0].bucket = empty.shards[0].line(0)
	empty.Touch(p)
	require.Nil(t, p[0].entry, "there is no memory of entries")
}
