package netns

import (
	"fmt"
	"net/netip"

	"usvs/scenario"
)

// Machines here are the system's: they cannot be stalled, crash or run by a
// keepalived.conf. Scenarios that want it say that they are the simulation's.

// Disturb cannot be done here.
func (w *World) Disturb(d *scenario.Disturbance) error { return impossible(string(d.Do)) }

// Multicast cannot be done here.
func (w *World) Multicast(*scenario.Multicast) error { return impossible("multicast") }

// State is that of no director here.
func (w *World) State(string) (*scenario.NodeState, error) {
	return nil, impossible("a director with a keepalived.conf")
}

// Holders cannot be told here.
func (w *World) Holders(netip.Addr) ([]string, error) { return nil, impossible("expect vip") }

func impossible(what string) error { return fmt.Errorf("%s: %w", what, scenario.ErrUnsupported) }
