package scenario

import (
	"net/netip"
	"strings"
	"time"

	"usvs/netsim"
)

// File is a scenario.
type File struct {
	Name  string // of the file, as errors and reports show it
	Title string // the first line of the comment at the top
	About string // the rest of that comment

	// Only names the worlds the whole scenario is for; empty: all of them.
	Only   []string
	Reason string // why not the others

	Topology Topology
	Steps    []Step
	Data     map[string][]byte // the files at the end of a scenario, for `<`
}

// Topology is the network of a scenario.
type Topology struct {
	Switches []string // each is one Ethernet segment
	Nodes    []Node
}

// Kind says what a machine is for.
type Kind string

// The kinds of machines.
const (
	Client   Kind = "client"
	Server   Kind = "server" // answers HTTP and UDP if nothing else is said
	Director Kind = "director"
	Router   Kind = "router" // forwards what is not for it
)

// Node is a machine. Its interfaces are called eth0, eth1 and so on.
type Node struct {
	Line     int
	Kind     Kind
	Name     string
	NICs     []NIC
	Gateways []netip.Addr // of the default routes, at most one per family
	HTTP     []uint16     // the TCP ports on which it answers HTTP with its name, whatever its Kind
	UDP      []uint16     // the UDP ports on which it answers with its name
	Own      string       // of a Director: "services" or "host", see `usvs run --own`
	// Keepalived is the configuration that a Director runs by; nil: none.
	Keepalived *netsim.Keepalived
}

// NIC is an interface and the switch it is plugged into.
type NIC struct {
	Name   string
	Switch string
	Addrs  []netip.Prefix
	MTU    int // 0: 1500
}

// Interface names an interface of a node.
type Interface struct{ Node, NIC string }

func (i Interface) String() string { return i.Node + ":" + i.NIC }

// Step is one thing that happens, or that must be so.
type Step struct {
	Line   int
	Text   string   // as it stands in the file, variables expanded
	Worlds []string // that it is for; empty: all of them
	Do     Action
}

// Action is one of *Exec, *Traffic, *Again, *Hangup, *Inject, *Fault,
// *Disturbance, *Multicast, *Wait, *Moment and the Expect… types.
type Action interface{ action() }

// Exec runs a command on a node: `rs1$ ip addr add 10.0.0.1/32 dev lo`.
type Exec struct {
	Node    string
	Command string
	Stdin   string // a name in File.Data; empty: nothing to read
	Fails   bool   // `! rs1$ ...`: it must fail
	Output  []OutputLine
}

// OutputLine is a line that a command's output must have, behind those wanted
// before it, or that it must not have anywhere. "*" in a word is any text, and
// as the last word any words.
type OutputLine struct {
	Line   int
	Worlds []string // as Step.Worlds
	Words  []string
	No     bool
}

// String is the line without its columns.
func (o *OutputLine) String() string { return strings.Join(o.Words, " ") }

// TrafficKind is what is sent.
type TrafficKind string

// The kinds of traffic.
const (
	HTTP TrafficKind = "http" // requests, a new connection each
	UDP  TrafficKind = "udp"  // datagrams, a new socket each; the answer tells the server's name
	Ping TrafficKind = "ping" // ICMP echo; there is no server's name in the answer
)

// Traffic sends requests and waits for their answers:
// `http client -> 10.0.0.1:80 x30 concurrency 5`.
type Traffic struct {
	Kind        TrafficKind
	Node        string
	To          netip.AddrPort // without a port for Ping
	Count       int            // how many requests
	Concurrency int            // how many of them at a time
	Every       time.Duration  // from the start of one to that of the next; 0: as soon as may be
	Timeout     time.Duration  // of one request
	Size        int            // of an HTTP answer's body, or of a datagram or echo both ways
	Upload      int            // of an HTTP request's body
	Port        uint16         // the client's port, the same for all; 0: any
	From        netip.Addr     // the client's address; zero: its stack's choice
	Hold        bool           // the connections stay open for Again and Hangup
	As          string         // what the result is called; empty: it has no name
}

// Again makes one more request on each connection that a Traffic held open.
type Again struct {
	Name    string
	Timeout time.Duration
}

// Hangup closes the connections that a Traffic held open: `close NAME`.
type Hangup struct{ Name string }

// Inject sends a frame from an interface, whatever its stack thinks of it:
// `inject client tcp 10.0.0.9:4000 > 10.0.0.1:80 S ttl=2`.
type Inject struct {
	From  Interface
	Frame []byte
}

// Fault changes what a link does: the one between an interface and its switch.
// `link rs1 down`, `in 2s link rs1 loss 10%`.
type Fault struct {
	In   time.Duration // how long from now; what follows goes on meanwhile
	Link Interface
	Set  LinkState
}

// LinkState is what a link does to frames; a Fault sets all of it.
type LinkState struct {
	Down      bool
	CutIn     bool // nothing gets from the switch to the node
	CutOut    bool // nothing gets from the node to the switch
	Delay     time.Duration
	Jitter    time.Duration
	Loss      float64 // 0..1, of all frames, in both directions
	Duplicate float64
	Reorder   float64
	Corrupt   float64
	Rate      uint64 // bits a second; 0: any
}

// Wait lets time pass.
type Wait struct{ For time.Duration }

// Moment names a point in time for the After of an ExpectFrame.
type Moment struct{ Name string }

// Range is a number of something, between Min and Max inclusive.
type Range struct{ Min, Max int }

// Share is how many requests a server has to answer.
type Share struct {
	Server string
	Range
}

// ExpectAnswered judges the last traffic by how many requests were answered.
type ExpectAnswered struct {
	Of     string  // the traffic's name; empty: the last one
	Total  *Range  // by anyone, if not nil
	Shares []Share // by each; nobody else may have answered
}

// ExpectOrder judges who answered one after another.
type ExpectOrder struct {
	Of      string
	Servers []string
	Repeat  bool // "...": over and over
}

// ExpectOneServer wants all requests answered, and by one server: that which
// answered the traffic SameAs, if it is given.
type ExpectOneServer struct {
	Of     string
	SameAs string
	Other  bool // by another one than SameAs
}

// ExpectFailed wants so many requests without an answer, by that failure.
type ExpectFailed struct {
	Of string
	N  Range
	By Failure // empty: any
}

// ExpectFrame wants frames that passed an interface, or none.
type ExpectFrame struct {
	At    Interface
	Dir   Direction
	Count *Range // nil: at least one; 0..0: none
	After string // a Moment, or a duration since the first step; empty: ever
	Match Pattern
}

// ExpectCounter wants a counter of a director, as `usvs status` lists it.
type ExpectCounter struct {
	Node string
	Name string
	Range
}

// ExpectLog wants a line with all these words in a director's log, or none.
type ExpectLog struct {
	Node string
	Text string
	No   bool
}

// ExpectNeighbour wants that a node sends packets for an address to Owner's MAC.
type ExpectNeighbour struct {
	Node  string
	Addr  netip.Addr
	Owner string // a node; empty: it knows no address
}

func (*Exec) action()            {}
func (*Traffic) action()         {}
func (*Again) action()           {}
func (*Hangup) action()          {}
func (*Inject) action()          {}
func (*Fault) action()           {}
func (*Wait) action()            {}
func (*Moment) action()          {}
func (*ExpectAnswered) action()  {}
func (*ExpectOrder) action()     {}
func (*ExpectOneServer) action() {}
func (*ExpectFailed) action()    {}
func (*ExpectFrame) action()     {}
func (*ExpectCounter) action()   {}
func (*ExpectLog) action()       {}
func (*ExpectNeighbour) action() {}
