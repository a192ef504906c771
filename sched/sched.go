package sched

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"usvs/clock"
	"usvs/ipvs"
)

// Request is a packet that needs a server.
type Request struct {
	Now        clock.Instant // never earlier than in the request before
	Protocol   ipvs.Protocol
	Client     netip.Addr // packet source; destination for an inverse (ICMP-quoted) header
	ClientPort uint16
	Dst        netip.Addr        // packet destination as it stands in the header
	Flags      ipvs.ServiceFlags // the service's; read per packet, so an edit takes effect at once
	Sysctls    *ipvs.Sysctls     // not nil
}

// Change says what happened to the list of servers.
type Change uint8

const (
	Bind   Change = iota // the scheduler was just attached to the service
	Add                  // rs was linked at the head
	Delete               // rs was unlinked
	Edit                 // rs's weight or another attribute changed
)

// Scheduler picks real servers.
type Scheduler interface {
	// Schedule returns the server for a new connection, or nil if there is none.
	Schedule(req *Request) *ipvs.RealServer
	// Update gives the current list, newest server first, after a change. The
	// slice is immutable. rs is the server that changed, nil for Bind. An error
	// is possible only for Bind and leaves the service without a scheduler.
	Update(change Change, servers []*ipvs.RealServer, rs *ipvs.RealServer) error
	// Clone copies the scheduler with its state, over the servers that m names.
	// From then on the two go their own ways.
	Clone(m Mapping) Scheduler
	// Explain says by what Schedule would decide now, and changes nothing.
	Explain(req *Request) Explanation
}

// constructors by ipvsadm name.
var constructors = map[string]func(*rand.Rand) Scheduler{
	"rr":    func(*rand.Rand) Scheduler { return new(rr) },
	"wrr":   func(*rand.Rand) Scheduler { return new(wrr) },
	"lc":    func(*rand.Rand) Scheduler { return new(lc) },
	"wlc":   func(*rand.Rand) Scheduler { return new(wlc) },
	"lblc":  func(*rand.Rand) Scheduler { return new(lblc) },
	"lblcr": func(*rand.Rand) Scheduler { return new(lblcr) },
	"dh":    func(*rand.Rand) Scheduler { return new(dh) },
	"sh":    func(*rand.Rand) Scheduler { return new(sh) },
	"mh":    func(*rand.Rand) Scheduler { return new(mh) },
	"sed":   func(*rand.Rand) Scheduler { return new(sed) },
	"nq":    func(*rand.Rand) Scheduler { return new(nq) },
	"fo":    func(*rand.Rand) Scheduler { return new(fo) },
	"ovf":   func(*rand.Rand) Scheduler { return new(ovf) },
	"twos":  func(rng *rand.Rand) Scheduler { return newTwos(rng) },
}

// New returns a scheduler by its ipvsadm name, without servers: call Update
// with Bind next. Random choices are drawn from rng; only twos makes any.
func New(name string, rng *rand.Rand) (Scheduler, error) {
	c, ok := constructors[name]
	if !ok {
		return nil, fmt.Errorf("scheduler %q: %w", name, ipvs.ErrNoEntry)
	}
	return c(rng), nil
}
