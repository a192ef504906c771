package connsync

import (
	"net/netip"
	"sync/atomic"
	"time"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/ipvs"
)

// What a connection lasts if neither the message nor its protocol says.
const otherTimeout = 3 * time.Minute

// Find returns the real server here that an entry is of, or nil.
type Find func(*Entry) *ipvs.RealServer

// Backup makes the connection table what masters tell of theirs.
type Backup struct {
	Table  *conntrack.Table
	SyncID uint8
	Find   Find

	conn  conntrack.Conn
	spec  conntrack.Spec
	count [Problems]atomic.Uint64 // None: entries that were accepted

	messages atomic.Uint64
}

// Receive takes a message. threshold is sync_threshold.
func (b *Backup) Receive(now clock.Instant, message []byte, threshold int) {
	b.messages.Add(1)
	Decode(message, b.SyncID, func(e *Entry) {
		b.count[b.accept(now, e, threshold)].Add(1)
	}, func(p Problem) { b.count[p].Add(1) })
}

// Counters are what the backup did, by name.
func (b *Backup) Counters() map[string]uint64 {
	out := map[string]uint64{"messages": b.messages.Load(), "entries": b.count[None].Load()}
	for p := None + 1; p < Problems; p++ {
		if n := b.count[p].Load(); n > 0 {
			out["drop_"+p.String()] = n
		}
	}
	return out
}

// accept does what one entry of a message says (ipvs.md 6.6).
func (b *Backup) accept(now clock.Instant, e *Entry, threshold int) Problem {
	if p := e.valid(); p != None {
		return p
	}
	e.normalise()
	found := b.lookup(now, e)
	if found && !e.Template() && (b.conn.Real != e.Real) {
		if e.Flags&conntrack.FlagInactive != 0 {
			return None // about the end of a connection that another one followed
		}
		found = !b.Table.Expire(now, b.conn.Ref)
	}
	if found && b.conn.Server == nil {
		found = !b.rebind(now, e)
	}
	u := conntrack.Update{
		State: uint8(e.State), Inactive: e.Flags&conntrack.FlagInactive != 0,
		Timeout: b.timeout(e), InPackets: uint32(max(threshold, 0)),
	}
	for range 2 { // the entry found may end before it is updated
		if !found && b.insert(now, e, &u) == conntrack.Full {
			return TableFull
		}
		if b.Table.Update(now, b.conn.Ref, &u) {
			break
		}
		found = false
	}
	b.resequence(e)
	return None
}

// valid refuses what no connection can be.
func (e *Entry) valid() Problem {
	n := states(e.Protocol)
	switch {
	case e.Method > ipvs.Bypass:
		return BadMethod
	case len(e.PEData) > 0 && !conntrack.HasEngine(e.PEName):
		return NoEngine
	case e.Template():
		return None
	case n == 0:
		return BadProtocol
	case e.State >= n:
		return BadState
	}
	return None
}

// normalise leaves of an entry what can be used here: of its flags the known
// ones, and of a template neither a client's port nor an impossible state, which
// Linux 6.1 accepts, too.
func (e *Entry) normalise() {
	e.Flags = e.Flags&backupFlags | conntrack.FlagSync
	if !e.Template() {
		e.PEName, e.PEData = "", nil
		return
	}
	e.Flags &^= conntrack.FlagNoCPort
	e.Client = netip.AddrPortFrom(e.Client.Addr(), 0)
	e.State = min(e.State, uint16(conntrack.TemplateUnknown))
	if len(e.PEData) == 0 {
		e.PEName = ""
	}
}

// states is how many states a protocol's connections have, 0 if it has none.
func states(p ipvs.Protocol) uint16 {
	switch p {
	case ipvs.TCP:
		return uint16(conntrack.TCPSynACK) + 1
	case ipvs.SCTP:
		return uint16(conntrack.SCTPClosed) + 1
	case ipvs.UDP, protoAH, protoESP:
		return 1
	}
	return 0
}

// Protocols without ports of their own (ipvs.md 2.2).
const (
	protoESP ipvs.Protocol = 50
	protoAH  ipvs.Protocol = 51
)

func (b *Backup) lookup(now clock.Instant, e *Entry) bool {
	if e.Template() {
		b.spec = conntrack.Spec{
			Protocol: e.Protocol, Template: true, Client: e.Client, Virtual: e.Virtual, PEName: e.PEName, PEData: e.PEData,
		}
		return b.Table.FindTemplate(now, &b.spec, &b.conn)
	}
	return b.Table.LookupIn(now, e.Protocol, e.Client, e.Virtual, &b.conn)
}

// rebind looks for the real server of an entry that was told of when there was
// none here. If there is one now, the entry makes way for one that is bound.
func (b *Backup) rebind(now clock.Instant, e *Entry) bool {
	return b.Find(e) != nil && b.Table.Expire(now, b.conn.Ref)
}

// insert makes a new entry, bound to its real server if that is known here.
func (b *Backup) insert(now clock.Instant, e *Entry, u *conntrack.Update) conntrack.Result {
	b.spec = conntrack.Spec{
		Protocol: e.Protocol, Client: e.Client, Virtual: e.Virtual, Real: e.Real, Method: e.Method,
		Server: b.Find(e), Mark: e.Mark, Template: e.Template(), State: u.State, Timeout: u.Timeout,
		Flags: e.Flags & (conntrack.FlagSync | conntrack.FlagNoCPort),
		InSeq: e.InSeq, OutSeq: e.OutSeq, PEName: e.PEName, PEData: e.PEData,
	}
	if b.spec.Server != nil {
		b.spec.Method = b.spec.Server.Method()
	}
	if !u.Inactive {
		b.spec.Flags |= conntrack.FlagActive
	}
	return b.Table.Insert(now, &b.spec, &b.conn)
}

// timeout is how long the entry is to last from now.
func (b *Backup) timeout(e *Entry) time.Duration {
	if e.Timeout != 0 {
		return time.Duration(e.Timeout) * time.Second
	}
	if !e.Template() {
		c := conntrack.Conn{Protocol: e.Protocol, State: uint8(e.State)}
		if d := b.Table.StateTimeout(&c); d != 0 {
			return d
		}
	}
	return otherTimeout
}

// resequence takes over what a helper on the other director did to the lengths
// of packets.
func (b *Backup) resequence(e *Entry) {
	if !e.Seq || b.conn.InSeq == e.InSeq && b.conn.OutSeq == e.OutSeq {
		return
	}
	b.conn.InSeq, b.conn.OutSeq = e.InSeq, e.OutSeq
	b.Table.StoreApp(&b.conn)
}
