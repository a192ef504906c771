package conntrack

import (
	"sync/atomic"
	"time"

	"usvs/clock"
)

// entry is a connection or template: two cache lines of atomic words and no
// pointer. The first line is what a search reads, the second what a packet
// changes. Which words may change when is among the package's invariants.
type entry struct {
	next                 atomic.Uint64 // link
	ctl                  atomic.Uint64 // control
	order                atomic.Uint64
	meta                 atomic.Uint64
	clientHi, clientLo   atomic.Uint64
	virtualHi, virtualLo atomic.Uint64

	expiry         atomic.Uint64 // expiry
	timer          atomic.Uint64 // timerWord: of the slot, not of the incarnation
	timeout        atomic.Uint64 // stamped: milliseconds
	usage          atomic.Uint64 // stamped: packets from the client
	realHi, realLo atomic.Uint64
	server         atomic.Uint64 // index in the registry, mark
	controller     atomic.Uint64 // Ref
}

// control is an entry's control word: generation 28, entries controlled 24,
// state 4, flags 6, life 2.
type control uint64

const (
	lifeMask control = 3
	dead     control = 0
	embryo   control = 1 // linked or about to be; whoever finds it makes it alive
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

// expiry is when an entry ends, in microseconds (52 bits: 142 years), with the
// low bits of the generation (11), so that a late swap misses the entry's next
// incarnation, and the closed bit: the time has come, nobody may move it on.
type expiry uint64

const (
	expiryClosed  expiry = 1 << 63
	expiryGenBits        = 11
	expiryBits           = 52
	expiryUnit           = time.Microsecond
	expiryMask    expiry = 1<<expiryBits - 1
)

// expiryAt rounds up, so that nothing ends early.
func expiryAt(gen uint64, at clock.Instant) expiry {
	at = min(max(at, 0), clock.Instant(expiryMask)*clock.Instant(expiryUnit))
	us := expiry(at+clock.Instant(expiryUnit)-1) / expiry(expiryUnit)
	return expiry(gen&(1<<expiryGenBits-1))<<expiryBits | us
}

func (x expiry) at() clock.Instant { return clock.Instant(x&expiryMask) * clock.Instant(expiryUnit) }
func (x expiry) closed() bool      { return x&expiryClosed != 0 }
func (x expiry) of(gen uint64) bool {
	return x&^expiryClosed>>expiryBits == expiry(gen&(1<<expiryGenBits-1))
}
func (x expiry) over(now clock.Instant) bool { return x.closed() || x.at() <= now }

// stamped is a value of 36 bits under the generation it belongs to.
func stamped(gen, v uint64) uint64 { return gen<<36 | v }
func stampOf(w uint64) uint64      { return w >> 36 }
func unstamp(w uint64) uint64      { return w & (1<<36 - 1) }

// restamp replaces the value of w if it still belongs to gen.
func restamp(w *atomic.Uint64, gen, v uint64) {
	for {
		old := w.Load()
		if stampOf(old) != gen || unstamp(old) == v {
			return
		}
		step("entry: restamp")
		if w.CompareAndSwap(old, stamped(gen, v)) {
			return
		}
	}
}
