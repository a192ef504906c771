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
	Now        clock.Instant
	Protocol   ipvs.Protocol
	Client     netip.Addr // packet source; destination for an inverse (ICMP-quoted) header
	ClientPort uint16
	Dst        netip.Addr // packet destination as it stands in the header
	Flags      ipvs.ServiceFlags
	Sysctls    *ipvs.Sysctls
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
}

// constructors by ipvsadm name; each file of the package adds its own line here.
var constructors = map[string]func(*rand.Rand) Scheduler{}

// New returns a scheduler by its ipvsadm name, without servers: call Update
// with Bind next. Random choices are drawn from rng.
func New(name string, rng *rand.Rand) (Scheduler, error) {
	c, ok := constructors[name]
	if !ok {
		return nil, fmt.Errorf("scheduler %q: %w", name, ipvs.ErrNoEntry)
	}
	return c(rng), nil
}
