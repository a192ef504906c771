package conntrack

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"usvs/ipvs"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNoPointers: the collector must not pay per connection, and the race
// detector must see every access, so slabs hold nothing but atomic words.
func TestNoPointers(t *testing.T) {
	for _, typ := range []reflect.Type{
		reflect.TypeFor[chunk[entry]](), reflect.TypeFor[chunk[wide]](), reflect.TypeFor[kin](), reflect.TypeFor[rack](), reflect.TypeFor[wheel](),
	} {
		assert.False(t, hasPointers(typ), typ)
	}
	assert.Equal(t, uintptr(64), reflect.TypeFor[entry]().Size(), "one cache line")
	assert.Equal(t, uintptr(64), reflect.TypeFor[wide]().Size(), "one cache line")
	for f := range reflect.TypeFor[entry]().Fields() {
		assert.Equal(t, "atomic.Uint64", f.Type.String())
	}
}

func hasPointers(typ reflect.Type) bool {
	switch typ.Kind() {
	case reflect.Array:
		return hasPointers(typ.Elem())
	case reflect.Struct:
		for f := range typ.Fields() {
			if hasPointers(f.Type) {
				return true
			}
		}
		return false
	}
	return typ.Kind() > reflect.Complex128
}

func TestPack(t *testing.T) {
	for _, s := range []string{"0.0.0.0", "192.0.2.255", "::", "::1", "2001:db8::1", "::ffff:192.0.2.1", "ffff::ffff"} {
		a := netip.MustParseAddr(s)
		assert.Equal(t, a, pack(a).unpack())
	}
	assert.Equal(t, netip.MustParseAddr("fe80::1"), pack(netip.MustParseAddr("fe80::1%eth0")).unpack(), "zones are not kept")
	assert.Equal(t, netip.IPv6Unspecified(), pack(netip.Addr{}).unpack())
}

func TestCopies(t *testing.T) {
	reg, all := servers(3, ipvs.Tunnel)
	table := New(Config{Servers: reg})
	for _, spec := range []Spec{
		{Protocol: ipvs.TCP, Client: ap("192.0.2.1:1"), Virtual: ap("10.9.0.1:65535"), Real: ap("10.0.0.1:80"), Method: ipvs.Masquerade, Server: all[0], Mark: 1<<32 - 1},
		{Protocol: ipvs.SCTP, Client: ap("[2001:db8::1]:65535"), Virtual: ap("[2001:db8:9::1]:443"), Real: ap("[2001:db8:1::1]:1"), Method: ipvs.DirectRoute, Server: all[1]},
		{Protocol: ipvs.UDP, Client: ap("192.0.2.1:53"), Virtual: ap("10.9.0.1:53"), Real: ap("[2001:db8:1::1]:53"), Method: ipvs.Tunnel, Server: all[2]},
		{Protocol: ipvs.TCP, Client: ap("192.0.2.9:53"), Virtual: ap("10.9.0.1:53"), Real: ap("10.9.0.1:53"), Method: ipvs.Bypass},
		{Protocol: ipvs.ProtoIP, Client: ap("192.0.2.0:0"), Virtual: ap("0.0.0.5:0"), Real: ap("10.0.0.1:0"), Method: ipvs.DirectRoute, Server: all[0], Template: true, Timeout: 100 * time.Second},
		{Protocol: ipvs.ProtoIP, Client: ap("[2001:db8::]:0"), Virtual: ap("[0:5::]:0"), Real: ap("[2001:db8:1::1]:0"), Method: ipvs.LocalNode, Server: all[0], Template: true, Timeout: 31 * 24 * time.Hour},
	} {
		want := Conn{
			Protocol: spec.Protocol, Family: ipvs.FamilyOf(spec.Client.Addr()), Client: spec.Client, Virtual: spec.Virtual, Real: spec.Real,
			Method: spec.Method, Server: spec.Server, Mark: spec.Mark, Flags: FlagHashed, Timeout: newTimeout,
		}
		if spec.Server != nil {
			want.Flags |= FlagInactive
		}
		if spec.Method != ipvs.Masquerade && spec.Server != nil {
			want.Flags |= FlagNoOutput
		}
		if spec.Template {
			want.Flags |= FlagTemplate
			want.Timeout = spec.Timeout
		}
		want.Expires = t0.Add(want.Timeout)
		var got, found Conn
		require.Equal(t, Inserted, table.Insert(t0, &spec, &got))
		want.Ref = got.Ref
		assert.Equal(t, want, got)
		if spec.Template {
			require.True(t, table.LookupTemplate(t0, spec.Protocol, spec.Client.Addr(), spec.Virtual, &found))
			assert.False(t, table.LookupIn(t0, spec.Protocol, spec.Client, spec.Virtual, new(Conn)), "templates are invisible to packets")
		} else {
			require.True(t, table.LookupIn(t0, spec.Protocol, spec.Client, spec.Virtual, &found))
		}
		assert.Equal(t, want, found)
	}
}

