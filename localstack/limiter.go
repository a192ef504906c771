package localstack

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"sync/atomic"
	"time"

	"usvs/clock"
)

// Limits are the kernel's ICMP rate limits; a zero field means its default.
type Limits struct {
	PerSecond int           // icmp_msgs_per_sec: all errors together; default 1000
	Burst     int           // icmp_msgs_burst; default 50
	PerTarget time.Duration // icmp_ratelimit: between errors to one host; default 1 s
	Seed      uint64        // of the hash over targets
}

const (
	refillMillis = 20 // the common bucket is refilled no more often (icmp_global_allow)
	targetBurst  = 6  // errors to one host in a row (inet_peer_xrlim_allow)
	targetSlots  = 4096

	creditBits = 20
	tagBits    = 20
)

// Limiter decides how many ICMP errors are sent, as the kernel does: a token
// bucket for all and one per target. Targets share slots by hash and take
// them over from each other, so memory is bounded and a collision errs on the
// side of sending; the common bucket still holds. Packet too big and
// fragmentation needed are never limited. Safe for concurrent use.
type Limiter struct {
	limits Limits
	common atomic.Uint64 // milliseconds of the last refill << creditBits | credit
	// targets: the millisecond at which a target's bucket will be full << tagBits | hash
	targets [targetSlots]atomic.Uint64
}

// NewLimiter returns a Limiter with full buckets.
func NewLimiter(l Limits) *Limiter {
	if l.PerSecond <= 0 {
		l.PerSecond = 1000
	}
	if l.Burst <= 0 {
		l.Burst = 50
	}
	if l.PerTarget <= 0 {
		l.PerTarget = time.Second
	}
	l.Burst = min(l.Burst, 1<<creditBits-1)
	m := &Limiter{limits: l}
	m.common.Store(uint64(l.Burst))
	return m
}

// Allow reports whether an error may be sent to the target now, and counts it.
func (l *Limiter) Allow(now clock.Instant, target netip.Addr) bool {
	ms := uint64(max(now, 0)) / uint64(time.Millisecond)
	return l.takeCommon(ms, 0) && l.takeTarget(ms, target) && l.takeCommon(ms, 1)
}

// takeCommon refills the common bucket and takes n errors out of it, if it is
// not empty.
func (l *Limiter) takeCommon(ms, n uint64) bool {
	for {
		old := l.common.Load()
		stamp, credit := old>>creditBits, old&(1<<creditBits-1)
		if delta := min(max(ms, stamp)-stamp, 1000); delta >= refillMillis {
			if more := uint64(l.limits.PerSecond) * delta / 1000; more > 0 {
				stamp, credit = ms, min(credit+more, uint64(l.limits.Burst))
			}
		}
		if credit == 0 {
			return false
		}
		if l.common.CompareAndSwap(old, stamp<<creditBits|credit-n) {
			return true
		}
	}
}

// takeTarget takes an error out of the target's bucket. The time at which the
// bucket will be full says how much is in it: every error puts it off by one
// interval, and it may lie at most targetBurst of them ahead.
func (l *Limiter) takeTarget(ms uint64, target netip.Addr) bool {
	interval := max(uint64(l.limits.PerTarget/time.Millisecond), 1)
	h := l.hash(target)
	slot, tag := &l.targets[h%targetSlots], h>>(64-tagBits)
	for {
		old := slot.Load()
		full := ms
		if old&(1<<tagBits-1) == tag {
			full = max(old>>tagBits, ms)
		}
		if full-ms > (targetBurst-1)*interval {
			return false
		}
		if slot.CompareAndSwap(old, (full+interval)<<tagBits|tag) {
			return true
		}
	}
}

func (l *Limiter) hash(a netip.Addr) uint64 {
	b := a.As16()
	hi, lo := bits.Mul64(
		l.limits.Seed^binary.LittleEndian.Uint64(b[:8])^0x9e3779b97f4a7c15,
		binary.LittleEndian.Uint64(b[8:])^0xbf58476d1ce4e5b9)
	return hi ^ lo
}
