package connsync

import (
	"net/netip"
	"time"

	"usvs/conntrack"
	"usvs/ipvs"
)

// Entry is what a message says of one connection or template.
type Entry struct {
	Protocol ipvs.Protocol
	Method   ipvs.ForwardMethod
	Flags    conntrack.Flags // without the method
	State    uint16
	Client   netip.AddrPort
	Virtual  netip.AddrPort
	Real     netip.AddrPort
	Mark     uint32
	Timeout  uint32 // seconds; 0: the receiver's own

	Seq     bool // InSeq and OutSeq were told
	InSeq   conntrack.Seq
	OutSeq  conntrack.Seq
	PEName  string // persistence engine
	PEData  []byte
	version uint8
}

// Flags and how much of them matters.
const (
	methodMask = 0x0007

	seqFlags = conntrack.FlagInSeq | conntrack.FlagOutSeq

	// backupFlags are those a backup takes from a message (ipvs.md 2.1).
	backupFlags = methodMask | conntrack.FlagNoOutput | conntrack.FlagInactive | seqFlags |
		conntrack.FlagNoCPort | conntrack.FlagTemplate
)

// Template reports whether e is a persistence template.
func (e *Entry) Template() bool { return e.Flags&conntrack.FlagTemplate != 0 }

// fill makes e what is told of c.
func (e *Entry) fill(c *conntrack.Conn) {
	*e = Entry{
		Protocol: c.Protocol, Method: c.Method, Flags: c.Flags &^ conntrack.FlagHashed, State: uint16(c.State),
		Client: c.Client, Virtual: c.Virtual, Real: c.Real, Mark: c.Mark,
		Timeout: uint32(c.Timeout / time.Second), PEName: c.PEName, PEData: c.PEData,
	}
	if c.InSeq != (conntrack.Seq{}) {
		e.Flags |= conntrack.FlagInSeq
	}
	if c.OutSeq != (conntrack.Seq{}) {
		e.Flags |= conntrack.FlagOutSeq
	}
	if e.Flags&seqFlags != 0 {
		e.Seq, e.InSeq, e.OutSeq = true, c.InSeq, c.OutSeq
	}
}
