package conntrack

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"usvs/clock"
	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// modelConn is an entry of the model: what the table packs, spelled out.
type modelConn struct {
	Conn
	control  *modelConn
	children int
	invalid  bool
	active   bool
	dead     bool
}

// model is the slow obvious twin of Table: a slice, searched from end to end.
type model struct {
	conns    []*modelConn
	timeouts ipvs.Timeouts
	secure   bool
	max      int
}

func (m *model) find(f func(*modelConn) bool) []*modelConn {
	var found []*modelConn
	for _, c := range m.conns {
		if f(c) {
			found = append(found, c)
		}
	}
	return found
}

func (m *model) same(p ipvs.Protocol, cl, v netip.AddrPort, template bool) *modelConn {
	for _, c := range m.conns {
		if c.Protocol == p && c.Client == cl && c.Virtual == v && c.Template() == template && !c.invalid {
			return c
		}
	}
	return nil
}

func (m *model) remove(c *modelConn) {
	c.dead = true
	m.conns = slices.DeleteFunc(m.conns, func(d *modelConn) bool { return c == d })
	if c.control != nil {
		c.control.children--
	}
}

// expire goes through all expiries up to now in the order of time.
func (m *model) expire(now clock.Instant) {
	for {
		due := m.find(func(c *modelConn) bool { return c.Expires <= now })
		if len(due) == 0 {
			return
		}
		c := slices.MinFunc(due, func(a, b *modelConn) int { return cmp.Compare(a.Expires, b.Expires) })
		if c.children == 0 {
			m.remove(c)
			continue
		}
		c.Timeout = time.Minute
		c.Expires = c.Expires.Add(time.Minute)
	}
}

func (m *model) insert(now clock.Instant, s *Spec, control *modelConn) (*modelConn, Result) {
	if c := m.same(s.Protocol, s.Client, s.Virtual, s.Template); c != nil {
		return c, Exists
	}
	if len(m.conns) >= m.max {
		return nil, Full
	}
	if control != nil && control.dead {
		return nil, ControlGone
	}
	c := &modelConn{control: control, Conn: Conn{
		Protocol: s.Protocol, Family: ipvs.FamilyOf(s.Client.Addr()), Client: s.Client, Virtual: s.Virtual, Real: s.Real, Method: s.Method,
		Server: s.Server, Control: s.Control, Mark: s.Mark, Flags: FlagHashed | FlagInactive, Timeout: 3 * time.Second,
	}}
	if s.Method != ipvs.Masquerade {
		c.Flags |= FlagNoOutput
	}
	if s.Template {
		c.Flags |= FlagTemplate
		c.Timeout = s.Timeout
	}
	c.Expires = now.Add(c.Timeout)
	if control != nil {
		control.children++
	}
	m.conns = append(m.conns, c)
	return c, Inserted
}

func (m *model) packet(now clock.Instant, c *modelConn, dir Dir, ev Event) {
	old := c.State
	switch c.Protocol {
	case ipvs.UDP:
		if ev != EventNone {
			c.Timeout = time.Duration(m.timeouts.UDP) * time.Second
		}
		if dir == DirOut && ev == EventUDP && c.control != nil {
			c.control.State = TemplateAssured
		}
	case ipvs.TCP:
		m.transit(c, &tcpNormal, &tcpSecure, dir, ev)
	case ipvs.SCTP:
		m.transit(c, &sctpMachine, &sctpMachine, dir, ev)
	}
	if old != c.State && (c.Protocol == ipvs.TCP && c.State == TCPEstablished || c.Protocol == ipvs.SCTP && c.State == SCTPEstablished) && c.control != nil {
		c.control.State = TemplateAssured
	}
	c.Expires = now.Add(c.Timeout)
	if dir == DirIn {
		c.InPackets++
	}
}

func (m *model) transit(c *modelConn, normal, secure *machine, dir Dir, ev Event) {
	if ev == EventNone {
		return
	}
	mc := normal
	if m.secure {
		mc = secure
	}
	via := viaInput
	if dir == DirOut {
		via = viaOutput
		c.Flags &^= FlagNoOutput
	} else if c.Flags&FlagNoOutput != 0 {
		via = viaInputOnly
	}
	c.State = mc.cells[via][ev-mc.first][c.State]
	c.active = mc.active[c.State]
	c.Flags |= FlagInactive
	if c.active {
		c.Flags &^= FlagInactive
	}
	switch {
	case c.Protocol == ipvs.TCP && c.State == TCPEstablished:
		c.Timeout = time.Duration(m.timeouts.TCP) * time.Second
	case c.Protocol == ipvs.TCP && c.State == TCPFinWait:
		c.Timeout = time.Duration(m.timeouts.TCPFin) * time.Second
	case c.Protocol == ipvs.SCTP && c.State == SCTPEstablished:
		c.Timeout = 900 * time.Second
	default:
		c.Timeout = time.Duration(mc.timeout[c.State]) * time.Second
	}
}

