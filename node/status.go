package node

import (
	"usvs/clock"
	"usvs/health"
	"usvs/vrrp"
)

// Status is what a Node is doing.
type Status struct {
	// Now is the time that the other times are to be compared with.
	Now    clock.Instant `json:"now"`
	VRRP   vrrp.Status   `json:"vrrp"`
	Health health.Status `json:"health"`
}

// Status returns what the node is doing.
func (n *Node) Status(now clock.Instant) Status {
	return Status{Now: now, VRRP: n.router.Status(), Health: n.monitor.Status()}
}
