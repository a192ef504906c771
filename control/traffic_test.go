package control

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/director"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/ipvsadm"
	"usvs/link"
	"usvs/localstack"
	"usvs/route"
	"usvs/wire"
)

// busy is a Control whose director handles datagrams all the time.
type busy struct {
	*Control
	dir *director.Director

	batches atomic.Int64 // handled
	frames  int          // of them; to be read when stop has returned
	lost    int          // that no server was sent
	halt    chan struct{}
	worker  sync.WaitGroup
}

var (
	dns     = ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.UDP, Addr: netip.MustParseAddr("10.9.0.1"), Port: 53}
	another = ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.UDP, Addr: netip.MustParseAddr("10.9.0.2"), Port: 53}
)

// newBusy has a service with three servers, on interfaces without MAC addresses.
func newBusy(t *testing.T) *busy {
	b := &busy{halt: make(chan struct{})}
	registry := new(ipvs.Registry)
	b.dir = director.New(director.Config{
		Table:     conntrack.New(conntrack.Config{Servers: registry}),
		Fragments: forward.NewReassembler(forward.Limits{}, 1), Answers: localstack.New(localstack.Options{}),
	})
	b.Control = New(Config{
		Clock: clock.NewSystem(), Rand: rand.New(rand.NewPCG(1, 2)), Servers: registry, Conns: b.dir.Table, Sysctls: ipvs.DefaultSysctls(),
		Publish: func(s *director.Snapshot) { b.dir.Publish(1, s) },
	})
	pfx := netip.MustParsePrefix
	b.SetRoutes(route.New(route.Config{
		Interfaces: []route.Interface{
			{Name: "tun0", Medium: wire.IP, MTU: 1500, Up: true, Addrs: []netip.Prefix{pfx("10.1.0.1/16")}},
			{Name: "tun1", Medium: wire.IP, MTU: 1500, Up: true, Addrs: []netip.Prefix{pfx("10.2.0.1/16")}},
		},
		Routes: []route.Route{{Prefix: pfx("10.1.0.0/16"), Kind: route.Unicast}, {Prefix: pfx("10.2.0.0/16"), Kind: route.Unicast, Port: 1}},
	}))
	require.NoError(t, b.AddService(dns, by("wlc")))
	for i := range 3 {
		require.NoError(t, b.AddServer(dns, dnsServer(i), natTo(1)))
	}
	b.worker.Go(b.work)
	return b
}

func dnsServer(i int) ipvs.ServerID {
	return ipvs.ServerID{Addr: netip.AddrFrom4([4]byte{10, 2, 0, byte(11 + i)}), Port: 53}
}

func natTo(weight int32) ipvs.ServerSpec {
	return ipvs.ServerSpec{Method: ipvs.Masquerade, Weight: weight}
}

// work handles batches, in which three of four datagrams are of connections that
// were seen before, until it is stopped.
func (b *busy) work() {
	w, now, fresh := b.dir.NewWorker(), clock.Instant(time.Second), 0
	batch := make([]*link.Frame, 32)
	for i := range batch {
		batch[i] = wire.NewFrame(2048)
	}
	var out link.Output
	for ; ; b.batches.Add(1) {
		select {
		case <-b.halt:
			return
		default:
		}
		for i, f := range batch {
			flow := i
			if i%4 == 0 {
				fresh++
				flow = 100 + fresh
			}
			f.Reset()
			f.Medium = wire.IP
			f.SetBytes(question(flow))
		}
		now = now.Add(time.Millisecond)
		out.Reset()
		w.Handle(now, batch, &out)
		b.frames += len(batch)
		b.lost += len(batch)
		for _, f := range out.Tx {
			b.lost -= f.Port // 1 towards the servers, 0 is an answer to the client
		}
	}
}

