package afpacket

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
	"usvs/link/vnet"
	"usvs/wire"
)

// ringPair is a pair with a ring at b's end, for frames of up to 9 KB.
func ringPair(t *testing.T, lab *netnstest.Lab, opts Options) (a, b *Device) {
	overRing = true
	nsA, nsB, a, b := wirePair(t, lab, Options{}, opts)
	nsA.SetMTU("eth0", 9000)
	nsB.SetMTU("eth0", 9000)
	return a, b
}

// Frames around the size of a slot, and far beyond, arrive whole and in order.
func TestRingSlotBorder(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		a, b := ringPair(t, lab, Options{})
		var sent []*link.Frame
		for i := range 150 {
			n := []int{60, slotSize - 90 + i, 9000, slotSize + i}[i%4]
			f := raw(macA, macB, i, n)
			for j := 18; j < n; j++ {
				f.Bytes()[j] = byte(i + j)
			}
			sent = append(sent, f)
		}
		n, err := a.NewWriter().WriteBatch(sent)
		require.NoError(t, err)
		require.Equal(t, len(sent), n)
		fs := linktest.Batch(link.BatchSize)
		for next := 0; next < len(sent); {
			k, err := b.ReadBatch(fs, patience)
			require.NoError(t, err)
			require.Positive(t, k)
			for _, f := range fs[:k] {
				if wire.EthernetHeader(f.Bytes()).Type() == testType {
					require.Equal(t, sent[next].Bytes(), f.Bytes(), "frame %d", next)
					next++
				}
			}
		}
	})
}

// A ring is used again and again, from its first slot to its last.
func TestRingGoesRound(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		const blocks = 2
		a, b := ringPair(t, lab, Options{ReceiveBuffer: blocks * blockSize})
		w := a.NewWriter()
		slots := map[int]bool{}
		for number := range 3 * blocks * (blockSize / slotSize) {
			_, err := w.WriteBatch([]*link.Frame{raw(macA, macB, number, 1514)})
			require.NoError(t, err)
			require.Equal(t, []int{number}, readRaw(t, b, 1))
			slots[b.ring.next] = true
		}
		require.Len(t, slots, blocks*(blockSize/slotSize))
		require.Zero(t, b.Stats().Drops[link.DropOverrun])
	})
}

// What finds room neither in a slot nor in the queue is counted, and costs the
// others nothing.
func TestRingQueueOverrun(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		a, b := ringPair(t, lab, Options{ReceiveBuffer: 1})
		w := a.NewWriter()
		const long = 15
		for i := range long {
			_, err := w.WriteBatch([]*link.Frame{raw(macA, macB, 1000+i, 8000), raw(macA, macB, i, 60)})
			require.NoError(t, err)
		}
		short := 0
		for deadline := time.Now().Add(patience); short < long; {
			require.True(t, time.Now().Before(deadline), "%d short frames", short)
			for _, number := range readRaw(t, b, 1) {
				if number < 1000 {
					require.Equal(t, short, number)
					short++
				}
			}
		}
		assert.Positive(t, b.Stats().Drops[link.DropOverrun])
	})
}

// A frame longer than the caller's is dropped, from a slot and from the queue.
func TestRingTruncated(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		a, b := ringPair(t, lab, Options{})
		_, err := a.NewWriter().WriteBatch([]*link.Frame{raw(macA, macB, 1, 1000), raw(macA, macB, 2, 5000)})
		require.NoError(t, err)
		small := []*link.Frame{wire.NewFrame(500)}
		linktest.Eventually(t, "two truncated frames", func() bool {
			_, err := b.ReadBatch(small, 10*time.Millisecond)
			return err == nil && b.Stats().Drops[link.DropTruncated] == 2
		})
	})
}

// An error without a frame is fetched, so that nobody waits beside it for ever.
func TestRingSocketError(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		overRing = true
		nsA, _, a, _ := wirePair(t, lab, Options{}, Options{})
		nsA.SetDown("eth0")
		linktest.Eventually(t, "down is noticed", func() bool {
			_, err := a.ReadBatch(linktest.Batch(1), 0)
			return err == nil && a.down
		})
	})
}

// FuzzSlot: whatever is in a slot, what is taken from it lies inside.
func FuzzSlot(f *testing.F) {
	f.Add(uint32(unix.TP_STATUS_USER), uint32(60), uint32(60), uint16(82), []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add(uint32(unix.TP_STATUS_USER|unix.TP_STATUS_VLAN_VALID), uint32(9000), uint32(1966), uint16(82), []byte{1, 1, 0, 0, 100})
	f.Add(uint32(unix.TP_STATUS_USER), uint32(1<<31), uint32(1<<31), uint16(0xffff), []byte{})
	f.Fuzz(func(t *testing.T, status, length, snaplen uint32, mac uint16, header []byte) {
		d := bareDevice(t, -1)
		d.ring = &ring{mem: make([]byte, blockSize)}
		mem := d.ring.mem
		binary.NativeEndian.PutUint32(mem, status&^unix.TP_STATUS_COPY|unix.TP_STATUS_USER)
		binary.NativeEndian.PutUint32(mem[4:], length)
		binary.NativeEndian.PutUint32(mem[8:], snaplen)
		binary.NativeEndian.PutUint16(mem[12:], mac)
		if at := int(mac) - vnet.HeaderLen; at >= unix.SizeofTpacket2Hdr && int(mac) <= slotSize {
			copy(mem[at:mac], header)
		}
		fs := linktest.Batch(2)
		if n := d.receiveRing(fs); n > 0 {
			if fs[0].Len() > slotSize || fs[0].Partial && int(fs[0].CsumStart)+int(fs[0].CsumOffset)+2 > fs[0].Len() {
				t.Fatalf("%d bytes, checksum at %d+%d", fs[0].Len(), fs[0].CsumStart, fs[0].CsumOffset)
			}
		}
		if _, filled := d.ring.peek(); filled || d.ring.next != slotSize {
			t.Fatal("the slot was not released")
		}
	})
}
