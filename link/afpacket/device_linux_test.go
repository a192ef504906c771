package afpacket

import (
	"encoding/binary"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
	"usvs/wire"
)

func TestOpenErrors(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		lab.Veth(lab.Home, "eth0", lab.Home, "eth1")
		_, err := Open("eth7", Options{})
		assert.ErrorContains(t, err, "eth7")
		assert.ErrorContains(t, err, "there are:")
		assert.ErrorContains(t, err, "eth1")
		_, err = Open("eth0", Options{Filter: []bpf.RawInstruction{{Op: 0xffff}}})
		assert.ErrorContains(t, err, "BPF")

		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and never unlocked: the thread is spoilt
			dropCapability(t, unix.CAP_NET_RAW)
			_, err := Open("eth0", Options{})
			assert.ErrorContains(t, err, "CAP_NET_RAW is missing")
			assert.ErrorIs(t, err, unix.EPERM)
		}()
		<-done
	})
}

func TestDescription(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, _, a, _ := wirePair(t, lab, Options{}, Options{})
		assert.Equal(t, "eth0", a.Name())
		assert.Equal(t, wire.Ethernet, a.Medium())
		assert.Equal(t, nsA.Link("eth0").Attrs().Index, a.Index())
		assert.Equal(t, 1500, a.MTU())
		assert.Equal(t, macA, a.HardwareAddr())
		nsA.SetMTU("eth0", 1400)
		nsA.SetMAC("eth0", macB)
		assert.Equal(t, 1400, a.MTU())
		assert.Equal(t, macB, a.HardwareAddr())
		nsA.Delete("eth0")
		assert.Equal(t, 1400, a.MTU(), "what it was")
		assert.Equal(t, macB, a.HardwareAddr(), "what it was")
	})
}

func TestBatchesInOrder(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{}, Options{})
		const n = 3*link.BatchSize + 7
		fs, want := make([]*link.Frame, n), make([]int, n)
		for i := range fs {
			fs[i], want[i] = raw(macA, macB, i, 60+i), i
		}
		sent, err := a.NewWriter().WriteBatch(fs)
		require.NoError(t, err)
		assert.Equal(t, n, sent)
		assert.Equal(t, want, readRaw(t, b, n))
		assert.GreaterOrEqual(t, a.Stats().TxFrames, uint64(n))
		assert.GreaterOrEqual(t, b.Stats().RxFrames, uint64(n))
		assert.Zero(t, a.Stats().RxFrames, "its own frames do not come back")
	})
}

func TestWhatIsDelivered(t *testing.T) {
	group := wire.MAC{1, 0, 0x5e, 0, 0, 18}
	other := wire.MAC{2, 9, 9, 9, 9, 9}
	send := func(t *testing.T, a *Device) {
		_, err := a.NewWriter().WriteBatch([]*link.Frame{
			raw(macA, other, 1, 60), raw(macA, macB, 2, 60), raw(macA, group, 3, 60), raw(macA, wire.Broadcast, 4, 60),
		})
		require.NoError(t, err)
	}
	for _, tc := range []struct {
		name    string
		opts    Options
		station wire.MAC
		want    []int
		lost    uint64
	}{
		{"own and groups", Options{}, wire.MAC{}, []int{2, 3, 4}, 1},
		{"promiscuous", Options{Promiscuous: true}, wire.MAC{}, []int{1, 2, 3, 4}, 0},
		{"filtered", Options{Filter: numberAbove2(t)}, wire.MAC{}, []int{3, 4}, 0},
		{"a further station", Options{}, other, []int{1, 2, 3, 4}, 0},
		{"another further station", Options{}, wire.MAC{2, 9, 9, 9, 9, 8}, []int{2, 3, 4}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
				_, _, a, b := wirePair(t, lab, Options{}, tc.opts)
				require.NoError(t, b.AddMembership(tc.station))
				send(t, a)
				assert.Equal(t, tc.want, readRaw(t, b, len(tc.want)))
				assert.Equal(t, tc.lost, b.Stats().Drops[link.DropOtherHost])
			})
		})
	}
}

