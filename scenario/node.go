package scenario

import (
	"net/netip"
	"slices"
	"time"

	"usvs/netsim"
)

// This file has what belongs to directors that run by a keepalived.conf and to
// what happens to machines: pause, crash, restart, a server that stops.

// Deed is what a Disturbance does.
type Deed string

// The deeds.
const (
	Pause     Deed = "pause"   // for For
	Crash     Deed = "crash"   //
	Restart   Deed = "restart" //
	Skew      Deed = "skew"    // the director's timers run Factor times as fast
	Stop      Deed = "stop"    // keepalived ends in order
	Start     Deed = "start"   // it starts again
	Reload    Deed = "reload"  // it reads Config
	Script    Deed = "script"  // Name exits with Value from now on, or hangs
	TrackFile Deed = "file"    // Name contains Value
	Process   Deed = "process" // Value processes run that Name means
	Serve     Deed = "serve"   // the server on Port is up or not, late by For, answers with status Value
)

// Disturbance is what happens to a machine: `pause a 3s`, `in 2s crash a`.
type Disturbance struct {
	In     time.Duration // how long from now; what follows goes on meanwhile
	Do     Deed
	Node   string
	For    time.Duration
	Factor float64
	Name   string
	Value  int
	Hangs  bool
	Port   uint16
	Up     bool
	Config *netsim.Keepalived
}

// Multicast makes a switch carry frames to groups, or not: `multicast lan off`.
type Multicast struct {
	In     time.Duration
	Switch string
	On     bool
}

// ExpectState wants an instance or a sync group of a director in a state:
// `expect a MASTER VI_1 within 4s`.
type ExpectState struct {
	Node, State, Instance string
	Within                time.Duration
}

// ExpectVIP wants an address at these directors and no others:
// `expect vip 10.0.0.100 at a`.
type ExpectVIP struct {
	Addr   netip.Addr
	At     []string // none: nobody has it
	Within time.Duration
}

// ExpectHealth wants a director to take a real server for up or down, or its
// virtual server to have its quorum or not:
// `expect health a 10.0.0.100:80 rs1 down within 12s`.
type ExpectHealth struct {
	Node    string
	Service netip.AddrPort
	Server  []netip.Addr // none: the virtual server itself
	Who     string       // as it is written
	Up      bool
	Within  time.Duration
}

func (*Disturbance) action()  {}
func (*Multicast) action()    {}
func (*ExpectState) action()  {}
func (*ExpectVIP) action()    {}
func (*ExpectHealth) action() {}

// NodeState is what a director that runs by a keepalived.conf says of itself.
type NodeState struct {
	Instances map[string]string // state by the name of the instance or sync group
	Services  []ServiceState
}

// ServiceState is a virtual server's.
type ServiceState struct {
	Name    string // as in keepalived's log: [10.0.0.100]:tcp:80
	Up      bool   // it has its quorum
	Servers []ServerState
}

// ServerState is a real server's.
type ServerState struct {
	Name string
	Up   bool
	Why  string // of a server that is down
}

// reasonSimOnly is why scenarios with such directors are for the simulation.
const reasonSimOnly = "a director that runs by a keepalived.conf, and what happens to it, is the simulation's"

// simOnly makes the scenario one for the simulation.
func (p *parser) simOnly() {
	if len(p.file.Only) == 0 || slices.Contains(p.file.Only, "sim") {
		p.file.Only = []string{"sim"}
	}
	if p.file.Reason == "" {
		p.file.Reason = reasonSimOnly
	}
}
