package tcp

import (
	"net/netip"
	"testing"
	"time"

	"usvs/clock"
)

// BenchmarkTransfer sends full segments from one stack to another, each of
// which is acknowledged at once.
func BenchmarkTransfer(b *testing.B) {
	type hop struct {
		toB bool
		seg []byte
	}
	var line []hop
	segments := 0
	out := func(_ clock.Instant, src, _ netip.Addr, seg []byte) {
		segments++
		if len(line) < cap(line) {
			line = line[:len(line)+1]
		} else {
			line = append(line, hop{})
		}
		h := &line[len(line)-1]
		h.toB, h.seg = src == addrA, append(h.seg[:0], seg...)
	}
	x := New(Config{Output: out, ISN: func() uint32 { return 1 }})
	y := New(Config{Output: out, ISN: func() uint32 { return 2 }})
	buf := make([]byte, 64<<10)
	_, _ = y.Listen(serverAddr, func(_ clock.Instant, c *Conn) Events {
		return Events{Readable: func(now clock.Instant, c *Conn) { _, _ = c.Read(now, buf) }}
	})
	now := clock.Instant(time.Second)
	relay := func() {
		for i := 0; i < len(line); i++ {
			if h := line[i]; h.toB {
				y.Input(now, addrA, addrB, h.seg)
			} else {
				x.Input(now, addrB, addrA, h.seg)
			}
		}
		line = line[:0]
	}
	c, err := x.Dial(now, netip.AddrPortFrom(addrA, 9), serverAddr, Events{})
	if err != nil {
		b.Fatal(err)
	}
	relay()
	data := make([]byte, 10*1460)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	segments = 0
	for b.Loop() {
		now += 1000
		if _, err := c.Write(now, data); err != nil {
			b.Fatal(err)
		}
		relay()
	}
	b.ReportMetric(float64(segments)/b.Elapsed().Seconds(), "segments/s")
}
