package forward

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/wire"
)

// listener is a Lapsed that remembers.
type listener struct {
	full  bool // it has no frame to offer
	heard [][]byte
}

func (l *listener) New() *wire.Frame {
	if l.full {
		return nil
	}
	return newFrame()
}

func (l *listener) Lapsed(first *wire.Frame) {
	l.heard = append(l.heard, append([]byte(nil), first.Bytes()...))
}

func TestLapsedDatagramsAreTold(t *testing.T) {
	r := NewReassembler(Limits{Datagrams: 64, Bytes: 1}, 1)
	start := clock.Instant(1000)
	require.Equal(t, clock.Never, r.Deadline())
	f4, p4 := piece{1, 0, 1000, true}.frame(t)
	f4.Hidden, f4.Port, f4.Mark = true, 3, 4
	require.Equal(t, Kept, r.Add(start, f4, p4, newFrame()))
	require.False(t, piece{1, 1000, 2000, true}.add(t, r, start+1, newFrame()), "it does not last longer for that")
	require.False(t, piece{2, 8, 16, true}.add(t, r, start+1, newFrame()), "its first fragment is missing")
	f6 := ipv6Fragment(t, 0, true, counting(16))
	require.Equal(t, Kept, r.Add(start, f6, parse(t, f6), newFrame()))
	require.Equal(t, start.Add(timeoutIPv4), r.Deadline())

	l := &listener{}
	require.Equal(t, start.Add(timeoutIPv4), r.Tick(start.Add(timeoutIPv4-1), l))
	require.Empty(t, l.heard)
	require.Equal(t, start.Add(timeoutIPv4+1), r.Tick(start.Add(timeoutIPv4), l))
	require.Equal(t, [][]byte{f4.Bytes()}, l.heard)
	require.Equal(t, start.Add(timeoutIPv6), r.Tick(start.Add(timeoutIPv4+1), l))
	require.Len(t, l.heard, 1, "no first fragment, no error")
	require.Equal(t, clock.Never, r.Tick(start.Add(timeoutIPv6), l))
	require.Equal(t, f6.Bytes(), l.heard[1], "with its fragment header")
	require.Equal(t, uint64(3), r.Stats().Drops[DropTimeout])
	requireAllFree(t, r)
}

func TestLapsedFirstFragmentKeepsItsMetadata(t *testing.T) {
	r := NewReassembler(Limits{Datagrams: 1, Bytes: 1}, 1)
	first, p := piece{1, 0, 80, true}.frame(t)
	first.Port, first.Mark = 3, 4
	second, q := piece{1, 80, 160, true}.frame(t)
	second.Hidden = true
	r.Add(0, first, p, newFrame())
	r.Add(0, second, q, newFrame())
	heard := false
	r.Tick(clock.Never, lapsedFunc(func(f *wire.Frame) {
		heard = true
		require.Equal(t, []any{3, uint32(4), false, 0}, []any{f.Port, f.Mark, f.Hidden, f.FragSize})
		require.Equal(t, Kept, r.Add(0, second, q, newFrame()), "no lock is held")
	}))
	require.True(t, heard)
}

type lapsedFunc func(*wire.Frame)

func (lapsedFunc) New() *wire.Frame          { return newFrame() }
func (tell lapsedFunc) Lapsed(f *wire.Frame) { tell(f) }

func TestLapsedWithoutAFrame(t *testing.T) {
	r := NewReassembler(Limits{Datagrams: 1, Bytes: 1}, 1)
	for _, l := range []Lapsed{&listener{full: true}, nil} {
		require.False(t, piece{1, 0, 80, true}.add(t, r, 0, newFrame()))
		require.Equal(t, clock.Never, r.Tick(clock.Instant(time.Hour), l))
		requireAllFree(t, r)
	}
}

// TestDeadlineIsNeverLate: after any calls it is no later than the earliest.
func TestDeadlineIsNeverLate(t *testing.T) {
	r := NewReassembler(Limits{Datagrams: 512, Bytes: 1}, 1)
	for i := range 300 {
		now := clock.Instant(i) * clock.Instant(time.Second)
		piece{uint16(i), 0, 80, true}.add(t, r, now, newFrame())
		if i%3 == 0 {
			require.True(t, piece{uint16(i), 80, 88, false}.add(t, r, now, newFrame()))
		}
		if i%7 == 0 {
			r.Tick(now, nil)
		}
		earliest := clock.Never
		for s := range r.shards {
			for _, k := range r.shards[s].keys {
				if k.started != 0 {
					earliest = earliest.Min(k.deadline)
				}
			}
		}
		require.LessOrEqual(t, r.Deadline(), earliest)
	}
}