// TestLookupOut: a server is known by its own address under NAT, and by the
// virtual one otherwise (ipvs.md 2.2).
func TestLookupOut(t *testing.T) {
	reg, all := servers(2, ipvs.Masquerade)
	table := New(Config{Servers: reg})
	nat, dr := tcpSpec(1, all[0]), tcpSpec(2, all[1])
	dr.Method = ipvs.DirectRoute
	var c Conn
	require.Equal(t, Inserted, table.Insert(t0, nat, &c))
	require.Equal(t, Inserted, table.Insert(t0, dr, &c))
	for _, q := range []struct {
		name   string
		server netip.AddrPort
		client netip.AddrPort
		want   bool
	}{
		{"nat by real", nat.Real, nat.Client, true},
		{"nat by virtual", testVIP, nat.Client, false},
		{"nat, other port", netip.AddrPortFrom(nat.Real.Addr(), 81), nat.Client, false},
		{"nat, other server", dr.Real, nat.Client, false},
		{"dr by virtual", testVIP, dr.Client, true},
		{"dr by real", dr.Real, dr.Client, false},
		{"other client", nat.Real, client(3), false},
		{"v6 server", ap("[::10.0.0.1]:80"), nat.Client, false},
	} {
		assert.Equal(t, q.want, table.LookupOut(t0, ipvs.TCP, q.server, q.client, &c), q.name)
		assert.False(t, table.LookupOut(t0, ipvs.UDP, q.server, q.client, &c), q.name)
	}
}

// TestLookupOutAmongMany: one client port, many virtual services and servers.
func TestLookupOutAmongMany(t *testing.T) {
	reg, all := servers(100, ipvs.Masquerade)
	table := New(Config{Servers: reg})
	for i, rs := range all {
		spec := tcpSpec(1, rs)
		spec.Virtual = netip.AddrPortFrom(testVIP.Addr(), uint16(1000+i))
		var c Conn
		require.Equal(t, Inserted, table.Insert(t0, spec, &c))
	}
	for _, rs := range all {
		var c Conn
		require.True(t, table.LookupOut(t0, ipvs.TCP, serverAddr(rs), client(1), &c))
		assert.Same(t, rs, c.Server)
	}
}

func TestFull(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg, MaxEntries: 8})
	var conns [8]Conn
	for i := range conns {
		require.Equal(t, Inserted, table.Insert(t0, tcpSpec(i, all[0]), &conns[i]))
	}
	var c Conn
	assert.Equal(t, Full, table.Insert(t0, tcpSpec(8, all[0]), &c))
	assert.Equal(t, Exists, table.Insert(t0, tcpSpec(7, all[0]), &c))
	assert.Equal(t, conns[7], c)
	require.True(t, table.Expire(t0, conns[0].Ref))
	assert.Equal(t, Inserted, table.Insert(t0, tcpSpec(9, all[0]), &c), "whichever shard the room is in")
	assert.Equal(t, Full, table.Insert(t0, tcpSpec(10, all[0]), &c))
	assert.Equal(t, int32(8), all[0].Inactive())
	checkEmpty(t, table, t0, all)
}

// TestCrowd: one client address and port cannot make the searches of others,
// nor its own, long.
func TestCrowd(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	var c Conn
	insert := func(port int, template bool) Result {
		spec := tcpSpec(1, all[0])
		spec.Virtual = netip.AddrPortFrom(testVIP.Addr(), uint16(port))
		if spec.Template = template; template {
			spec.Client, spec.Timeout = masked(spec.Client), time.Minute
		}
		return table.Insert(t0, spec, &c)
	}
	for port := range maxRun {
		require.Equal(t, Inserted, insert(5000-port, false))
		require.Equal(t, Inserted, insert(5000-port, true))
	}
	assert.Equal(t, Full, insert(9000, false))
	assert.Equal(t, Full, insert(1, false))
	assert.Equal(t, Exists, insert(5000, false))
	assert.Equal(t, Inserted, insert(9000, true), "a client has one template per service")
	assert.Equal(t, Inserted, table.Insert(t0, tcpSpec(2, all[0]), &c))
	checkEmpty(t, table, t0, all)
}

