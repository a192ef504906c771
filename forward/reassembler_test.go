package forward

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/wire"
)

// piece is a fragment as tests describe one: data[from:end] of the datagram id.
type piece struct {
	id        uint16
	from, end int
	more      bool
}

// frame builds the piece of a datagram whose data is counting from its id.
func (pc piece) frame(t testing.TB) (*wire.Frame, *wire.Packet) {
	t.Helper()
	f := newFrame()
	b := make([]byte, wire.EthernetLen+wire.IPv4Len+pc.end-pc.from)
	put16(b[12:], wire.TypeIPv4)
	h := wire.IPv4(b[wire.EthernetLen:])
	h[0] = 0x45
	h.SetTotalLen(len(h))
	h.SetID(pc.id)
	h.SetFragWord(uint16(pc.from / 8))
	if pc.more {
		h.SetFragWord(ipv4MF | h.FragWord())
	}
	h.SetTTL(64)
	h.SetProto(wire.ProtoUDP)
	h.SetSrc(cip4.Addr())
	h.SetDst(vip4.Addr())
	h.UpdateChecksum()
	copy(h[wire.IPv4Len:], datagramData(pc.id)[pc.from:pc.end])
	f.SetBytes(b)
	return f, parse(t, f)
}

func datagramData(id uint16) []byte {
	b := make([]byte, 65535)
	for i := range b {
		b[i] = byte(i>>8) ^ byte(i) + byte(id)
	}
	return b
}

func (pc piece) add(t testing.TB, r *Reassembler, now clock.Instant, out *wire.Frame) bool {
	f, p := pc.frame(t)
	return r.Add(now, f, p, out) == Complete
}

// slowReassembler keeps, for every byte, the run that it came in.
type slowReassembler struct{ datagrams map[uint16]*slowDatagram }

type slowDatagram struct {
	run      [65536]int // 0: it is not here
	runs     int
	starts   map[int]int // the fragments' offsets, and their lengths
	end      int
	ended    bool
	deadline clock.Instant
}

// add returns the lengths of the pieces of a datagram that became complete.
func (m *slowReassembler) add(now clock.Instant, pc piece) (pieces []uint16, why FragmentDrop) {
	if pc.from == 0 && !pc.more {
		return nil, DropMalformed // no fragment
	}
	if pc.more {
		pc.end -= (pc.end - pc.from) % 8
	}
	for id, d := range m.datagrams {
		if !now.Before(d.deadline) {
			delete(m.datagrams, id)
		}
	}
	d := m.datagrams[pc.id]
	if d == nil {
		d = &slowDatagram{deadline: now.Add(timeoutIPv4), starts: map[int]int{}}
		m.datagrams[pc.id] = d
	}
	why = d.add(pc)
	if why != accepted && why != DropDuplicate {
		delete(m.datagrams, pc.id)
	}
	if pieces = d.pieces(); why == accepted && d.ended && pieces != nil {
		delete(m.datagrams, pc.id)
		return pieces, accepted
	}
	return nil, why
}

func (d *slowDatagram) add(pc piece) FragmentDrop {
	if d.ended && (pc.end > d.end || !pc.more && pc.end != d.end) || !pc.more && pc.end < d.end {
		return DropInconsistent
	}
	d.ended = d.ended || !pc.more
	d.end = max(d.end, pc.end)
	if pc.from == pc.end {
		return DropMalformed
	}
	known, farthest := map[int]int{}, 0
	for i := pc.from; i < pc.end; i++ {
		known[d.run[i]]++
	}
	for i, run := range d.run {
		if run != 0 {
			farthest = i + 1
		}
	}
	switch {
	case known[0] == pc.end-pc.from:
	case known[0] == 0 && len(known) == 1:
		return DropDuplicate
	default:
		return DropOverlap
	}
	run := d.runs + 1
	if farthest == pc.from && farthest > 0 {
		run = d.run[farthest-1]
	}
	d.runs++
	for i := pc.from; i < pc.end; i++ {
		d.run[i] = run
	}
	d.starts[pc.from] = pc.end - pc.from
	return accepted
}

