package ipvs

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func watched(n int) (*Watch, []*RealServer) {
	w := new(Watch)
	notes := w.Notes(n)
	list := make([]*RealServer, n)
	for i := range list {
		list[i] = NewRealServer(ServerID{}, nil, ServerSpec{Weight: 1})
		w.Follow(list[i], &notes[i])
	}
	return w, list
}

// told empties w and returns whom it was told of.
func told(w *Watch) (places []int) {
	for n := w.Take(); n != nil; {
		var place int
		place, n = n.Release()
		places = append(places, place)
	}
	return places
}

// TestWatchIsTold of what may make a server a better choice, once.
func TestWatchIsTold(t *testing.T) {
	w, list := watched(3)
	for _, rs := range list {
		rs.Bind(false)
		rs.Bind(true)
		rs.Promote()
		rs.Keep(true)
		rs.BindTemplate()
		rs.UnbindTemplate()
	}
	require.Empty(t, told(w))
	for name, ease := range map[string]func(*RealServer){
		"end": func(rs *RealServer) { rs.Unbind(true) }, "demotion": (*RealServer).Demote,
		"edit": func(rs *RealServer) { rs.SetSpec(rs.Spec()) }, "return": func(rs *RealServer) { rs.Revive(rs.Spec()) },
	} {
		ease(list[2])
		ease(list[0])
		ease(list[2])
		require.ElementsMatch(t, []int{0, 2}, told(w), name)
		require.Empty(t, told(w))
	}
}

// TestFollowedByAnother: only the last Watch that followed a server is told.
func TestFollowedByAnother(t *testing.T) {
	old, list := watched(2)
	list[0].Demote()
	is := new(Watch)
	notes := is.Notes(2)
	is.Follow(list[0], &notes[1])
	list[0].Demote()
	list[1].Demote()
	require.Equal(t, []int{1}, told(is))
	require.ElementsMatch(t, []int{0, 1}, told(old))
}

// TestWatchMissesNothing: whatever the order, a server whose count fell since it
// was looked at is listed.
func TestWatchMissesNothing(t *testing.T) {
	w, list := watched(8)
	for _, rs := range list {
		for range 40_000 {
			rs.Bind(true)
		}
	}
	seen := make([]int32, len(list))
	look := func() {
		for _, place := range told(w) {
			seen[place] = list[place].Active()
		}
	}
	for i, rs := range list {
		seen[i] = rs.Active()
	}
	var wg sync.WaitGroup
	var done atomic.Int32
	for worker := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 20_000 {
				list[rng.IntN(len(list))].Unbind(true)
			}
			done.Add(1)
		})
	}
	for done.Load() < 3 {
		look()
	}
	wg.Wait()
	look()
	for i, rs := range list {
		require.Equal(t, rs.Active(), seen[i], "server %d", i)
	}
}
