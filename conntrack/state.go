package conntrack

import (
	"fmt"
	"time"

	"usvs/ipvs"
)

// Event is what a packet tells a connection's state machine.
type Event uint8

const (
	// EventNone changes no state; the timer is restarted as it is.
	EventNone Event = iota
	// EventUDP is any UDP datagram.
	EventUDP

	firstTCP
	_
	_
	_
	lastTCP

	firstSCTP
	_
	_
	_
	_
	_
	_
	_
	_
	lastSCTP
)

// States of a template.
const (
	TemplateNone uint8 = iota
	TemplateAssured
	TemplateUnknown // what another director may say
)

// Which column of tables an event is looked up in.
const (
	viaInput = iota
	viaOutput
	viaInputOnly
	vias
)

const (
	maxStates = 16 // as many as a control word can say
	maxEvents = 16 // of a protocol
	allEvents = 32 // of all of them, at most
)

// machine is a protocol's state machine as plain data (ipvs.md 3.1, 3.4).
type machine struct {
	first, last Event
	cells       [vias][maxEvents]row // by event
	active      [maxStates]bool
	timeout     [maxStates]uint8 // seconds; of ESTABLISHED and others see Table.timeout
	names       []string
}

// row is the next state, by state.
type row [maxStates]uint8

func (m *machine) next(via int, ev Event, state uint8) (uint8, bool) {
	if ev < m.first || ev > m.last {
		return 0, false
	}
	return m.cells[via][(ev-m.first)%maxEvents][state%maxStates], true
}

func established(proto ipvs.Protocol, state uint8) bool {
	return proto == ipvs.TCP && state == TCPEstablished || proto == ipvs.SCTP && state == SCTPEstablished
}

const sctpEstablishedTimeout = 900 * time.Second

// timeout is that of a state, or old where the protocol has none.
func (t *Table) timeout(proto ipvs.Protocol, state uint8, old time.Duration) time.Duration {
	switch {
	case proto == ipvs.UDP:
		return t.configured(timeoutUDP)
	case proto == ipvs.TCP && state == TCPEstablished:
		return t.configured(timeoutTCP)
	case proto == ipvs.TCP && state == TCPFinWait:
		return t.configured(timeoutTCPFin)
	case proto == ipvs.TCP:
		return time.Duration(tcpNormal.timeout[state]) * time.Second
	case proto == ipvs.SCTP && state == SCTPEstablished:
		return sctpEstablishedTimeout
	case proto == ipvs.SCTP:
		return time.Duration(sctpMachine.timeout[state]) * time.Second
	}
	return old
}

// Which of the configured timeouts.
const (
	timeoutTCP = iota
	timeoutTCPFin
	timeoutUDP
)

func (t *Table) configured(i int) time.Duration {
	return clampTimeout(time.Duration(t.timeouts[i].Load()) * time.Second)
}

func clampTimeout(d time.Duration) time.Duration { return min(max(d, 0), maxTimeout) }

// SetTimeouts sets the configured timeouts, in seconds; 0 leaves one as it is.
// Entries take the new value up with their next packet (ipvs.md 3.2).
func (t *Table) SetTimeouts(v ipvs.Timeouts) {
	for i, secs := range [...]uint32{timeoutTCP: v.TCP, timeoutTCPFin: v.TCPFin, timeoutUDP: v.UDP} {
		if secs != 0 {
			t.timeouts[i].Store(secs)
		}
	}
	t.renewRules()
}

// Timeouts returns the configured timeouts.
func (t *Table) Timeouts() ipvs.Timeouts {
	return ipvs.Timeouts{
		TCP:    t.timeouts[timeoutTCP].Load(),
		TCPFin: t.timeouts[timeoutTCPFin].Load(),
		UDP:    t.timeouts[timeoutUDP].Load(),
	}
}

// SetSecureTCP switches to the transitions for a SYN flood (secure_tcp, ipvs.md 2.9).
func (t *Table) SetSecureTCP(on bool) {
	if t.secure.Swap(on) != on {
		t.renewRules()
	}
}

// stateName is the state as /proc/net/ip_vs_conn prints it.
func stateName(c *Conn) string {
	switch {
	case c.Template():
		return name([]string{"NONE", "ASSURED", "ERR!"}, c.State)
	case c.Protocol == ipvs.TCP:
		return name(tcpNormal.names, c.State)
	case c.Protocol == ipvs.SCTP:
		return name(sctpMachine.names, c.State)
	case c.Protocol == ipvs.UDP:
		return name([]string{"UDP"}, c.State)
	case c.Protocol == ipvs.ProtoIP:
		return "NONE"
	}
	return "ERR!" // AH and ESP have no states; only another director tells of such
}

func name(names []string, state uint8) string {
	if int(state) >= len(names) {
		return fmt.Sprintf("ERR%d!", state)
	}
	return names[state]
}
