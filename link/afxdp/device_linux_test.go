package afxdp

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
	"usvs/wire"
)

func TestDescription(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, _, a, _ := wirePair(t, lab, Options{})
		assert.Equal(t, "eth0", a.Name())
		assert.Equal(t, wire.Ethernet, a.Medium())
		assert.Equal(t, nsA.Link("eth0").Attrs().Index, a.Index())
		assert.Equal(t, 1500, a.MTU())
		assert.Equal(t, macA, a.HardwareAddr())
		want := "native, copy, 1 queues"
		if generic {
			want = "generic, copy, 1 queues"
		}
		assert.Equal(t, want, a.Mode())
	})
}

func TestOpenErrors(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		lab.Veth(lab.Home, "eth0", lab.Home, "eth1")
		_, err := Open("eth7", Options{})
		assert.ErrorContains(t, err, "there are:")
		openIn(t, lab.Home, "eth0", Options{})
		_, err = Open("eth0", Options{})
		assert.ErrorContains(t, err, "another XDP program")
		lab.Veth(lab.Home, "eth2", lab.Home, "eth3")
		lab.Home.SetMTU("eth2", 9000)
		_, err = Open("eth2", Options{})
		assert.ErrorContains(t, err, "MTU 9000 is too large for AF_XDP: at most 3822")

		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and never unlocked: the thread is spoilt
			dropCapabilities(t, unix.CAP_BPF, unix.CAP_SYS_ADMIN)
			_, err := Open("eth1", Options{})
			assert.ErrorContains(t, err, "CAP_BPF")
		}()
		<-done
	})
}

// dropCapabilities takes capabilities from the calling thread, for good.
func dropCapabilities(t *testing.T, which ...uint) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	require.NoError(t, unix.Capget(&hdr, &data[0]))
	for _, c := range which {
		data[c/32].Effective &^= 1 << (c % 32)
	}
	require.NoError(t, unix.Capset(&hdr, &data[0]))
}

func TestBatchesInOrder(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{})
		const n = 3*sendChunks + 7 // more than there are chunks to send with
		fs, want := make([]*link.Frame, n), make([]int, n)
		for i := range fs {
			fs[i], want[i] = toVIP(macB, i, 60+i%1400), i
		}
		sent, err := a.NewWriter().WriteBatch(fs)
		require.NoError(t, err)
		assert.Equal(t, n, sent)
		assert.Equal(t, want, readNumbers(t, b, n))
		assert.EqualValues(t, n, a.counters.Read().TxFrames, "by the XDP socket")
		assert.EqualValues(t, n, b.counters.Read().RxFrames, "by the XDP socket")
		assert.GreaterOrEqual(t, b.Stats().RxFrames, uint64(n))
	})
}

// What is not taken reaches the host, and the device by the packet socket.
func TestTheRest(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB, a, b := wirePair(t, lab, Options{})
		nsA.AddAddr("eth0", "10.0.0.1/24")
		nsB.AddAddr("eth0", "10.0.0.2/24")
		server, client := nsB.ListenPacket("udp", "10.0.0.2:53"), nsA.ListenPacket("udp", "10.0.0.1:0")
		_, err := client.WriteTo([]byte("hello"), server.LocalAddr())
		require.NoError(t, err)
		require.NoError(t, server.SetReadDeadline(time.Now().Add(patience)))
		_, _, err = server.ReadFrom(make([]byte, 10))
		require.NoError(t, err, "the host gets its datagram")
		seen := map[uint16]bool{}
		fs := linktest.Batch(link.BatchSize)
		for deadline := time.Now().Add(patience); !seen[wire.TypeARP] || !seen[wire.TypeIPv4]; {
			require.True(t, time.Now().Before(deadline), "%v", seen)
			n, err := b.ReadBatch(fs, time.Second)
			require.NoError(t, err)
			for _, f := range fs[:n] {
				assert.False(t, f.Hidden)
				seen[wire.EthernetHeader(f.Bytes()).Type()] = true
			}
		}
		assert.Zero(t, b.counters.Read().RxFrames)
		_ = a
	})
}

// Frames an XDP socket cannot send go by the packet socket, in their place.
func TestSendingBothWays(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{})
		super := datagram(cip, vip, wire.ProtoTCP, 1000, 81, 5000)
		partial(super, wire.ProtoTCP)
		super.GSO, super.GSOSize = wire.GSOTCP4, 1000
		half := toVIP(macB, 3, 200)
		partial(half, wire.ProtoUDP)
		fs := []*link.Frame{toVIP(macB, 1, 60), super, toVIP(macB, 2, 1514), half, toVIP(macB, 99, 1600), toVIP(macB, 4, 60)}
		sent, err := a.NewWriter().WriteBatch(fs)
		assert.ErrorIs(t, err, unix.EMSGSIZE)
		assert.Equal(t, 5, sent)
		assert.ElementsMatch(t, []int{1, 2, 3, 4}, readNumbers(t, b, 4))
		assert.EqualValues(t, 1, a.Stats().Drops[link.DropTooLong])
		assert.EqualValues(t, 4, a.counters.Read().TxFrames)
		assert.EqualValues(t, 5, a.Stats().TxFrames)
	})
}

func TestOverrunIsCounted(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{})
		w, fs := a.NewWriter(), make([]*link.Frame, link.BatchSize)
		for i := range fs {
			fs[i] = toVIP(macB, i, 60)
		}
		for range receiveChunks/len(fs) + 8 {
			_, err := w.WriteBatch(fs)
			require.NoError(t, err)
		}
		linktest.Eventually(t, "overrun", func() bool { return b.Stats().Drops[link.DropOverrun] > 0 })
		first := b.Stats().Drops[link.DropOverrun]
		assert.GreaterOrEqual(t, b.Stats().Drops[link.DropOverrun], first)
		readNumbers(t, b, receiveChunks)
		_, err := w.WriteBatch(fs)
		require.NoError(t, err)
		readNumbers(t, b, len(fs))
	})
}

func TestManyWriters(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{})
		const writers, batches = 4, 25
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				w := a.NewWriter()
				for j := range batches {
					fs := make([]*link.Frame, 10)
					for k := range fs {
						fs[k] = toVIP(macB, i<<16|j*len(fs)+k, 60)
					}
					_, err := w.WriteBatch(fs)
					assert.NoError(t, err)
				}
			})
		}
		wg.Wait()
		seen := map[int]bool{}
		for _, number := range readNumbers(t, b, writers*batches*10) {
			require.False(t, seen[number], "%#x twice", number)
			seen[number] = true
		}
	})
}

func TestWaitWakeClose(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, _, a, _ := wirePair(t, lab, Options{})
		linktest.WaitWakeClose(t, a, toVIP(macB, 1, 60))
		assert.ErrorIs(t, a.Change(Wanted{}, Wanted{}), link.ErrClosed)
		_ = a.Stats()
		openIn(t, nsA, "eth0", Options{}) // everything is free again
	})
}

// Reading and sending batches allocates nothing.
func TestNoAllocations(t *testing.T) {
	eachWayAlone(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{})
		w, in, out := a.NewWriter(), linktest.Batch(link.BatchSize), linktest.Batch(link.BatchSize)
		for i, f := range out {
			f.CopyFrom(toVIP(macB, i, 60))
		}
		assert.Zero(t, testing.AllocsPerRun(200, func() {
			_, _ = w.WriteBatch(out)
			for got := 0; got < len(out); {
				n, _ := b.ReadBatch(in, time.Millisecond)
				got += n
			}
			_, _ = b.ReadBatch(in, 0)
		}))
	})
}