// TestOldRefs: what was said about an entry that has ended does not concern
// the one that has taken its place.
func TestOldRefs(t *testing.T) {
	reg, all := servers(2, ipvs.DirectRoute)
	table := New(Config{Servers: reg, MaxEntries: 2, Shards: 1})
	for range 50 {
		var old, c Conn
		require.Equal(t, Inserted, table.Insert(t0, tcpSpec(1, all[0]), &old))
		require.True(t, table.Expire(t0, old.Ref))
		spec := tcpSpec(2, all[1])
		spec.Client, spec.Template, spec.Timeout = masked(spec.Client), true, time.Minute
		require.Equal(t, Inserted, table.Insert(t0, spec, &c))
		require.Equal(t, old.Ref.index(), c.Ref.index())
		require.NotEqual(t, old.Ref, c.Ref)

		assert.False(t, table.Packet(t0, &old, DirIn, tcpSYN))
		assert.False(t, table.Expire(t0, old.Ref))
		assert.False(t, table.Rearm(t0, old.Ref))
		assert.False(t, table.Invalidate(old.Ref))
		child := tcpSpec(3, all[0])
		child.Control = old.Ref
		assert.Equal(t, ControlGone, table.Insert(t0, child, &Conn{}))
		var same Conn
		require.True(t, table.LookupTemplate(t0, ipvs.TCP, client(2).Addr(), testVIP, &same))
		assert.Equal(t, c, same)
		require.True(t, table.Expire(t0, c.Ref))
	}
	assert.Equal(t, [2]int32{}, [2]int32{all[0].References(), all[1].References()})
	var zero Conn
	assert.True(t, zero.Ref.IsZero())
	assert.False(t, table.Packet(t0, &zero, DirIn, tcpSYN))
	assert.False(t, table.Expire(t0, Ref{}))
}

// TestGenerationsWrap: the number of an incarnation starts again some day.
func TestGenerationsWrap(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg, Shards: 1})
	var c Conn
	for want := uint64(genMask - 2); want != 3; want = (want + 1) & genMask {
		if want == genMask-2 {
			require.Equal(t, Inserted, table.Insert(t0, tcpSpec(1, all[0]), &c))
			require.True(t, table.Expire(t0, c.Ref))
			table.entries.at(c.Ref.index()).ctl.Store((genMask - 3) << genShift)
		}
		require.Equal(t, Inserted, table.Insert(t0, tcpSpec(1, all[0]), &c))
		require.Equal(t, want, c.Ref.gen())
		require.True(t, table.Packet(t0, &c, DirIn, tcpSYN))
		require.True(t, table.LookupIn(t0, ipvs.TCP, client(1), testVIP, &c))
		require.True(t, table.Expire(t0, c.Ref))
		require.False(t, table.Expire(t0, c.Ref))
	}
	checkEmpty(t, table, t0, all)
}

func TestControlsNoMoreThanItCanCount(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	spec := tcpSpec(1, all[0])
	spec.Client, spec.Template, spec.Timeout = masked(spec.Client), true, time.Minute
	var tmpl, c Conn
	require.Equal(t, Inserted, table.Insert(t0, spec, &tmpl))
	e := table.entries.at(tmpl.Ref.index())
	before := e.ctl.Load()
	e.ctl.Store(before | uint64(childrenMask))
	child := tcpSpec(1, all[0])
	child.Control = tmpl.Ref
	assert.Equal(t, Full, table.Insert(t0, child, &c))
	e.ctl.Store(before)
	assert.Equal(t, Inserted, table.Insert(t0, child, &c))
	checkEmpty(t, table, t0, all)
}

func TestServerOfNoRegistry(t *testing.T) {
	rs := ipvs.NewRealServer(ipvs.ServerID{Addr: netip.MustParseAddr("10.0.0.1"), Port: 80}, nil, ipvs.ServerSpec{})
	assert.PanicsWithValue(t, "conntrack: real server 10.0.0.1:80 is in no registry", func() {
		New(Config{}).Insert(t0, tcpSpec(1, rs), &Conn{})
	})
}

