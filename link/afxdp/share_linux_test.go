package afxdp

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
	"usvs/wire"
)

// queuePair is wirePair with several queues.
func queuePair(t *testing.T, lab *netnstest.Lab, queues int) (nsA, nsB *netnstest.Namespace, a, b *Device) {
	t.Helper()
	nsA, nsB = lab.Namespace("a"), lab.Namespace("b")
	lab.VethQueues(nsA, "eth0", nsB, "eth0", queues)
	nsA.SetMAC("eth0", macA)
	nsB.SetMAC("eth0", macB)
	a, b = openIn(t, nsA, "eth0", Options{}), openIn(t, nsB, "eth0", Options{})
	for _, d := range []*Device{a, b} {
		require.NoError(t, d.Change(Wanted{Addrs: []netip.Addr{vip, vip6}}, Wanted{}))
	}
	return nsA, nsB, a, b
}

// tally reads a device until it is closed and counts what goes to the VIP.
type tally struct{ frames atomic.Int64 }

func (n *tally) read(t *testing.T, d link.Device) {
	fs := linktest.Batch(link.BatchSize)
	for {
		k, err := d.ReadBatch(fs, time.Second)
		if err != nil {
			assert.ErrorIs(t, err, link.ErrClosed)
			return
		}
		for _, f := range fs[:k] {
			var p wire.Packet
			if p.Parse(f.Bytes(), wire.Ethernet) == wire.None && p.Dst == vip {
				n.frames.Add(1)
			}
		}
	}
}

// flood sends n frames by a queue of a device.
func flood(t *testing.T, a *Device, queue, n int) {
	t.Helper()
	set := a.set.Load()
	for i, q := range set.queues { // so that the writer takes the one that is left
		if i != queue {
			require.True(t, q.busy.CompareAndSwap(false, true))
			defer q.busy.Store(false)
		}
	}
	w := a.NewWriter()
	for i := range n {
		_, err := w.WriteBatch([]*link.Frame{toVIP(macB, i, 60)})
		require.NoError(t, err)
	}
}

// Each queue's frames are read by one of those who share, also after the
// interface was made anew.
func TestShare(t *testing.T) {
	for _, tc := range []struct {
		queues int
		want   []int64 // frames of each reader, if each queue receives 100
	}{
		{2, []int64{200}},
		{2, []int64{100, 100}},
		{4, []int64{200, 200}},
		{3, []int64{200, 100}},
		{1, []int64{100, 0}},
	} {
		t.Run(fmt.Sprintf("%d queues, %d readers", tc.queues, len(tc.want)), func(t *testing.T) {
			t.Parallel()
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) { testShare(t, lab, tc.queues, tc.want) })
		})
	}
}

func testShare(t *testing.T, lab *netnstest.Lab, queues int, want []int64) {
	nsA, nsB, a, b := queuePair(t, lab, queues)
	assert.Contains(t, b.Mode(), "native")
	devices, err := b.Share(len(want))
	require.NoError(t, err)
	require.Len(t, devices, len(want))
	tallies := make([]tally, len(want))
	var readers sync.WaitGroup
	for i, d := range devices {
		assert.Equal(t, "eth0", d.Name())
		assert.Equal(t, wire.Ethernet, d.Medium())
		readers.Go(func() { tallies[i].read(t, d) })
	}
	for round := range 2 {
		for queue := range queues {
			flood(t, a, queue, 100)
		}
		for i, n := range want {
			n *= int64(round + 1)
			linktest.Eventually(t, "frames arrive", func() bool { return tallies[i].frames.Load() >= n })
			assert.Equal(t, n, tallies[i].frames.Load(), "reader %d", i)
		}
		if round > 0 {
			break
		}
		require.NoError(t, a.Close())
		nsA.Delete("eth0")
		linktest.Eventually(t, "gone is noticed", func() bool { return b.Index() == 0 })
		lab.VethQueues(nsA, "eth0", nsB, "eth0", queues)
		nsA.SetMAC("eth0", macA)
		nsB.SetMAC("eth0", macB)
		linktest.Eventually(t, "back is noticed", func() bool { return b.Index() != 0 && b.Mode() != "no interface" })
		require.NoError(t, b.Change(Wanted{}, Wanted{})) // the MAC
		a = openIn(t, nsA, "eth0", Options{})
	}
	require.NoError(t, b.Close())
	readers.Wait()
	for _, d := range devices[1:] {
		require.NoError(t, d.Close())
		assert.ErrorIs(t, d.Close(), link.ErrClosed)
		d.Wake()
	}
}

// A member that is closed first, woken, or has nothing to read.
func TestMemberAlone(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, _, b := queuePair(t, lab, 1)
		devices, err := b.Share(2)
		require.NoError(t, err)
		m, fs := devices[1], linktest.Batch(1)
		for _, wait := range []time.Duration{0, time.Millisecond} {
			n, err := m.ReadBatch(fs, wait)
			require.NoError(t, err)
			assert.Zero(t, n)
		}
		go m.Wake()
		n, err := m.ReadBatch(fs, -1)
		require.NoError(t, err)
		assert.Zero(t, n)
		sent, err := m.NewWriter().WriteBatch([]*link.Frame{toVIP(macA, 1, 60)})
		require.NoError(t, err)
		assert.Equal(t, 1, sent)
		result := make(chan error)
		go func() {
			_, err := m.ReadBatch(fs, -1)
			result <- err
		}()
		time.Sleep(time.Millisecond)
		require.NoError(t, m.Close())
		assert.ErrorIs(t, <-result, link.ErrClosed)
		_, err = m.ReadBatch(fs, 0)
		assert.ErrorIs(t, err, link.ErrClosed)
		_, err = b.ReadBatch(fs, 0)
		assert.NoError(t, err, "the device itself goes on")
	})
}
