package conntrack

import (
	"math/bits"
	"sync/atomic"
)

// rack is a piece of a shard's buckets. All are of one size, so that finding a
// bucket's takes few instructions.
type rack [rackLines]line

const rackLines = 1 << rackBits

// shard is a part of the index.
type shard struct {
	id    uint32
	max   uint32                 // buckets
	racks []atomic.Pointer[rack] // room for that many

	_      [64]byte
	growth atomic.Uint64 // extent
	turn   atomic.Uint32 // which bucket is split next
	_      [64]byte
	count  atomic.Int64 // entries alive, but for what portions have yet to add
	_      [64]byte
}

// extent is how many buckets a shard has, a power of two, 32; how many of those
// that the last doubling added are whole 32.
type extent uint64

func makeExtent(size, whole uint32) extent { return extent(size)<<32 | extent(whole) }
func (x extent) size() uint32              { return uint32(x >> 32) }
func (x extent) settled() bool             { return uint32(x) == x.size()/2 }

func (s *shard) extent() extent { return extent(s.growth.Load()) }
func (s *shard) size() uint32   { return s.extent().size() }

// init gives the shard its first buckets.
func (s *shard) init(id, buckets, most uint32) {
	s.id = id
	s.max = 1 << bits.Len32(most-1)
	s.racks = make([]atomic.Pointer[rack], racksOf(s.max))
	s.addRacks(buckets)
	for b := range buckets {
		s.line(b).meta.Store(uint64(lineWhole))
	}
	s.growth.Store(uint64(makeExtent(buckets, buckets/2)))
}

// racksOf is how many racks so many buckets take.
func racksOf(buckets uint32) uint32 { return (buckets + rackLines - 1) / rackLines }

// addRacks makes those of the racks for so many buckets that are not there.
func (s *shard) addRacks(buckets uint32) {
	for i := range s.racks[:racksOf(buckets)] {
		if s.racks[i].Load() == nil {
			step("shard: rack")
			s.racks[i].CompareAndSwap(nil, new(rack))
		}
	}
}

// line is bucket b.
func (s *shard) line(b uint32) *line {
	r := s.racks[b>>rackBits].Load()
	if r == nil {
		panic("conntrack: bucket without a rack")
	}
	return &r[b&(rackLines-1)]
}

// bucketOf is the number of hash's bucket among size.
func bucketOf(hash uint64, size uint32) uint32 { return uint32(hash) & (size - 1) }

func (s *shard) bucket(hash uint64) *line { return s.line(bucketOf(hash, s.size())) }

// parent is the bucket from which b, which is not 0, was split.
func parent(b uint32) uint32 { return b &^ (1 << (bits.Len32(b) - 1)) }
