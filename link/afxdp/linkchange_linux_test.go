package afxdp

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
)

// reaches sends frames from one device to the other until the XDP socket there
// gets some.
func reaches(t *testing.T, from, to *Device) {
	t.Helper()
	w, before := from.NewWriter(), to.counters.Read().RxFrames
	linktest.Eventually(t, "frames arrive", func() bool {
		_, _ = w.WriteBatch([]*link.Frame{toVIP(macB, 1, 60), toVIP(macA, 1, 60)})
		return to.counters.Read().RxFrames > before
	})
}

func TestLinkFlap(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		var log linktest.Log
		nsA, _, a, b := wirePair(t, lab, Options{Log: log.Logger()})
		linktest.KeepReading(t, a)
		linktest.KeepReading(t, b)
		for range 3 {
			reaches(t, b, a)
			nsA.SetDown("eth0")
			linktest.Eventually(t, "down is noticed", a.down.Load)
			sent, err := a.NewWriter().WriteBatch([]*link.Frame{toVIP(macB, 1, 60), toVIP(macB, 2, 60)})
			assert.Zero(t, sent)
			assert.Error(t, err)
			nsA.SetUp("eth0")
		}
		reaches(t, b, a)
		reaches(t, a, b)
		assert.EqualValues(t, 6, a.Stats().Drops[link.DropLinkDown])
		assert.True(t, log.Has("interface is up"))
	})
}

func TestOpenedWhileDown(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB := lab.Namespace("a"), lab.Namespace("b")
		veth(lab, nsA, nsB)
		nsA.SetDown("eth0")
		a, b := openIn(t, nsA, "eth0", Options{}), openIn(t, nsB, "eth0", Options{})
		require.NoError(t, a.Change(Wanted{Addrs: []netip.Addr{vip}}, Wanted{}))
		linktest.KeepReading(t, a)
		nsA.SetUp("eth0")
		reaches(t, b, a)
	})
}

// recreate deletes the pair and makes it anew; d, on nsA's end, comes back.
func recreate(t *testing.T, lab *netnstest.Lab, nsA, nsB *netnstest.Namespace, d *Device) {
	t.Helper()
	nsA.Delete("eth0")
	linktest.Eventually(t, "gone is noticed", func() bool { return d.Index() == 0 && d.Mode() == "no interface" })
	veth(lab, nsA, nsB)
	linktest.Eventually(t, "back is noticed", func() bool {
		return d.Index() == nsA.Link("eth0").Attrs().Index && d.Mode() != "no interface"
	})
}

func TestDeletedAndRecreated(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		var log linktest.Log
		nsA, nsB, a, _ := wirePair(t, lab, Options{Log: log.Logger()})
		linktest.KeepReading(t, a)
		for range 2 {
			recreate(t, lab, nsA, nsB, a)
		}
		assert.True(t, log.Has("XDP sockets are back"))
		require.NoError(t, a.Change(Wanted{Addrs: []netip.Addr{vip}}, Wanted{})) // the MAC changed after the interface came
		b := openIn(t, nsB, "eth0", Options{})
		require.NoError(t, b.Change(Wanted{Addrs: []netip.Addr{vip}}, Wanted{}))
		linktest.KeepReading(t, b)
		reaches(t, b, a)
		reaches(t, a, b)
		_ = a.Stats()
	})
}

// An interface that comes back unfit for XDP is served by the packet socket.
func TestComesBackUnfit(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		var log linktest.Log
		nsA, nsB, a, _ := wirePair(t, lab, Options{Log: log.Logger()})
		linktest.KeepReading(t, a)
		nsA.Delete("eth0")
		linktest.Eventually(t, "gone is noticed", func() bool { return a.Index() == 0 })
		lab.Veth(nsA, "eth1", nsB, "eth0")
		nsA.SetMTU("eth1", 9000)
		nsA.SetDown("eth1")
		require.NoError(t, nsA.Netlink().LinkSetName(nsA.Link("eth1"), "eth0"))
		nsA.SetUp("eth0")
		nsA.SetMAC("eth0", macA)
		linktest.Eventually(t, "it is said", func() bool { return log.Has("MTU 9000 is too large") })
		b := openIn(t, nsB, "eth0", Options{})
		before := a.Stats().RxFrames
		_, err := b.NewWriter().WriteBatch([]*link.Frame{toVIP(macA, 1, 60)})
		require.NoError(t, err)
		linktest.Eventually(t, "the frame arrives", func() bool { return a.Stats().RxFrames > before })
		nsA.SetMTU("eth0", 1500)
		linktest.Eventually(t, "it is tried again", func() bool { return a.Mode() != "no interface" })
		require.NoError(t, a.Change(Wanted{Addrs: []netip.Addr{vip}}, Wanted{}))
		reaches(t, b, a)
	})
}

func TestMTUAndMACChange(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB, a, b := wirePair(t, lab, Options{})
		linktest.KeepReading(t, b)
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
				if _, err := a.ReadBatch(linktest.Batch(1), -1); err != nil {
					result <- err
					return
				}
			}
		}()
		linktest.Eventually(t, "gone", func() bool { return a.Index() == 0 })
		require.NoError(t, a.Close())
		assert.ErrorIs(t, <-result, link.ErrClosed)
	})
}