// TestTemplateWaitsForItsChildren is the recorded rule: an expired template
// that controls connections gets a minute from its nominal end, and keeps that
// timeout (ipvs.md 2.4).
func TestTemplateWaitsForItsChildren(t *testing.T) {
	for _, ticking := range []bool{true, false} {
		reg, all := servers(1, ipvs.DirectRoute)
		table := New(Config{Servers: reg})
		spec := tcpSpec(1, all[0])
		spec.Client, spec.Template, spec.Timeout = masked(spec.Client), true, 3*time.Second
		var tmpl, c Conn
		require.Equal(t, Inserted, table.Insert(t0, spec, &tmpl))
		child := tcpSpec(1, all[0])
		child.Control = tmpl.Ref
		require.Equal(t, Inserted, table.Insert(t0, child, &c))
		require.True(t, table.Packet(t0, &c, DirIn, tcpSYN))
		assert.False(t, table.Expire(t0, tmpl.Ref), "it controls one")
		now := at(5 * time.Second)
		if ticking {
			drainTicks(table, now, 10)
		}
		require.True(t, table.LookupTemplate(now, ipvs.TCP, spec.Client.Addr(), spec.Virtual, &tmpl))
		assert.Equal(t, at(63*time.Second), tmpl.Expires)
		assert.Equal(t, time.Minute, tmpl.Timeout)
		require.True(t, table.Rearm(now, tmpl.Ref))
		table.Walk(now, func(c *Conn) bool {
			if c.Template() {
				assert.Equal(t, now.Add(time.Minute), c.Expires)
			}
			return true
		})
		now = at(70 * time.Second) // the child ended at 60 s, the template at 65 s
		if ticking {
			drainTicks(table, now, 10)
			assert.Zero(t, table.Len())
		}
		checkEmpty(t, table, now, all)
	}
}

func TestInvalidate(t *testing.T) {
	reg, all := servers(2, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	spec := tcpSpec(1, all[0])
	spec.Client, spec.Template, spec.Timeout = masked(spec.Client), true, time.Minute
	var old, c, tmpl Conn
	require.Equal(t, Inserted, table.Insert(t0, spec, &old))
	child := tcpSpec(1, all[0])
	child.Control = old.Ref
	require.Equal(t, Inserted, table.Insert(t0, child, &c))
	assert.False(t, table.Invalidate(c.Ref), "not a template")
	require.True(t, table.Invalidate(old.Ref))
	require.True(t, table.Invalidate(old.Ref))
	assert.False(t, table.LookupTemplate(t0, ipvs.TCP, spec.Client.Addr(), spec.Virtual, &tmpl))
	assert.False(t, table.Rearm(t0, old.Ref))
	spec.Server = all[1]
	for range 3 { // several invalid ones under one key
		require.Equal(t, Inserted, table.Insert(t0, spec, &tmpl))
		assert.Equal(t, Exists, table.Insert(t0, spec, &tmpl))
		require.True(t, table.Invalidate(tmpl.Ref))
	}
	require.Equal(t, Inserted, table.Insert(t0, spec, &tmpl))
	checkIndex(t, table)
	var rows []string
	table.List(t0, func(e *ipvs.ConnEntry) bool {
		rows = append(rows, fmt.Sprintf("%v %v %v %v", e.State, e.Client, e.Virtual, e.Real))
		return true
	})
	assert.Equal(t, 4, strings.Count(strings.Join(rows, "\n"), "10.9.0.1:65535 10.0.0.1:65535"))
	assert.Equal(t, int32(4), all[1].Persistent())
	checkEmpty(t, table, t0, all)
}

// TestExpiredIsGone: an entry whose time is over is not found, takes no
// packets and makes way, whether or not anybody has called Tick.
func TestExpiredIsGone(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	var old, c Conn
	require.Equal(t, Inserted, table.Insert(t0, tcpSpec(1, all[0]), &old))
	before := at(newTimeout - 1)
	require.True(t, table.LookupIn(before, ipvs.TCP, client(1), testVIP, &c))
	now := at(newTimeout)
	assert.False(t, table.LookupIn(now, ipvs.TCP, client(1), testVIP, &c))
	assert.False(t, table.LookupOut(now, ipvs.TCP, testVIP, client(1), &c))
	assert.False(t, table.Packet(now, &old, DirIn, tcpSYN))
	table.List(now, func(*ipvs.ConnEntry) bool { t.Error("listed"); return true })
	assert.Equal(t, 1, table.Len())
	require.Equal(t, Inserted, table.Insert(now, tcpSpec(1, all[0]), &c))
	assert.NotEqual(t, old.Ref, c.Ref)
	assert.Equal(t, 1, table.Len())
	assert.Equal(t, int32(1), all[0].References())
	checkEmpty(t, table, now, all)
}

func TestGrowth(t *testing.T) {
	const n = 100_000
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg, Seed: 99})
	require.Equal(t, 4096, table.Buckets())
	for i := range n {
		var c Conn
		require.Equal(t, Inserted, table.Insert(t0, tcpSpec(i, all[0]), &c))
		require.True(t, table.LookupIn(t0, ipvs.TCP, client(i/2), testVIP, &c))
	}
	assert.Equal(t, n, table.Len())
	assert.Equal(t, 32768, table.Buckets())
	checkIndex(t, table)
	overflowing := 0
	for i := range table.shards {
		s := &table.shards[i]
		for b := range s.size() {
			lines := len(chain(table, s, b))
			require.LessOrEqual(t, lines, 3)
			overflowing += lines - 1
		}
	}
	assert.LessOrEqual(t, overflowing, 32768/8)
	checkEmpty(t, table, t0, all)
	assert.Zero(t, attached(table))
	assert.Equal(t, 32768, table.Buckets(), "nothing is given back")
}

