package engine

import (
	"context"
	"fmt"
	"sort"
	"time"

	"usvs/bench"
	"usvs/bench/testbed"
	"usvs/link"
)

// group is what the figures are listed under.
const group = "engine"

// sizes are what figures are taken at.
type sizes struct {
	few, many int // flows
	opened    int // connections, in a round
	services  int // where there are very many
	servers   int // of one service, likewise
	edits     int
}

var (
	usual = sizes{few: 100_000, many: 1_000_000, opened: 200_000, services: 10_000, servers: 1000, edits: 300}
	quick = sizes{few: 1000, many: 2000, opened: 1000, services: 50, servers: 100, edits: 9}
)

// Suite measures the engine.
func Suite(ctx context.Context, o *bench.Options) ([]bench.Figure, error) {
	s := usual
	if o.Quick {
		s = quick
	}
	var figures []bench.Figure
	for _, cases := range [][]bench.Case{append(established(o, s), o.Pace(group)...), opening(o, s), services(o, s)} {
		got, err := bench.Measure(ctx, o, cases)
		figures = append(figures, got...)
		if err != nil {
			return figures, err
		}
	}
	return figures, nil
}

// bed is a director with connections, made when first used.
type bed struct {
	*testbed.Bed
	rules string
	vip   int // the service that gets the frames
	v6    bool
	flows int
	room  int // for other connections

	order []uint32
	to    *testbed.Stream
}

// ready makes the director and opens the connections.
func (b *bed) ready() error {
	if b.Bed != nil {
		return nil
	}
	made := testbed.New(b.flows + b.room + 1)
	if err := made.Load(b.rules); err != nil {
		return err
	}
	vip := testbed.Virtual(b.vip)
	if b.v6 {
		vip = testbed.Virtual6
	}
	b.order, b.to = testbed.Shuffled(b.flows, b.flows), testbed.ToVirtual(vip)
	for n := b.flows; len(b.order) < link.BatchSize; n++ { // few flows fill a batch, too
		b.order = append(b.order, b.order[n-b.flows])
	}
	if err := made.Establish(b.to, b.order); err != nil {
		return err
	}
	b.Bed = made
	return nil
}

// How long the director must work in a round, in so many slices.
const (
	longEnough  = 250 * time.Millisecond
	quickEnough = time.Millisecond
	slices      = 50
)

// perFrame repeats pass, which tells how long the director took for how many
// frames, until it took long enough, and returns the nanoseconds per frame: the
// median of the round's slices, so that what the machine does for part of a
// round does not show.
func perFrame(o *bench.Options, pass func() (time.Duration, int, error)) (float64, error) {
	enough := longEnough
	if o.Quick {
		enough = quickEnough
	}
	var each []float64
	for total := time.Duration(0); total < enough; {
		took, frames := time.Duration(0), 0
		for took < enough/slices {
			t, n, err := pass()
			if err != nil {
				return 0, err
			}
			took, frames = took+t, frames+n
		}
		total += took
		each = append(each, float64(took)/float64(frames))
	}
	sort.Float64s(each)
	return each[len(each)/2], nil
}

// value is a round without a peer.
func value(measure func() (float64, error)) func(context.Context) (bench.Round, error) {
	return func(context.Context) (bench.Round, error) {
		v, err := measure()
		return bench.Round{Value: v}, err
	}
}

// against is a round of one measurement beside another.
func against(measure, peer func() (float64, error)) func(context.Context) (bench.Round, error) {
	return func(context.Context) (bench.Round, error) {
		p, err := peer()
		if err != nil {
			return bench.Round{}, fmt.Errorf("the peer: %w", err)
		}
		v, err := measure()
		return bench.Round{Value: v, Peer: p}, err
	}
}
