package chaos

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// drawn is some stretches within a hundred moments.
func drawn(r *rand.Rand) spans {
	var list []span
	for range r.IntN(5) {
		from := time.Duration(r.IntN(100))
		list = append(list, span{from, from + time.Duration(r.IntN(20))})
	}
	return joinedSpans(list)
}

// TestSpans compares with what each moment for itself says.
func TestSpans(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		a, b := drawn(r), drawn(r)
		both, either, without := a.and(b), joinedSpans(slices.Concat(a, b)), a.without(b)
		for at := range time.Duration(140) {
			require.Equal(t, a.has(at) && b.has(at), both.has(at))
			require.Equal(t, a.has(at) || b.has(at), either.has(at))
			require.Equal(t, a.has(at) && !b.has(at), without.has(at))
			require.Equal(t, a.has(at), a.touches(at, at+1))
		}
		by := time.Duration(r.IntN(10))
		for at := range time.Duration(140) {
			want := false
			for back := range by + 1 {
				want = want || a.has(at-back)
			}
			require.Equal(t, want, a.longer(by).has(at))
		}
	}
}
