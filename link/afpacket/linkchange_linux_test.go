package afpacket

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
)

// reaches sends frames from one device to the other until some arrive.
func reaches(t *testing.T, from, to *Device) {
	t.Helper()
	w, before := from.NewWriter(), to.Stats().RxFrames
	linktest.Eventually(t, "frames arrive", func() bool {
		_, _ = w.WriteBatch([]*link.Frame{raw(macA, macB, 1, 60), raw(macA, macA, 1, 60)})
		return to.Stats().RxFrames > before
	})
}

func TestLinkFlap(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		var log linktest.Log
		nsA, _, a, b := wirePair(t, lab, Options{Log: log.Logger()}, Options{})
		linktest.KeepReading(t, a)
		linktest.KeepReading(t, b)
		for range 3 {
			reaches(t, b, a)
			nsA.SetDown("eth0")
			linktest.Eventually(t, "down is noticed", func() bool { return log.Has("interface is down") })
			sent, err := a.NewWriter().WriteBatch([]*link.Frame{raw(macA, macB, 1, 60), raw(macA, macB, 2, 60)})
			assert.Zero(t, sent)
			assert.Error(t, err)
			nsA.SetUp("eth0")
		}
		reaches(t, b, a)
		reaches(t, a, b)
		assert.EqualValues(t, 6, a.Stats().Drops[link.DropLinkDown])
		linktest.Eventually(t, "up is noticed", func() bool { return log.Has("interface is up") })
	})
}

func TestOpenedWhileDown(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB := lab.Namespace("a"), lab.Namespace("b")
		veth(lab, nsA, nsB)
		nsA.SetDown("eth0")
		a, b := openIn(t, nsA, "eth0", Options{}), openIn(t, nsB, "eth0", Options{})
		linktest.KeepReading(t, a)
		nsA.SetUp("eth0")
		reaches(t, b, a)
	})
}

func TestMTUAndMACChange(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB, a, b := wirePair(t, lab, Options{}, Options{})
		linktest.KeepReading(t, b)
		w := a.NewWriter()
		big := []*link.Frame{raw(macA, macB, 1, 3000)}
		sent, _ := w.WriteBatch(big)
		assert.Zero(t, sent)
		nsA.SetMTU("eth0", 9000)
		nsB.SetMTU("eth0", 9000)
		sent, err := w.WriteBatch(big)
		assert.NoError(t, err)
		assert.Equal(t, 1, sent)
		nsB.SetMAC("eth0", macA)
		assert.Equal(t, macA, b.HardwareAddr())
		reaches(t, a, b)
	})
}

// recreate deletes the pair and makes it anew; d, on nsA's end, comes back.
func recreate(t *testing.T, lab *netnstest.Lab, nsA, nsB *netnstest.Namespace, d *Device) {
	t.Helper()
	fs := linktest.Batch(1)
	read := func() { _, _ = d.ReadBatch(fs, 10*time.Millisecond) }
	nsA.Delete("eth0")
	linktest.Eventually(t, "gone is noticed", func() bool { read(); return d.Index() == 0 })
	veth(lab, nsA, nsB)
	linktest.Eventually(t, "back is noticed", func() bool { read(); return d.Index() == nsA.Link("eth0").Attrs().Index })
}

func TestDeletedAndRecreated(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		var log linktest.Log
		nsA, nsB, a, _ := wirePair(t, lab, Options{Log: log.Logger(), Promiscuous: true}, Options{})
		for range 2 {
			recreate(t, lab, nsA, nsB, a)
		}
		assert.True(t, log.Has("interface is gone"))
		assert.True(t, log.Has("interface is back"))
		assert.Equal(t, 1, nsA.Link("eth0").Attrs().Promisc, "promiscuous again")
		b := openIn(t, nsB, "eth0", Options{})
		linktest.KeepReading(t, a)
		linktest.KeepReading(t, b)
		reaches(t, b, a)
		reaches(t, a, b)
		assert.Equal(t, macA, a.HardwareAddr())
	})
}

// An interface that is renamed stays the device's interface.
func TestRenamed(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, _, a, b := wirePair(t, lab, Options{}, Options{})
		linktest.KeepReading(t, a)
		linktest.KeepReading(t, b)
		nsA.SetDown("eth0")
		require.NoError(t, nsA.Netlink().LinkSetName(nsA.Link("eth0"), "wan0"))
		nsA.SetUp("wan0")
		reaches(t, b, a)
		reaches(t, a, b)
		assert.Equal(t, 1500, a.MTU())
	})
}

// A caller that only ever polls gets its link back too.
func TestPollingCallerRevives(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB, a, _ := wirePair(t, lab, Options{}, Options{})
		fs := linktest.Batch(1)
		nsA.Delete("eth0")
		linktest.Eventually(t, "gone", func() bool { _, _ = a.ReadBatch(fs, 0); return a.Index() == 0 })
		veth(lab, nsA, nsB)
		linktest.Eventually(t, "back", func() bool { _, _ = a.ReadBatch(fs, 0); return a.Index() != 0 })
	})
}

func TestRemovedForGoodStillCloses(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, _, a, _ := wirePair(t, lab, Options{}, Options{})
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
