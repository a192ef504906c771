package sched

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"usvs/ipvs"
)

const (
	mhSize     = 4093 // slots, prime
	mhTurnBits = 6    // turns per visit stay below 1<<mhTurnBits
	mhKey1     = 2654435761
	mhKey2     = 2654446892
)

// mh is Maglev hashing: a table indexed by the client's address, with the port
// if the service says so, that changes little when servers come and go.
//
// The table is made on the first Schedule after a change, so that loading a
// service of thousands of servers costs one table and not thousands.
type mh struct {
	servers []*ipvs.RealServer // as last updated
	stale   bool               // the table does not show servers yet

	owners []*ipvs.RealServer // what table refers to
	table  []uint16           // index into owners by slot; mhSize long, or empty
	turns  []mhTurn           // scratch of populate, as long as owners
}

// mhTurn is how one server takes part in filling the table.
type mhTurn struct {
	slot, skip uint32 // where its permutation stands, and the step to the next
	count      int32  // slots it takes per visit
}

// Schedule returns the server of the client's slot; if that is not usable, the
// first usable one of the fallback's probes, if the service wants one.
func (s *mh) Schedule(req *Request) *ipvs.RealServer {
	if s.stale {
		s.populate()
	}
	if len(s.table) == 0 {
		return nil
	}
	key := uint32(hashedPort(req)) + fold(req.Client)
	slot := mhHash(mhKey1, key) % mhSize
	if rs := s.owner(slot); rs != nil {
		return rs
	}
	if req.Flags&ipvs.FlagSched1 == 0 || !slices.ContainsFunc(s.owners, mhUsable) {
		return nil
	}
	for k := range uint32(mhSize) {
		if rs := s.owner(mhHash(mhKey1, (k+slot)%mhSize+key) % mhSize); rs != nil {
			return rs
		}
	}
	return nil
}

// owner returns the server that has the slot, or nil if it is not usable.
func (s *mh) owner(slot uint32) *ipvs.RealServer {
	if rs := s.owners[s.table[slot]]; mhUsable(rs) {
		return rs
	}
	return nil
}

// mhUsable asks for availability too: with more than mhSize servers the table
// stays as it was and may name deleted ones.
func mhUsable(rs *ipvs.RealServer) bool { return rs.Available() && usable(rs) }

// Update marks the table stale and makes room for the next one. A service
// that has more servers than slots keeps the table it had.
func (s *mh) Update(change Change, servers []*ipvs.RealServer, _ *ipvs.RealServer) error {
	if len(servers) > mhSize {
		if change == Bind {
			return fmt.Errorf("scheduler mh: %d servers, at most %d: %w", len(servers), mhSize, ipvs.ErrInvalid)
		}
		return nil
	}
	s.servers, s.stale = servers, true
	s.table = slices.Grow(s.table[:0], mhSize)
	s.turns = slices.Grow(s.turns[:0], len(servers))
	return nil
}

// populate fills the table: in turn, each server takes its next free slots in
// the order of its own permutation.
func (s *mh) populate() {
	s.stale = false
	s.owners, s.table = s.servers, s.table[:0]
	if !s.deal() {
		return
	}
	s.table = s.table[:mhSize]
	var taken [mhSize]bool
	for left := mhSize; ; {
		for i := range s.turns {
			t := &s.turns[i]
			for range t.count {
				s.table[t.next(&taken)] = uint16(i)
				if left--; left == 0 {
					return
				}
			}
		}
	}
}

// next takes and returns the next free slot of the permutation, which begins
// with the initial slot itself; there must be one.
func (t *mhTurn) next(taken *[mhSize]bool) uint32 {
	for taken[t.slot] {
		if t.slot += t.skip; t.slot >= mhSize {
			t.slot -= mhSize
		}
	}
	taken[t.slot] = true
	return t.slot
}

// deal sets the turns of all servers, and reports whether anyone has one.
//
// They follow the last weight that was not 0: a quiesced server keeps its
// slots, so that its clients come back to it.
func (s *mh) deal() bool {
	var most, divisor int64
	for _, rs := range s.owners {
		w := int64(rs.LastWeight())
		most, divisor = max(most, w), gcd(divisor, w)
	}
	if divisor == 0 {
		return false
	}
	shift := max(0, bits.Len64(uint64(most/divisor))-mhTurnBits)
	s.turns = s.turns[:0]
	for _, rs := range s.owners {
		h := mhFold(rs) + uint32(rs.ID.Port)
		t := mhTurn{slot: mhHash(mhKey1, h) % mhSize, skip: mhHash(mhKey2, h)%(mhSize-1) + 1}
		if w := int64(rs.LastWeight()); w > 0 {
			t.count = int32(max(1, w/divisor>>shift))
		}
		s.turns = append(s.turns, t)
	}
	return true
}

// mhFold folds the server's address as one of its service's family: of an
// IPv6 server of an IPv4 service, that is the first word only.
func mhFold(rs *ipvs.RealServer) uint32 {
	if vs := rs.Service(); vs != nil && vs.ID.Family == ipvs.IPv4 && rs.ID.Addr.Is6() {
		b := rs.ID.Addr.As16()
		return binary.BigEndian.Uint32(b[:])
	}
	return fold(rs.ID.Addr)
}

// mhHash is the kernel's hsiphash on 64-bit machines, with both key words equal.
func mhHash(key uint64, x uint32) uint32 {
	return uint32(sipHash13(key, key, 4<<56|uint64(x)))
}
