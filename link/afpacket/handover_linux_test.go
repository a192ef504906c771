package afpacket

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
	"usvs/link/steer"
	"usvs/wire"
)

// steered opens a group of whose devices only the first gets frames.
func steered(t *testing.T, ns *netnstest.Namespace, vip netip.Addr) (*Group, *steer.Steering) {
	t.Helper()
	s, err := steer.New(1)
	if err != nil {
		netnstest.Skip(t, "%v", err)
	}
	t.Cleanup(func() { s.Close() })
	require.NoError(t, s.Own([]netip.Addr{vip}, nil))
	var g *Group
	ns.Do(func() { g, err = OpenGroup("eth0", groupSize, s, Options{Ring: overRing, Urgent: true}) })
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, d := range g.Devices() {
			_ = d.Close()
		}
	})
	return g, s
}

// readLog has what several devices read, in the order in which they were done with it.
type readLog struct {
	mu   sync.Mutex
	last map[netip.Addr]uint32 // by client
	by   [groupSize]int
	late int
}

// take notes a batch as a pump would have sent it.
func (l *readLog) take(device int, fs []*link.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range fs {
		if f.Len() != 80 || wire.EthernetHeader(f.Bytes()).Src() != macA {
			continue
		}
		client, number := netip.AddrFrom4([4]byte(f.Bytes()[26:])), binary.BigEndian.Uint32(f.Bytes()[60:])
		if number <= l.last[client] {
			l.late++
		}
		l.last[client] = number
		l.by[device]++
	}
}

// Frames of many flows are read by one device, by several and by one again: each
// flow's arrive in order, all of them, and in each phase where they should.
func TestHandover(t *testing.T) {
	handoverPatience = patience // however slow the machine is
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB := lab.Namespace("a"), lab.Namespace("b")
		veth(lab, nsA, nsB)
		as := addressings["IPv4"]
		a := openIn(t, nsA, "eth0", Options{})
		g, s := steered(t, nsB, as.vip(0))
		l := &readLog{last: map[netip.Addr]uint32{}}
		var readers, sender sync.WaitGroup
		for i, d := range g.Devices() {
			readers.Go(func() {
				fs := linktest.Batch(link.BatchSize)
				for {
					n, err := d.ReadBatch(fs, -1)
					if err != nil {
						return
					}
					time.Sleep(20 * time.Microsecond) // it takes a while to send them
					l.take(i, fs[:n])
				}
			})
		}
		const clients = 60
		done, sent := make(chan struct{}), uint32(0)
		sender.Go(func() {
			w := a.NewWriter()
			for number := uint32(1); ; number++ {
				select {
				case <-done:
					sent = number - 1
					return
				default:
				}
				var fs []*link.Frame
				for c := range clients {
					fs = append(fs, ipFrame(as.client(c), as.vip(0), int(number)))
				}
				_, err := w.WriteBatch(fs)
				assert.NoError(t, err)
				time.Sleep(500 * time.Microsecond)
			}
		})
		active := 1
		for _, next := range []int{2, 1, 2, 3, 2, 3, 1, 3, 1, 2, 1} {
			require.NoError(t, Handover([]*Group{g}, active, next, s.Deal))
			l.mu.Lock()
			l.by = [groupSize]int{}
			l.mu.Unlock()
			linktest.Eventually(t, "frames come where they should", func() bool {
				l.mu.Lock()
				defer l.mu.Unlock()
				right := true
				for i, n := range l.by {
					if i >= next && n > 0 { // sent before
						l.by = [groupSize]int{}
						return false
					}
					right = right && (n > 0) == (i < next)
				}
				return right
			})
			active = next
		}
		close(done)
		sender.Wait()
		linktest.Eventually(t, "all frames", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, number := range l.last {
				if number != sent {
					return false
				}
			}
			return len(l.last) == clients
		})
		assert.Zero(t, l.late, "frames that another of their flow overtook")
		for _, d := range g.Devices() {
			require.NoError(t, d.Close())
		}
		readers.Wait()
	})
}

// If the steering cannot be changed, nobody is held.
func TestHandoverFails(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB := lab.Namespace("a"), lab.Namespace("b")
		veth(lab, nsA, nsB)
		g, _ := steered(t, nsB, addressings["IPv4"].vip(0))
		broken := errors.New("broken")
		require.ErrorIs(t, Handover([]*Group{g}, 1, 2, func(int) error { return broken }), broken)
		for _, d := range g.Devices() {
			assert.False(t, d.held.Load())
		}
	})
}