// pieces are the lengths of the fragments, nil if some are missing.
func (d *slowDatagram) pieces() (pieces []uint16) {
	for at := 0; at < d.end; {
		n := d.starts[at]
		if n == 0 {
			return nil
		}
		pieces = append(pieces, uint16(n))
		at += n
	}
	return pieces
}

// TestReassemblerAgainstModel throws datagrams at both in random order, with
// duplicates, overlaps, wrong ends and pauses.
func TestReassemblerAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		r := NewReassembler(Limits{Datagrams: 512, Bytes: 8 << 20}, seed)
		model := &slowReassembler{datagrams: map[uint16]*slowDatagram{}}
		now := clock.Instant(1)
		out := newFrame()
		var drops [accepted]uint64
		complete := uint64(0)
		for n, pc := range script(rng) {
			if rng.IntN(40) == 0 {
				now = now.Add(time.Duration(rng.Int64N(int64(20 * time.Second))))
			}
			pieces, why := model.add(now, pc)
			done := pc.add(t, r, now, out)
			if done != (pieces != nil) {
				t.Fatalf("seed %d, fragment %d %+v: done %v, model %d %d", seed, n, pc, done, pieces, why)
			}
			if done {
				complete++
				p := parse(t, out)
				require.False(t, p.Fragment)
				require.Equal(t, pieces, out.Pieces, "seed %d", seed)
				require.Equal(t, datagramData(pc.id)[:p.End-p.L4], p.Transport(), "seed %d", seed)
			}
			if why != accepted {
				drops[why]++
			}
			st := r.Stats()
			st.Drops[DropTimeout] = 0 // the model does not count them
			require.Equal(t, drops[:fragmentDrops], st.Drops[:], "seed %d, fragment %d %+v", seed, n, pc)
		}
		require.Equal(t, complete, r.Stats().Reassembled)
		require.NotZero(t, complete)
		r.Tick(now.Add(time.Hour), nil)
		requireAllFree(t, r)
	}
}

// script is the fragments of some datagrams, shuffled among neighbours and
// with some of them wrong.
func script(rng *rand.Rand) []piece {
	var all []piece
	for id := range uint16(12) {
		size := 1 + rng.IntN(6000)
		var ps []piece
		for from := 0; from < size; {
			end := min(size, from+8*(1+rng.IntN(120)))
			ps = append(ps, piece{id, from, end, end < size})
			from = end
		}
		rng.Shuffle(len(ps), func(i, j int) { ps[i], ps[j] = ps[j], ps[i] })
		for rng.IntN(2) == 0 {
			ps = append(ps, mangle(rng, ps[rng.IntN(len(ps))]))
			i, j := rng.IntN(len(ps)), len(ps)-1
			ps[i], ps[j] = ps[j], ps[i]
		}
		all = append(all, ps...)
	}
	for range len(all) {
		i := rng.IntN(len(all))
		j := min(len(all)-1, i+rng.IntN(30))
		all[i], all[j] = all[j], all[i]
	}
	return all
}

func mangle(rng *rand.Rand, pc piece) piece {
	switch rng.IntN(5) {
	case 0:
		pc.end += 8
	case 1:
		pc.from = max(0, pc.from-8)
	case 2:
		pc.more = !pc.more
	case 3:
		pc.end = pc.from + (pc.end-pc.from)/16*8
	}
	return pc // or a duplicate
}

// requireAllFree checks that no slot or block is lost or free twice.
func requireAllFree(t *testing.T, r *Reassembler) {
	t.Helper()
	for i := range r.shards {
		s := &r.shards[i]
		seen := map[uint16]bool{}
		for _, b := range s.free {
			require.False(t, seen[b])
			seen[b] = true
		}
		require.Len(t, s.free, len(s.data)/blockSize)
		for j := range s.keys {
			require.Zero(t, s.keys[j])
		}
	}
}

