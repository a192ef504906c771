package director

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/link"
	"usvs/sched"
	"usvs/wire"
)

// trace is what a worker is given in a benchmark, batch after batch: frames of
// many flows in random order, one behind the other in memory, as a network card
// writes them.
type trace struct {
	size   int // of a frame
	frames []byte
	at     int
	batch  []*link.Frame
	port   int
}

func newTrace(size, frames, port int) *trace {
	t := &trace{size: size, frames: make([]byte, 0, size*frames), port: port}
	for range link.BatchSize {
		t.batch = append(t.batch, wire.NewFrame(2000))
	}
	return t
}

func (t *trace) add(frame []byte) { t.frames = append(t.frames, frame...) }
func (t *trace) len() int         { return len(t.frames) / t.size }

// next fills the batch with the next frames.
func (t *trace) next() []*link.Frame {
	for _, f := range t.batch {
		if t.at == len(t.frames) {
			t.at = 0
		}
		f.Reset()
		f.SetBytes(t.frames[t.at : t.at+t.size])
		f.Port = t.port
		t.at += t.size
	}
	return t.batch
}

// load is a director with many flows to ten servers.
type load struct {
	*testbed
	v6      bool
	rips    []netip.AddrPort
	flows   []netip.AddrPort // their clients
	servers []*ipvs.RealServer
}

const loadServers = 10

func newLoad(tb testing.TB, method ipvs.ForwardMethod, v6 bool, scheduler string) *load {
	l := &load{testbed: newTestbed(tb), v6: v6}
	for i := range loadServers {
		a := netip.AddrFrom4([4]byte{10, 2, 1, byte(i)})
		if v6 {
			a = netip.MustParseAddr(fmt.Sprintf("fd00:2::1:%d", i))
		}
		l.d.Neighbours.SetStatic(l.now, 1, a, wire.MAC{2, 0, 0, 1, 0, byte(i)}, l.sink())
		l.rips = append(l.rips, netip.AddrPortFrom(a, 80))
	}
	var names []string
	for _, rip := range l.rips {
		names = append(names, rip.String())
	}
	l.servers = l.service(tcpID(l.virtual().Addr(), 80), method, names...)
	s, err := sched.New(scheduler, nil)
	require.NoError(tb, err)
	svc := l.snap.Services[0]
	svc.Picker = NewPicker(s)
	require.NoError(tb, svc.Picker.Update(sched.Bind, svc.Servers, nil))
	l.publish()
	return l
}

func (l *load) virtual() netip.AddrPort {
	if l.v6 {
		return ap(vip6, 80)
	}
	return ap(vip, 80)
}

// client is the i-th client, an address and port of its own.
func (l *load) client(i int) netip.AddrPort {
	x := uint32(i) * 0x9e3779b1
	port := uint16(x>>16) | 1024
	a := netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)})
	if l.v6 {
		b := cip6.As16()
		binary.BigEndian.PutUint32(b[12:], uint32(i))
		a = netip.AddrFrom16(b)
	}
	return netip.AddrPortFrom(a, port)
}

// open makes the director know n flows, and establishes them.
func (l *load) open(n int) {
	for i := range n {
		l.flows = append(l.flows, l.client(i))
	}
	for _, flags := range []uint8{wire.FlagSYN, wire.FlagACK} {
		t := l.requests(l.flows, flags)
		for range (t.len() + link.BatchSize - 1) / link.BatchSize {
			l.run(t.next())
		}
	}
	require.Equal(l.tb, n, l.d.Table.Len())
}

func (l *load) run(batch []*link.Frame) {
	l.out.Reset()
	l.w.Handle(l.now, batch, &l.out)
}

// requests are segments from clients to the service.
func (l *load) requests(clients []netip.AddrPort, flags uint8) *trace {
	var t *trace
	for _, c := range clients {
		b := segment(c, l.virtual(), flags, 0)
		if t == nil {
			t = newTrace(len(b), len(clients), 0)
		}
		t.add(b)
	}
	return t
}

// replies are segments from the flows' servers to the clients.
func (l *load) replies(clients []netip.AddrPort) *trace {
	var t *trace
	for _, c := range clients {
		var conn = l.w.c
		require.True(l.tb, l.d.Table.LookupIn(l.now, ipvs.TCP, c, l.virtual(), &conn))
		b := segment(conn.Real, c, wire.FlagACK, 0)
		copy(b, dirMAC1[:])
		if t == nil {
			t = newTrace(len(b), len(clients), 1)
		}
		t.add(b)
	}
	return t
}

