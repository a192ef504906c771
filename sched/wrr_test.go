package sched

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

func TestWrrFromAnEmptyService(t *testing.T) {
	cases := []struct {
		weights []int32
		want    string
	}{
		{[]int32{1, 1}, "BABABA"},
		{[]int32{1, 2, 3}, "CBA" + strings.Repeat("CCBCBA", 3)},
		{[]int32{4, 3, 2}, "CBA" + strings.Repeat("ABACBACBA", 3)},
		{[]int32{10, 20}, "BA" + strings.Repeat("BBA", 3)},
	}
	for _, c := range cases {
		b := newBench(t, "wrr")
		b.add(c.weights...)
		require.Equal(t, c.want, b.sequence(len(c.want)), c.weights)
	}
}

func TestWrrBoundToServers(t *testing.T) {
	b := newBench(t, "wrr")
	b.load(1, 2, 3)
	require.Equal(t, "CCBCBACCBCBA", b.sequence(12))
}

func TestWrrEdit(t *testing.T) {
	b := newBench(t, "wrr")
	servers := b.add(3, 1)
	require.Equal(t, "BAAABAAA", b.sequence(8))
	b.weight(servers[1], 2)
	require.Equal(t, "BABAABABAA", b.sequence(10))
}

// Every change puts the cursor back to the head, even one that changes nothing.
func TestWrrEveryChangeRestarts(t *testing.T) {
	b := newBench(t, "wrr")
	servers := b.add(1, 1, 1)
	require.Equal(t, "CB", b.sequence(2))
	b.weight(servers[0], 1)
	require.Equal(t, "CB", b.sequence(2))
	b.unlink(servers[1])
	require.Equal(t, "CA", b.sequence(2))
	b.link(servers[1])
	require.Equal(t, "BCA", b.sequence(3))
}

// The two ways to fail leave different states behind.
func TestWrrFailure(t *testing.T) {
	b := newBench(t, "wrr")
	servers := b.load(1, 2)
	s := b.s.(*wrr)
	for _, rs := range servers {
		overload(rs)
	}
	require.Nil(t, b.pick())
	require.Equal(t, [2]int64{0, 2}, [2]int64{int64(s.after), s.level}, "after a whole lap: a fresh one")

	relieve(servers[1])
	require.Equal(t, "BB", b.sequence(2))
	overload(servers[1])
	require.Equal(t, int64(1), s.level)
	require.Nil(t, b.pick())
	require.Equal(t, [2]int64{1, 1}, [2]int64{int64(s.after), s.level}, "stopped at the cursor's server")
	relieve(servers[0])
	require.Equal(t, "A", b.sequence(1))
}

func relieve(rs *ipvs.RealServer) {
	s := rs.Spec()
	s.UpperThreshold = 0
	rs.SetSpec(s)
}

// Weights that fall between two updates are caught by the level 1.
func TestWrrWeightBelowStep(t *testing.T) {
	b := newBench(t, "wrr")
	servers := b.load(10, 20)
	setWeight(servers[0], 1)
	setWeight(servers[1], 1)
	require.Equal(t, "BABA", b.sequence(4))
}

// Billions of levels cost no more than a few walks.
func TestWrrHugeWeights(t *testing.T) {
	b := newBench(t, "wrr")
	servers := b.load(1<<31-1, 3, 2)
	overload(servers[0])
	require.Equal(t, "BCBCBBCBCB", b.sequence(10))
	overload(servers[1])
	overload(servers[2])
	require.Equal(t, "--", b.sequence(2))
}
