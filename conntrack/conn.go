package conntrack

import (
	"net/netip"
	"time"

	"usvs/clock"
	"usvs/ipvs"
)

// Dir is a packet's direction.
type Dir uint8

const (
	DirIn  Dir = iota // client to virtual service
	DirOut            // real server to client
)

// Flags are a connection's flags with the kernel's values (ipvs.md 2.1). The
// forwarding method, which the kernel keeps in the low bits, is Conn.Method.
type Flags uint32

const (
	FlagSync      Flags = 0x0020  // created by connection synchronisation
	FlagHashed    Flags = 0x0040  // in the table
	FlagNoOutput  Flags = 0x0080  // the director has not seen the server's packets
	FlagInactive  Flags = 0x0100  // not counted as active
	FlagOutSeq    Flags = 0x0200  // sequence adjustment, server to client
	FlagInSeq     Flags = 0x0400  // sequence adjustment, client to server
	FlagNoCPort   Flags = 0x0800  // client port not known yet
	FlagTemplate  Flags = 0x1000  // persistence template
	FlagOnePacket Flags = 0x2000  // one-packet scheduling
	FlagNFCT      Flags = 0x10000 // keeps a conntrack entry of the kernel

	// FlagActive is of a Spec only: the connection starts as an active one. All
	// but those learned from another director start inactive (ipvs.md 2.3, 6.6).
	FlagActive Flags = 1 << 31
)

// Conn is a copy of a connection or template. The entry may change or end
// meanwhile; Ref tells its incarnation.
type Conn struct {
	Ref       Ref
	Protocol  ipvs.Protocol
	Family    ipvs.Family // of the client
	Client    netip.AddrPort
	Virtual   netip.AddrPort
	Real      netip.AddrPort
	Method    ipvs.ForwardMethod
	Server    *ipvs.RealServer // nil: bypass
	Flags     Flags
	State     uint8
	Timeout   time.Duration
	Expires   clock.Instant
	InPackets uint32
	Control   Ref // the template or connection that controls this one
	Mark      uint32

	// Of a persistence engine's template: the engine and what it goes by.
	// PEData stays as it is only until the Conn is used for another copy.
	PEName string
	PEData []byte

	App     App    // the connection's helper
	AppMode uint8  // what the helper remembers,
	AppSeq  uint32 // and about which data
	InSeq   Seq    // of the client's packets, if the helper changed their length
	OutSeq  Seq    // of the server's

	side sideLink // of which record PEName and what follows are a copy
}

// Template reports whether c is a persistence template.
func (c *Conn) Template() bool { return c.Flags&FlagTemplate != 0 }

// Spec is what Insert needs to know of a new connection or template.
type Spec struct {
	Protocol ipvs.Protocol
	Client   netip.AddrPort
	Virtual  netip.AddrPort
	Real     netip.AddrPort
	Method   ipvs.ForwardMethod
	Server   *ipvs.RealServer // in the table's registry; nil: bypass
	Mark     uint32
	Template bool
	Worker   uint8         // who inserts it: workers are numbered from 0 and keep out of each other's way
	State    uint8         // it starts in
	Flags    Flags         // of FlagSync, FlagNoCPort, FlagActive only
	First    Event         // the packet that opens a connection and counts at once, as Packet has it; EventNone: none
	Timeout  time.Duration // it starts with; 0: 3 s, which only connections may have
	Control  Ref           // what controls it, if anything
	PEName   string        // persistence engine of a template
	PEData   []byte        // what it goes by, at most 255 bytes
	InSeq    Seq           // how another director changed the length of what
	OutSeq   Seq           // client and server sent

	replaces bool // counts for an entry that it takes the place of
}

// Result is the outcome of an insertion.
type Result uint8

const (
	// Inserted: the entry is in the table.
	Inserted Result = iota
	// Exists: the table has a live entry with that key.
	Exists
	// ControlGone: what was to control the entry is not in the table any more.
	ControlGone
	// Full: the table has reached its limit, or the client's share of it.
	Full
)

// String names r.
func (r Result) String() string {
	return [...]string{"inserted", "exists", "control gone", "full"}[r]
}

// Reusable reports whether a first packet may take over c's addresses and
// ports for a new connection, under the given conn_reuse_mode, which is not 0
// (ipvs.md 2.7). Controlled connections are never reused.
func Reusable(c *Conn, mode int) bool {
	if !c.Control.IsZero() {
		return false
	}
	switch c.Protocol {
	case ipvs.TCP:
		return c.State == TCPTimeWait || c.State == TCPClose ||
			mode&2 != 0 && c.State == TCPFinWait && c.Flags&FlagNoOutput != 0
	case ipvs.SCTP:
		return c.State == SCTPClosed
	}
	return false
}
