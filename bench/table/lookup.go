package table

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"usvs/bench"
	"usvs/bench/testbed"
	"usvs/clock"
	"usvs/conntrack"
	"usvs/conntrack/keeper"
	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

// t0 is when the tables are filled.
const t0 = clock.Instant(time.Hour)

// serverCount is how many real servers the connections share.
const serverCount = 16

var virtual = netip.AddrPortFrom(testbed.Virtual(0), testbed.Port)

// filled is a table with connections, and its servers.
type filled struct {
	*conntrack.Table
	servers []*ipvs.RealServer
	conn    conntrack.Conn
}

// newFilled makes n established connections.
func newFilled(n, room int) (*filled, error) {
	reg := new(ipvs.Registry)
	t := &filled{Table: conntrack.New(conntrack.Config{Seed: 1, Servers: reg, MaxEntries: n + room})}
	keeper.Prepare(t.Table)
	for i := range serverCount {
		rs := ipvs.NewRealServer(ipvs.ServerID{Addr: testbed.Server(i), Port: testbed.Port}, nil, ipvs.ServerSpec{Method: ipvs.DirectRoute, Weight: 1})
		reg.Add(rs)
		t.servers = append(t.servers, rs)
	}
	for i := range uint32(n) {
		if err := t.open(t0, 0, i, &t.conn); err != nil {
			return nil, err
		}
		t.Packet(t0, &t.conn, conntrack.DirIn, ack)
	}
	return t, nil
}

var ack = conntrack.TCPEvent(wire.FlagACK)

// open has a worker insert the connection of flow i.
func (t *filled) open(now clock.Instant, worker int, i uint32, c *conntrack.Conn) error {
	rs := t.servers[i%serverCount]
	spec := conntrack.Spec{
		Protocol: ipvs.TCP, Client: testbed.Client(i), Virtual: virtual, Real: netip.AddrPortFrom(rs.ID.Addr, rs.ID.Port),
		Method: ipvs.DirectRoute, Server: rs, Worker: uint8(worker),
	}
	if r := t.Insert(now, &spec, c); r != conntrack.Inserted {
		return fmt.Errorf("connection %d of %d: %v", i, t.Len(), r)
	}
	return nil
}

// maxKeys is how many of the flows are looked up: enough that their entries do
// not fit into caches.
const maxKeys = 1 << 20

// world is what the lookups of one size need, made when first used.
type world struct {
	flows  int
	order  []uint32 // the flows that are looked up
	next   int      // in order
	table  *filled
	gomap  map[key]uint64
	shared *sync.Map
}

// key is a connection's as the maps have it, with IPv4 addresses.
type key [13]byte

func keyOf(proto uint8, client, virtual netip.AddrPort) (k key) {
	c, v := client.Addr().As4(), virtual.Addr().As4()
	copy(k[:], c[:])
	copy(k[4:], v[:])
	binary.BigEndian.PutUint16(k[8:], client.Port())
	binary.BigEndian.PutUint16(k[10:], virtual.Port())
	k[12] = proto
	return k
}

// prepare chooses the flows that are looked up.
func (w *world) prepare() {
	if w.order == nil {
		w.order = testbed.Shuffled(w.flows, maxKeys)
	}
}

// take is at most n flows, those after the last that were taken.
func (w *world) take(n int) []uint32 {
	if w.next == len(w.order) {
		w.next = 0
	}
	part := w.order[w.next:min(w.next+n, len(w.order))]
	w.next += len(part)
	return part
}

// each looks n flows up, in parts.
func (w *world) each(n int, lookup func(flows []uint32) error) error {
	for n > 0 {
		part := w.take(n)
		if err := lookup(part); err != nil {
			return err
		}
		n -= len(part)
	}
	return nil
}

// lost is the error of a flow that is not found.
func lost(flow uint32) error {
	return fmt.Errorf("connection of %v is lost", testbed.Client(flow))
}

// conns is the table with all flows.
func (w *world) conns() (t *filled, err error) {
	if w.prepare(); w.table == nil {
		w.table, err = newFilled(w.flows, 0)
	}
	return w.table, err
}

// plain is a Go map with all flows.
func (w *world) plain() map[key]uint64 {
	if w.prepare(); w.gomap == nil {
		w.gomap = make(map[key]uint64)
		for i := range uint32(w.flows) {
			w.gomap[keyOf(wire.ProtoTCP, testbed.Client(i), virtual)] = uint64(i)
		}
	}
	return w.gomap
}

// syncMap is a sync.Map with all flows.
func (w *world) syncMap() *sync.Map {
	if w.prepare(); w.shared == nil {
		w.shared = new(sync.Map)
		for i := range uint32(w.flows) {
			w.shared.Store(keyOf(wire.ProtoTCP, testbed.Client(i), virtual), uint64(i))
		}
	}
	return w.shared
}

// mostForSyncMap is where filling a sync.Map takes longer than measuring it.
const mostForSyncMap = 1_000_000