// TestFragmentAndReassembleInAnyOrder: what is cut is put together again, in
// any order and with every fragment doubled, and cut that way again.
func TestFragmentAndReassembleInAnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for i, src := range []recipe{
		{src: cip4, dst: vip4, proto: wire.ProtoUDP, payload: counting(60000), id: 7, tos: 0xb8, vlans: 1},
		{src: cip4, dst: vip4, proto: wire.ProtoTCP, payload: counting(3000)},
		{src: cip6, dst: vip6, proto: wire.ProtoUDP, payload: counting(65000)},
		{src: cip6, dst: vip6, proto: wire.ProtoTCP, payload: counting(3000), vlans: 2, tos: 0xb8},
	} {
		for _, mtu := range []int{1280, 1500, 4096} {
			f, p := src.build(t)
			f.FragID = uint32(100 + i)
			f.Mark = 9
			fs := fragments(t, f, p, mtu)
			if len(fs) < 2 {
				continue
			}
			r := NewReassembler(Limits{Datagrams: 8, Bytes: 1}, 3)

			out := addAll(t, r, fs)
			require.Equal(t, f.Bytes()[:p.End], out.Bytes())
			require.Equal(t, uint32(9), out.Mark)
			require.Len(t, out.Pieces, len(fs))
			again := fragments(t, out, parse(t, out), 9000)
			require.Len(t, again, len(fs))
			for j := range fs {
				require.Equal(t, fs[j].Bytes(), again[j].Bytes())
			}

			doubled := append(fs[:len(fs):len(fs)], fs...)
			rng.Shuffle(len(doubled), func(i, j int) { doubled[i], doubled[j] = doubled[j], doubled[i] })
			out = addAll(t, r, doubled)
			require.Equal(t, f.Bytes()[:p.End], out.Bytes())
		}
	}
}

// addAll adds the fragments until the datagram is complete.
func addAll(t *testing.T, r *Reassembler, fs []*wire.Frame) *wire.Frame {
	t.Helper()
	out := newFrame()
	for _, g := range fs {
		q := parse(t, g)
		if r.Add(5, g, q, out) == Complete {
			parse(t, out)
			return out
		}
	}
	t.Fatalf("not complete: %+v", r.Stats())
	return nil
}

func TestReassembledMetadata(t *testing.T) {
	r := NewReassembler(Limits{}, 1)
	second, p2 := piece{1, 1000, 1500, false}.frame(t)
	second.Port, second.Mark, second.Hidden = 1, 10, true
	first, p1 := piece{1, 0, 1000, true}.frame(t)
	first.Port, first.Mark = 2, 20
	copy(first.Bytes(), mac1[:])
	copy(second.Bytes(), mac2[:])
	out := newFrame()
	out.GSO, out.Partial, out.Pieces = wire.GSOUDP, true, []uint16{1, 2}
	require.NotEqual(t, Complete, r.Add(1, second, p2, out))
	require.Equal(t, Complete, r.Add(2, first, p1, out))
	require.Equal(t, []any{2, uint32(20), true, wire.GSONone, false, 1020},
		[]any{out.Port, out.Mark, out.Hidden, out.GSO, out.Partial, out.FragSize})
	require.Equal(t, []uint16{1000, 500}, out.Pieces, "in the order of the data")
	require.Equal(t, mac1[:], out.Bytes()[:6], "the Ethernet header of the first fragment")
	require.Equal(t, uint32(1), out.FragID)
	require.Equal(t, wire.Headroom, out.Room())
}

