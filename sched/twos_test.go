package sched

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
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

// twosShares is how often each server must be picked: both draws in every way
// they can fall, which are equally likely.
func twosShares(servers []*ipvs.RealServer) (shares map[*ipvs.RealServer]float64) {
	var line []*ipvs.RealServer // who has the draw r: the first one has 0 besides his weight
	for _, rs := range servers {
		for range rs.Weight() {
			if rs.Overloaded() {
				break
			}
			if len(line) == 0 {
				line = append(line, rs)
			}
			line = append(line, rs)
		}
	}
	shares = map[*ipvs.RealServer]float64{}
	for _, one := range line {
		for _, two := range line {
			pick := one
			if overhead(one)*int64(two.Weight()) > overhead(two)*int64(one.Weight()) {
				pick = two
			}
			shares[pick] += 1 / float64(len(line)*len(line))
		}
	}
	return shares
}

// The picks of many connections are distributed as the rule says: chi-square
// below what chance exceeds once in a thousand times, for fixed seeds.
func TestTwosDistribution(t *testing.T) {
	critical := map[int]float64{1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52} // by degrees of freedom
	cases := []struct {
		about   string
		servers []state
	}{
		{"one", []state{{weight: 5}}},
		{"idle and equal", []state{{weight: 1}, {weight: 1}, {weight: 1}}},
		{"idle, by weight", []state{{weight: 5}, {weight: 3}, {weight: 1}, {weight: 9}}},
		{"one is loaded", []state{{weight: 1, active: 3}, {weight: 1}, {weight: 1}}},
		{"loaded by weight", []state{{weight: 4, active: 3}, {weight: 1, active: 1}, {weight: 2, inactive: 300}}},
		{"loads that tie", []state{{weight: 2, active: 2}, {weight: 1, active: 1}, {weight: 3, active: 1}}},
		{"some are out", []state{{weight: 3}, {weight: 0}, {weight: 7, overloaded: true}, {weight: 2, active: 1}}},
		{"six", []state{{weight: 1}, {weight: 2}, {weight: 3, active: 9}, {weight: 4, inactive: 7}, {weight: 5, active: 2}, {weight: 6}}},
	}
	const n = 200_000
	for i, c := range cases {
		t.Run(c.about, func(t *testing.T) {
			b := newBench(t, "twos")
			var err error
			b.s, err = New("twos", rand.New(rand.NewPCG(uint64(i), 3)))
			require.NoError(t, err)
			apply(b, c.servers)
			got := map[*ipvs.RealServer]int{}
			for range n {
				got[b.pick()]++
			}
			shares, chi := twosShares(b.servers), 0.0
			for rs, count := range got {
				require.NotZero(t, shares[rs], "%v must never be picked", rs.ID)
				expected := n * shares[rs]
				chi += (float64(count) - expected) * (float64(count) - expected) / expected
			}
			require.Len(t, got, len(shares), "somebody was never picked")
			if degrees := len(shares) - 1; degrees > 0 {
				require.Less(t, chi, critical[degrees])
			}
		})
	}
}
