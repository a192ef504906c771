package table

import (
	"context"
	"encoding/json"
	"runtime"
	"runtime/debug"
	"time"

	"usvs/bench"
	"usvs/bench/testbed"
	"usvs/link"
	"usvs/wire"
)

// Part is the name of this suite's part.
const Part = "flood"

// Flood does the part: a director gets a connection after the other until it
// has as many as it is told, and then loses all to their timers.
func Flood(_ context.Context, in []byte) (any, error) {
	var f floodOrder
	if err := json.Unmarshal(in, &f); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return f.run()
}

// floodOrder is what the part is told.
type floodOrder struct {
	Conns int
	IPv6  bool
}

// flood is what it answers.
type flood struct {
	Empty, Full, After uint64        // bytes of memory of the process; Empty is without a director
	GCEmpty, GCFull    time.Duration // of a whole collection; GCEmpty is without connections
	Handle             longest       // calls while growing
	Tick               longest       // while shrinking
	Walk               longest       // walks through memory
}

// longest is the longest of many calls: by the thread's own time, and by the
// clock on the wall, which counts what else the machine did meanwhile.
type longest struct{ Own, Wall time.Duration }

// time makes a call.
func (l *longest) time(call func()) {
	begin, own := time.Now(), bench.ThreadTime()
	call()
	wall := time.Since(begin)
	l.Own = max(l.Own, bench.ThreadTime()-own)
	l.Wall = max(l.Wall, wall)
}

// walkSteps is how many words a walk through memory reads, each after the other:
// about as long as a batch takes. Whatever a walk takes beyond that, somebody
// else's work took, or the machine's owner.
const walkSteps = 160

// walk times walks that do nothing but read.
func (l *longest) walk(walks, size int) {
	words := make([]uint64, size)
	for i := range words {
		words[i] = uint64(i)
	}
	at := uint64(1)
	for range walks {
		l.time(func() {
			for range walkSteps {
				at = words[at%uint64(size)]*6364136223846793005 + 1442695040888963407
				at ^= at >> 32
			}
		})
	}
	runtime.KeepAlive(at)
}

func (f *floodOrder) run() (*flood, error) {
	var got flood
	_, got.Empty = collect()
	b := testbed.New(f.Conns + 1)
	rules, to := testbed.Rules(1, 10, "wlc", "-g"), testbed.ToVirtual(testbed.Virtual(0))
	if f.IPv6 {
		rules, to = testbed.Rules6(10, "wlc", "-g"), testbed.ToVirtual(testbed.Virtual6)
	}
	if err := b.Load(rules); err != nil {
		return nil, err
	}
	got.GCEmpty, _ = collect()
	for _, flags := range []uint8{wire.FlagSYN, wire.FlagACK} {
		if err := f.grow(&got, b, to, flags); err != nil {
			return nil, err
		}
	}
	got.GCFull, got.Full = collect()
	b.Expire(24*time.Hour, got.Tick.time)
	b.Trim()
	_, got.After = collect()
	runtime.KeepAlive(b)
	got.Walk.walk(2*f.Conns/link.BatchSize, 8*f.Conns) // as often as Handle was called, in about as much memory
	return &got, nil
}

// grow sends a frame of every flow.
func (f *floodOrder) grow(got *flood, b *testbed.Bed, to *testbed.Stream, flags uint8) error {
	flows := make([]uint32, link.BatchSize)
	for from := 0; from < f.Conns; from += len(flows) {
		flows = flows[:min(len(flows), f.Conns-from)]
		for i := range flows {
			flows[i] = uint32(from + i)
		}
		n := b.Fill(to, flows, flags)
		got.Handle.time(func() { b.Handle(n) })
		if err := b.AllSent(n); err != nil {
			return err
		}
	}
	return nil
}

// collections is how many collections the shortest is taken of.
const collections = 25

// collect returns how long a whole garbage collection takes, and the process's
// memory once what is free was given back.
func collect() (time.Duration, uint64) {
	shortest := time.Duration(1<<63 - 1)
	for range collections {
		begin := time.Now()
		runtime.GC()
		shortest = min(shortest, time.Since(begin))
	}
	debug.FreeOSMemory()
	return shortest, bench.Resident()
}
