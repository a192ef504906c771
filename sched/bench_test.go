package sched

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"usvs/clock"
	"usvs/ipvs"
)

var sizes = []int{10, 1000}

func servers(n int) []*ipvs.RealServer {
	list := make([]*ipvs.RealServer, n)
	for i := range list {
		list[i] = newServer(i+1, int32(i%10+1))
		counts(list[i], i%7+1, i%13)
	}
	return list
}

// BenchmarkSchedule is one new connection: clients and destinations vary, the
// caches of lblc and lblcr are warm.
func BenchmarkSchedule(b *testing.B) {
	for _, name := range names {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				s, _ := New(name, rand.New(rand.NewPCG(1, 2)))
				if err := s.Update(Bind, servers(n), nil); err != nil {
					b.Fatal(err)
				}
				run(b, s, 0)
			})
		}
	}
}

// BenchmarkFallback is the worst of sh and mh with fallback: one usable server.
func BenchmarkFallback(b *testing.B) {
	for _, name := range []string{"sh", "mh"} {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				s, _ := New(name, nil)
				list := servers(n)
				if err := s.Update(Bind, list, nil); err != nil {
					b.Fatal(err)
				}
				for _, rs := range list[1:] {
					setWeight(rs, 0)
				}
				run(b, s, ipvs.FlagSched1)
			})
		}
	}
}

// BenchmarkOutage is a service whose servers are all overloaded.
func BenchmarkOutage(b *testing.B) {
	for _, name := range names {
		b.Run(name+"/1000", func(b *testing.B) {
			s, _ := New(name, rand.New(rand.NewPCG(1, 2)))
			list := servers(1000)
			for _, rs := range list {
				overload(rs)
			}
			if err := s.Update(Bind, list, nil); err != nil {
				b.Fatal(err)
			}
			run(b, s, ipvs.FlagSched1)
		})
	}
}

// BenchmarkUpdate is an edit, with the first choice after it.
func BenchmarkUpdate(b *testing.B) {
	for _, name := range names {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				s, _ := New(name, rand.New(rand.NewPCG(1, 2)))
				list := servers(n)
				_ = s.Update(Bind, list, nil)
				req := request(0)
				b.ReportAllocs()
				for b.Loop() {
					_ = s.Update(Edit, list, list[0])
					s.Schedule(&req)
				}
			})
		}
	}
}

func request(flags ipvs.ServiceFlags) Request {
	sysctls := ipvs.DefaultSysctls()
	return Request{
		Now: clock.Instant(1e9), Protocol: ipvs.TCP, Flags: flags, Sysctls: &sysctls,
		Client: netip.AddrFrom4([4]byte{192, 0, 2, 1}), Dst: netip.AddrFrom4([4]byte{10, 9, 1, 1}),
	}
}

func run(b *testing.B, s Scheduler, flags ipvs.ServiceFlags) {
	req := request(flags)
	i := 0
	turn := func() {
		i++
		req.Client = netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
		req.Dst = netip.AddrFrom4([4]byte{10, 9, 1, byte(i)})
		s.Schedule(&req)
	}
	for range 256 {
		turn()
	}
	b.ReportAllocs()
	for b.Loop() {
		turn()
	}
}
