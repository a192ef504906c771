package table

import (
	"context"

	"usvs/bench"
)

// group is what the figures are listed under.
const group = "table"

// sizes are what figures are taken at.
type sizes struct {
	lookup []size // flows in the table
	churn  int    // connections inserted and ended in a round
	flood  int    // connections of a flood
}

// size is a number of flows and how long a lookup may take among them, in
// nanoseconds.
type size struct {
	flows int
	floor *float64
}

var (
	usual = sizes{
		lookup: []size{{1000, nil}, {100_000, new(60.0)}, {1_000_000, new(100.0)}, {10_000_000, new(160.0)}},
		churn:  1_000_000, flood: 10_000_000,
	}
	quick = sizes{lookup: []size{{1000, nil}, {10_000, nil}}, churn: 10_000, flood: 20_000}
)

// Suite measures the table.
func Suite(ctx context.Context, o *bench.Options) ([]bench.Figure, error) {
	s := usual
	if o.Quick {
		s = quick
	}
	var parts [][]bench.Case
	for _, size := range s.lookup {
		parts = append(parts, lookups(o, size))
	}
	parts[0] = append(parts[0], o.Pace(group)...)
	parts = append(parts, writing(o, s.churn), floods(o, s.flood))
	var figures []bench.Figure
	for _, cases := range parts { // in turn, for each needs much memory
		got, err := bench.Measure(ctx, o, cases)
		figures = append(figures, got...)
		if err != nil {
			return figures, err
		}
	}
	return figures, nil
}
