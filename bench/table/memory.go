package table

import (
	"context"
	"time"

	"usvs/bench"
)

// run is the floods of one kind, one for each round, which all figures about
// them share.
type run struct {
	o      *bench.Options
	order  floodOrder
	floods []*flood
}

// figure is what one figure takes from each flood.
func (r *run) figure(f bench.Figure, take func(*flood) bench.Round) bench.Case {
	f.Group, f.Better = group, bench.Lower
	taken := 0
	return bench.Case{Figure: f, Round: func(ctx context.Context) (bench.Round, error) {
		if taken == len(r.floods) {
			got := new(flood)
			if err := r.o.CallPart(ctx, Part, r.order, got); err != nil {
				return bench.Round{}, err
			}
			r.floods = append(r.floods, got)
		}
		got := r.floods[taken]
		taken++
		if got.Empty == 0 {
			return bench.Round{}, bench.Skip("the system does not say what memory a process has")
		}
		return take(got), nil
	}}
}

const (
	mebibyte = 1 << 20
	gibibyte = 1 << 30
)

func micros(d time.Duration) bench.Round { return bench.Round{Value: float64(d) / 1000} }

// over is how much more a is than b.
func over(a, b uint64) float64 { return float64(max(a, b) - b) }

// floods are the figures of what very many connections cost.
func floods(o *bench.Options, n int) []bench.Case {
	v4, v6 := &run{o: o, order: floodOrder{Conns: n}}, &run{o: o, order: floodOrder{Conns: n / 5, IPv6: true}}
	conns := bench.Count(n) + " connections"
	return []bench.Case{
		v4.figure(bench.Figure{Name: "memory, " + conns + ", IPv4", Unit: "GiB", Floor: new(1.0),
			Note: "the process's, less that of the same process before it had a director"},
			func(f *flood) bench.Round { return bench.Round{Value: over(f.Full, f.Empty) / gibibyte} }),
		v6.figure(bench.Figure{Name: "memory, one connection of " + bench.Count(n/5) + ", IPv6", Unit: "bytes"},
			func(f *flood) bench.Round { return bench.Round{Value: over(f.Full, f.Empty) / float64(n/5)} }),
		v4.figure(bench.Figure{Name: "memory after a flood of " + conns, Unit: "MiB", Of: "during it", Floor: new(0.25)},
			func(f *flood) bench.Round {
				return bench.Round{Value: over(f.After, f.Empty) / mebibyte, Peer: over(f.Full, f.Empty) / mebibyte}
			}),
		v4.figure(bench.Figure{Name: "garbage collection, " + conns, Unit: "us", Of: "none", Floor: new(1.5)},
			func(f *flood) bench.Round {
				return bench.Round{Value: micros(f.GCFull).Value, Peer: micros(f.GCEmpty).Value}
			}),
		v4.figure(bench.Figure{Name: "longest Handle while growing to " + conns, Unit: "us", Floor: new(200.0),
			Note: "processor time of a batch of 64 frames, with Tick where that was due"},
			func(f *flood) bench.Round { return micros(f.Handle.Own) }),
		v4.figure(bench.Figure{Name: "longest Tick while they end", Unit: "us", Floor: new(200.0)},
			func(f *flood) bench.Round { return micros(f.Tick.Own) }),
		v4.figure(bench.Figure{Name: "for comparison: longest walk of 160 cache misses", Unit: "us",
			Note: "of as many walks, by the same clock: what the machine itself adds"},
			func(f *flood) bench.Round { return micros(f.Walk.Own) }),
		v4.figure(bench.Figure{Name: "longest Handle by the clock on the wall", Unit: "us",
			Note: "with everything else the machine did meanwhile"},
			func(f *flood) bench.Round { return micros(f.Handle.Wall) }),
	}
}
