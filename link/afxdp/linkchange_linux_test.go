package afxdp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link"
	"usvs/link/netnstest"
)

// keepReading reads until the test ends, as a pump would.
func keepReading(t *testing.T, d *Device) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fs := newBatch(link.BatchSize)
		for {
			if _, err := d.ReadBatch(fs, time.Second); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = d.Close(); <-done })
}

// reaches sends frames from one device to the other until the XDP socket there
// gets some.
func reaches(t *testing.T, from, to *Device) {
	t.Helper()
	w, before := from.NewWriter(), to.counters.Read().RxFrames
	eventually(t, "frames arrive", func() bool {
		_, _ = w.WriteBatch([]*link.Frame{toVIP(macB, 1, 60), toVIP(macA, 1, 60)})
		return to.counters.Read().RxFrames > before
	})
}

func TestLinkFlap(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		var log events
		nsA, _, a, b := wirePair(t, lab, Options{Log: log.logger()})
		keepReading(t, a)
		keepReading(t, b)
		for range 3 {
			reaches(t, b, a)
			nsA.SetDown("eth0")
			eventually(t, "down is noticed", a.down.Load)
			sent, err := a.NewWriter().WriteBatch([]*link.Frame{toVIP(macB, 1, 60), toVIP(macB, 2, 60)})
			assert.Zero(t, sent)
			assert.Error(t, err)
			nsA.SetUp("eth0")
		}
		reaches(t, b, a)
		reaches(t, a, b)
		assert.EqualValues(t, 6, a.Stats().Drops[link.DropLinkDown])
		assert.True(t, log.has("interface is up"))
	})
}

func TestOpenedWhileDown(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB := lab.Namespace("a"), lab.Namespace("b")
		veth(lab, nsA, nsB)
		nsA.SetDown("eth0")
		a, b := openIn(t, nsA, "eth0", Options{}), openIn(t, nsB, "eth0", Options{})
		require.NoError(t, a.Change(Wanted{Addrs: []netip.Addr{vip}}, Wanted{}))
		keepReading(t, a)
		nsA.SetUp("eth0")
		reaches(t, b, a)
	})
}

// recreate deletes the pair and makes it anew; d, on nsA's end, comes back.
func recreate(t *testing.T, lab *netnstest.Lab, nsA, nsB *netnstest.Namespace, d *Device) {
	t.Helper()
	nsA.Delete("eth0")
	eventually(t, "gone is noticed", func() bool { return d.Index() == 0 && d.Mode() == "no interface" })
	veth(lab, nsA, nsB)
	eventually(t, "back is noticed", func() bool {
		return d.Index() == nsA.Link("eth0").Attrs().Index && d.Mode() != "no interface"
	})
}

func TestDeletedAndRecreated(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		var log events
		nsA, nsB, a, _ := wirePair(t, lab, Options{Log: log.logger()})
		keepReading(t, a)
		for range 2 {
			recreate(t, lab, nsA, nsB, a)
		}
		assert.True(t, log.has("XDP sockets are back"))
		require.NoError(t, a.Change(Wanted{Addrs: []netip.Addr{vip}}, Wanted{})) // the MAC changed after the interface came
		b := openIn(t, nsB, "eth0", Options{})
		require.NoError(t, b.Change(Wanted{Addrs: []netip.Addr{vip}}, Wanted{}))
		keepReading(t, b)
		reaches(t, b, a)
		reaches(t, a, b)
		_ = a.Stats()
	})
}

// An interface that comes back unfit for XDP is served by the packet socket.
func TestComesBackUnfit(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		var log events
		nsA, nsB, a, _ := wirePair(t, lab, Options{Log: log.logger()})
		keepReading(t, a)
		nsA.Delete("eth0")
		eventually(t, "gone is noticed", func() bool { return a.Index() == 0 })
		lab.Veth(nsA, "eth1", nsB, "eth0")
		nsA.SetMTU("eth1", 9000)
		nsA.SetDown("eth1")
		require.NoError(t, nsA.Netlink().LinkSetName(nsA.Link("eth1"), "eth0"))
		nsA.SetUp("eth0")
		nsA.SetMAC("eth0", macA)
		eventually(t, "it is said", func() bool { return log.has("MTU 9000 is too large") })
		b := openIn(t, nsB, "eth0", Options{})
		before := a.Stats().RxFrames
		_, err := b.NewWriter().WriteBatch([]*link.Frame{toVIP(macA, 1, 60)})
		require.NoError(t, err)
		eventually(t, "the frame arrives", func() bool { return a.Stats().RxFrames > before })
		nsA.SetMTU("eth0", 1500)
		eventually(t, "it is tried again", func() bool { return a.Mode() != "no interface" })
		require.NoError(t, a.Change(Wanted{Addrs: []netip.Addr{vip}}, Wanted{}))
		reaches(t, b, a)
	})
}

func TestMTUAndMACChange(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB, a, b := wirePair(t, lab, Options{})
		keepReading(t, b)
		nsB.SetMAC("eth0", macA)
		require.NoError(t, b.Change(Wanted{Addrs: []netip.Addr{vip}}, Wanted{}))
		reaches(t, a, b)
		nsA.SetMTU("eth0", 1000)
		require.NoError(t, a.Change(Wanted{Addrs: []netip.Addr{vip}}, Wanted{}))
		sent, err := a.NewWriter().WriteBatch([]*link.Frame{toVIP(macA, 1, 1200)})
		assert.Zero(t, sent)
		assert.Error(t, err)
	})
}

func TestRemovedForGoodStillCloses(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, _, a, _ := wirePair(t, lab, Options{})
		nsA.Delete("eth0")
		result := make(chan error)
		go func() {
			for {
				if _, err := a.ReadBatch(newBatch(1), -1); err != nil {
					result <- err
					return
				}
			}
		}()
		eventually(t, "gone", func() bool { return a.Index() == 0 })
		require.NoError(t, a.Close())
		assert.ErrorIs(t, <-result, link.ErrClosed)
	})
}
