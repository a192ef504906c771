package probe

import (
	"net"
	"sync"
	"testing"
	"time"

	"usvs/health"
)

// BenchmarkChecks makes attempts as many at a time as there are slots.
func BenchmarkChecks(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	var left sync.WaitGroup
	r := New(Config{Sockets: 64}, func(_ health.CheckID, res health.Result) {
		if res.Outcome != health.Success {
			b.Error(res)
		}
		left.Done()
	})
	defer r.Close()
	p := &health.Probe{Target: l.Addr().(*net.TCPAddr).AddrPort(), Timeout: 5 * time.Second}
	b.ReportAllocs()
	left.Add(b.N)
	for i := range b.N {
		r.Start(health.CheckID(i+1), p)
	}
	left.Wait()
}
