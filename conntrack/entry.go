package conntrack

import (
	"sync/atomic"
	"time"

	"usvs/clock"
)

// entry is a connection or template: one cache line of atomic words and no
// pointer, with all that a packet of an IPv4 connection needs. What few
// entries have stands elsewhere: IPv6 addresses in a record of wide, the
// controller and a mark in kin. Which words may change when is among the
// package's invariants.
type entry struct {
	hash  atomic.Uint64 // of its key
	ctl   atomic.Uint64 // control
	meta  atomic.Uint64 // meta
	pair  atomic.Uint64 // virtual and client address, if IPv4
	place atomic.Uint64 // place
	ends  atomic.Uint64 // expiry
	usage atomic.Uint64 // usage
	timer atomic.Uint64 // timerWord: of the slot, not of the incarnation
}

// control is an entry's control word: generation 28, entries controlled 24,
// state 4, flags 6, life 2.
type control uint64

const (
	lifeMask control = 3
	dead     control = 0
	embryo   control = 1 // about to live, unless somebody else with that key kills it
	alive    control = 2

	ctlInactive control = 1 << 2
	ctlNoOutput control = 1 << 3
	ctlInvalid  control = 1 << 4 // a template nobody finds any more
	ctlTemplate control = 1 << 5
	ctlNoCPort  control = 1 << 6 // the client's port is not known yet
	ctlSync     control = 1 << 7 // learned from another director

	stateShift           = 8
	stateMask    control = 15 << stateShift
	oneChild     control = 1 << 12
	childrenMask control = (genUnit - 1) &^ (oneChild - 1)
	genShift             = 36
	genUnit      control = 1 << genShift
	genMask              = 1<<28 - 1
	maxEntries           = 1 << 26 // what 26 bits of a Ref can name
	mostItems            = maxEntries - maxEntries/chunkSize - 2
)

func (c control) gen() uint64                 { return uint64(c >> genShift) }
func (c control) life() control               { return c & lifeMask }
func (c control) has(flag control) bool       { return c&flag != 0 }
func (c control) state() uint8                { return uint8(c & stateMask >> stateShift) }
func (c control) controls() bool              { return c&childrenMask != 0 }
func (c control) with(s uint8) control        { return c&^stateMask | control(s)<<stateShift }
func (c control) living(life control) control { return c&^lifeMask | life }

// is reports whether c is the living incarnation gen.
func (c control) is(gen uint64) bool { return c.life() == alive && c.gen() == gen }

// Ref names one incarnation of an entry. The zero Ref names none.
type Ref struct{ word uint64 }

func makeRef(i uint32, gen uint64) Ref { return Ref{gen<<32 | uint64(i)} }
func (r Ref) index() uint32            { return uint32(r.word) }
func (r Ref) gen() uint64              { return r.word >> 32 }

// IsZero reports whether r names no entry.
func (r Ref) IsZero() bool { return r.word == 0 }

// place is what an entry leads to: the real server's IPv4 address, or the number
// of the record with its IPv6 addresses, 32; has kin 1.
type place uint64

const placeKin place = 1

func makePlace(real uint32) place { return place(real) << 32 }
func (p place) real() uint32      { return uint32(p >> 32) } // or of which record

// ExpiryUnit is how finely the ends of entries are told apart.
const ExpiryUnit = tick

// expiry is when an entry ends, in ticks (38 bits: 87 years), with the low bits
// of the generation (11), so that a late swap misses the entry's next
// incarnation, and the closed bit: the time has come, nobody may move it on.
// Along goes the timeout (14) it was moved on by.
type expiry uint64

const (
	expiryClosed      expiry = 1 << 63
	expiryGenBits            = 11
	expiryGenShift           = 52
	expiryTicks              = 1<<38 - 1
	expiryTimeoutBits        = 14
	expiryTimeout     expiry = 1<<expiryTimeoutBits - 1
)

// makeExpiry rounds up, so that nothing ends early.
func makeExpiry(gen uint64, at clock.Instant, timeout expiry) expiry {
	return expiry(gen&(1<<expiryGenBits-1))<<expiryGenShift | expiry(min(dueTick(at), expiryTicks))<<expiryTimeoutBits | timeout
}

func (x expiry) tick() uint64      { return uint64(x >> expiryTimeoutBits & expiryTicks) }
func (x expiry) at() clock.Instant { return tickInstant(x.tick()) }
func (x expiry) closed() bool      { return x&expiryClosed != 0 }
func (x expiry) of(gen uint64) bool {
	return x&^expiryClosed>>expiryGenShift == expiry(gen&(1<<expiryGenBits-1))
}

// open reports whether x is that of incarnation gen, and not closed.
func (x expiry) open(gen uint64) bool {
	return x>>expiryGenShift == expiry(gen&(1<<expiryGenBits-1))
}

func (x expiry) over(now clock.Instant) bool { return x.closed() || x.tick() <= nowTick(now) }

// A timeout beside an expiry is whole seconds up to 4.5 hours; oddTimeout says
// that it is another one, which stands in kin.
const oddTimeout = expiryTimeout

func shortTimeout(d time.Duration) (expiry, bool) {
	secs := uint64(d / time.Second)
	return expiry(secs), secs < uint64(oddTimeout) && time.Duration(secs)*time.Second == d
}

