package conntrack

import (
	"math/bits"
	"sync/atomic"
)

// segment is a part of a shard's buckets: the first ones, or those that a
// doubling added.
type segment []line

// maxSegments is enough for whatever bits.Len32 says.
const maxSegments = 33

// shard is a part of the index, and of the timers.
type shard struct {
	id       uint32
	bits     int    // of a hash that choose the shard
	first    int    // how many bits a number in the first segment has
	max      uint32 // buckets
	segments [maxSegments]atomic.Pointer[segment]

	_      [64]byte
	growth atomic.Uint64 // extent
	turn   atomic.Uint32 // which bucket is split next
	_      [64]byte
	count  atomic.Int64 // entries alive
	_      [64]byte
	wheel  wheel
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
func (s *shard) init(id uint32, shards int, buckets, most uint32) {
	s.id, s.bits = id, bits.TrailingZeros(uint(shards))
	s.max = 1 << bits.Len32(most-1)
	s.first = bits.Len32(buckets - 1)
	g := make(segment, buckets)
	for i := range g {
		g[i].meta.Store(uint64(lineWhole))
	}
	s.segments[0].Store(&g)
	s.growth.Store(uint64(makeExtent(buckets, buckets/2)))
}

// segment is where bucket b's segment hangs.
func (s *shard) segment(b uint32) *atomic.Pointer[segment] {
	return &s.segments[bits.Len32(b>>(s.first&31))]
}

// line is bucket b. A segment's length is a power of two, as is the number of
// its first bucket.
func (s *shard) line(b uint32) *line {
	g := *s.segment(b).Load()
	return &g[b&uint32(len(g)-1)]
}

// bucketOf is the number of hash's bucket among size, by bits above those that
// choose the shard.
func (s *shard) bucketOf(hash uint64, size uint32) uint32 {
	return uint32(hash) >> (s.bits & 31) & (size - 1)
}

func (s *shard) bucket(hash uint64) *line { return s.line(s.bucketOf(hash, s.size())) }

// parent is the bucket from which b, which is not 0, was split.
func parent(b uint32) uint32 { return b &^ (1 << (bits.Len32(b) - 1)) }
