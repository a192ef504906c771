package node

import (
	"net/netip"
	"time"

	"usvs/health"
	"usvs/iproute"
	"usvs/vrrp"
	"usvs/wire"
)

// World is what a node needs done that neither its Router, its Monitor nor
// control can do. Its methods are called from within the Node's, in the order
// keepalived acts; they must neither block nor call back into the Node. What
// fails is logged by the World: keepalived goes on, too.
type World interface {
	// Configure says what the node needs to be there: sockets, FIFOs, what is
	// watched. It is called first of all by Start and by every Reload, and the
	// World brings itself in line: what is in both stays as it is.
	Configure(*Setup)

	// SendVRRP sends a complete IP packet by iface; its destination says whether
	// by multicast. A zero src is the interface's own MAC. An empty iface leaves
	// the way to the host's routes.
	SendVRRP(iface string, packet []byte, src wire.MAC)
	// Farewell leaves packets that somebody else is to send if the node comes to
	// an end without Stop: see vrrp.Effects.
	Farewell(router string, packets []vrrp.Packet)
	// Announce sends one gratuitous ARP request or unsolicited neighbour
	// advertisement for addr now: vrrp.GratuitousARP and vrrp.UnsolicitedNA make
	// them. A zero mac is the interface's own.
	Announce(iface string, addr netip.Addr, mac wire.MAC)
	// AddAddress puts an address on the host's interface, or adopts the
	// identical one that is there. Addresses with a virtual MAC do not come
	// here: the director itself answers for them.
	AddAddress(Address)
	// RemoveAddress takes an address away; one that is not there is no error.
	RemoveAddress(Address)

	// AddRoute makes a route of the host, or adopts the identical one.
	AddRoute(iproute.Route)
	// RemoveRoute takes a route away; one that is not there is no error.
	RemoveRoute(iproute.Route)

	// StartProbe begins one attempt of a check; Node.ProbeDone is to be called
	// once with its outcome.
	StartProbe(health.CheckID, *health.Probe)
	// CancelProbe ends an attempt, whose outcome is not wanted any more.
	CancelProbe(health.CheckID)

	// RunTrackScript begins a run of a vrrp_script of the Setup;
	// Node.ScriptDone is to be called once when it has ended, or has been ended
	// after its timeout.
	RunTrackScript(name string)
	// RunScript runs a notify script. Its outcome does not matter.
	RunScript(Notification)
	// WriteFIFO writes a line, without its end, to a FIFO of the Setup.
	WriteFIFO(path, line string)
	// SendMail sends a message by the Setup's mail server.
	SendMail(Mail)

	// Log has keepalived's wording.
	Log(vrrp.Level, string)
}

// Setup is what the World holds ready for a node. The Node does not change it
// once it is given away.
type Setup struct {
	// Interfaces are those the configuration names, sorted: instances', tracked
	// ones, those of addresses and of the synchronisation daemon.
	Interfaces []string
	// Sockets are what VRRP packets come in by.
	Sockets []Socket

	Scripts   []TrackScript
	Files     []TrackFile
	Processes []TrackProcess
	FIFOs     []FIFO
	Mail      *MailServer // nil: no mail is sent
	// ScriptSecurity: a script that others than root may change is not run as root.
	ScriptSecurity bool
	// ScriptUser runs scripts that name none; empty: keepalived_script if there
	// is such a user, else the daemon's own.
	ScriptUser, ScriptGroup string
	// Leftovers are the addresses that a node that was killed may have left on
	// the host; those not of an instance that is master are removed at start.
	Leftovers []Address
	// LeftoverRoutes are the routes that such a node may have left.
	LeftoverRoutes []iproute.Route
}

// Socket is where VRRP packets of some instances are received: protocol 112,
// or 51 with AH.
type Socket struct {
	Interface string
	IPv6      bool
	AH        bool
	// Group is joined on Interface; without one the instance is unicast, and
	// Source is the address packets are sent to.
	Group  netip.Addr
	Source netip.Addr
}

// Address is one for the host's interface, as keepalived.conf describes it.
type Address struct {
	Prefix    netip.Prefix
	Interface string
	Broadcast string // an address, + or -
	Scope     string
	Label     string
	Peer      netip.Addr
	Flags     []string // home, -nodad, mngtmpaddr, noprefixroute, autojoin
	Preferred string   // preferred_lft
	// Virtual: of an instance; an IPv6 one is added without duplicate address
	// detection and, with the default prefix, as deprecated.
	Virtual bool
	// Refused: the host's own stack neither takes packets to the address nor sends
	// any from it, but for those that ask whose it is. The director does.
	Refused bool
}

// Script is a command with its arguments, who runs it and for how long at most.
type Script struct {
	Args        []string
	User, Group string
	Timeout     time.Duration // 0: as long as it takes
}

// Notification is a notify script that is due. Those of one Queue run one after
// the other.
type Notification struct {
	Queue string
	Script
}

// TrackScript is a vrrp_script. With Reads it is a file that has to be readable.
type TrackScript struct {
	Name string
	Script
	Reads string
}

// TrackFile is a track_file: Node.SetFile is to be called with the number in it
// at start and whenever that changes; a file that is not there is 0.
type TrackFile struct {
	Name, Path string
	// Init is written to the file if it is not there, or with Overwrite anyway.
	Init      *int
	Overwrite bool
}

// TrackProcess is a vrrp_track_process: Node.SetProcess is to be called with how
// many run, at start and whenever that changes.
type TrackProcess struct {
	Name        string
	Command     []string // the process's name, or with Full its command, and parameters
	ParamMatch  string   // "", initial or partial: how parameters are compared
	FullCommand bool
}

// FIFO is a named pipe that lines are written to, and what reads it.
type FIFO struct {
	Path        string
	User, Group string
	Reader      *Script // started and ended with the node; nil: somebody else's
}

// MailServer is where mail goes.
type MailServer struct {
	Host    string
	Port    uint16
	Timeout time.Duration
	Helo    string // empty: the host's name
	From    string // empty: the daemon's user at the host's name
	To      []string
}

// Mail is a message, complete but for its addresses and date.
type Mail struct{ Subject, Body string }
