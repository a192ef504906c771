package sched

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// draw is exact: r from 0 to the total inclusive, the first server is favoured by one.
func TestTwosDraw(t *testing.T) {
	b := newBench(t, "twos")
	b.add(2, 0, 3, 1) // list D1 C3 B0 A2
	s := b.s.(*twos)
	want := "DDCCCAA"
	for r := range int64(7) {
		require.Equal(t, want[r], letter(s.draw(r, b.servers[3])), "r = %d", r)
	}
	require.Equal(t, byte('A'), letter(s.draw(7, b.servers[3])), "weights fell meanwhile")
}

// Equal loads: the first choice stays, so shares are those of one draw.
func TestTwosShares(t *testing.T) {
	b := newBench(t, "twos")
	servers := b.add(5, 3, 1)
	overloaded := b.add(7)[0]
	overload(overloaded)
	got := map[byte]int{}
	const n = 100_000
	for range n {
		got[letter(b.pick())]++
	}
	// r in 0..9: C has 0,1; B 2..4; A 5..9. Idle servers tie at zero load.
	require.InDelta(t, 0.2, float64(got['C'])/n, 0.01)
	require.InDelta(t, 0.3, float64(got['B'])/n, 0.01)
	require.InDelta(t, 0.5, float64(got['A'])/n, 0.01)
	require.Zero(t, got['D'])
	require.Zero(t, servers[0].Active())
}

// Of two different choices the less loaded one is taken: B, whenever it is drawn.
func TestTwosPrefersTheLessLoaded(t *testing.T) {
	b := newBench(t, "twos")
	servers := b.add(1, 1)
	counts(servers[0], 4, 0)
	got := map[byte]int{}
	const n = 100_000
	for range n {
		got[letter(b.pick())]++
	}
	// r in 0..2: B has 0 and 1. A only if it is drawn twice.
	require.InDelta(t, 1.0/9, float64(got['A'])/n, 0.01)
}

// Load is compared per weight.
func TestTwosWeighsLoads(t *testing.T) {
	b := newBench(t, "twos")
	servers := b.add(3, 1)
	counts(servers[0], 2, 0)
	counts(servers[1], 1, 0)
	got := map[byte]int{}
	const n = 100_000
	for range n {
		got[letter(b.pick())]++
	}
	// r in 0..4: B has 0 and 1, and keeps only what it draws twice.
	require.InDelta(t, 4.0/25, float64(got['B'])/n, 0.01)
}

func TestTwosRepeatsFromItsSeed(t *testing.T) {
	play := func() string {
		s, err := New("twos", rand.New(rand.NewPCG(7, 7)))
		require.NoError(t, err)
		b := newBench(t, "twos")
		b.s = s
		b.add(1, 2, 3)
		return b.sequence(100)
	}
	require.Equal(t, play(), play())
}