func TestReassembledHeader(t *testing.T) {
	set := func(tos uint8, df bool) func(*wire.Frame) {
		return func(f *wire.Frame) {
			h := wire.IPv4(f.Bytes()[wire.EthernetLen:])
			h.SetTOS(tos)
			if df {
				h.SetFragWord(h.FragWord() | ipv4DF)
			}
			h.UpdateChecksum()
		}
	}
	for _, c := range []struct {
		name          string
		first, second func(*wire.Frame)
		tos           uint8
		df, ok        bool
	}{
		{"plain", set(0, false), set(0, false), 0, false, true},
		{"DF on the largest", set(0, true), set(0, false), 0, true, true},
		{"DF on a smaller one", set(0, false), set(0, true), 0, false, true},
		{"CE on one", set(0xba, false), set(0xbb, false), 0xbb, false, true},
		{"ECT(0) and ECT(1)", set(2, false), set(1, false), 2, false, true},
		{"not ECT and ECT", set(0, false), set(2, false), 0, false, false},
		{"ECT(0) and CE", set(2, false), set(3, false), 3, false, true},
		{"not ECT and CE", set(0, false), set(3, false), 0, false, false},
	} {
		r := NewReassembler(Limits{Datagrams: 1, Bytes: 1}, 1)
		f1, _ := piece{1, 0, 1000, true}.frame(t)
		f2, _ := piece{1, 1000, 1500, false}.frame(t)
		c.first(f1)
		c.second(f2)
		out := newFrame()
		require.NotEqual(t, Complete, r.Add(1, f1, parse(t, f1), out))
		require.Equal(t, c.ok, r.Add(1, f2, parse(t, f2), out) == Complete, c.name)
		if !c.ok {
			require.Equal(t, uint64(1), r.Stats().Drops[DropECN])
			continue
		}
		p := parse(t, out)
		require.Equal(t, c.tos, p.V4().TOS(), c.name)
		require.Equal(t, c.df, p.V4().DF(), c.name)
		require.Equal(t, 1520, p.V4().TotalLen())
	}
}

func TestDatagramsAreToldApart(t *testing.T) {
	base, _ := piece{1, 0, 1000, true}.frame(t)
	for _, change := range []func(wire.IPv4){
		func(h wire.IPv4) { h.SetID(2) },
		func(h wire.IPv4) { h.SetProto(wire.ProtoTCP) },
		func(h wire.IPv4) { h.SetSrc(rip4.Addr()) },
		func(h wire.IPv4) { h.SetDst(rip4.Addr()) },
	} {
		r := NewReassembler(Limits{Datagrams: 16, Bytes: 1}, 1)
		out := newFrame()
		require.NotEqual(t, Complete, r.Add(1, base, parse(t, base), out))
		other, _ := piece{1, 1000, 1500, false}.frame(t)
		h := wire.IPv4(other.Bytes()[wire.EthernetLen:])
		change(h)
		h.UpdateChecksum()
		require.NotEqual(t, Complete, r.Add(1, other, parse(t, other), out))
	}
}

func TestReassemblyTimeout(t *testing.T) {
	r := NewReassembler(Limits{Datagrams: 64, Bytes: 1}, 1)
	out := newFrame()
	start := clock.Instant(1000)
	require.Equal(t, clock.Never, r.Tick(start, nil))
	require.False(t, piece{1, 0, 8, true}.add(t, r, start, out))
	f6 := ipv6Fragment(t, 0, true, counting(8))
	require.NotEqual(t, Complete, r.Add(start, f6, parse(t, f6), out))

	require.Equal(t, start.Add(30*time.Second), r.Tick(start.Add(30*time.Second-1), nil))
	require.Equal(t, start.Add(60*time.Second), r.Tick(start.Add(30*time.Second), nil))
	require.Equal(t, uint64(1), r.Stats().Drops[DropTimeout])
	require.Equal(t, clock.Never, r.Tick(start.Add(60*time.Second), nil))
	require.Equal(t, uint64(2), r.Stats().Drops[DropTimeout])
	requireAllFree(t, r)

	require.Equal(t, clock.Never, r.Deadline())

	// Without a Tick, the next fragment finds out.
	require.False(t, piece{1, 0, 8, true}.add(t, r, start, out))
	require.False(t, piece{1, 8, 9, false}.add(t, r, start.Add(30*time.Second), out))
	require.Equal(t, uint64(3), r.Stats().Drops[DropTimeout])
}