// duel runs the same random operations on a table and on the model.
type duel struct {
	*testing.T
	rng     *rand.Rand
	table   *Table
	model   model
	servers []*ipvs.RealServer
	now     clock.Instant
	refs    []*modelConn // recent ones, dead ones among them
	ops     int
}

func newDuel(t *testing.T, seed uint64, shards, maxEntries int) *duel {
	reg, all := servers(5, ipvs.Masquerade)
	d := &duel{
		T: t, rng: rand.New(rand.NewPCG(seed, 1)), servers: all, now: t0,
		table: New(Config{Seed: seed, Shards: shards, MaxEntries: maxEntries, Servers: reg}),
		model: model{timeouts: ipvs.DefaultTimeouts, max: maxEntries},
	}
	if maxEntries == 0 {
		d.model.max = 1 << 30
	}
	return d
}

func TestModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			d := newDuel(t, seed, []int{1, 4, 16}[seed%3], []int{0, 40}[seed%2])
			for d.ops = range 4000 {
				d.step()
			}
			checkIndex(t, d.table)
			checkEmpty(t, d.table, d.now, d.servers)
		})
	}
}

func FuzzModel(f *testing.F) {
	f.Add(uint64(1), uint8(0), uint16(500))
	f.Add(uint64(2), uint8(37), uint16(900))
	f.Fuzz(func(t *testing.T, seed uint64, limit uint8, ops uint16) {
		d := newDuel(t, seed, 1<<(seed%5), int(limit))
		for d.ops = range int(ops % 1000) {
			d.step()
		}
		checkIndex(t, d.table)
		checkEmpty(t, d.table, d.now, d.servers)
	})
}

// step lets time pass and does one operation. Templates move two ticks apart from
// connections, so that the two never expire in the same tick, nor within the
// tick that a template waits.
func (d *duel) step() {
	d.pass()
	ops := []func(){d.insertConn, d.insertConn, d.insertConn, d.insertTemplate, d.insertTemplate, d.lookupIn, d.lookupOut,
		d.lookupTemplate, d.packet, d.packet, d.packet, d.packet, d.rearm, d.rearm, d.invalidate, d.expire, d.list, d.settings}
	ops[d.rng.IntN(len(ops))]()
}

func (d *duel) pass() {
	n := d.rng.IntN(10)
	switch {
	case d.rng.IntN(200) == 0:
		n = d.rng.IntN(200000)
	case d.rng.IntN(10) == 0:
		n = d.rng.IntN(3000)
	}
	d.sleep(time.Duration(n) * 4 * tick)
}

// sleep lets time pass for both. Now and then nobody calls Tick, and lookups
// have to notice by themselves what has expired; but not if a family is
// concerned, whose members affect each other in the order of their ends, or if
// there is a limit on what the table holds.
func (d *duel) sleep(dur time.Duration) {
	from := d.now
	d.now = d.now.Add(dur)
	due := d.model.find(func(c *modelConn) bool { return c.Expires <= d.now && (c.control != nil || c.children > 0) })
	lazy := d.rng.IntN(6) == 0 && len(due) == 0 && d.model.max > 1000
	if !lazy {
		d.tick(from)
	}
	d.model.expire(d.now)
	if !lazy {
		d.counts()
	}
}

// tick brings the table to the present: from deadline to deadline, or all at
// once, which must come to the same.
func (d *duel) tick(from clock.Instant) {
	budget := 1 + d.rng.IntN(20)
	if d.rng.IntN(2) == 0 {
		for next := from; next < d.now; {
			next = drainTicks(d.table, next, budget)
		}
	}
	drainTicks(d.table, d.now, budget)
}

func (d *duel) counts() {
	require.Equal(d, len(d.model.conns), d.table.Len(), "op %d", d.ops)
	for _, rs := range d.servers {
		var active, inactive, persistent int32
		for _, c := range d.model.conns {
			switch {
			case c.Server != rs:
			case c.Template():
				persistent++
			case c.active:
				active++
			default:
				inactive++
			}
		}
		require.Equal(d, []int32{active, inactive, persistent}, []int32{rs.Active(), rs.Inactive(), rs.Persistent()}, "op %d", d.ops)
	}
}