// question is a datagram to dns from one of many clients' ports.
func question(flow int) []byte {
	p := make([]byte, 28+12)
	p[0], p[8], p[9] = 0x45, 64, wire.ProtoUDP
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	copy(p[12:], []byte{10, 1, byte(1 + flow>>21), byte(flow >> 13)})
	dst := dns.Addr.As4()
	copy(p[16:], dst[:])
	binary.BigEndian.PutUint16(p[10:], wire.Checksum(p[:20]))
	binary.BigEndian.PutUint16(p[20:], uint16(1024+flow&0x1fff))
	binary.BigEndian.PutUint16(p[22:], dns.Port)
	binary.BigEndian.PutUint16(p[24:], uint16(len(p)-20))
	return p
}

// await lets traffic go on before the next edit.
func (b *busy) await() {
	for then := b.batches.Load(); b.batches.Load() == then; {
		runtime.Gosched()
	}
}

func (b *busy) stop() {
	close(b.halt)
	b.worker.Wait()
}

// edits are what operators do to a service in use, and beside it. Hashing schedulers
// would refuse the clients of a server without weight.
var edits = []func(b *busy, i int) error{
	func(b *busy, i int) error { return b.EditServer(dns, dnsServer(i%3), natTo(int32(1+i%7))) },
	func(b *busy, i int) error { return b.EditServer(dns, dnsServer(i%2), natTo(int32(i%2))) },
	func(b *busy, i int) error { return b.AddServer(dns, dnsServer(9), natTo(0)) },
	func(b *busy, i int) error {
		return b.EditService(dns, by([]string{"rr", "wlc", "wrr", "nq", "lc"}[i%5]))
	},
	func(b *busy, i int) error { return b.AddService(another, by("rr")) },
	func(b *busy, i int) error { return b.AddServer(another, dnsServer(0), natTo(1)) },
	func(b *busy, i int) error { return b.DeleteServer(dns, dnsServer(9)) },
	func(b *busy, i int) error { return b.EditServer(dns, dnsServer(0), natTo(1)) },
	func(b *busy, i int) error { return b.DeleteService(another) },
	func(b *busy, i int) error { return b.SetTimeouts(ipvs.Timeouts{UDP: uint32(300 + i%5)}) },
	func(b *busy, i int) error {
		for _, err := range b.Batch([]ipvsadm.Change{
			{Action: ipvsadm.EditServer, Service: dns, Server: dnsServer(1), ServerSpec: natTo(1)},
			{Action: ipvsadm.EditService, Service: dns, Spec: by("wlc")},
		}) {
			if err != nil {
				return err
			}
		}
		return nil
	},
}

// TestNoFrameIsLostByEdits: a thousand edits under traffic cost no frame, of
// connections old and new.
func TestNoFrameIsLostByEdits(t *testing.T) {
	b := newBusy(t)
	for i := range 1000 {
		require.NoError(t, edits[i%len(edits)](b, i), "edit %d", i)
		if i%4 == 0 {
			b.await()
		}
	}
	b.await()
	b.stop()
	require.Zero(t, b.lost, "of %d frames", b.frames)
	require.Greater(t, b.frames, 250*32)
}

// TestLostFramesAreSeen: the test above would see a frame that is lost.
func TestLostFramesAreSeen(t *testing.T) {
	for name, edit := range map[string]func(b *busy) error{
		"no server":           func(b *busy) error { return deleteAll(b) },
		"connected server":    func(b *busy) error { return b.DeleteServer(dns, dnsServer(0)) },
		"no service":          func(b *busy) error { return b.DeleteService(dns) },
		"no scheduler at all": func(b *busy) error { return b.EditService(dns, by("none")) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBusy(t)
			b.await()
			b.await()
			require.NoError(t, edit(b))
			b.await()
			b.await()
			b.stop()
			require.NotZero(t, b.lost, "of %d frames", b.frames)
		})
	}
}

func deleteAll(b *busy) error {
	for i := range 3 {
		if err := b.DeleteServer(dns, dnsServer(i)); err != nil {
			return fmt.Errorf("server %d: %w", i, err)
		}
	}
	return nil
}