func TestOldestDatagramIsEvicted(t *testing.T) {
	const slots = 4
	r := NewReassembler(Limits{Datagrams: slots * shardCount, Bytes: 1 << 20}, 1)
	out := newFrame()
	n := uint16(200)
	for id := range n {
		require.False(t, piece{id, 0, 8, true}.add(t, r, 1, out))
	}
	held := 0
	for i := range r.shards {
		for _, k := range r.shards[i].keys {
			if k.started != 0 {
				held++
			}
		}
	}
	require.Equal(t, uint64(int(n)-held), r.Stats().Drops[DropEvicted])
	require.Equal(t, slots*shardCount, held)
	require.True(t, piece{n - 1, 8, 9, false}.add(t, r, 1, out), "the newest is there")
	require.False(t, piece{0, 8, 9, false}.add(t, r, 1, out), "the oldest is not")
}

// TestMemoryIsBounded: a shard of the smallest size holds one datagram of the
// largest; smaller ones make room for it.
func TestMemoryIsBounded(t *testing.T) {
	r := NewReassembler(Limits{Datagrams: 64 * shardCount, Bytes: 1}, 1)
	out := newFrame()
	for id := range uint16(400) {
		require.False(t, piece{id, 4096, 8192, true}.add(t, r, 1, out))
		require.False(t, piece{id, 0, 4096, true}.add(t, r, 1, out))
	}
	const size = 65504
	for from := 0; from < size; from += 1472 {
		end := min(size, from+1472)
		done := piece{999, from, end, end < size}.add(t, r, 1, out)
		require.Equal(t, end == size, done)
	}
	require.Equal(t, datagramData(999)[:size], parse(t, out).Transport())
	require.NotZero(t, r.Stats().Drops[DropEvicted])
	r.Tick(clock.Never, nil)
	requireAllFree(t, r)
}

func TestReassemblerDrops(t *testing.T) {
	udp := recipe{src: cip4, dst: vip4, proto: wire.ProtoUDP}
	for _, c := range []struct {
		why    FragmentDrop
		pieces []piece
	}{
		{DropDuplicate, []piece{{1, 0, 80, true}, {1, 8, 16, true}}},
		{DropMalformed, []piece{{1, 8, 8, true}}},
		{DropMalformed, []piece{{1, 0, 80, true}, {1, 80, 87, true}}},
		{DropTooLong, []piece{{1, 65528, 65535, false}, {1, 0, 65528 / 2 / 8 * 8, true}, {1, 65528 / 2 / 8 * 8, 65528, true}}},
		{DropOverlap, []piece{{1, 0, 80, true}, {1, 72, 88, true}}},
		{DropOverlap, []piece{{1, 80, 160, true}, {1, 72, 88, true}}},
		{DropOverlap, []piece{{1, 0, 80, true}, {1, 160, 240, true}, {1, 80, 168, true}}},
		{DropOverlap, []piece{{1, 80, 160, true}, {1, 0, 80, true}, {1, 0, 160, true}}},
		{DropDuplicate, []piece{{1, 0, 80, true}, {1, 80, 160, true}, {1, 0, 160, true}}},
		{DropInconsistent, []piece{{1, 80, 160, false}, {1, 160, 168, true}}},
		{DropInconsistent, []piece{{1, 80, 160, true}, {1, 8, 80, false}}},
		{DropInconsistent, []piece{{1, 80, 160, false}, {1, 80, 152, false}}},
	} {
		r := NewReassembler(Limits{Datagrams: 1, Bytes: 1}, 1)
		out := newFrame()
		for _, pc := range c.pieces {
			require.False(t, pc.add(t, r, 1, out))
		}
		require.Equal(t, uint64(1), r.Stats().Drops[c.why], "%v %v", c.why, c.pieces)
		require.Equal(t, uint64(len(c.pieces)), r.Stats().Fragments)
		if c.why != DropDuplicate {
			requireAllFree(t, r)
		}
	}

	r := NewReassembler(Limits{Datagrams: 1, Bytes: 1}, 1)
	f, p := udp.build(t)
	require.NotEqual(t, Complete, r.Add(1, f, p, newFrame()), "no fragment")
	require.Equal(t, uint64(1), r.Stats().Drops[DropMalformed])

	for i := range maxParts + 1 {
		require.False(t, piece{1, 16 * i, 16*i + 8, true}.add(t, r, 1, newFrame()))
	}
	require.Equal(t, uint64(1), r.Stats().Drops[DropHoles])

	require.False(t, piece{2, 0, 1000, true}.add(t, r, 1, newFrame()))
	require.False(t, piece{2, 1000, 1500, false}.add(t, r, 1, wire.NewFrame(1000)), "the frame is too small")
	require.Equal(t, uint64(1), r.Stats().Drops[DropTooLong])
	requireAllFree(t, r)
}

