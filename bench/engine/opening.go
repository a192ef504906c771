package engine

import (
	"time"

	"usvs/bench"
	"usvs/bench/testbed"
	"usvs/wire"
)

// opener is a director in which connections come and go beside others.
type opener struct {
	bed
	fresh []uint32 // flows that are opened
}

// newOpener has n connections come to a service of a director with rules.
func newOpener(rules string, vip int, s sizes) *opener {
	x := &opener{bed: bed{rules: rules, vip: vip, flows: s.few, room: s.opened}}
	for i := range s.opened {
		x.fresh = append(x.fresh, uint32(s.few+i))
	}
	return x
}

// wait is longer than a half-open connection lasts.
const wait = 2 * time.Minute

// open times the first frames of new connections, and then lets them end.
func (x *opener) open() (float64, error) {
	if err := x.ready(); err != nil {
		return 0, err
	}
	took, err := x.Pass(x.to, x.fresh, wire.FlagSYN)
	if err != nil {
		return 0, err
	}
	x.Expire(wait, testbed.Untimed)
	_, _, err = x.once(x.to) // the others go on
	return float64(took) / float64(len(x.fresh)), err
}

// opening are the figures of new connections.
func opening(_ *bench.Options, s sizes) []bench.Case {
	opens := func(name string, floor *float64, scheduler string, servers int) bench.Case {
		return bench.Case{
			Figure: bench.Figure{Group: group, Name: "new connection, " + name, Unit: "ns", Better: bench.Lower, Floor: floor},
			Round:  value(newOpener(testbed.Rules(1, servers, scheduler, routed), 0, s).open),
		}
	}
	many := bench.Count(s.servers) + " servers"
	return []bench.Case{
		opens("wlc, 10 servers", new(400.0), "wlc", 10),
		opens("rr, 10 servers", nil, "rr", 10),
		opens("wlc, "+many, nil, "wlc", s.servers),
		opens("rr, "+many, nil, "rr", s.servers),
		opens("sh, "+many, nil, "sh", s.servers),
	}
}