// TestDeterministic: one worker, one seed, one result, order of the listing
// included.
func TestDeterministic(t *testing.T) {
	run := func(seed uint64) []string {
		reg, all := servers(3, ipvs.DirectRoute)
		table := New(Config{Servers: reg, Seed: seed})
		var rows []string
		now := t0
		for i := range 2000 {
			var c Conn
			table.Insert(now, tcpSpec(i%700, all[i%3]), &c)
			table.Packet(now, &c, DirIn, firstTCP+Event(i%5))
			now = now.Add(20 * time.Millisecond)
			rows = append(rows, fmt.Sprint(c.Ref, table.Tick(now, 3)))
		}
		table.List(now, func(e *ipvs.ConnEntry) bool {
			rows = append(rows, fmt.Sprint(*e))
			return true
		})
		return rows
	}
	assert.Equal(t, run(1), run(1))
	assert.NotEqual(t, run(1), run(2))
}

func TestList(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	var c Conn
	for i := range 5 {
		require.Equal(t, Inserted, table.Insert(t0, tcpSpec(i, all[0]), &c))
		require.True(t, table.Packet(t0, &c, DirIn, tcpSYN))
	}
	var got []ipvs.ConnEntry
	table.List(at(500*time.Millisecond), func(e *ipvs.ConnEntry) bool {
		got = append(got, *e)
		return len(got) < 3
	})
	require.Len(t, got, 3, "until yield has enough")
	assert.Equal(t, ipvs.ConnEntry{
		Protocol: ipvs.TCP, Client: client(0), Virtual: testVIP, Real: ap("10.0.0.1:80"), State: "SYN_RECV",
		Expires: 59, Method: ipvs.DirectRoute, InPackets: 1,
	}, got[0])
}

func TestSettings(t *testing.T) {
	table := New(Config{})
	assert.Equal(t, ipvs.DefaultTimeouts, table.Timeouts())
	table.SetTimeouts(ipvs.Timeouts{TCP: 1})
	table.SetTimeouts(ipvs.Timeouts{TCPFin: 2})
	table.SetTimeouts(ipvs.Timeouts{UDP: 1<<32 - 1})
	assert.Equal(t, ipvs.Timeouts{TCP: 1, TCPFin: 2, UDP: 1<<32 - 1}, table.Timeouts())
	assert.Equal(t, maxTimeout, table.timeout(ipvs.UDP, 0, 0))
	for n, want := range map[int]int{-1: 16, 0: 16, 1: 1, 2: 2, 3: 4, 16: 16, 17: 32, 1000: 256} {
		assert.Len(t, New(Config{Shards: n, MaxEntries: 100}).shards, want)
	}
	assert.Equal(t, "inserted exists control gone full", fmt.Sprint(Inserted, " ", Exists, " ", ControlGone, " ", Full))
}

