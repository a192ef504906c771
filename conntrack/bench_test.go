package conntrack

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"usvs/clock"
	"usvs/ipvs"
)

// filled returns a table with n established connections.
func filled(b *testing.B, n int) (*Table, []*ipvs.RealServer) {
	reg, all := servers(16, ipvs.DirectRoute)
	t := New(Config{Seed: 1, Servers: reg, MaxEntries: n + 1<<20})
	var c Conn
	for i := range n {
		if r := t.Insert(t0, tcpSpec(i, all[i%len(all)]), &c); r != Inserted {
			b.Fatal(r)
		}
		t.Packet(t0, &c, DirIn, TCPEvent(16))
	}
	return t, all
}

var sizes = []int{1000, 100_000, 1_000_000, 10_000_000}

// shuffled is an order in which caches do not help.
func shuffled(n int) []int { return rand.New(rand.NewPCG(1, 1)).Perm(n) }

func BenchmarkLookupHit(b *testing.B) {
	for _, n := range sizes {
		t, _ := filled(b, n)
		order := shuffled(n)
		b.Run(fmt.Sprintf("in/%d", n), func(b *testing.B) {
			var c Conn
			for i := 0; b.Loop(); i++ {
				if !t.LookupIn(t0, ipvs.TCP, client(order[i%n]), testVIP, &c) {
					b.Fatal("lost")
				}
			}
		})
		b.Run(fmt.Sprintf("out/%d", n), func(b *testing.B) {
			var c Conn
			for i := 0; b.Loop(); i++ {
				if !t.LookupOut(t0, ipvs.TCP, testVIP, client(order[i%n]), &c) {
					b.Fatal("lost")
				}
			}
		})
		b.Run(fmt.Sprintf("in+packet/%d", n), func(b *testing.B) {
			var c Conn
			for i := 0; b.Loop(); i++ {
				now := t0 + clock.Instant(i)
				if !t.LookupIn(now, ipvs.TCP, client(order[i%n]), testVIP, &c) || !t.Packet(now, &c, DirIn, TCPEvent(16)) {
					b.Fatal("lost")
				}
			}
		})
	}
}

// usualPacket has a packet go the usual way.
func usualPacket(t *Table, now clock.Instant, dir Dir, client netip.AddrPort) {
	var c Conn
	if dir == DirIn {
		t.LookupIn(now, ipvs.TCP, client, testVIP, &c)
	} else {
		t.LookupOut(now, ipvs.TCP, testVIP, client, &c)
	}
	t.Packet(now, &c, dir, TCPEvent(16))
}

// BenchmarkHit has batches of packets of random connections go the probe's way.
func BenchmarkHit(b *testing.B) {
	const batch = 64
	for _, n := range sizes {
		t, _ := filled(b, n)
		order := shuffled(n)
		for _, dir := range []Dir{DirIn, DirOut} {
			b.Run(fmt.Sprintf("%v/%d", [...]string{"in", "out"}[dir], n), func(b *testing.B) {
				var probes [batch]Probe
				vip, vport := uint32(pack(testVIP.Addr()).lo), testVIP.Port()
				var h Hot
				for i := range n { // opens all buckets, notes that servers answer
					usualPacket(t, t0, dir, client(i))
				}
				b.ResetTimer()
				for i := 0; i < b.N; i += batch {
					now := t0 + clock.Instant(i)
					for j := range probes {
						c := order[(i+j)%n]
						if dir == DirIn {
							t.AimIn4(&probes[j], 6, 0xc0000000+uint32(c/60000), vip, uint16(1024+c%60000), vport)
						} else {
							t.AimOut4(&probes[j], 6, vip, 0xc0000000+uint32(c/60000), vport, uint16(1024+c%60000))
						}
					}
					t.Touch(probes[:])
					for j := range probes {
						if !t.Hit(now, &probes[j], TCPEvent(16), &h) {
							b.Fatal("declined")
						}
					}
				}
			})
		}
	}
}

func BenchmarkLookupMiss(b *testing.B) {
	t, _ := filled(b, 1_000_000)
	var c Conn
	for i := 0; b.Loop(); i++ {
		if t.LookupIn(t0, ipvs.TCP, client(1_000_000+i%1_000_000), testVIP, &c) {
			b.Fatal("found")
		}
	}
}

func BenchmarkInsertExpire(b *testing.B) {
	for _, n := range []int{0, 100_000, 1_000_000} {
		t, all := filled(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var c Conn
			for i := 0; b.Loop(); i++ {
				if r := t.Insert(t0, tcpSpec(n+i%1000, all[i%16]), &c); r != Inserted {
					b.Fatal(r)
				}
				t.Expire(t0, c.Ref)
			}
		})
	}
}

// BenchmarkInsertTimer has connections end by their timers alone.
func BenchmarkInsertTimer(b *testing.B) {
	t, all := filled(b, 100_000)
	var c Conn
	now := t0
	for i := 0; b.Loop(); i++ {
		now = now.Add(5 * time.Microsecond)
		t.Insert(now, tcpSpec(1_000_000+i%2_000_000, all[i%16]), &c)
		if i%64 == 0 {
			t.Tick(now, 1024)
		}
	}
	b.ReportMetric(float64(t.Len()), "entries")
}

// BenchmarkLife is a whole short connection: inserted, established, closed,
// and ended by its timer.
func BenchmarkLife(b *testing.B) {
	t, all := filled(b, 100_000)
	var c Conn
	now := t0
	for i := 0; b.Loop(); i++ {
		now = now.Add(200 * time.Microsecond) // 5000 a second
		t.Insert(now, tcpSpec(100_000+i%20_000_000, all[i%16]), &c)
		t.Packet(now, &c, DirIn, TCPEvent(2))
		t.Packet(now, &c, DirIn, TCPEvent(16))
		t.Packet(now, &c, DirIn, TCPEvent(17))
		if i%64 == 0 {
			t.Tick(now, 1024)
		}
	}
	b.ReportMetric(float64(t.Len()), "entries")
	b.ReportMetric(float64(t.records.highest()), "records")
}

func BenchmarkTickIdle(b *testing.B) {
	t, _ := filled(b, 100_000)
	t.Tick(t0, 1)
	for b.Loop() {
		t.Tick(t0, 256)
	}
}

// BenchmarkWriters has every processor insert and remove connections.
func BenchmarkWriters(b *testing.B) {
	t, all := filled(b, 100_000)
	var w atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		n := int(w.Add(1))
		var c Conn
		for i := 0; pb.Next(); i++ {
			if r := t.Insert(t0, tcpSpec(1_000_000*n+i%1000, all[n%16]), &c); r != Inserted {
				b.Error(r)
				return
			}
			t.Expire(t0, c.Ref)
		}
	})
}

// BenchmarkWorkers has every processor handle packets of all connections.
func BenchmarkWorkers(b *testing.B) {
	const n = 100_000
	t, _ := filled(b, n)
	order := shuffled(n)
	var w atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		var c Conn
		for i := int(w.Add(1)) * 7919; pb.Next(); i++ {
			now := t0 + clock.Instant(i)
			if !t.LookupIn(now, ipvs.TCP, client(order[i%n]), testVIP, &c) || !t.Packet(now, &c, DirIn, TCPEvent(16)) {
				b.Error("lost")
				return
			}
		}
	})
}
