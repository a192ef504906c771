package engine

import (
	"math"
	"net/netip"
	"runtime"
	"time"

	"usvs/bench"
	"usvs/bench/testbed"
	"usvs/wire"
)

// The forwarding methods, as ipvsadm names them.
const (
	routed      = "-g"
	masqueraded = "-m"
	tunnelled   = "-i"
)

// frames is a figure of what one frame of an established connection costs.
func frames(o *bench.Options, name string, floor *float64, b *bed) bench.Case {
	return bench.Case{
		Figure: bench.Figure{Group: group, Name: name, Unit: "ns", Better: bench.Lower, Floor: floor},
		Round:  value(func() (float64, error) { return b.forward(o) }),
	}
}

// forward sends a frame of every flow, over and over.
func (b *bed) forward(o *bench.Options) (float64, error) {
	if err := b.ready(); err != nil {
		return 0, err
	}
	return perFrame(o, func() (time.Duration, int, error) { return b.once(b.to) })
}

// once sends a frame of every flow.
func (b *bed) once(s *testbed.Stream) (time.Duration, int, error) {
	took, err := b.Pass(s, b.order, wire.FlagACK)
	return took, len(b.order), err
}

// established are the figures of established connections.
func established(o *bench.Options, s sizes) []bench.Case {
	at := func(method string, flows int) *bed {
		return &bed{rules: testbed.Rules(1, 10, "wlc", method), flows: flows}
	}
	at6 := func(method string) *bed {
		return &bed{rules: testbed.Rules6(10, "wlc", method), v6: true, flows: s.few}
	}
	few, many := ", "+bench.Count(s.few)+" flows", ", "+bench.Count(s.many)+" flows"
	fewDR, fewNAT, fewTUN := at(routed, s.few), at(masqueraded, s.few), at(tunnelled, s.few)
	back := &bed{rules: testbed.Rules(1, 1, "wlc", masqueraded), flows: s.few}
	return []bench.Case{
		frames(o, "DR, one flow", nil, at(routed, 1)),
		frames(o, "DR"+few, new(60.0), fewDR),
		frames(o, "DR"+many, new(150.0), at(routed, s.many)),
		frames(o, "NAT, one flow", nil, at(masqueraded, 1)),
		frames(o, "NAT"+few, new(80.0), fewNAT),
		frames(o, "NAT"+many, new(180.0), at(masqueraded, s.many)),
		answers(o, "NAT, answers"+few, back),
		frames(o, "TUN"+few, nil, fewTUN),
		frames(o, "TUN"+many, nil, at(tunnelled, s.many)),
		frames(o, "DR, IPv6"+few, nil, at6(routed)),
		frames(o, "NAT, IPv6"+few, nil, at6(masqueraded)),
		allocations("allocations per batch, DR"+few, fewDR),
		allocations("allocations per batch, NAT"+few, fewNAT),
		allocations("allocations per batch, TUN"+few, fewTUN),
	}
}

// answers is what a real server's frame to its client costs.
func answers(o *bench.Options, name string, b *bed) bench.Case {
	from := testbed.FromReal(netip.AddrPortFrom(testbed.Server(0), testbed.RealPort(masqueraded)))
	return bench.Case{
		Figure: bench.Figure{Group: group, Name: name, Unit: "ns", Better: bench.Lower},
		Round: value(func() (float64, error) {
			if err := b.ready(); err != nil {
				return 0, err
			}
			return perFrame(o, func() (time.Duration, int, error) { return b.once(from) })
		}),
	}
}

// passes is how many passes the one with the fewest allocations is taken of: what
// goroutines beside the director allocate is counted, too.
const passes = 10

// allocations is how often a batch allocates memory. As in package testing,
// what is not in every batch does not count: the runtime allocates, too.
func allocations(name string, b *bed) bench.Case {
	return bench.Case{
		Figure: bench.Figure{Group: group, Name: name, Unit: "allocations", Better: bench.Lower, Floor: new(0.0)},
		Round: value(func() (float64, error) {
			if err := b.ready(); err != nil {
				return 0, err
			}
			fewest := uint64(math.MaxUint64)
			for range passes {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, frames, err := b.once(b.to)
				if err != nil {
					return 0, err
				}
				runtime.ReadMemStats(&after)
				batches := uint64(frames/len(b.Batch)) + 1
				fewest = min(fewest, (after.Mallocs-before.Mallocs)/batches)
			}
			return float64(fewest), nil
		}),
	}
}