// shuffled are the flows' clients, in random order.
func (l *load) shuffled() []netip.AddrPort {
	list := append([]netip.AddrPort(nil), l.flows...)
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// measure reports what the director takes for a frame, the filling of the batch
// being subtracted. want of every batch's frames are to be sent.
func (l *load) measure(b *testing.B, t *trace, want int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	runtime.GC() // what setting up left
	l.run(t.next())
	require.Len(b, l.out.Tx, want)
	start := cpuTime()
	for i := 0; i < b.N; i += link.BatchSize {
		t.next()
	}
	filling := cpuTime() - start
	b.ResetTimer()
	start = cpuTime()
	for i := 0; i < b.N; i += link.BatchSize {
		l.run(t.next())
	}
	b.StopTimer()
	require.Len(b, l.out.Tx, want)
	b.ReportMetric(float64((cpuTime()-start-filling).Nanoseconds())/float64(b.N), "cpu-ns/frame")
}

var loadSizes = map[string]int{"1k": 1000, "100k": 100_000, "1M": 1_000_000}

// BenchmarkEstablished is what a frame of an established connection costs, in
// batches of 64, of 1000 to a million flows in random order.
func BenchmarkEstablished(b *testing.B) {
	for _, m := range []struct {
		name   string
		method ipvs.ForwardMethod
		back   bool
	}{
		{"DR", ipvs.DirectRoute, false}, {"NAT", ipvs.Masquerade, false},
		{"NATback", ipvs.Masquerade, true}, {"TUN", ipvs.Tunnel, false},
	} {
		for _, v6 := range []bool{false, true} {
			for _, size := range []string{"1k", "100k", "1M"} {
				b.Run(fmt.Sprintf("%s/%s/%s", m.name, map[bool]string{false: "IPv4", true: "IPv6"}[v6], size), func(b *testing.B) {
					l := newLoad(b, m.method, v6, "rr")
					l.open(loadSizes[size])
					t := l.requests(l.shuffled(), wire.FlagACK)
					if m.back {
						t = l.replies(l.shuffled())
					}
					l.measure(b, t, link.BatchSize)
				})
			}
		}
	}
}

// BenchmarkNew is what a connection's first frame costs: lookup, scheduler,
// insertion. The table is made anew for every million of them.
func BenchmarkNew(b *testing.B) {
	for _, scheduler := range []string{"rr", "wlc"} {
		b.Run(scheduler, func(b *testing.B) {
			const most = 1 << 20
			var l *load
			var t *trace
			var used time.Duration
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for i := 0; i < b.N; i += link.BatchSize {
				if i%most == 0 {
					b.StopTimer()
					l = newLoad(b, ipvs.DirectRoute, false, scheduler)
					for j := range most {
						l.flows = append(l.flows, l.client(j))
					}
					t = l.requests(l.shuffled(), wire.FlagSYN)
					b.StartTimer()
				}
				batch := t.next()
				start := cpuTime()
				l.run(batch)
				used += cpuTime() - start
			}
			b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/frame")
		})
	}
}

// BenchmarkOthers is what a frame costs that is none of the director's
// business: for another station, and for no connection.
func BenchmarkOthers(b *testing.B) {
	for _, name := range []string{"station", "connection"} {
		b.Run(name, func(b *testing.B) {
			l := newLoad(b, ipvs.Masquerade, false, "rr")
			l.open(100_000)
			var t *trace
			for _, c := range l.shuffled() {
				frame := segment(c, ap(netip.MustParseAddr("192.0.2.1"), 80), wire.FlagACK, 0)
				if name == "station" {
					frame[5] ^= 1
				}
				if t == nil {
					t = newTrace(len(frame), len(l.flows), 0)
				}
				t.add(frame)
			}
			l.measure(b, t, 0)
		})
	}
}

// BenchmarkIdleBatch is what a batch costs besides its frames.
func BenchmarkIdleBatch(b *testing.B) {
	l := newLoad(b, ipvs.DirectRoute, false, "rr")
	l.open(1000)
	for b.Loop() {
		l.run(nil)
	}
}