// numberAbove2 is a filter that admits frames of raw with a number above 2.
func numberAbove2(t *testing.T) []bpf.RawInstruction {
	return admit(t, bpf.LoadAbsolute{Off: 14, Size: 4}, bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: 2, SkipFalse: 1})
}

// admit is a filter that rejects what the condition skips an instruction for.
func admit(t *testing.T, condition ...bpf.Instruction) []bpf.RawInstruction {
	prog, err := bpf.Assemble(append(condition, bpf.RetConstant{Val: 1 << 18}, bpf.RetConstant{}))
	require.NoError(t, err)
	return prog
}

// Frames to other stations without end do not keep ReadBatch from returning.
func TestForeignFloodDoesNotHoldReadBatch(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		ours := admit(t, bpf.LoadAbsolute{Off: 12, Size: 2}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: testType, SkipFalse: 1})
		_, _, a, b := wirePair(t, lab, Options{}, Options{Filter: ours})
		stop := make(chan struct{})
		var wg sync.WaitGroup
		defer wg.Wait()
		defer close(stop)
		wg.Go(func() {
			w, fs := a.NewWriter(), []*link.Frame{raw(macA, wire.MAC{2, 9}, 1, 60)}
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = w.WriteBatch(fs)
				}
			}
		})
		for range 20 {
			n, err := b.ReadBatch(linktest.Batch(4), 10*time.Millisecond)
			require.NoError(t, err)
			require.Zero(t, n)
		}
		time.AfterFunc(10*time.Millisecond, b.Wake)
		n, err := b.ReadBatch(linktest.Batch(4), -1)
		require.NoError(t, err)
		require.Zero(t, n)
		linktest.Eventually(t, "foreign frames", func() bool { return b.Stats().Drops[link.DropOtherHost] > 100 })
	})
}

// The kernel takes VLAN tags out of what it receives; they come back.
func TestVLANTag(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{}, Options{})
		for _, tpid := range []uint16{wire.TypeVLAN, wire.TypeQinQ} {
			f := raw(macA, macB, 7, 100)
			h := f.Bytes()
			copy(h[12:], []byte{byte(tpid >> 8), byte(tpid), 0x60, 0x2a, testType >> 8, testType & 0xff, 1, 2, 3, 4})
			want := string(h)
			_, err := a.NewWriter().WriteBatch([]*link.Frame{f})
			require.NoError(t, err)
			fs := linktest.Batch(1)
			linktest.Eventually(t, "the tagged frame", func() bool {
				n, err := b.ReadBatch(fs, time.Second)
				return err == nil && n == 1 && string(fs[0].Bytes()) == want
			})
		}
	})
}

func TestTruncatedFrame(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{}, Options{})
		_, err := a.NewWriter().WriteBatch([]*link.Frame{raw(macA, macB, 1, 1000)})
		require.NoError(t, err)
		small := []*link.Frame{wire.NewFrame(500)}
		linktest.Eventually(t, "a truncated frame", func() bool {
			_, err := b.ReadBatch(small, 10*time.Millisecond)
			return err == nil && b.Stats().Drops[link.DropTruncated] == 1
		})
	})
}

// Frames that cannot be sent cost themselves only.
func TestRefusedFramesAreSkipped(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{}, Options{})
		empty := wire.NewFrame(100)
		badOffload := raw(macA, macB, 99, 100)
		badOffload.Partial, badOffload.CsumStart, badOffload.CsumOffset = true, 99, 16
		fs := []*link.Frame{
			raw(macA, macB, 1, 60), raw(macA, macB, 99, 3000), raw(macA, macB, 2, 60), empty,
			badOffload, raw(macA, macB, 3, 1514), raw(macA, macB, 99, 1600), raw(macA, macB, 4, 60),
		}
		sent, err := a.NewWriter().WriteBatch(fs)
		assert.Equal(t, 4, sent)
		assert.ErrorIs(t, err, unix.EMSGSIZE)
		assert.Equal(t, []int{1, 2, 3, 4}, readRaw(t, b, 4))
		drops := a.Stats().Drops
		assert.EqualValues(t, 2, drops[link.DropTooLong])
		assert.EqualValues(t, 2, drops[link.DropRefused])
	})
}

