package bench

import (
	"context"
	"math/rand/v2"
)

// Pace are figures of the machine itself, to be measured among a group's own:
// what a virtual processor does in a nanosecond may double from one minute to
// the next, and these show it. Where it shares a core with somebody else's, the
// multiplications, which wait for one another, take no longer, but the additions do,
// and so does a director.
func (o *Options) Pace(group string) []Case {
	var (
		state = uint64(1)
		sums  [8]uint64
		ring  []uint32
		at    uint32
	)
	prepare := func() {
		if ring == nil {
			ring = newRing(o.ringSize())
		}
	}
	figure := func(name string, f func(n int) error) Case {
		return Case{
			Figure: Figure{Group: group, Name: "for comparison: " + name, Unit: "ns", Better: Lower},
			Round: func(context.Context) (Round, error) {
				prepare()
				ns, err := o.PerOperation(f)
				return Round{Value: ns}, err
			},
		}
	}
	return []Case{
		figure("100 multiplications, one after the other", func(n int) error {
			for range 100 * n {
				state = state*6364136223846793005 + 1442695040888963407
			}
			return nil
		}),
		figure("100 additions, eight side by side", func(n int) error {
			sums = added(sums, uint64(100*n/len(sums)))
			return nil
		}),
		figure("a cache miss", func(n int) error {
			for range n {
				at = ring[at]
			}
			return nil
		}),
	}
}

// added are sums to each of which n numbers were added, all side by side.
func added(sums [8]uint64, n uint64) [8]uint64 {
	a, b, c, d, e, f, g, h := sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6], sums[7]
	for i := range n {
		a, b, c, d = a+3^i, b+5^i, c+7^i, d+9^i
		e, f, g, h = e+11^i, f+13^i, g+15^i, h+17^i
	}
	return [8]uint64{a, b, c, d, e, f, g, h}
}

// ringSize is how many words the memory for cache misses has: 64 MiB.
func (o *Options) ringSize() int {
	if o.Quick {
		return 1 << 10
	}
	return 1 << 24
}

// newRing is n numbers, each of which says where the next is, in a single
// cycle without any order (Sattolo's algorithm).
func newRing(n int) []uint32 {
	ring := make([]uint32, n)
	for i := range ring {
		ring[i] = uint32(i)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for i := n - 1; i > 0; i-- {
		j := rng.IntN(i)
		ring[i], ring[j] = ring[j], ring[i]
	}
	return ring
}