func (d *duel) randAddr(v6 bool, net byte, n int) netip.Addr {
	if v6 {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, net, 15: byte(n)})
	}
	return netip.AddrFrom4([4]byte{10, net, 0, byte(n)})
}

func (d *duel) tuple() (p ipvs.Protocol, cl, v netip.AddrPort) {
	p = []ipvs.Protocol{ipvs.TCP, ipvs.TCP, ipvs.UDP, ipvs.SCTP}[d.rng.IntN(4)]
	v6 := d.rng.IntN(3) == 0
	cl = netip.AddrPortFrom(d.randAddr(v6, 1, d.rng.IntN(3)), uint16(1000+d.rng.IntN(4)))
	v = netip.AddrPortFrom(d.randAddr(v6, 9, d.rng.IntN(2)), uint16(80+d.rng.IntN(2)))
	return p, cl, v
}

func (d *duel) insertConn() {
	p, cl, v := d.tuple()
	rs := d.servers[d.rng.IntN(len(d.servers))]
	s := &Spec{Protocol: p, Client: cl, Virtual: v, Server: rs, Mark: d.rng.Uint32(), Real: netip.AddrPortFrom(d.randAddr(cl.Addr().Is6(), 2, d.rng.IntN(3)), 8080)}
	s.Method = []ipvs.ForwardMethod{ipvs.Masquerade, ipvs.DirectRoute, ipvs.Tunnel}[d.rng.IntN(3)]
	var control *modelConn
	tmpls := d.model.find(func(c *modelConn) bool { return c.Template() })
	if d.rng.IntN(20) == 0 {
		tmpls = d.refs // any template, perhaps a dead one
	}
	if len(tmpls) > 0 && d.rng.IntN(2) == 0 {
		if c := tmpls[d.rng.IntN(len(tmpls))]; c.Template() {
			control, s.Control = c, c.Ref
		}
	}
	d.insert(s, control)
}

func (d *duel) insertTemplate() {
	p, cl, v := d.tuple()
	rs := d.servers[d.rng.IntN(len(d.servers))]
	cl = netip.AddrPortFrom(cl.Addr(), 0)
	if d.rng.IntN(3) == 0 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(d.rng.IntN(3)))
		p, v = ipvs.ProtoIP, netip.AddrPortFrom(netip.AddrFrom4(b), 0)
	}
	d.sleep(2 * tick)
	d.insert(&Spec{
		Protocol: p, Client: cl, Virtual: v, Server: rs, Template: true, Method: ipvs.DirectRoute,
		Real: serverAddr(rs), Timeout: time.Duration(1+d.rng.IntN(40)) * time.Second,
	}, nil)
	d.sleep(2 * tick)
}

func (d *duel) insert(s *Spec, control *modelConn) {
	want, wantResult := d.model.insert(d.now, s, control)
	var c Conn
	result := d.table.Insert(d.now, s, &c)
	require.Equal(d, wantResult, result, "op %d", d.ops)
	switch result {
	case Inserted:
		want.Ref = c.Ref
		d.refs = append(d.refs, want)
		if len(d.refs) > 60 {
			d.refs = d.refs[1:]
		}
		fallthrough
	case Exists:
		d.same(want, &c)
	}
}

func (d *duel) same(want *modelConn, got *Conn) {
	d.Helper()
	require.Equal(d, want.Conn, *got, "op %d", d.ops)
}

func (d *duel) lookupIn() {
	p, cl, v := d.tuple()
	d.lookup(d.model.same(p, cl, v, false), func(c *Conn) bool { return d.table.LookupIn(d.now, p, cl, v, c) })
}

func (d *duel) lookupTemplate() {
	p, cl, v := d.tuple()
	cl = netip.AddrPortFrom(cl.Addr(), 0)
	d.lookup(d.model.same(p, cl, v, true), func(c *Conn) bool { return d.table.LookupTemplate(d.now, p, cl.Addr(), v, c) })
}

func (d *duel) lookup(want *modelConn, f func(*Conn) bool) {
	var c Conn
	ok := f(&c)
	require.Equal(d, want != nil, ok, "op %d", d.ops)
	if ok {
		d.same(want, &c)
	}
}