// usage is the packets from the client (32), the real server's index in the
// registry (22), and the low bits of the generation (10).
type usage uint64

const (
	usageGenBits  = 10
	usageGenShift = 54
	usageServers  = 1<<22 - 1
)

func makeUsage(gen uint64, server, packets uint32) usage {
	return usage(gen&(1<<usageGenBits-1))<<usageGenShift | usage(server)<<32 | usage(packets)
}
func (u usage) packets() uint32           { return uint32(u) }
func (u usage) server() uint32            { return uint32(u >> 32 & usageServers) }
func (u usage) of(gen uint64) bool        { return u>>usageGenShift == usage(gen&(1<<usageGenBits-1)) }
func (u usage) with(packets uint32) usage { return u&^(1<<32-1) | usage(packets) }

// stamped is a value of 36 bits under the generation it belongs to.
func stamped(gen, v uint64) uint64 { return gen<<36 | v }
func stampOf(w uint64) uint64      { return w >> 36 }
func unstamp(w uint64) uint64      { return w & (1<<36 - 1) }

// kin is what few entries have: a controller, a mark, a timeout that is not
// short. It is made in chunks where first needed.
type kin struct {
	controller atomic.Uint64 // Ref
	timeout    atomic.Uint64 // stamped: ticks
	mark       atomic.Uint32
}

// controllerOf and markOf are those of what entry i is.
func (t *Table) controllerOf(i uint32, p place) Ref {
	if k := t.kinOf(i, p); k != nil {
		return Ref{k.controller.Load()}
	}
	return Ref{}
}

func (t *Table) markOf(i uint32, p place) uint32 {
	if k := t.kinOf(i, p); k != nil {
		return k.mark.Load()
	}
	return 0
}

func (t *Table) kinOf(i uint32, p place) *kin {
	if p&placeKin == 0 {
		return nil
	}
	return t.kin.peek(i)
}

// timeoutOf is the timeout beside an expiry of entry i.
func (t *Table) timeoutOf(i uint32, x expiry) time.Duration {
	if code := x & expiryTimeout; code != oddTimeout {
		return time.Duration(code) * time.Second
	}
	if k := t.kin.peek(i); k != nil {
		return tickSpan(unstamp(k.timeout.Load()))
	}
	return 0 // it ended long ago
}

// expiryAfter is the expiry of incarnation gen of entry i in timeout from now.
// A timeout that does not fit beside it is noted first.
func (t *Table) expiryAfter(i uint32, gen uint64, now clock.Instant, timeout time.Duration) expiry {
	code, short := shortTimeout(timeout)
	if !short {
		code = oddTimeout
		t.noteTimeout(i, gen, timeout)
	}
	return makeExpiry(gen, now.Add(timeout), code)
}

// noteTimeout notes a timeout in kin, unless gen is over.
func (t *Table) noteTimeout(i uint32, gen uint64, timeout time.Duration) {
	k := t.kin.at(i)
	for {
		old := k.timeout.Load()
		to := stamped(gen, dueTick(clock.Instant(timeout)))
		if old == to || stampOf(old) != gen && !newer(gen, stampOf(old)) && old != 0 {
			return
		}
		step("entry: timeout")
		if k.timeout.CompareAndSwap(old, to) {
			return
		}
	}
}

// pairOf packs two IPv4 addresses, the virtual one first, as entries are
// ordered by it.
func pairOf(virtual, client addr) uint64 { return virtual.lo<<32 | client.lo }

// wide has the addresses of an entry with an IPv6 address.
type wide struct {
	client, virtual, real struct{ hi, lo atomic.Uint64 }
	_                     [2]uint64
}

func (w *wide) store(client, virtual, real addr) {
	w.client.hi.Store(client.hi)
	w.client.lo.Store(client.lo)
	w.virtual.hi.Store(virtual.hi)
	w.virtual.lo.Store(virtual.lo)
	w.real.hi.Store(real.hi)
	w.real.lo.Store(real.lo)
}

// pair is that of e's virtual and client address, if they are of IPv4. It may be
// torn, like addrs.
func (t *Table) pair(e *entry, m meta) uint64 {
	if !m.has(metaRealV6) {
		return e.pair.Load()
	}
	client, virtual, _ := t.addrs(e, m)
	return pairOf(virtual, client)
}

// addrs are e's addresses. They may be torn, and are of no use then: their
// reader looks at the generation afterwards.
func (t *Table) addrs(e *entry, m meta) (client, virtual, real addr) {
	client.v6, virtual.v6, real.v6 = m.has(metaClientV6), m.has(metaVirtV6), m.has(metaRealV6)
	p := place(e.place.Load())
	if !m.has(metaWide) {
		pair := e.pair.Load()
		client.lo, virtual.lo, real.lo = uint64(uint32(pair)), pair>>32, uint64(p.real())
		return client, virtual, real
	}
	w := t.wide.at(p.real())
	if w == nil {
		return client, virtual, real
	}
	client.hi, client.lo = w.client.hi.Load(), w.client.lo.Load()
	virtual.hi, virtual.lo = w.virtual.hi.Load(), w.virtual.lo.Load()
	real.hi, real.lo = w.real.hi.Load(), w.real.lo.Load()
	return client, virtual, real
}
