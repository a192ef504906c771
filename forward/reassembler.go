package forward

import (
	"sync"
	"sync/atomic"
	"time"

	"usvs/clock"
	"usvs/wire"
)

// How long a datagram's first fragment waits for the others, as in Linux.
const (
	timeoutIPv4 = 30 * time.Second
	timeoutIPv6 = 60 * time.Second // RFC 8200 4.5
)

// Limits bound a Reassembler; zero means the default.
type Limits struct {
	Datagrams int // incomplete datagrams held at a time; default 1024
	Bytes     int // memory for their data; default 4 MiB
}

const (
	defaultDatagrams = 1024
	defaultBytes     = 4 << 20
	shardCount       = 8
)

// FragmentDrop says why a Reassembler dropped a fragment, or with it the whole
// datagram it belonged to.
type FragmentDrop uint8

const (
	DropDuplicate    FragmentDrop = iota // fragment: all of it was here already
	DropMalformed                        // fragment, with IPv4 the datagram: no data
	DropHeader                           // fragment: headers longer than a datagram's room for them
	DropTooLong                          // datagram: it would be longer than IP allows, or than the frame for it
	DropOverlap                          // datagram: fragments overlap (RFC 5722)
	DropInconsistent                     // fragment, with IPv4 the datagram: fragments disagree on where it ends
	DropECN                              // datagram: some of it ECN-capable, some not (RFC 3168 5.3)
	DropHoles                            // datagram: in more pieces apart than are kept track of
	DropTimeout                          // datagram: a fragment did not come in time
	DropEvicted                          // datagram: the oldest, when there was no room for another
	DropUneven                           // datagram, IPv6: a fragment, not the last, and no multiple of 8 bytes
	fragmentDrops                        // how many there are
	accepted                             // no reason
)

var fragmentDropText = [...]string{
	"fragment_duplicate", "fragment_malformed", "fragment_header", "datagram_too_long",
	"datagram_overlap", "datagram_inconsistent", "datagram_ecn", "datagram_holes",
	"datagram_timeout", "datagram_evicted", "datagram_uneven",
}

// String is the reason as a counter's name.
func (d FragmentDrop) String() string { return fragmentDropText[d] }

// ReassemblyStats is what happened to fragments so far.
type ReassemblyStats struct {
	Fragments   uint64 // given to Add
	Reassembled uint64 // datagrams completed
	Drops       [fragmentDrops]uint64
}

// Reassembler puts fragments together. It is shared by all workers, because
// the fragments of a datagram may arrive at different ones. Its memory is
// allocated at once and bounded; it knows the time only from its callers, so
// the same calls give the same results.
//
// A datagram belongs to one shard by a seeded hash of its addresses and
// identification. Each shard has its own mutex, slots and blocks.
type Reassembler struct {
	shards      [shardCount]shard
	seed        uint64
	fragments   atomic.Uint64
	reassembled atomic.Uint64
	drops       [fragmentDrops]atomic.Uint64
}

// NewReassembler returns an empty Reassembler. The seed keeps outsiders from
// choosing which shard their fragments fill.
func NewReassembler(l Limits, seed uint64) *Reassembler {
	if l.Datagrams <= 0 {
		l.Datagrams = defaultDatagrams
	}
	if l.Bytes <= 0 {
		l.Bytes = defaultBytes
	}
	r := &Reassembler{seed: seed}
	for i := range r.shards {
		// A shard holds at least one datagram of the largest size.
		r.shards[i].init(r, max(1, l.Datagrams/shardCount), max(blocksPerDatagram, l.Bytes/blockSize/shardCount))
	}
	return r
}

// Outcome is what became of a fragment given to Add.
type Outcome uint8

const (
	Dropped  Outcome = iota // and counted
	Kept                    // it waits for the others
	Complete                // it was the last one missing
	Alone                   // no datagram can come of it, and it is to be handled as it is
)

