package control

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/director"
	"usvs/ipvs"
	"usvs/sched"
)

// Operators change everything while workers schedule on whatever snapshot they
// hold. Run with -race.
func TestConcurrentUse(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Clock = clock.NewSystem() })
	stop := make(chan struct{})
	var workers, operators sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					work(r.Snapshot(), r.registry)
				}
			}
		})
	}
	for n := range 3 {
		operators.Go(func() { operate(r.Control, rand.New(rand.NewPCG(uint64(n), 0))) })
	}
	operators.Wait()
	close(stop)
	workers.Wait()
	require.NoError(t, r.Flush())
	require.Empty(t, r.Snapshot().Services)
}

// work does what a worker does with a new connection.
func work(s *director.Snapshot, servers *ipvs.Registry) {
	for _, svc := range s.Services {
		rs := svc.Picker.Schedule(&sched.Request{Client: web.Addr, Dst: web.Addr, Flags: svc.Spec.Flags, Sysctls: &s.Sysctls})
		if rs == nil {
			continue
		}
		rs.Bind(false)
		rs.Counters.In(1, 100)
		rs.Service().Counters.In(1, 100)
		if servers.Get(rs.Index) != rs {
			panic("a server in use lost its index")
		}
		rs.Unbind(false)
	}
}

// operate does random things; what is refused is refused.
func operate(c *Control, rng *rand.Rand) {
	for i := range 300 {
		svc, id := modelServices[rng.IntN(len(modelServices))], modelServers[rng.IntN(len(modelServers))]
		switch rng.IntN(10) {
		case 0:
			c.AddService(svc, randomSpec(rng))
		case 1:
			c.EditService(svc, randomSpec(rng))
		case 2:
			c.DeleteService(svc)
		case 3, 4, 5:
			c.AddServer(svc, id, randomServerSpec(rng))
		case 6:
			c.DeleteServer(svc, id)
		case 7:
			c.Load("rules", &ruleText{text: fmt.Sprintf("-A -t 10.9.0.1:80 -s rr\n-a -t 10.9.0.1:80 -r 10.1.0.%d\n", 11+i%3)})
		case 8:
			c.Services()
			c.Zero(nil)
			c.Totals()
		case 9:
			c.Tick(clock.Instant(time.Duration(i%50) * time.Second)) // nothing leaves the trash
		}
	}
}

// ruleText is read in small pieces.
type ruleText struct{ text string }

func (r *ruleText) Read(p []byte) (int, error) {
	n := copy(p[:min(len(p), 7)], r.text)
	if r.text = r.text[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}
