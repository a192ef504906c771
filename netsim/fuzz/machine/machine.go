package machine

import (
	"fmt"
	"strconv"
	"strings"
)

// Via is the column of tables in which an event is looked up.
type Via string

// The directions a packet may have. A client's packet is looked up under
// InputOnly while the director has seen no packet of the server's.
const (
	Input     Via = "INPUT"
	Output    Via = "OUTPUT"
	InputOnly Via = "INPUT-ONLY"
)

// Vias lists them.
var Vias = []Via{Input, Output, InputOnly}

// None is the state in which every connection starts.
const None = "NONE"

// Machine is a protocol's state machine.
type Machine struct {
	Name   string
	States []string // by their names in /proc
	Events []string

	seconds map[string]int
	active  map[string]bool
	next    map[Cell]string
}

// Cell is a place in a machine's tables.
type Cell struct {
	Machine string
	Via     Via
	Event   string
	From    string
}

// String writes the cell as the coverage table has it.
func (c Cell) String() string {
	return fmt.Sprintf("%s %s, %s in %s", c.Machine, strings.ToLower(string(c.Via)), c.Event, c.From)
}

// Next is the state behind the cell.
func (c Cell) Next() string {
	for _, m := range Machines {
		if m.Name == c.Machine {
			return m.Next(c)
		}
	}
	panic("machine: there is no " + c.Machine)
}

// The machines there are. TCP has another one while secure_tcp is on.
var (
	TCP       = newMachine("TCP", tcpStates, tcpUsual)
	SecureTCP = newMachine("TCP, secure", tcpStates, tcpUnderAttack)
	SCTP      = newMachine(sctpName, sctpStates, sctpTable)
)

// Machines lists them.
var Machines = []*Machine{TCP, SecureTCP, SCTP}

func newMachine(name, states, tables string) *Machine {
	m := &Machine{Name: name, seconds: map[string]int{}, active: map[string]bool{}, next: map[Cell]string{}}
	names := map[string]string{} // by code
	for line := range strings.Lines(strings.TrimSpace(states)) {
		w := strings.Fields(line)
		names[w[0]] = w[1]
		m.States = append(m.States, w[1])
		m.seconds[w[1]], _ = strconv.Atoi(w[2])
		m.active[w[1]] = w[3] == "active"
	}
	var via Via
	var from []string
	for line := range strings.Lines(strings.TrimSpace(tables)) {
		w := strings.Fields(line)
		switch v := Via(w[0]); v {
		case Input, Output, InputOnly:
			via, from = v, w[1:]
			continue
		}
		for i, to := range w[1:] {
			m.next[Cell{name, via, w[0], names[from[i]]}] = names[to]
		}
		if via == Input {
			m.Events = append(m.Events, w[0])
		}
	}
	if name != sctpName {
		m.Events = append(m.Events, noFlag)
	}
	return m
}

// sctpName is the name of SCTP's machine.
const sctpName = "SCTP"

// noFlag is the event of a TCP segment without any flag that counts: in
// whatever state, it closes the connection.
const noFlag = "no-flag"

// Next is the state after an event.
func (m *Machine) Next(c Cell) string {
	if c.Event == noFlag {
		return "CLOSE"
	}
	to, ok := m.next[c]
	if !ok {
		panic(fmt.Sprintf("machine: there is no %v", c))
	}
	return to
}

// Active reports whether connections in a state count as active.
func (m *Machine) Active(state string) bool { return m.active[state] }

// Seconds is the timeout of a state, unless it is configured.
func (m *Machine) Seconds(state string) int { return m.seconds[state] }

// TCPEvent is the event of a segment: of the bits RST, SYN, FIN and ACK, the
// first that is set.
func TCPEvent(flags uint8) string {
	for _, bit := range []struct {
		mask uint8
		name string
	}{{0x04, "RST"}, {0x02, "SYN"}, {0x01, "FIN"}, {0x10, "ACK"}} {
		if flags&bit.mask != 0 {
			return bit.name
		}
	}
	return noFlag
}

var chunkNames = map[byte]string{
	1: "INIT", 2: "INIT-ACK", 10: "COOKIE-ECHO", 11: "COOKIE-ACK", 7: "SHUTDOWN",
	8: "SHUTDOWN-ACK", 14: "SHUTDOWN-COMPLETE", 9: "ERROR", 6: "ABORT",
}

func chunkName(kind byte) string {
	if name := chunkNames[kind]; name != "" {
		return name
	}
	return "DATA"
}

// SCTPEvent is the event of a packet with these chunks, "" if there is none:
// its first chunk, unless that brings a cookie and an ABORT follows.
func SCTPEvent(chunks []byte) string {
	if len(chunks) < 4 {
		return ""
	}
	first := chunkName(chunks[0])
	length := int(chunks[2])<<8 | int(chunks[3])
	for length%4 != 0 {
		length++
	}
	cookie := first == "COOKIE-ECHO" || first == "COOKIE-ACK"
	if cookie && length >= 4 && len(chunks) >= length+4 && chunkName(chunks[length]) == "ABORT" {
		return "ABORT"
	}
	return first
}

// Flags are those of a segment that is a TCP event.
func Flags(event string) uint8 {
	return map[string]uint8{"RST": 0x04, "SYN": 0x02, "FIN": 0x11, "ACK": 0x10, noFlag: 0}[event]
}

// Chunk is the type of a chunk that is an SCTP event.
func Chunk(event string) byte {
	for kind, name := range chunkNames {
		if name == event {
			return kind
		}
	}
	return 0
}

// Conn is the part of a connection that a state machine knows.
type Conn struct {
	State    string
	Silent   bool // no packet of the server's was seen, nor is one expected
	Inactive bool
}

// Packet advances the connection by a packet and returns the cell that says how.
func (c *Conn) Packet(m *Machine, out bool, event string) Cell {
	via := Input
	switch {
	case out:
		via, c.Silent = Output, false
	case c.Silent:
		via = InputOnly
	}
	cell := Cell{m.Name, via, event, c.State}
	c.State = m.Next(cell)
	c.Inactive = !m.Active(c.State)
	return cell
}
