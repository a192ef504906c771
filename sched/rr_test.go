package sched

import (
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

func TestRr(t *testing.T) {
	cases := []struct {
		about string
		play  func(b *bench, s []*ipvs.RealServer) string
		want  string
	}{
		{"newest first", func(b *bench, s []*ipvs.RealServer) string { return b.sequence(7) }, "CBACBAC"},
		{"a new server waits for the wrap", func(b *bench, s []*ipvs.RealServer) string {
			first := b.sequence(1)
			b.add(1)
			return first + b.sequence(6)
		}, "CBADCBA"},
		{"added before the first pick", func(b *bench, s []*ipvs.RealServer) string {
			b.add(1)
			return b.sequence(5)
		}, "DCBAD"},
		{"the cursor's server is deleted", func(b *bench, s []*ipvs.RealServer) string {
			first := b.sequence(2)
			b.unlink(s[1])
			return first + b.sequence(4)
		}, "CBACAC"},
		{"the head is deleted under the cursor", func(b *bench, s []*ipvs.RealServer) string {
			first := b.sequence(1)
			b.unlink(s[2])
			return first + b.sequence(4)
		}, "CBABA"},
		{"one before the cursor is deleted", func(b *bench, s []*ipvs.RealServer) string {
			first := b.sequence(2)
			b.unlink(s[2])
			return first + b.sequence(4)
		}, "CBABAB"},
		{"one behind the cursor is deleted", func(b *bench, s []*ipvs.RealServer) string {
			first := b.sequence(1)
			b.unlink(s[1])
			return first + b.sequence(4)
		}, "CACAC"},
		{"a quiesced server is passed over", func(b *bench, s []*ipvs.RealServer) string {
			b.weight(s[1], 0)
			return b.sequence(4)
		}, "CACA"},
		{"an overloaded server is passed over", func(b *bench, s []*ipvs.RealServer) string {
			overload(s[2])
			return b.sequence(4)
		}, "BABA"},
		{"a failure leaves the cursor alone", func(b *bench, s []*ipvs.RealServer) string {
			first := b.sequence(1)
			for _, rs := range s {
				b.weight(rs, 0)
			}
			first += b.sequence(2)
			for _, rs := range s {
				b.weight(rs, 1)
			}
			return first + b.sequence(3)
		}, "C--BAC"},
		{"the only usable one is the cursor's", func(b *bench, s []*ipvs.RealServer) string {
			first := b.sequence(2)
			b.weight(s[0], 0)
			b.weight(s[2], 0)
			return first + b.sequence(2)
		}, "CBBB"},
		{"bound anew", func(b *bench, s []*ipvs.RealServer) string {
			first := b.sequence(2)
			require.NoError(b.t, b.s.Update(Bind, b.servers, nil))
			return first + b.sequence(2)
		}, "CBCB"},
	}
	for _, c := range cases {
		t.Run(c.about, func(t *testing.T) {
			b := newBench(t, "rr")
			require.Equal(t, c.want, c.play(b, b.add(1, 1, 2)))
		})
	}
}
