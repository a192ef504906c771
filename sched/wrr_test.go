package sched

import (
	"fmt"
	"math/rand/v2"
	"slices"
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

// wrrModel is wrr told in single steps, without skipping a level. The cursor
// is a position; -1 is the head.
type wrrModel struct {
	cursor           int
	level, top, step int
}

func (m *wrrModel) update(bind bool, servers []*ipvs.RealServer) {
	top, step := 0, 0
	for _, rs := range servers {
		top = max(top, int(rs.Weight()))
	}
	for d := 1; d <= top; d++ {
		if !slices.ContainsFunc(servers, func(rs *ipvs.RealServer) bool { return int(rs.Weight())%d != 0 }) {
			step = d
		}
	}
	m.step = max(1, step)
	m.top = top - (m.step - 1)
	m.cursor = -1
	if bind || m.level > m.top || m.level == 0 {
		m.level = m.top
	} else if m.step > 1 {
		m.level = m.level/m.step*m.step + 1
	}
}

func (m *wrrModel) pick(servers []*ipvs.RealServer) *ipvs.RealServer {
	if m.top == 0 {
		return nil
	}
	start, at := m.cursor, m.cursor
	fromHead, wrapped := start == -1, false
	for {
		at++
		if at == len(servers) {
			final := m.level <= m.step
			m.level -= m.step
			if m.level <= 0 {
				m.level = m.top
				if start == -1 || final && fromHead {
					m.cursor = -1
					return nil
				}
				wrapped = true
			}
			fromHead = true
			at = -1
			continue
		}
		rs := servers[at]
		if !rs.Overloaded() && int(rs.Weight()) >= m.level {
			m.cursor = at
			return rs
		}
		if at == start && wrapped && m.level <= m.step {
			m.cursor = at
			return nil
		}
	}
}

func TestWrrAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			b, m := newBench(t, "wrr"), &wrrModel{}
			s := b.s.(*wrr)
			m.update(true, nil)
			for range 400 {
				n := len(b.servers)
				weight := rng.Int32N(1+int32(seed%20)) * (1 + int32(seed%4))
				switch op := rng.IntN(16); {
				case op == 0 && n < 8:
					b.link(newServer(rng.IntN(100), weight))
					m.update(false, b.servers)
				case op == 1 && n > 0:
					b.unlink(b.servers[rng.IntN(n)])
					m.update(false, b.servers)
				case op == 2 && n > 0:
					b.weight(b.servers[rng.IntN(n)], weight)
					m.update(false, b.servers)
				case op < 6 && n > 0:
					overload(b.servers[rng.IntN(n)])
				case op < 9 && n > 0:
					relieve(b.servers[rng.IntN(n)])
				case op == 9 && n > 0: // an edit whose update is still to come
					setWeight(b.servers[rng.IntN(n)], weight)
				default:
					require.Same(t, m.pick(b.servers), b.pick())
					require.Equal(t, [2]int{m.cursor + 1, m.level}, [2]int{s.after, int(s.level)})
				}
			}
		})
	}
}
