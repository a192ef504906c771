package scenario

import (
	"errors"
	"net/netip"
	"time"

	"usvs/wire"
)

// World is where a scenario happens. Run calls it from one goroutine, Build
// first and Close last. An error means that the World itself failed, or cannot
// do what is asked; what merely goes wrong in the network is a result.
type World interface {
	// Build makes the network and starts what runs on the machines: the servers'
	// HTTP and UDP, the directors. Every interface has the MAC address that
	// MAC makes, IPv4 forwarding is on for routers only, and arp_ignore,
	// arp_announce and rp_filter are 0.
	Build(*Topology) error

	// Exec runs a command line on a node and waits for its end. The words
	// `ipvsadm`, `ipvsadm-save`, `ipvsadm-restore`, `iptables`, `ip6tables` and
	// `usvs` mean this program's, `ip` and `sysctl` the system's.
	Exec(node, command string, stdin []byte) (Output, error)

	// Traffic makes requests and returns when each was answered or has failed.
	// Results are in the order in which the requests were started.
	Traffic(*Traffic) ([]Reply, error)
	// Again makes a request on each connection held under the name, likewise.
	Again(*Again) ([]Reply, error)
	// Hangup closes them.
	Hangup(name string) error

	// Inject sends a complete Ethernet frame from a node's interface.
	Inject(from Interface, frame []byte) error
	// Fault changes a link, at once or f.In from now.
	Fault(f *Fault) error

	// Disturb does something to a machine, at once or d.In from now.
	Disturb(d *Disturbance) error
	// Multicast makes a switch carry frames to groups or not.
	Multicast(*Multicast) error
	// State is what a director says of itself that runs by a keepalived.conf.
	State(node string) (*NodeState, error)
	// Holders are the directors that have an address, sorted by name.
	Holders(addr netip.Addr) ([]string, error)

	// Wait lets time pass, at least until all that was sent has arrived.
	Wait(time.Duration) error
	// Now is the time since Build returned.
	Now() time.Duration

	// Frames are those that passed an interface since Build, in order.
	Frames(Interface) ([]Frame, error)
	// Counters are a director's, by their names in `usvs status`.
	Counters(node string) (map[string]uint64, error)
	// Log is what a director logged.
	Log(node string) (string, error)
	// Neighbour is where a node sends packets for an address on its own
	// segment; ok is false if it has not found out.
	Neighbour(node string, addr netip.Addr) (mac wire.MAC, ok bool, err error)

	Close() error
}

// ErrUnsupported is wrapped by errors that say that a World does not have what
// a scenario needs, for example the kernel's ip_vs.
var ErrUnsupported = errors.New("not possible here")

// Output is what a command wrote and how it ended.
type Output struct {
	Stdout, Stderr string
	Exit           int
}

// Reply is what became of one request.
type Reply struct {
	Server string         // who answered; empty: nobody, or it did not say (Ping)
	Fail   Failure        // empty: it was answered, completely
	Local  netip.AddrPort // the client's end
	Took   time.Duration
}

// Failure is why a request has no answer.
type Failure string

// The failures. What a system reports about an ICMP error is Unreachable.
const (
	Timeout     Failure = "timeout"
	Refused     Failure = "refused"
	Reset       Failure = "reset"
	Unreachable Failure = "unreachable"
	Garbled     Failure = "garbled" // an answer that is not what was asked for
)

// Failures lists them all.
var Failures = []Failure{Timeout, Refused, Reset, Unreachable, Garbled}

// Direction is which way a frame passes an interface, seen from its node.
type Direction string

// The directions.
const (
	In   Direction = "in"
	Out  Direction = "out"
	Both Direction = ""
)

// Frame is a frame at an interface.
type Frame struct {
	At   time.Duration // since Build
	Dir  Direction
	Data []byte // from the Ethernet header on; a World may cut it after 256 bytes
	Len  int    // before that
}

// MAC is the address of a node's interface in every World, made of the node's
// index among the nodes and the interface's among its own.
func MAC(node, nic int) wire.MAC {
	number := node + 1
	return wire.MAC{2, 0, byte(number >> 16), byte(number >> 8), byte(number), byte(nic)}
}

// MACOf is the address of a named interface; zero if there is none of the name.
func (t *Topology) MACOf(i Interface) wire.MAC {
	for n := range t.Nodes {
		if t.Nodes[n].Name != i.Node {
			continue
		}
		for k := range t.Nodes[n].NICs {
			if t.Nodes[n].NICs[k].Name == i.NIC {
				return MAC(n, k)
			}
		}
	}
	return wire.MAC{}
}

// Node returns the node of that name, or nil.
func (t *Topology) Node(name string) *Node {
	for i := range t.Nodes {
		if t.Nodes[i].Name == name {
			return &t.Nodes[i]
		}
	}
	return nil
}