func TestFragmentsThatStandAlone(t *testing.T) {
	r := NewReassembler(Limits{Datagrams: 1, Bytes: 1}, 1)
	add := func(offset int, more bool, data []byte, proto uint8) Outcome {
		f := ipv6Fragment(t, offset, more, data)
		f.Bytes()[wire.IPv6Len] = proto
		return r.Add(1, f, parse(t, f), newFrame())
	}
	require.Equal(t, Alone, add(0, true, counting(16), wire.ProtoTCP), "a first fragment without the whole header")
	requireAllFree(t, r)
	require.Equal(t, Kept, add(16, false, counting(16), wire.ProtoTCP), "the rest waits in vain")
	require.Equal(t, Kept, add(0, true, counting(8), wire.ProtoUDP), "as long as the datagram is that short")
	require.Equal(t, Alone, add(8, true, counting(7), wire.ProtoUDP), "no multiple of 8 bytes")
	requireAllFree(t, r)
	require.Equal(t, uint64(1), r.Stats().Drops[DropUneven])
}

// TestIPv6ContradictionsCostOnlyTheFragment, as recorded.
func TestIPv6ContradictionsCostOnlyTheFragment(t *testing.T) {
	data := counting(48)
	for name, wrong := range map[string]*wire.Frame{
		"beyond the end":         ipv6Fragment(t, 48, true, data[:8]),
		"another end":            ipv6Fragment(t, 32, false, data[32:40]),
		"an end before the last": ipv6Fragment(t, 8, false, data[:8]),
		"nothing":                ipv6Fragment(t, 16, true, nil),
		"all of it":              ipv6Fragment(t, 0, false, data[:8]),
	} {
		r, out := NewReassembler(Limits{Datagrams: 1, Bytes: 1}, 1), newFrame()
		f := ipv6Fragment(t, 32, false, data[32:])
		require.Equal(t, Kept, r.Add(1, f, parse(t, f), out))
		require.Equal(t, Dropped, r.Add(1, wrong, parse(t, wrong), out), name)
		f = ipv6Fragment(t, 16, true, data[16:32])
		require.Equal(t, Kept, r.Add(1, f, parse(t, f), out))
		f = ipv6Fragment(t, 0, true, data[:16])
		require.Equal(t, Complete, r.Add(1, f, parse(t, f), out), name)
		require.Equal(t, []uint16{16, 16, 16}, out.Pieces)
	}
}

// TestIPv4FragmentsAreTrimmed: what exceeds a multiple of 8 bytes is ignored.
func TestIPv4FragmentsAreTrimmed(t *testing.T) {
	r, out := NewReassembler(Limits{Datagrams: 1, Bytes: 1}, 1), newFrame()
	require.False(t, piece{1, 0, 87, true}.add(t, r, 1, out))
	require.True(t, piece{1, 80, 90, false}.add(t, r, 1, out))
	require.Equal(t, []uint16{80, 10}, out.Pieces)
	require.Equal(t, datagramData(1)[:90], parse(t, out).Transport())
	require.Equal(t, 100, out.FragSize)

	f, p := piece{2, 0, 87, true}.frame(t)
	r.Add(1, f, p, out)
	l := &listener{}
	r.Tick(clock.Never, l)
	require.Equal(t, append(f.Bytes()[:f.Len()-7:f.Len()-7], make([]byte, 7)...), l.heard[0])
}

// TestTooManyPieces: a datagram in more than are told apart is whole all the
// same, but how it was cut is not known.
func TestTooManyPieces(t *testing.T) {
	for _, step := range []int{1, -1} {
		r, out := NewReassembler(Limits{Datagrams: 1, Bytes: 1}, 1), newFrame()
		const n = maxParts + 10
		for k := range n {
			i := k
			if step < 0 {
				i = n - 1 - k
			}
			done := piece{1, 8 * i, 8*i + 8, i < n-1}.add(t, r, 1, out)
			require.Equal(t, k == n-1, done)
		}
		require.Empty(t, out.Pieces)
		require.Equal(t, datagramData(1)[:8*n], parse(t, out).Transport())
		requireAllFree(t, r)
	}
}
