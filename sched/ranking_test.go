package sched

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// walked are the ranked schedulers, and how they look at few servers.
var walked = []string{"lc", "wlc", "sed", "nq", "fo", "ovf"}

// TestRankingWhileCountsChange: connections begin and end while others are
// scheduled. When that is over, the choice is that of looking at all servers.
func TestRankingWhileCountsChange(t *testing.T) {
	for _, name := range walked {
		t.Run(name, func(t *testing.T) {
			list := servers(100)
			s, _ := New(name, nil)
			require.NoError(t, s.Update(Bind, list, nil))
			req := request(0)
			for round := range 20 {
				var wg sync.WaitGroup
				for worker := range 3 {
					wg.Go(func() { churn(rand.New(rand.NewPCG(uint64(round), uint64(worker))), list) })
				}
				for range 500 {
					s.Schedule(&req)
				}
				wg.Wait()
				for range 50 { // every choice is the next one's past
					want := walk(name, list)
					require.Same(t, want, s.Schedule(&req))
					if want != nil {
						want.Bind(true)
						defer want.Unbind(true)
					}
				}
			}
		})
	}
}

// walk is what the scheduler called name picks by looking at all servers.
func walk(name string, list []*ipvs.RealServer) *ipvs.RealServer {
	defer RankFrom(len(list) + 1)()
	s, _ := New(name, nil)
	_ = s.Update(Bind, list, nil)
	req := request(0)
	return s.Schedule(&req)
}

// churn opens, changes and ends connections, and edits servers.
func churn(rng *rand.Rand, list []*ipvs.RealServer) {
	type conn struct {
		rs     *ipvs.RealServer
		active bool
	}
	var open []conn
	for range 1000 {
		rs := list[rng.IntN(len(list))]
		switch op := rng.IntN(10); {
		case op < 5 || len(open) == 0:
			c := conn{rs, op%2 == 0}
			c.rs.Bind(c.active)
			open = append(open, c)
		case op < 7:
			c := &open[rng.IntN(len(open))]
			if c.active = !c.active; c.active {
				c.rs.Promote()
			} else {
				c.rs.Demote()
			}
		case op < 9:
			last := len(open) - 1
			open[last].rs.Unbind(open[last].active)
			open = open[:last]
		default:
			rs.SetSpec(ipvs.ServerSpec{Weight: rng.Int32N(4), UpperThreshold: rng.Uint32N(30)})
		}
	}
	for _, c := range open {
		c.rs.Unbind(c.active)
	}
}

// TestRankingDoesNotAllocate, nor does it look at more servers than changed.
func TestRankingDoesNotAllocate(t *testing.T) {
	list := servers(1000)
	for _, name := range walked {
		s, _ := New(name, nil)
		require.NoError(t, s.Update(Bind, list, nil))
		req := request(0)
		i := 0
		require.Zero(t, testing.AllocsPerRun(100, func() {
			rs := s.Schedule(&req)
			rs.Bind(true)
			list[i%len(list)].Demote()
			i++
			if i%10 == 0 {
				_ = s.Update(Delete, list[:len(list)-i/10], nil)
			}
		}), name)
	}
}

// TestRankingLooksAtFew: what a choice costs does not depend on how many servers
// there are.
func TestRankingLooksAtFew(t *testing.T) {
	list := servers(1000)
	looked := 0
	by := func(rs *ipvs.RealServer) rank {
		looked++
		return byOverheadPerWeight(rs)
	}
	var r ranking
	r.renew(len(list))
	r.first(list, by).Bind(true)
	looked = 0
	for i := range 1000 {
		r.first(list, by).Bind(true)
		list[i*7%len(list)].Unbind(true)
	}
	require.Less(t, looked, 5000)
}

// TestEditReachesRanking without a word of control.
func TestEditReachesRanking(t *testing.T) {
	list := servers(100)
	s, _ := New("fo", nil)
	require.NoError(t, s.Update(Bind, list, nil))
	req := request(0)
	require.Equal(t, int32(10), s.Schedule(&req).Weight())
	setWeight(list[77], 11)
	require.Same(t, list[77], s.Schedule(&req))
	require.NoError(t, s.Update(Edit, list, list[77]))
	setWeight(list[77], 0)
	require.Same(t, list[9], s.Schedule(&req))
	for _, rs := range list {
		overload(rs)
	}
	require.Nil(t, s.Schedule(&req))
}

// BenchmarkConnections is one new connection and the end of an older one.
func BenchmarkConnections(b *testing.B) {
	for _, name := range names {
		for _, n := range []int{10, 30, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) { benchConnections(b, name, n) })
		}
	}
}

// BenchmarkRanked is the same where few servers are ranked, and many are not.
func BenchmarkRanked(b *testing.B) {
	for _, name := range walked {
		for _, n := range []int{10, 30, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d/walk", name, n), func(b *testing.B) {
				defer RankFrom(n + 1)()
				benchConnections(b, name, n)
			})
			b.Run(fmt.Sprintf("%s/%d/heap", name, n), func(b *testing.B) {
				defer RankFrom(1)()
				benchConnections(b, name, n)
			})
		}
	}
}

func benchConnections(b *testing.B, name string, n int) {
	s, _ := New(name, rand.New(rand.NewPCG(1, 2)))
	list := servers(n)
	if err := s.Update(Bind, list, nil); err != nil {
		b.Fatal(err)
	}
	req := request(0)
	past := make([]*ipvs.RealServer, 8*n)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		req.Dst = list[i%16%n].ID.Addr
		req.Client = list[i%n].ID.Addr
		rs := s.Schedule(&req)
		if rs != nil {
			rs.Bind(false)
			rs.Promote()
		}
		// Connections end in another order than they began.
		at := i * 7 % len(past)
		if old := past[at]; old != nil {
			old.Demote()
			old.Unbind(false)
		}
		past[at] = rs
	}
}