// TestNoAllocs: what packets do allocates nothing, and nor do connections once
// the table has been as large before.
func TestNoAllocs(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	var c, tmpl Conn
	spec := tcpSpec(1, all[0])
	require.Equal(t, Inserted, table.Insert(t0, spec, &c))
	tspec := tcpSpec(1, all[0])
	tspec.Client, tspec.Template, tspec.Timeout = masked(tspec.Client), true, time.Hour
	require.Equal(t, Inserted, table.Insert(t0, tspec, &tmpl))
	now := t0
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"LookupIn", func() { table.LookupIn(now, ipvs.TCP, spec.Client, testVIP, &c) }},
		{"LookupOut", func() { table.LookupOut(now, ipvs.TCP, testVIP, spec.Client, &c) }},
		{"LookupTemplate", func() { table.LookupTemplate(now, ipvs.TCP, spec.Client.Addr(), testVIP, &tmpl) }},
		{"miss", func() { table.LookupIn(now, ipvs.UDP, spec.Client, testVIP, &c) }},
		{"Packet", func() {
			now = now.Add(time.Millisecond)
			table.LookupIn(now, ipvs.TCP, spec.Client, testVIP, &c)
			if !table.Packet(now, &c, Dir(now/1e6%2), firstTCP+Event(now/1e6%5)) {
				panic("lost")
			}
		}},
		{"Rearm", func() { table.Rearm(now, tmpl.Ref) }},
		{"Insert, Expire", func() {
			other := *spec
			other.Client, other.Control = ap("192.0.2.77:77"), tmpl.Ref
			var o Conn
			if table.Insert(now, &other, &o) != Inserted || !table.Expire(now, o.Ref) {
				panic("lost")
			}
		}},
		{"Tick", func() { now = now.Add(100 * time.Millisecond); table.Tick(now, 10) }},
	} {
		assert.Zero(t, testing.AllocsPerRun(200, c.f), c.name)
	}
}

// TestTimeouts: a packet sets the timeout of the new state from the settings
// at that moment, also if the state stays (ipvs.md 3.2).
func TestTimeouts(t *testing.T) {
	reg, all := servers(1, ipvs.Masquerade)
	table := New(Config{Servers: reg})
	var c Conn
	require.Equal(t, Inserted, table.Insert(t0, tcpSpec(1, all[0]), &c))
	now := t0
	expect := func(ev Event, d time.Duration) {
		t.Helper()
		now = now.Add(time.Second)
		require.True(t, table.Packet(now, &c, DirIn, ev))
		assert.Equal(t, []any{d, now.Add(d)}, []any{c.Timeout, c.Expires})
		var look Conn
		require.True(t, table.LookupIn(now, ipvs.TCP, client(1), testVIP, &look))
		assert.Equal(t, c, look)
	}
	expect(EventNone, newTimeout)
	expect(tcpSYN, time.Minute)
	expect(tcpACK, 900*time.Second)
	table.SetTimeouts(ipvs.Timeouts{TCP: 77, TCPFin: 5})
	expect(EventNone, 900*time.Second)
	expect(tcpACK, 77*time.Second)
	expect(tcpFIN, time.Minute)
	expect(tcpRST, 10*time.Second)
	require.True(t, table.Expire(now, c.Ref))
}

// TestChainBound: whoever keeps his latest connections, and lets older ones go,
// does not make a bucket's chain longer and longer.
func TestChainBound(t *testing.T) {
	const keep, most = 10 * lineSlots, maxRun / 2
	reg, all := servers(1, ipvs.DirectRoute)
	table := newTable(Config{Seed: 5, Shards: 1, MaxEntries: 1 << 15, Servers: reg}, 4)
	var refs []Ref
	for i := range 20_000 {
		var c Conn
		require.Equal(t, Inserted, table.Insert(t0, crowdSpec(1, i, all[0]), &c))
		if refs = append(refs, c.Ref); len(refs) == most {
			for _, r := range refs[:most-keep] {
				require.True(t, table.Expire(t0, r))
			}
			refs = slices.Delete(refs, 0, most-keep)
		}
	}
	require.LessOrEqual(t, attached(table), most/lineSlots+1)
	checkIndex(t, table)
	checkEmpty(t, table, t0, all)
}
