package afpacket

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/clock"
	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
	"usvs/wire"
)

const patience = linktest.Patience

var (
	macA = wire.MAC{2, 0, 0, 0, 0, 0xa}
	macB = wire.MAC{2, 0, 0, 0, 0, 0xb}
)

// overRing makes openIn open devices with a ring. It is of a lab's process.
var overRing bool

// eachWay runs a test in two labs, without and with a ring.
func eachWay(t *testing.T, f func(t *testing.T, lab *netnstest.Lab)) {
	for _, ring := range []bool{false, true} {
		t.Run(map[bool]string{false: "mmsg", true: "ring"}[ring], func(t *testing.T) {
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
				overRing = ring
				f(t, lab)
			})
		})
	}
}

// openIn opens a device in a namespace. From then on it is used from outside.
func openIn(t testing.TB, ns *netnstest.Namespace, name string, opts Options) *Device {
	t.Helper()
	var d *Device
	var err error
	opts.Ring = overRing
	ns.Do(func() { d, err = Open(name, opts) })
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// wirePair joins two fresh namespaces by eth0 and opens a device on each.
func wirePair(t testing.TB, lab *netnstest.Lab, optsA, optsB Options) (nsA, nsB *netnstest.Namespace, a, b *Device) {
	t.Helper()
	nsA, nsB = lab.Namespace("a"), lab.Namespace("b")
	veth(lab, nsA, nsB)
	return nsA, nsB, openIn(t, nsA, "eth0", optsA), openIn(t, nsB, "eth0", optsB)
}

func veth(lab *netnstest.Lab, nsA, nsB *netnstest.Namespace) {
	lab.Veth(nsA, "eth0", nsB, "eth0")
	nsA.SetMAC("eth0", macA)
	nsB.SetMAC("eth0", macB)
}

// testType is an EtherType that no kernel sends on its own.
const testType = 0x88b5

// raw is a frame of n bytes that carries a number.
func raw(src, dst wire.MAC, number, n int) *link.Frame {
	f := wire.NewFrame(max(n, 18))
	f.SetLen(n)
	h := wire.EthernetHeader(f.Bytes())
	h.SetDst(dst)
	h.SetSrc(src)
	h.SetType(testType)
	binary.BigEndian.PutUint32(h[14:], uint32(number))
	return f
}

// readRaw reads the numbers of n frames made by raw, whatever else arrives.
func readRaw(t testing.TB, d *Device, n int) []int {
	t.Helper()
	var got []int
	fs := linktest.Batch(link.BatchSize)
	for deadline := time.Now().Add(patience); len(got) < n; {
		require.True(t, time.Now().Before(deadline), "got %d of %d frames: %v", len(got), n, got)
		k, err := d.ReadBatch(fs, time.Second)
		require.NoError(t, err)
		for _, f := range fs[:k] {
			if h := wire.EthernetHeader(f.Bytes()); h.Type() == testType {
				got = append(got, int(binary.BigEndian.Uint32(h[14:])))
			}
		}
	}
	return got
}

// forwarder is the simplest router: what one device receives leaves by the
// other, with the MAC addresses of that side.
type forwarder struct {
	devs  [2]*Device
	peers [2]wire.MAC
	pumps [2]*link.Pump
	super [2]atomic.Int64 // super-frames received, by port
}

func (fw *forwarder) Handle(_ clock.Instant, batch []*link.Frame, out *link.Output) clock.Instant {
	for _, f := range batch {
		h := wire.EthernetHeader(f.Bytes())
		if len(h) < wire.EthernetLen || h.Dst().IsMulticast() {
			continue
		}
		if f.GSO != wire.GSONone {
			fw.super[f.Port].Add(1)
		}
		f.Port = 1 - f.Port
		h.SetSrc(uintToMAC(fw.devs[f.Port].mac.Load()))
		h.SetDst(fw.peers[f.Port])
		out.Tx = append(out.Tx, f)
	}
	return clock.Never
}

func (fw *forwarder) Tick(clock.Instant, *link.Output) clock.Instant { return clock.Never }

// triangle is a client and a server with a forwarder between them. The
// addresses are neighbours by decree; the forwarder's namespace has none.
type triangle struct {
	client, router, server *netnstest.Namespace
	fw                     *forwarder
}

func newTriangle(t testing.TB, lab *netnstest.Lab, opts Options) *triangle {
	t.Helper()
	tr := &triangle{client: lab.Namespace("client"), router: lab.Namespace("router"), server: lab.Namespace("server")}
	lab.Veth(tr.client, "eth0", tr.router, "eth0")
	lab.Veth(tr.server, "eth0", tr.router, "eth1")
	tr.fw = &forwarder{peers: [2]wire.MAC{tr.client.MAC("eth0"), tr.server.MAC("eth0")}}
	for i, name := range []string{"eth0", "eth1"} {
		tr.fw.devs[i] = openIn(t, tr.router, name, opts)
	}
	tr.configure()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i, d := range tr.fw.devs {
		p := link.NewPump(link.PumpConfig{
			Device: d, Handler: tr.fw, Clock: clock.NewSystem(), Port: i,
			Writers: []link.Writer{tr.fw.devs[0].NewWriter(), tr.fw.devs[1].NewWriter()},
		})
		tr.fw.pumps[i] = p
		wg.Go(func() { _ = p.Run(ctx) })
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return tr
}

func (tr *triangle) configure() {
	tr.configureClient()
	tr.server.AddAddr("eth0", "10.0.0.2/24")
	tr.server.AddAddr("eth0", "2001:db8::2/64")
	tr.server.AddNeighbor("eth0", "10.0.0.1", tr.router.MAC("eth1"))
	tr.server.AddNeighbor("eth0", "2001:db8::1", tr.router.MAC("eth1"))
}

func (tr *triangle) configureClient() {
	tr.client.AddAddr("eth0", "10.0.0.1/24")
	tr.client.AddAddr("eth0", "2001:db8::1/64")
	tr.client.AddNeighbor("eth0", "10.0.0.2", tr.router.MAC("eth0"))
	tr.client.AddNeighbor("eth0", "2001:db8::2", tr.router.MAC("eth0"))
}

// dropCapability takes one capability from the calling thread, for good.
func dropCapability(t *testing.T, which uint) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	require.NoError(t, unix.Capget(&hdr, &data[0]))
	data[which/32].Effective &^= 1 << (which % 32)
	require.NoError(t, unix.Capset(&hdr, &data[0]))
}
