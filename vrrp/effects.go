package vrrp

import (
	"fmt"
	"net/netip"
	"slices"

	"usvs/wire"
)

// Effects is what a Router does to the world. Its methods are called from the
// Router's own, in keepalived's order, and must not call back into the Router.
type Effects interface {
	// Send sends a complete IP packet by iface; its destination says whether by
	// multicast. A zero src is the interface's own MAC. An empty iface leaves
	// the way to the routes.
	Send(iface string, packet []byte, src wire.MAC)
	// Farewell leaves the packets that are to be sent if the Router comes to an
	// end without Stop, instead of those left before for the same virtual router;
	// without packets there are none any more. It is called when they change.
	Farewell(router string, packets []Packet)
	// AddAddresses says that the instance owns addrs from now on.
	AddAddresses(instance string, addrs []Address)
	// RemoveAddresses says that the instance owns addrs no longer.
	RemoveAddresses(instance string, addrs []Address)
	// AddRoutes says that the instance wants routes from now on, in the words of
	// the configuration. Its addresses are there.
	AddRoutes(instance string, routes []string)
	// RemoveRoutes says that it wants routes no longer. Its addresses are there
	// still.
	RemoveRoutes(instance string, routes []string)
	// Announce sends one gratuitous ARP request or unsolicited neighbour
	// advertisement for addr now: see GratuitousARP and UnsolicitedNA. A zero
	// mac is the interface's own.
	Announce(iface string, addr netip.Addr, mac wire.MAC)
	// RunScript begins a run of a track script. SetScript is to be called once
	// when it has ended, or has been ended after its timeout.
	RunScript(name string)
	// Notify reports what scripts, FIFOs and mail are to tell.
	Notify(Event)
	// Log has keepalived's wording.
	Log(level Level, text string)
}

// Level says who wants to read a line of the log.
type Level uint8

const (
	Info    Level = iota
	Detail        // with -D only
	Warning       // something is wrong with the network or the configuration
)

// State is what an instance is. Stop and Deleted are seen in events only.
type State uint8

const (
	Init State = iota // waits for its scripts to have run once
	Backup
	Master
	Fault
	Stop
	Deleted
)

var stateNames = [...]string{"INIT", "BACKUP", "MASTER", "FAULT", "STOP", "DELETED"}

// String is keepalived's name of the state.
func (s State) String() string { return stateNames[s] }

// MarshalText is String, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText undoes MarshalText.
func (s *State) UnmarshalText(text []byte) error {
	i := slices.Index(stateNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%q is no state of VRRP", text)
	}
	*s = State(i)
	return nil
}

// EventKind says what happened.
type EventKind uint8

const (
	StateChanged        EventKind = iota
	MasterReceivedLower           // MASTER_RX_LOWER_PRI
	PriorityChanged               // MASTER_PRIORITY or BACKUP_PRIORITY; FIFO only
)

// Event is something that notify scripts, FIFOs and mail tell of.
type Event struct {
	Kind     EventKind
	Group    bool // of a sync group, not of an instance
	Name     string
	State    State // that was entered, or is
	Priority int   // effective; 0 for groups
}

// What is the word keepalived's FIFO and the script notify get for the event.
func (e Event) What() string {
	switch e.Kind {
	case MasterReceivedLower:
		return "MASTER_RX_LOWER_PRI"
	case PriorityChanged:
		return e.State.String() + "_PRIORITY"
	}
	return e.State.String()
}

// Line is the event as keepalived writes it to a FIFO, without line end.
func (e Event) Line() string {
	kind := "INSTANCE"
	if e.Group {
		kind = "GROUP"
	}
	return fmt.Sprintf("%s \"%s\" %s %d", kind, e.Name, e.What(), e.Priority)
}
