package trie

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// hashes of very different quality.
var hashes = map[string]func(int) uint64{
	"good":           func(k int) uint64 { return uint64(k) * 0x9e3779b97f4a7c15 >> 7 },
	"as it is":       func(k int) uint64 { return uint64(k) },
	"high bits only": func(k int) uint64 { return uint64(k) << 50 },
	"few values":     func(k int) uint64 { return uint64(k % 3) },
	"one value":      func(int) uint64 { return 1<<64 - 1 },
}

// kept is a View with what it contained when it was taken.
type kept struct {
	view View[int, int]
	want map[int]int
}

func (k *kept) check(t *testing.T, keys int) {
	t.Helper()
	require.Equal(t, len(k.want), k.view.Len())
	require.Equal(t, k.want, maps.Collect(k.view.All()))
	for key := range keys {
		val, ok := k.view.Get(key)
		want, there := k.want[key]
		require.Equal(t, there, ok)
		require.Equal(t, want, val)
	}
}

// differences finds what Diff does by looking at every key.
func differences(a, b map[int]int) (gone, came map[int]bool) {
	gone, came = map[int]bool{}, map[int]bool{}
	for k := range a {
		if _, ok := b[k]; !ok {
			gone[k] = true
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			came[k] = true
		}
	}
	return gone, came
}

func diff(t *testing.T, a, b *kept) {
	t.Helper()
	gone, came := map[int]bool{}, map[int]bool{}
	note := func(in map[int]bool) func(int) {
		return func(k int) {
			require.False(t, in[k], "key %d is told of twice", k)
			in[k] = true
		}
	}
	Diff(&a.view, &b.view, note(gone), note(came))
	wantGone, wantCame := differences(a.want, b.want)
	require.Equal(t, wantGone, gone)
	require.Equal(t, wantCame, came)
}

// TestAgainstMap: a Map is a map, and its Views stay what they were.
func TestAgainstMap(t *testing.T) {
	for name, hash := range hashes {
		for seed := range uint64(8) {
			t.Run(fmt.Sprint(name, ", seed ", seed), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 1))
				keys := 1 << (2 + seed)
				m, model := New[int, int](hash), map[int]int{}
				views := []*kept{{want: map[int]int{}}}
				for i := range 1000 {
					k := rng.IntN(keys)
					if _, ok := model[k]; rng.IntN(16) < 6 {
						require.Equal(t, ok, m.Delete(k))
						delete(model, k)
					} else {
						m.Set(k, i)
						model[k] = i
					}
					if rng.IntN(50) == 0 {
						views = append(views, &kept{m.Freeze(), maps.Clone(model)})
					}
				}
				for k := range model {
					require.True(t, m.Delete(k))
				}
				require.Nil(t, m.root)
				views = append(views, &kept{m.Freeze(), map[int]int{}})
				for _, v := range views {
					v.check(t, keys)
					diff(t, v, views[rng.IntN(len(views))])
				}
			})
		}
	}
}

// TestDiffOfStrangers compares Maps that share nothing.
func TestDiffOfStrangers(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	for name, hash := range hashes {
		for _, sizes := range [][2]int{{0, 0}, {0, 9}, {3, 200}, {200, 200}} {
			var sides [2]*kept
			for i, n := range sizes {
				m, model := New[int, int](hash), map[int]int{}
				for range n {
					k := rng.IntN(300)
					m.Set(k, 0)
					model[k] = 0
				}
				sides[i] = &kept{m.Freeze(), model}
			}
			t.Run(fmt.Sprint(name, sizes), func(t *testing.T) {
				diff(t, sides[0], sides[1])
				diff(t, sides[1], sides[0])
			})
		}
	}
}

// TestDiffSkipsWhatIsShared: the difference of one key among many is found
// without looking at the others.
func TestDiffSkipsWhatIsShared(t *testing.T) {
	looked := 0
	m := New[int, int](func(k int) uint64 { looked++; return hashes["good"](k) })
	for k := range 100_000 {
		m.Set(k, k)
	}
	old := m.Freeze()
	m.Set(-1, 0)
	m.Delete(7)
	is := m.Freeze()
	looked = 0
	var told []int
	note := func(k int) { told = append(told, k) }
	Diff(&old, &is, note, note)
	require.ElementsMatch(t, []int{-1, 7}, told)
	require.Less(t, looked, 100)
}

func TestAllStops(t *testing.T) {
	m := New[int, int](hashes["good"])
	for k := range 1000 {
		m.Set(k, k)
	}
	n := 0
	for range m.All() {
		if n++; n == 10 {
			break
		}
	}
	require.Equal(t, 10, n)
}

func TestLookupDoesNotAllocate(t *testing.T) {
	m := New[int, int](hashes["good"])
	for k := range 10_000 {
		m.Set(k, k)
	}
	v := m.Freeze()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for k := 9000; k < 11_000; k += 100 {
			v.Get(k)
		}
	}))
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		m, plain := New[int, int](hashes["good"]), map[int]int{}
		for k := range n {
			m.Set(k, k)
			plain[k] = k
		}
		v := m.Freeze()
		b.Run(fmt.Sprint("trie of ", n), func(b *testing.B) {
			for i := range b.N {
				v.Get(i % n)
			}
		})
		b.Run(fmt.Sprint("map of ", n), func(b *testing.B) {
			for i := range b.N {
				_ = plain[i%n]
			}
		})
	}
}

func BenchmarkChange(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprint("one of ", n), func(b *testing.B) {
			m := New[int, int](hashes["good"])
			for k := range n {
				m.Set(k, k)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				m.Freeze()
				m.Delete(i % n)
				m.Set(i%n, i)
			}
		})
	}
}