// A queue that drains at 1 kB/s stays full: frames are dropped and counted,
// and the writer returns all the same.
// A frame that has no room left for the device's header in front of it goes out
// all the same.
func TestSendWithoutRoom(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{}, Options{})
		f := raw(macA, macB, 7, 100)
		whole := append([]byte(nil), f.Bytes()...)
		f.SetLen(0)
		f.Prepend(wire.Headroom)
		f.Truncate(100)
		copy(f.Bytes(), whole)
		require.Zero(t, f.Room())
		sent, err := a.NewWriter().WriteBatch([]*link.Frame{f})
		require.NoError(t, err)
		assert.Equal(t, 1, sent)
		assert.Equal(t, []int{7}, readRaw(t, b, 1))
	})
}

func TestFullQueues(t *testing.T) {
	for _, tc := range []struct {
		name       string
		queueBytes uint32
		sendBuffer int
	}{
		{"of the interface, ENOBUFS", 3000, 8 << 20},
		{"of the socket, EAGAIN", 100 << 20, 16 << 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
				nsA, _, a, _ := wirePair(t, lab, Options{SendBuffer: tc.sendBuffer}, Options{})
				slowDown(t, nsA, tc.queueBytes)
				fs := make([]*link.Frame, link.BatchSize)
				for i := range fs {
					fs[i] = raw(macA, macB, i, 1000)
				}
				sent, err := a.NewWriter().WriteBatch(fs)
				assert.Error(t, err)
				assert.Less(t, sent, len(fs))
				assert.EqualValues(t, len(fs)-sent, a.Stats().Drops[link.DropNoBuffer])
			})
		})
	}
}

// slowDown puts a token bucket of 1 kB/s before eth0.
func slowDown(t *testing.T, ns *netnstest.Namespace, queueBytes uint32) {
	const rate = 1000
	err := ns.Netlink().QdiscReplace(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: ns.Link("eth0").Attrs().Index,
			Handle:    netlink.MakeHandle(1, 0),
			Parent:    netlink.HANDLE_ROOT,
		},
		Rate: rate, Limit: queueBytes, Buffer: netlink.Xmittime(rate, 2000),
	})
	if err != nil {
		netnstest.Skip(t, "tbf queueing discipline: %v", err)
	}
}

func TestOverrunIsCounted(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{}, Options{ReceiveBuffer: 4096})
		w := a.NewWriter()
		for range 100 {
			_, err := w.WriteBatch([]*link.Frame{raw(macA, macB, 1, 1000)})
			require.NoError(t, err)
		}
		linktest.Eventually(t, "overrun", func() bool { return b.Stats().Drops[link.DropOverrun] > 50 })
		first := b.Stats().Drops[link.DropOverrun]
		assert.GreaterOrEqual(t, b.Stats().Drops[link.DropOverrun], first, "reading twice loses nothing")
		readRaw(t, b, 1)
	})
}

func TestManyWriters(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{}, Options{ReceiveBuffer: 64 << 20})
		const writers, batches = 4, 50
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				w := a.NewWriter()
				for j := range batches {
					fs := make([]*link.Frame, 10)
					for k := range fs {
						fs[k] = raw(macA, macB, i<<16|j*len(fs)+k, 60)
					}
					_, err := w.WriteBatch(fs)
					assert.NoError(t, err)
				}
			})
		}
		wg.Wait()
		next := [writers]int{}
		for _, number := range readRaw(t, b, writers*batches*10) {
			i := number >> 16
			require.Equal(t, next[i], number&0xffff, "writer %d's frames in order", i)
			next[i]++
		}
	})
}