// lookups are the figures of one size.
func lookups(o *bench.Options, s size) []bench.Case {
	w := &world{flows: s.flows}
	cases := []bench.Case{
		w.lookup(o, "lookup, client to server", s.floor, (*world).in),
		w.lookup(o, "lookup, server to client", s.floor, (*world).out),
		w.lookup(o, "lookup and a copy of everything", nil, (*world).copies),
		w.lookup(o, "lookup, state and timer", nil, (*world).packets),
		w.lookup(o, "the same in batches of 64", s.floor, (*world).probes),
		w.lookup(o, "for comparison: Go map", nil, (*world).inMap),
	}
	if s.flows <= mostForSyncMap {
		cases = append(cases, w.lookup(o, "for comparison: sync.Map", nil, (*world).inSyncMap))
	}
	return cases
}

// lookup is the figure of one way of looking up.
func (w *world) lookup(o *bench.Options, name string, floor *float64, f func(*world) (func(n int) error, error)) bench.Case {
	return bench.Case{
		Figure: bench.Figure{Group: group, Name: name + ", " + bench.Count(w.flows) + " flows", Unit: "ns", Better: bench.Lower, Floor: floor},
		Round: func(context.Context) (bench.Round, error) {
			run, err := f(w)
			if err != nil {
				return bench.Round{}, err
			}
			ns, err := o.PerOperation(run)
			return bench.Round{Value: ns}, err
		},
	}
}

// in finds connections by what the director has of a packet, its protocol,
// addresses and ports in words: that which is alive, has just this key and whose
// time is not over, and its real server.
func (w *world) in() (func(int) error, error) {
	t, err := w.conns()
	vip, port := word4(virtual.Addr()), virtual.Port()
	return func(n int) error {
		return w.each(n, func(flows []uint32) error {
			for _, flow := range flows {
				from := testbed.Client(flow)
				if _, rs := t.FindIn4(t0, wire.ProtoTCP, word4(from.Addr()), vip, from.Port(), port); rs == nil {
					return lost(flow)
				}
			}
			return nil
		})
	}, err
}

// out does so for packets of servers, which is more work: several connections of
// a client might be meant.
func (w *world) out() (func(int) error, error) {
	t, err := w.conns()
	vip, port := word4(virtual.Addr()), virtual.Port()
	return func(n int) error {
		return w.each(n, func(flows []uint32) error {
			for _, flow := range flows {
				to := testbed.Client(flow)
				if _, rs := t.FindOut4(t0, wire.ProtoTCP, vip, word4(to.Addr()), port, to.Port()); rs == nil {
					return lost(flow)
				}
			}
			return nil
		})
	}, err
}

// copies find connections by addresses of any family, and copy all there is to
// know about them.
func (w *world) copies() (func(int) error, error) {
	t, err := w.conns()
	return func(n int) error {
		return w.each(n, func(flows []uint32) error {
			for _, flow := range flows {
				if !t.LookupIn(t0, ipvs.TCP, testbed.Client(flow), virtual, &t.conn) {
					return lost(flow)
				}
			}
			return nil
		})
	}, err
}

func (w *world) packets() (func(int) error, error) {
	t, err := w.conns()
	now := t0
	return func(n int) error {
		return w.each(n, func(flows []uint32) error {
			for _, flow := range flows {
				if now++; !t.packet(now, flow) {
					return lost(flow)
				}
			}
			return nil
		})
	}, err
}

// packet is the long way of one packet of a connection.
func (t *filled) packet(now clock.Instant, flow uint32) bool {
	return t.LookupIn(now, ipvs.TCP, testbed.Client(flow), virtual, &t.conn) && t.Packet(now, &t.conn, conntrack.DirIn, ack)
}

// probes do what packets does, for a batch side by side, and like the director
// go the long way where a probe declines.
func (w *world) probes() (func(int) error, error) {
	t, err := w.conns()
	var (
		batch [link.BatchSize]conntrack.Probe
		hot   conntrack.Hot
	)
	now := t0
	return func(n int) error {
		for n > 0 {
			flows := w.take(min(n, len(batch)))
			n -= len(flows)
			for i, flow := range flows {
				t.aim(&batch[i], flow)
			}
			t.Touch(batch[:len(flows)])
			now++
			for i, flow := range flows {
				if !t.Hit(now, &batch[i], ack, &hot) && !t.packet(now, flow) {
					return lost(flow)
				}
			}
		}
		return nil
	}, err
}

// aim aims at a flow's connection.
func (t *filled) aim(p *conntrack.Probe, flow uint32) {
	from := testbed.Client(flow)
	t.AimIn4(p, wire.ProtoTCP, word4(from.Addr()), word4(virtual.Addr()), from.Port(), virtual.Port())
}

// word4 is an IPv4 address as a number.
func word4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func (w *world) inMap() (func(int) error, error) {
	m := w.plain()
	return func(n int) error {
		return w.each(n, func(flows []uint32) error {
			for _, flow := range flows {
				if _, ok := m[keyOf(wire.ProtoTCP, testbed.Client(flow), virtual)]; !ok {
					return lost(flow)
				}
			}
			return nil
		})
	}, nil
}

func (w *world) inSyncMap() (func(int) error, error) {
	m := w.syncMap()
	return func(n int) error {
		return w.each(n, func(flows []uint32) error {
			for _, flow := range flows {
				if _, ok := m.Load(keyOf(wire.ProtoTCP, testbed.Client(flow), virtual)); !ok {
					return lost(flow)
				}
			}
			return nil
		})
	}, nil
}
