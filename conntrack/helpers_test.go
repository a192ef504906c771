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

// workerSpec is a worker's.
func workerSpec(worker, n int, rs *ipvs.RealServer) *Spec {
	spec := tcpSpec(n, rs)
	spec.Worker = uint8(worker)
	return spec
}

// crowdSpec is one of many connections of one client and port.
func crowdSpec(n, i int, rs *ipvs.RealServer) *Spec {
	spec := tcpSpec(n, rs)
	spec.Virtual = netip.AddrPortFrom(testVIP.Addr(), uint16(7000+i))
	return spec
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
	if free, used := freeItems(t.lines), given(t.lines)-attached(t); free != used {
		return fmt.Sprintf("%d of %d lines are free", free, used)
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

// attached counts the lines that buckets overflow into.
func attached(t *Table) int {
	n := 0
	for i := range t.shards {
		s := &t.shards[i]
		for b := range s.size() {
			n += len(chain(t, s, b)) - 1
		}
	}
	return n
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
	n := 0
	for c := range uint32(len(p.homes)) {
		if !p.turn(c).begun() {
			continue
		}
		most := min(chunkSize-1, p.limit-c<<chunkBits)
		for w := range p.fresh {
			last := uint32(p.fresh[w].last.Load())
			if at := last & (chunkSize - 1); last>>chunkBits == c && at != 0 { // at 0 it is another worker's by now
				most = min(most, at)
			}
		}
		n += int(most)
	}
	return n
}

// checkIndex verifies the index: that every entry alive has one word, where a
// search finds it, and that there is no other word.
func checkIndex(tb testing.TB, t *Table) {
	tb.Helper()
	for i := range t.shards {
		s := &t.shards[i]
		living, x := 0, s.extent()
		for b := range x.size() {
			if s.line(b).look()&lineMoving != 0 {
				tb.Fatalf("shard %d: words of bucket %d are being moved for ever", i, b)
			}
			for _, l := range chain(t, s, b) {
				living += checkLine(tb, t, s, b, l)
			}
		}
		if n := int(t.size(s)); n != living {
			tb.Fatalf("shard %d: %d entries, %d counted", i, living, n)
		}
		whole := x.size() / 2
		for b := x.size() / 2; b < x.size(); b++ {
			if b > 0 && !s.line(b).look().whole() {
				whole--
			}
		}
		if uint32(x) != whole {
			tb.Fatalf("shard %d: %d buckets are whole, %d counted", i, whole, uint32(x))
		}
	}
}

// chain is the lines of bucket b.
func chain(t *Table, s *shard, b uint32) []*line {
	all := []*line{s.line(b)}
	for n := all[0].look().next(); n != 0; n = all[len(all)-1].look().next() {
		all = append(all, t.lines.at(n))
	}
	return all
}

// checkLine verifies a line of bucket b, and returns how many words it has.
func checkLine(tb testing.TB, t *Table, s *shard, b uint32, l *line) (words int) {
	tb.Helper()
	for i := range l.slot {
		w := l.slot[i].Load()
		if w == 0 {
			continue
		}
		words++
		n := uint32(w & wordNumber)
		e := t.entries.at(n)
		switch {
		case w&wordTaken == 0 || w&wordMarks != 0:
			tb.Fatalf("bucket %d: word %x", b, w)
		case e == nil || control(e.ctl.Load()).life() != alive:
			tb.Fatalf("bucket %d: entry %d does not live", b, n)
		case makeWord(e.hash.Load(), n) != w || t.shardOf(e) != s:
			tb.Fatalf("bucket %d: word %x is not that of entry %d, %x", b, w, n, e.hash.Load())
		}
		found := 0
		q := t.search(s, e.hash.Load())
		for i := q.next(); i != 0; i = q.next() {
			if i == n {
				found++
			}
		}
		if found != 1 {
			tb.Fatalf("bucket %d: entry %d is found %d times", b, n, found)
		}
	}
	return words
}

// masked is a template's client: any port.
func masked(c netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(c.Addr(), 0) }