func TestFragmentDropNames(t *testing.T) {
	seen := map[string]bool{}
	for d := range fragmentDrops {
		require.NotEmpty(t, d.String())
		require.False(t, seen[d.String()])
		seen[d.String()] = true
	}
	require.Len(t, fragmentDropText, int(fragmentDrops))
}

func TestIPv6FragmentHeaders(t *testing.T) {
	r := NewReassembler(Limits{Datagrams: 1, Bytes: 1}, 1)
	out := newFrame()
	udp := recipe{src: cip6, dst: vip6, proto: wire.ProtoUDP, payload: counting(100), bare: true}.bytes(t)

	// An atomic fragment is complete, and no datagram waits for more.
	f := ipv6Fragment(t, 0, false, udp[40:])
	require.Equal(t, Complete, r.Add(1, f, parse(t, f), out))
	require.Equal(t, udp, out.Bytes())
	require.Equal(t, 40+8+108, out.FragSize, "it is cut again only where headers are added")
	requireAllFree(t, r)

	// Later fragments may name another protocol: only the first one's counts.
	f = ipv6Fragment(t, 56, false, udp[96:])
	f.Bytes()[40] = wire.ProtoTCP
	require.NotEqual(t, Complete, r.Add(1, f, parse(t, f), out))
	f = ipv6Fragment(t, 0, true, udp[40:96])
	require.Equal(t, Complete, r.Add(1, f, parse(t, f), out))
	require.Equal(t, udp, out.Bytes())
	require.Equal(t, 104, out.FragSize)
	require.Equal(t, uint32(0x1234), out.FragID)

	// Congestion experienced by one is the datagram's (RFC 3168 5.3).
	f = ipv6Fragment(t, 0, true, udp[40:96])
	wire.IPv6(f.Bytes()).SetFlow(2, 0x12345)
	require.NotEqual(t, Complete, r.Add(1, f, parse(t, f), out))
	f = ipv6Fragment(t, 56, false, udp[96:])
	wire.IPv6(f.Bytes()).SetFlow(3, 0x12345)
	require.Equal(t, Complete, r.Add(1, f, parse(t, f), out))
	require.Equal(t, []uint32{3, 0x12345}, []uint32{uint32(wire.IPv6(out.Bytes()).TrafficClass()), wire.IPv6(out.Bytes()).FlowLabel()})

	// More than an IPv6 packet holds.
	f = ipv6Fragment(t, 65528, false, counting(16))
	require.NotEqual(t, Complete, r.Add(1, f, parse(t, f), out))
	require.Equal(t, uint64(1), r.Stats().Drops[DropTooLong])
	f = ipv6Fragment(t, 0, false, udp[40:])
	require.NotEqual(t, Complete, r.Add(1, f, parse(t, f), wire.NewFrame(50)))
	require.Equal(t, uint64(2), r.Stats().Drops[DropTooLong])

	// A fragment header in front of another is nobody's doing.
	inner := append([]byte{wire.ProtoUDP, 0, 0, 1, 0, 0, 0, 9}, udp[40:96]...)
	f = ipv6Fragment(t, 0, true, inner)
	f.Bytes()[40] = wire.ProtoFragment
	require.NotEqual(t, Complete, r.Add(1, f, parse(t, f), out))
	require.Equal(t, uint64(1), r.Stats().Drops[DropMalformed])
}

