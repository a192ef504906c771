package model

import (
	"fmt"
	"math/rand/v2"

	"usvs/ipvs"
	"usvs/sched"
)

// Scheduler is what a model shares with sched.Scheduler.
type Scheduler interface {
	// Schedule returns the server for a new connection, or nil if there is none.
	Schedule(req *sched.Request) *ipvs.RealServer
	// Update gives the current list, newest server first, after a change.
	Update(change sched.Change, servers []*ipvs.RealServer, rs *ipvs.RealServer) error
}

// New returns the model of a scheduler by its ipvsadm name, without servers:
// call Update with sched.Bind next. rng must be equal to the one that the
// scheduler was made from.
func New(name string, rng *rand.Rand) (Scheduler, error) {
	switch name {
	case "rr":
		return new(rr), nil
	case "wrr":
		return &wrr{}, nil
	case "lc", "wlc", "sed", "nq", "fo", "ovf":
		return &live{rule: rules[name]}, nil
	case "dh":
		return new(dh), nil
	case "sh":
		return new(sh), nil
	case "mh":
		return new(mh), nil
	case "lblc":
		return newCaching(false), nil
	case "lblcr":
		return newCaching(true), nil
	case "twos":
		return newTwos(rng), nil
	}
	return nil, fmt.Errorf("no model of scheduler %q: %w", name, ipvs.ErrNoEntry)
}

// usable is the common test of section 1.1.
func usable(rs *ipvs.RealServer) bool { return rs.Weight() > 0 && !rs.Overloaded() }

// overhead is the classic one: 256 for an active connection, 1 for another.
func overhead(rs *ipvs.RealServer) int64 {
	return 256*int64(rs.Active()) + int64(rs.Inactive())
}