func (d *duel) lookupOut() {
	p, cl, v := d.tuple()
	server := v
	if d.rng.IntN(2) == 0 {
		server = netip.AddrPortFrom(d.randAddr(cl.Addr().Is6(), 2, d.rng.IntN(3)), 8080)
	}
	want := d.model.find(func(c *modelConn) bool {
		from := c.Virtual
		if c.Method == ipvs.Masquerade {
			from = c.Real
		}
		return c.Protocol == p && c.Client == cl && from == server && !c.Template()
	})
	var c Conn
	ok := d.table.LookupOut(d.now, p, server, cl, &c)
	require.Equal(d, len(want) > 0, ok, "op %d", d.ops)
	if ok {
		i := slices.IndexFunc(want, func(w *modelConn) bool { return w.Ref == c.Ref })
		require.GreaterOrEqual(d, i, 0)
		d.same(want[i], &c)
	}
}

func (d *duel) packet() {
	c := d.pick(false)
	if c == nil {
		return
	}
	dir := Dir(d.rng.IntN(2))
	ev := EventUDP
	switch c.Protocol {
	case ipvs.TCP:
		ev = firstTCP + Event(d.rng.IntN(5))
	case ipvs.SCTP:
		ev = firstSCTP + Event(d.rng.IntN(10))
	}
	if d.rng.IntN(10) == 0 {
		ev = EventNone
	}
	got := c.Conn
	ok := d.table.Packet(d.now, &got, dir, ev)
	require.Equal(d, !c.dead, ok, "op %d", d.ops)
	if !ok {
		return
	}
	d.model.packet(d.now, c, dir, ev)
	if dir == DirOut {
		got.InPackets = c.InPackets
	}
	d.same(c, &got)
}

// pick returns a recent entry.
func (d *duel) pick(template bool) *modelConn {
	var some []*modelConn
	for _, c := range d.refs {
		if c.Template() == template {
			some = append(some, c)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return some[d.rng.IntN(len(some))]
}

func (d *duel) rearm() {
	d.sleep(2 * tick)
	if c := d.pick(true); c != nil {
		var look Conn
		d.table.LookupTemplate(d.now, c.Protocol, c.Client.Addr(), c.Virtual, &look) // as the director does before
		ok := d.table.Rearm(d.now, c.Ref)
		require.Equal(d, !c.dead && !c.invalid, ok, "op %d", d.ops)
		if ok {
			c.Expires = d.now.Add(c.Timeout)
		}
	}
	d.sleep(2 * tick)
}

func (d *duel) invalidate() {
	c := d.pick(true)
	if c == nil || d.rng.IntN(3) != 0 {
		return
	}
	if ok := d.table.Invalidate(c.Ref); !c.dead {
		require.True(d, ok)
		c.invalid = true
	}
}

func (d *duel) expire() {
	c := d.pick(d.rng.IntN(2) == 0)
	if c == nil {
		return
	}
	ok := d.table.Expire(d.now, c.Ref)
	if c.dead { // the table may not have noticed yet, then this was how it did
		return
	}
	require.Equal(d, c.children == 0, ok, "op %d", d.ops)
	if ok {
		d.model.remove(c)
	}
}

func (d *duel) settings() {
	if d.rng.IntN(5) != 0 {
		return
	}
	v := ipvs.Timeouts{TCP: uint32(d.rng.IntN(1000)), TCPFin: uint32(d.rng.IntN(100)), UDP: uint32(d.rng.IntN(400))}
	d.table.SetTimeouts(v)
	for _, p := range []struct{ to, from *uint32 }{
		{&d.model.timeouts.TCP, &v.TCP}, {&d.model.timeouts.TCPFin, &v.TCPFin}, {&d.model.timeouts.UDP, &v.UDP},
	} {
		if *p.from != 0 {
			*p.to = *p.from
		}
	}
	require.Equal(d, d.model.timeouts, d.table.Timeouts())
	d.model.secure = !d.model.secure
	d.table.SetSecureTCP(d.model.secure)
}

func (d *duel) list() {
	var want, got []string
	for _, c := range d.model.conns {
		w := c.Conn
		if c.invalid {
			w.Virtual = netip.AddrPortFrom(w.Virtual.Addr(), 65535)
			w.Real = netip.AddrPortFrom(w.Real.Addr(), 65535)
		}
		e := w.entry(d.now)
		want = append(want, fmt.Sprint(e))
	}
	d.table.List(d.now, func(e *ipvs.ConnEntry) bool {
		got = append(got, fmt.Sprint(*e))
		return true
	})
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(d, want, got, "op %d", d.ops)
}