func TestLongIPv6HeadersAreRefused(t *testing.T) {
	kinds := []uint8{wire.ProtoHopByHop}
	for range 11 {
		kinds = append(kinds, wire.ProtoRouting)
	}
	f, p := ipv6WithExtensions(t, kinds, counting(2000))
	require.Greater(t, p.L4, maxFragmentHead)
	r := NewReassembler(Limits{Datagrams: 1, Bytes: 1}, 1)
	for _, g := range fragments(t, f, p, 1500) {
		require.NotEqual(t, Complete, r.Add(1, g, parse(t, g), newFrame()))
	}
	require.Equal(t, uint64(1), r.Stats().Drops[DropHeader])
}

// TestReassemblerConcurrently: the fragments of every datagram arrive at
// different workers; each datagram is completed once.
func TestReassemblerConcurrently(t *testing.T) {
	const workers, datagrams, parts = 4, 300, 4
	r := NewReassembler(Limits{Datagrams: 4096, Bytes: 16 << 20}, 1)
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := map[uint32]int{}
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 0))
			out := newFrame()
			for id := range uint16(datagrams) {
				i := (w + int(id)) % parts
				pc := piece{id, i * 800, (i + 1) * 800, i < parts-1}
				if rng.IntN(3) == 0 {
					r.Tick(1, nil)
				}
				if pc.add(t, r, 1, out) {
					var p wire.Packet
					if p.Parse(out.Bytes(), out.Medium) != wire.None || !bytes.Equal(p.Transport(), datagramData(id)[:parts*800]) {
						t.Error("wrong datagram", id)
					}
					mu.Lock()
					done[out.FragID]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, done, datagrams, fmt.Sprint(r.Stats()))
	require.Equal(t, uint64(datagrams), r.Stats().Reassembled)
}

func TestReassemblerIsDeterministic(t *testing.T) {
	run := func() (string, ReassemblyStats) {
		rng := rand.New(rand.NewPCG(5, 5))
		r := NewReassembler(Limits{Datagrams: 16, Bytes: 1}, 77)
		out, log := newFrame(), ""
		for i, pc := range script(rng) {
			if pc.add(t, r, clock.Instant(i), out) {
				log += fmt.Sprint(i, " ")
			}
		}
		return log, r.Stats()
	}
	log1, stats1 := run()
	log2, stats2 := run()
	require.Equal(t, log1, log2)
	require.Equal(t, stats1, stats2)
}

// TestShardsAreChosenBySeed: without knowing the seed nobody can fill one shard.
func TestShardsAreChosenBySeed(t *testing.T) {
	var seen [shardCount]int
	f, p := piece{1, 0, 8, true}.frame(t)
	for seed := range uint64(800) {
		var fr fragment
		p.Src = netip.AddrFrom4([4]byte{10, 0, byte(seed >> 8), byte(seed)})
		require.Equal(t, FragmentDrop(accepted), fr.read(f, p, 42))
		seen[fr.hash%shardCount]++
	}
	for _, n := range seen {
		require.InDelta(t, 100, n, 50)
	}
}
