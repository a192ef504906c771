package sched

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// state is one server of a table test; the first in a case is the oldest, A.
type state struct {
	weight           int32
	active, inactive int
	overloaded       bool
}

func TestLeastLoaded(t *testing.T) {
	cases := []struct {
		about   string
		servers []state
		want    map[string]byte
	}{
		{"nothing to tell them apart: the newest", []state{{weight: 1}, {weight: 1}},
			map[string]byte{"lc": 'B', "wlc": 'B', "sed": 'B', "nq": 'B', "fo": 'B', "ovf": 'B'}},
		{"idle, by weight", []state{{weight: 3}, {weight: 1}},
			map[string]byte{"lc": 'B', "wlc": 'B', "sed": 'A', "nq": 'B', "fo": 'A', "ovf": 'A'}},
		{"one active is 256 inactive", []state{{weight: 1, inactive: 256}, {weight: 1, active: 1}},
			map[string]byte{"lc": 'B', "wlc": 'B', "sed": 'A', "nq": 'A'}},
		{"one active is more than 255 inactive", []state{{weight: 1, inactive: 255}, {weight: 1, active: 1}},
			map[string]byte{"lc": 'A', "wlc": 'A', "sed": 'A', "nq": 'A'}},
		{"load by weight", []state{{weight: 4, active: 3}, {weight: 1, active: 1}},
			map[string]byte{"lc": 'B', "wlc": 'A', "sed": 'A', "nq": 'A', "fo": 'A', "ovf": 'A'}},
		{"load by weight, a tie", []state{{weight: 2, active: 2}, {weight: 1, active: 1}},
			map[string]byte{"lc": 'B', "wlc": 'B', "sed": 'A', "nq": 'A', "fo": 'A', "ovf": 'A'}},
		{"idle but light", []state{{weight: 9, active: 1}, {weight: 1}},
			map[string]byte{"lc": 'B', "wlc": 'B', "sed": 'A', "nq": 'B'}},
		{"quiesced ones are out", []state{{weight: 1, active: 9}, {}},
			map[string]byte{"lc": 'A', "wlc": 'A', "sed": 'A', "nq": 'A', "fo": 'A', "ovf": '-'}},
		{"overloaded ones are out", []state{{weight: 1, active: 1}, {weight: 9, overloaded: true}},
			map[string]byte{"lc": 'A', "wlc": 'A', "sed": 'A', "nq": 'A', "fo": 'A', "ovf": 'A'}},
		{"as full as the weight is not full", []state{{weight: 1}, {weight: 2, active: 2}},
			map[string]byte{"fo": 'B', "ovf": 'B'}},
		{"fuller than the weight", []state{{weight: 1}, {weight: 2, active: 3}},
			map[string]byte{"fo": 'B', "ovf": 'A'}},
		{"all are full", []state{{weight: 1, active: 2}, {weight: 2, active: 3}},
			map[string]byte{"lc": 'A', "wlc": 'B', "sed": 'B', "nq": 'B', "fo": 'B', "ovf": '-'}},
		{"inactive ones fill nobody", []state{{weight: 1}, {weight: 2, inactive: 9}},
			map[string]byte{"sed": 'B', "nq": 'B', "ovf": 'B'}},
	}
	for _, c := range cases {
		for name, want := range c.want {
			t.Run(name+"/"+c.about, func(t *testing.T) {
				b := newBench(t, name)
				apply(b, c.servers)
				require.Equal(t, string(want), string(letter(b.pick())))
			})
		}
	}
}

func apply(b *bench, states []state) {
	for _, st := range states {
		rs := b.add(st.weight)[0]
		counts(rs, st.active, st.inactive)
		if st.overloaded {
			overload(rs)
		}
	}
}

// Loads times weights beyond 32 bits are still told apart.
func TestLargeWeights(t *testing.T) {
	for _, name := range []string{"wlc", "sed"} {
		b := newBench(t, name)
		servers := b.add(1<<31-1, 1<<31-2)
		counts(servers[0], 1000, 0)
		counts(servers[1], 1000, 0)
		require.Equal(t, byte('A'), letter(b.pick()), name)
	}
}
