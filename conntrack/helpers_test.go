package conntrack

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"usvs/clock"
	"usvs/ipvs"
)

// t0 is when tests begin.
const t0 = clock.Instant(time.Hour)

func at(d time.Duration) clock.Instant { return t0.Add(d) }

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// servers registers n real servers 10.0.0.1:80, 10.0.0.2:80, ...
func servers(n int, m ipvs.ForwardMethod) (*ipvs.Registry, []*ipvs.RealServer) {
	reg := new(ipvs.Registry)
	var all []*ipvs.RealServer
	for i := range n {
		id := ipvs.ServerID{Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i + 1)}), Port: 80}
		rs := ipvs.NewRealServer(id, nil, ipvs.ServerSpec{Method: m, Weight: 1})
		reg.Add(rs)
		all = append(all, rs)
	}
	return reg, all
}

func serverAddr(rs *ipvs.RealServer) netip.AddrPort {
	return netip.AddrPortFrom(rs.ID.Addr, rs.ID.Port)
}

var testVIP = ap("10.9.0.1:80")

// client is the n-th of many clients.
func client(n int) netip.AddrPort {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 0xc0000000+uint32(n/60000))
	return netip.AddrPortFrom(netip.AddrFrom4(b), uint16(1024+n%60000))
}

func tcpSpec(n int, rs *ipvs.RealServer) *Spec {
	return &Spec{
		Protocol: ipvs.TCP, Client: client(n), Virtual: testVIP, Real: serverAddr(rs),
		Method: rs.Method(), Server: rs,
	}
}

func templateSpec(n int, rs *ipvs.RealServer, timeout time.Duration) *Spec {
	spec := tcpSpec(n, rs)
	spec.Client, spec.Template, spec.Timeout = masked(spec.Client), true, timeout
	spec.Virtual = netip.AddrPortFrom(testVIP.Addr(), uint16(n))
	return spec
}

// drainTicks calls Tick until nothing more is due, and returns the next deadline.
func drainTicks(t *Table, now clock.Instant, budget int) clock.Instant {
	for {
		if next := t.Tick(now, budget); next > now {
			return next
		}
	}
}

// checkEmpty ends everything in t and verifies that nothing was lost on the
// way: entries, records, counts.
func checkEmpty(tb testing.TB, t *Table, now clock.Instant, all []*ipvs.RealServer) {
	tb.Helper()
	drainTicks(t, now, 1<<20)
	now = now.Add(tick) // for those whose time was over when they came
	for i := 0; ; i++ {
		next := drainTicks(t, now, 1<<20)
		if n := overdue(t, now); n != 0 {
			tb.Fatalf("%d entries should have ended by %v", n, now)
		}
		if next == clock.Never {
			break
		}
		if i > 10000 {
			tb.Fatalf("still a deadline at %v after %d ticks, %d entries", next, i, t.Len())
		}
		now = next
	}
	if n := t.Len(); n != 0 {
		tb.Fatalf("%d entries left", n)
	}
	for _, rs := range all {
		if rs.Active() != 0 || rs.Inactive() != 0 || rs.Persistent() != 0 {
			tb.Fatalf("server %v: active %d inactive %d persistent %d", rs.ID, rs.Active(), rs.Inactive(), rs.Persistent())
		}
	}
	if msg := lost(t); msg != "" {
		tb.Fatal(msg)
	}
}

// overdue counts entries that should have ended, after a Tick at now. What
// controlled others when its time came may end a tick later.
func overdue(t *Table, now clock.Instant) int {
	n := 0
	for i := uint32(1); i <= t.entries.highest(); i++ {
		e := t.entries.at(i)
		if e == nil {
			continue
		}
		ctl := control(e.ctl.Load())
		due, ok := e.wake()
		if ok && !ctl.controls() && due < nowTick(now) && timerWord(e.timer.Load()).records() < maxRecords {
			n++
		}
	}
	return n
}

// lost compares what was ever taken from the pools with their free lists. The
// table must be empty and nobody in it.
func lost(t *Table) string {
	if free, used := freeItems(t.entries), given(t.entries); free != used {
		return fmt.Sprintf("%d of %d entries are free", free, used)
	}
	if free, used := freeItems(t.records), given(t.records); free != used {
		return fmt.Sprintf("%d of %d timer records are free", free, used)
	}
	if free, used := freeItems(t.wide), given(t.wide); free != used {
		return fmt.Sprintf("%d of %d address records are free", free, used)
	}
	if free, used := freeItems(t.sides.records), given(t.sides.records); free != used {
		return fmt.Sprintf("%d of %d side records are free", free, used)
	}
	for i := uint32(1); i <= t.entries.highest(); i++ {
		e := t.entries.at(i)
		if e == nil {
			continue
		}
		if w := timerWord(e.timer.Load()); w.records() != 0 || w.at() != never {
			return fmt.Sprintf("entry %d counts %d timer records, the first at %d", i, w.records(), w.at())
		}
	}
	return ""
}

func freeItems[T any](p *pool[T]) int {
	n := 0
	for s := range p.free {
		for i := uint32(p.free[s].head.Load()); i != 0; i = p.link(i).Load() {
			n++
		}
	}
	for c := range p.homes {
		n += int(p.homes[c].free.Load() >> 16 & (homeCount - 1))
	}
	return n
}

// given counts the items that have been given out and not given back since
// with their chunk.
func given[T any](p *pool[T]) int {
	n, last := 0, uint32(p.fresh.Load())
	for c := range p.homes {
		switch {
		case p.homes[c].turn.Load()&1 == 0:
		case uint32(c) == last>>chunkBits:
			n += int(last & (chunkSize - 1))
		default:
			n += int(min(chunkSize-1, p.limit-uint32(c)<<chunkBits))
		}
	}
	return n
}

// checkLists verifies every shard's list: its order, that every entry alive is
// in it once, and that every linked bucket is.
func checkLists(tb testing.TB, t *Table) {
	tb.Helper()
	living := 0
	for i := range t.shards {
		s := &t.shards[i]
		last, before := uint32(0), living
		seen := map[uint32]bool{0: true}
		for l := s.slot(0).Load(); l&linkNumber != 0; {
			n := uint32(l & linkNumber)
			var order uint32
			if n&bucketBit != 0 {
				order = s.order(n &^ bucketBit)
				seen[n&^bucketBit] = true
				l = s.slot(n &^ bucketBit).Load()
				if order <= last {
					tb.Fatalf("shard %d: bucket %d out of order", i, n&^bucketBit)
				}
			} else {
				e := t.entries.at(n)
				order = place(e.place.Load()).order()
				if order < last {
					tb.Fatalf("shard %d: entry %d out of order", i, n)
				}
				if t.shardOf(e) != s {
					tb.Fatalf("shard %d: entry %d is another's", i, n)
				}
				if control(e.ctl.Load()).life() == alive {
					living++
				}
				l = e.next.Load()
			}
			last = order
		}
		if n := int(s.count.Load()); n != living-before {
			tb.Fatalf("shard %d: %d entries, %d counted", i, living-before, n)
		}
		for b := range s.size.Load() {
			if g := s.segment(b).Load(); g != nil && linked(g.at(b).Load()) && !seen[b] {
				tb.Fatalf("shard %d: bucket %d is not in the list", i, b)
			}
		}
	}
}

// masked is a template's client: any port.
func masked(c netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(c.Addr(), 0) }