func TestMemberships(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		peer := lab.Namespace("peer")
		veth(lab, lab.Home, peer)
		d := openIn(t, lab.Home, "eth0", Options{})
		group := wire.MAC{0x33, 0x33, 0xff, 1, 2, 3}
		joined := func() bool {
			b, err := os.ReadFile("/proc/thread-self/net/dev_mcast")
			require.NoError(t, err)
			return strings.Contains(string(b), "3333ff010203")
		}
		require.NoError(t, d.AddMembership(group))
		require.NoError(t, d.AddMembership(group), "once is enough")
		assert.True(t, joined())

		recreate(t, lab, lab.Home, peer, d)
		assert.True(t, joined(), "joined again")
		require.NoError(t, d.DropMembership(group))
		assert.False(t, joined())
		require.NoError(t, d.DropMembership(group), "gone is gone")
	})
}

// ARP and neighbour discovery come through when nothing else does any more.
func TestUrgent(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{}, Options{Urgent: true, ReceiveBuffer: 1 << 16})
		as := addressings["IPv6"]
		icmp := func(number, kind int) *link.Frame {
			f := ipFrame(as.client(0), as.server(0), number)
			f.Bytes()[20], f.Bytes()[54] = wire.ProtoICMPv6, byte(kind)
			return f
		}
		arp := raw(macA, macB, 0, 80)
		wire.EthernetHeader(arp.Bytes()).SetType(wire.TypeARP)
		binary.BigEndian.PutUint32(arp.Bytes()[60:], 1003)
		urgent := []*link.Frame{icmp(1001, wire.ICMPv6NeighSol), icmp(1002, wire.ICMPv6NeighAdv), arp}
		var others []*link.Frame
		for i := range 4 * link.BatchSize {
			others = append(others, ipFrame(as.client(i), as.server(i), i))
		}
		w := a.NewWriter()
		for range 10 {
			_, err := w.WriteBatch(others)
			require.NoError(t, err)
		}
		_, err := w.WriteBatch(append(urgent, icmp(1, wire.ICMPv6NeighSol-1), icmp(2, wire.ICMPv6NeighAdv+1)))
		require.NoError(t, err)

		fs := linktest.Batch(link.BatchSize)
		read := func() (numbers []int, k int) {
			k, err := b.ReadBatch(fs, 10*time.Millisecond)
			require.NoError(t, err)
			for _, f := range fs[:k] {
				if f.Len() == 80 && wire.EthernetHeader(f.Bytes()).Src() == macA {
					numbers = append(numbers, int(binary.BigEndian.Uint32(f.Bytes()[60:])))
				}
			}
			return numbers, k
		}
		numbers, k := read()
		for more := numbers; k > 0; numbers = append(numbers, more...) {
			more, k = read()
		}
		require.Greater(t, len(numbers), len(urgent))
		assert.Equal(t, []int{1001, 1002, 1003}, numbers[:3], "first of all")
		assert.NotContains(t, numbers[3:], 1001, "twice")
		assert.Positive(t, b.Stats().Drops[link.DropOverrun], "the others are too many")

		_, err = w.WriteBatch(urgent[:1])
		require.NoError(t, err)
		linktest.Eventually(t, "it alone wakes the reader", func() bool {
			numbers, _ := read()
			return slices.Equal(numbers, []int{1001})
		})
	})
}

func TestWaitWakeClose(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, _ := wirePair(t, lab, Options{}, Options{})
		linktest.WaitWakeClose(t, a, raw(macA, macB, 1, 60))
		assert.ErrorIs(t, a.AddMembership(wire.Broadcast), link.ErrClosed)
		assert.Equal(t, macA, a.HardwareAddr(), "what it was")
		_ = a.Stats()
	})
}

// Reading and sending batches allocates nothing.
func TestNoAllocations(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{}, Options{})
		w, in, out := a.NewWriter(), linktest.Batch(link.BatchSize), linktest.Batch(link.BatchSize)
		for i, f := range out {
			f.CopyFrom(raw(macA, macB, i, 60))
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

func TestMACConversion(t *testing.T) {
	for _, m := range []wire.MAC{{}, macA, wire.Broadcast, {1, 2, 3, 4, 5, 6}} {
		assert.Equal(t, m, uintToMAC(macToUint(m)))
	}
}