// Add takes the fragment p, a copy of which it keeps; f and p stay as they
// are. When the datagram is complete, Add writes it to out: with the link
// header, IP header and metadata of its first fragment, and with FragSize,
// Pieces and FragID set. out is to be parsed anew. An IPv6 datagram has no
// fragment header any more.
//
// A fragment that adds nothing is dropped alone; one that contradicts what is
// there may take the datagram with it. IPv6 fragments that Linux does not put
// together but handles one by one, because the headers are not all in the first
// or by their lengths, are Alone.
func (r *Reassembler) Add(now clock.Instant, f *wire.Frame, p *wire.Packet, out *wire.Frame) Outcome {
	r.fragments.Add(1)
	var fr fragment
	why := fr.read(f, p, r.seed)
	switch {
	case why != accepted:
		return r.drop(why)
	case p.Headless():
		return Alone
	}
	s := &r.shards[fr.hash%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(now, &fr, out)
}

// Lapsed is told of datagrams whose time is up.
type Lapsed interface {
	// New returns an empty frame for a first fragment, or nil.
	New() *wire.Frame
	// Lapsed is called with the first fragment, as it came, of a datagram that
	// never became complete: its sender is to be told (RFC 792, RFC 8200 4.5).
	Lapsed(first *wire.Frame)
}

// Deadline is when Tick will have something to do, or Never.
func (r *Reassembler) Deadline() clock.Instant {
	next := clock.Never
	for i := range r.shards {
		next = next.Min(clock.Instant(r.shards[i].deadline.Load()))
	}
	return next
}

// Tick drops what timed out, tells l of it unless l is nil, and returns when
// something next will, or Never. Add drops what timed out in the shard it comes
// to, too, but tells nobody: call Tick first when Deadline has come.
func (r *Reassembler) Tick(now clock.Instant, l Lapsed) clock.Instant {
	next := clock.Never
	for i := range r.shards {
		s := &r.shards[i]
		for s.due(now) {
			s.lapse(now, l)
		}
		next = next.Min(clock.Instant(s.deadline.Load()))
	}
	return next
}

// Stats reads the counters.
func (r *Reassembler) Stats() ReassemblyStats {
	st := ReassemblyStats{Fragments: r.fragments.Load(), Reassembled: r.reassembled.Load()}
	for i := range r.drops {
		st.Drops[i] = r.drops[i].Load()
	}
	return st
}

func (r *Reassembler) drop(why FragmentDrop) Outcome {
	r.drops[why].Add(1)
	return Dropped
}

// shard is a part of a Reassembler that is locked as a whole. Data lives in
// blocks of one size, so that many small datagrams and few large ones share
// the same memory without gaps.
type shard struct {
	r        *Reassembler
	deadline atomic.Int64 // of the first datagram to time out, or earlier; written with mu held

	mu sync.Mutex // guards everything below

	started uint64 // datagrams so far: tells which of two is older
	slots   []datagram
	keys    []slotKey // of slots: what a search reads
	data    []byte
	free    []uint16 // blocks
}

// slotKey is the part of a slot that is looked at for every fragment.
type slotKey struct {
	hash     uint64
	deadline clock.Instant
	started  uint64 // 0: the slot is free
}

func (s *shard) init(r *Reassembler, datagrams, blocks int) {
	blocks = min(blocks, 1<<16-1)
	s.r = r
	s.slots = make([]datagram, datagrams)
	s.keys = make([]slotKey, datagrams)
	s.data = make([]byte, blocks*blockSize)
	s.free = make([]uint16, blocks)
	s.deadline.Store(int64(clock.Never))
	for i := range s.free {
		s.free[i] = uint16(i)
	}
	for i := range s.slots {
		s.slots[i].slot = i
	}
}

// add is Add for the shard.
func (s *shard) add(now clock.Instant, fr *fragment, out *wire.Frame) Outcome {
	for s.due(now) {
		s.expire(now)
	}
	d := s.find(fr)
	if fr.p.Uneven() {
		if d != nil {
			s.release(d)
		}
		s.r.drop(DropUneven)
		return Alone
	}
	if d == nil {
		d = s.start(now, fr)
	}
	if why := s.insert(d, fr); why != accepted {
		if fr.spoils(why) {
			s.release(d)
		}
		return s.r.drop(why)
	}
	if !d.complete() {
		return Kept
	}
	why := s.write(d, out)
	s.release(d)
	if why != accepted {
		return s.r.drop(why)
	}
	s.r.reassembled.Add(1)
	return Complete
}

func (s *shard) due(now clock.Instant) bool {
	deadline := clock.Instant(s.deadline.Load())
	return deadline != clock.Never && !deadline.After(now)
}

// lapse drops the datagram that timed out first, and tells l, with the shard
// unlocked.
func (s *shard) lapse(now clock.Instant, l Lapsed) {
	s.mu.Lock()
	var first *wire.Frame
	if d := s.expired(now); d != nil && l != nil && d.first.here {
		if first = l.New(); first != nil && !s.writeFirst(d, first) {
			first = nil
		}
	}
	s.expire(now)
	s.mu.Unlock()
	if first != nil {
		l.Lapsed(first)
	}
}

// expire releases the datagram that timed out first, if one did, and looks for
// the next deadline.
func (s *shard) expire(now clock.Instant) {
	if d := s.expired(now); d != nil {
		s.r.drop(DropTimeout)
		s.release(d)
	}
	next := clock.Never
	for i := range s.keys {
		if k := &s.keys[i]; k.started != 0 {
			next = next.Min(k.deadline)
		}
	}
	s.deadline.Store(int64(next))
}

// expired returns the datagram that timed out first, or nil.
func (s *shard) expired(now clock.Instant) *datagram {
	first := -1
	for i := range s.keys {
		k := &s.keys[i]
		if k.started == 0 || k.deadline.After(now) {
			continue
		}
		if first < 0 || k.deadline < s.keys[first].deadline ||
			k.deadline == s.keys[first].deadline && k.started < s.keys[first].started {
			first = i
		}
	}
	if first < 0 {
		return nil
	}
	return &s.slots[first]
}

func (s *shard) find(fr *fragment) *datagram {
	for i := range s.keys {
		if k := &s.keys[i]; k.started != 0 && k.hash == fr.hash && s.slots[i].key == fr.key {
			return &s.slots[i]
		}
	}
	return nil
}

// start takes a free slot, or the oldest datagram's.
func (s *shard) start(now clock.Instant, fr *fragment) *datagram {
	slot := s.freeSlot()
	if slot < 0 {
		slot = s.evict(-1)
	}
	timeout := timeoutIPv4
	if fr.key.version == 6 {
		timeout = timeoutIPv6
	}
	s.started++
	deadline := now.Add(timeout)
	s.keys[slot] = slotKey{hash: fr.hash, deadline: deadline, started: s.started}
	s.deadline.Store(int64(deadline.Min(clock.Instant(s.deadline.Load()))))
	d := &s.slots[slot]
	d.reset(fr.key)
	return d
}

func (s *shard) freeSlot() int {
	for i := range s.keys {
		if s.keys[i].started == 0 {
			return i
		}
	}
	return -1
}

// evict drops the oldest datagram but the one in slot keep and returns its
// slot, or -1 if there is none.
func (s *shard) evict(keep int) int {
	oldest := -1
	for i := range s.keys {
		if st := s.keys[i].started; st != 0 && i != keep &&
			(oldest < 0 || st < s.keys[oldest].started) {
			oldest = i
		}
	}
	if oldest >= 0 {
		s.r.drop(DropEvicted)
		s.release(&s.slots[oldest])
	}
	return oldest
}

// release frees a datagram's slot and blocks.
func (s *shard) release(d *datagram) {
	for i, b := range d.blocks {
		if b != 0 {
			s.free = append(s.free, b-1)
			d.blocks[i] = 0
		}
	}
	s.keys[d.slot] = slotKey{}
}

// reserve makes sure that d has the blocks for its bytes from to end, at the
// expense of older datagrams. A shard has blocks for one datagram of any size.
func (s *shard) reserve(d *datagram, from, end int) {
	for i := from / blockSize; i*blockSize < end; i++ {
		if d.blocks[i] != 0 {
			continue
		}
		for len(s.free) == 0 {
			s.evict(d.slot)
		}
		last := len(s.free) - 1
		d.blocks[i] = s.free[last] + 1
		s.free = s.free[:last]
	}
}

// block is where d's bytes from off to the end of their block are.
func (s *shard) block(d *datagram, off int) []byte {
	at := (int(d.blocks[off/blockSize]) - 1) * blockSize
	return s.data[at+off%blockSize : at+blockSize]
}
