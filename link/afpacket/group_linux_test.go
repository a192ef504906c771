package afpacket

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
	"usvs/link/steer"
	"usvs/wire"
)

const groupSize = 3

// openGroup opens a group in a namespace, steered by a program or not.
func openGroup(t *testing.T, ns *netnstest.Namespace, vip netip.Addr) *Group {
	t.Helper()
	var g *Group
	var s *steer.Steering
	var err error
	if vip.IsValid() {
		if s, err = steer.New(groupSize); err != nil {
			netnstest.Skip(t, "%v", err)
		}
		require.NoError(t, s.Own([]netip.Addr{vip}, nil))
		t.Cleanup(func() { s.Close() })
	}
	ns.Do(func() { g, err = OpenGroup("eth0", groupSize, s, Options{Ring: overRing, Urgent: true}) })
	require.NoError(t, err)
	require.Len(t, g.Devices(), groupSize)
	t.Cleanup(func() {
		for _, d := range g.Devices() {
			_ = d.Close()
		}
	})
	return g
}

// ipFrame is a frame that carries an IP packet without payload, and a number.
func ipFrame(src, dst netip.Addr, number int) *link.Frame {
	f := raw(macA, macB, 0, 80)
	b := f.Bytes()
	h := wire.EthernetHeader(b)
	if src.Is4() {
		h.SetType(wire.TypeIPv4)
		b[14], b[17], b[22], b[23] = 0x45, 66, 64, 253 // a protocol for experiments
		copy(b[26:], src.AsSlice())
		copy(b[30:], dst.AsSlice())
	} else {
		h.SetType(wire.TypeIPv6)
		b[14], b[19], b[20], b[21] = 0x60, 26, 253, 64
		copy(b[22:], src.AsSlice())
		copy(b[38:], dst.AsSlice())
	}
	binary.BigEndian.PutUint32(b[60:], uint32(number))
	return f
}

// longLen is of a frame that the kernel keeps in pages of their own, but for its
// Ethernet header: packet_snd does so with what does not fit into one page.
const longLen = 6000

// longFrame is as ipFrame, but long.
func longFrame(src, dst netip.Addr, number int) *link.Frame {
	short, f := ipFrame(src, dst, number), wire.NewFrame(longLen)
	f.SetLen(longLen)
	b := f.Bytes()
	copy(b, short.Bytes())
	if src.Is4() {
		binary.BigEndian.PutUint16(b[16:], longLen-14)
	} else {
		binary.BigEndian.PutUint16(b[18:], longLen-54)
	}
	return f
}

// readGroup reads until n frames have come and then for a moment longer, and
// returns the numbers that each device received, of what looks.
func readGroup(t *testing.T, g *Group, n int) [groupSize][]int {
	t.Helper()
	var got [groupSize][]int
	fs, seen, last := linktest.Batch(link.BatchSize), 0, time.Now()
	for deadline := time.Now().Add(patience); seen < n || time.Since(last) < 20*time.Millisecond; {
		require.True(t, time.Now().Before(deadline), "got %d of %d frames: %v", seen, n, got)
		for i, d := range g.Devices() {
			k, err := d.ReadBatch(fs, time.Millisecond)
			require.NoError(t, err)
			for _, f := range fs[:k] {
				if (f.Len() == 80 || f.Len() == longLen) && wire.EthernetHeader(f.Bytes()).Src() == macA {
					got[i] = append(got[i], int(binary.BigEndian.Uint32(f.Bytes()[60:])))
					seen, last = seen+1, time.Now()
				}
			}
		}
	}
	return got
}

// where is, by number, the device that received the frame.
func where(t *testing.T, got [groupSize][]int) map[int]int {
	t.Helper()
	at := map[int]int{}
	for i, numbers := range got {
		for _, n := range numbers {
			assert.NotContains(t, at, n, "twice")
			at[n] = i
		}
	}
	return at
}

type addressing struct{ client, vip, server func(i int) netip.Addr }

var addressings = map[string]addressing{
	"IPv4": {
		func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 8), 1, byte(i)}) },
		func(int) netip.Addr { return netip.MustParseAddr("10.99.0.1") },
		func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 98, 0, byte(i)}) },
	},
	"IPv6": {
		func(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8:1::%x", i+1)) },
		func(int) netip.Addr { return netip.MustParseAddr("2001:db8:99::1") },
		func(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8:98::%x", i+1)) },
	},
}

// Every frame comes once, in its flow's order, to all devices, and both
// directions of a masqueraded connection come to the same one, long and short.
func TestGroupByClient(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB := lab.Namespace("a"), lab.Namespace("b")
		veth(lab, nsA, nsB)
		nsA.SetMTU("eth0", longLen)
		nsB.SetMTU("eth0", longLen)
		a := openIn(t, nsA, "eth0", Options{})
		for name, as := range addressings {
			g := openGroup(t, nsB, as.vip(0))
			const clients = 60
			var fs []*link.Frame
			for i := range clients {
				fs = append(fs, ipFrame(as.client(i), as.vip(0), 4*i), ipFrame(as.server(i%4), as.client(i), 4*i+1),
					longFrame(as.client(i), as.vip(0), 4*i+2), longFrame(as.server(i%4), as.client(i), 4*i+3))
			}
			_, err := a.NewWriter().WriteBatch(fs)
			require.NoError(t, err)
			got := readGroup(t, g, len(fs))
			at := where(t, got)
			require.Len(t, at, len(fs), name)
			for i := range clients {
				for k := range 4 {
					assert.Equal(t, at[4*i], at[4*i+k], "%s: client %d, frame %d", name, i, k)
				}
			}
			for i, numbers := range got {
				assert.Greater(t, len(numbers), len(fs)/groupSize/3, "%s: device %d", name, i)
				assert.IsIncreasing(t, numbers)
			}
			for _, d := range g.Devices() {
				require.NoError(t, d.Close())
			}
		}
	})
}

// Without a program of ours the source decides.
func TestGroupBySource(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB := lab.Namespace("a"), lab.Namespace("b")
		veth(lab, nsA, nsB)
		nsA.SetMTU("eth0", longLen)
		nsB.SetMTU("eth0", longLen)
		a, g := openIn(t, nsA, "eth0", Options{}), openGroup(t, nsB, netip.Addr{})
		for name, as := range addressings {
			var fs []*link.Frame
			for i := range 120 {
				fs = append(fs, ipFrame(as.client(i/2), as.server(i), 2*i), longFrame(as.client(i/2), as.server(i), 2*i+1))
			}
			_, err := a.NewWriter().WriteBatch(fs)
			require.NoError(t, err)
			got := readGroup(t, g, len(fs))
			at := where(t, got)
			for i := 0; i < len(fs); i += 4 {
				for k := range 4 {
					assert.Equal(t, at[i], at[i+k], name)
				}
			}
			for i, numbers := range got {
				assert.NotEmpty(t, numbers, "%s: device %d", name, i)
			}
		}
	})
}

// What is no IP packet, and neighbour discovery, is the first device's.
func TestGroupFirst(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB := lab.Namespace("a"), lab.Namespace("b")
		veth(lab, nsA, nsB)
		as := addressings["IPv6"]
		a, g := openIn(t, nsA, "eth0", Options{}), openGroup(t, nsB, as.vip(0))
		var fs []*link.Frame
		for i := range 30 {
			other := raw(macA, macB, 0, 80)
			binary.BigEndian.PutUint32(other.Bytes()[60:], uint32(2*i))
			solicitation := ipFrame(as.client(i), as.server(i), 2*i+1)
			solicitation.Bytes()[20], solicitation.Bytes()[54] = wire.ProtoICMPv6, wire.ICMPv6NeighSol
			fs = append(fs, other, solicitation)
		}
		_, err := a.NewWriter().WriteBatch(fs)
		require.NoError(t, err)
		assert.Len(t, readGroup(t, g, len(fs))[0], len(fs))
	})
}

// A group outlives its interface, and so does what it promises.
func TestGroupInterfaceComesBack(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB := lab.Namespace("a"), lab.Namespace("b")
		veth(lab, nsA, nsB)
		as := addressings["IPv4"]
		g := openGroup(t, nsB, as.vip(0))
		require.NoError(t, g.Devices()[0].AddMembership(wire.MAC{0x33, 0x33, 0xff, 0, 0, 1}))
		for round := range 2 {
			nsB.Delete("eth0")
			readGroup(t, g, 0)
			veth(lab, nsA, nsB)
			fs := linktest.Batch(1)
			linktest.Eventually(t, "all devices have the interface", func() bool {
				back := true
				for _, d := range g.Devices() {
					_, err := d.ReadBatch(fs, time.Millisecond)
					require.NoError(t, err)
					back = back && d.Index() > 0 && !d.Down()
				}
				return back
			})
			a := openIn(t, nsA, "eth0", Options{})
			var out []*link.Frame
			for i := range 60 {
				out = append(out, ipFrame(as.client(i), as.vip(0), i))
			}
			_, err := a.NewWriter().WriteBatch(out)
			require.NoError(t, err)
			assert.Len(t, where(t, readGroup(t, g, len(out))), len(out), "round %d", round)
			require.NoError(t, a.Close())
		}
	})
}

// Whichever device notices first that the interface is back, they are numbered as
// before: who is to get no frames gets none.
func TestGroupComesBackInOrder(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB := lab.Namespace("a"), lab.Namespace("b")
		veth(lab, nsA, nsB)
		as := addressings["IPv4"]
		g, _ := steered(t, nsB, as.vip(0))
		nsB.Delete("eth0")
		readGroup(t, g, 0)
		veth(lab, nsA, nsB)
		fs := linktest.Batch(1)
		linktest.Eventually(t, "all devices have the interface", func() bool {
			back := true
			for _, d := range slices.Backward(g.Devices()) {
				_, err := d.ReadBatch(fs, 150*time.Millisecond)
				require.NoError(t, err)
				back = back && d.Index() > 0 && !d.Down()
			}
			return back
		})
		nsB.SetDown("eth0") // the kernel puts them in order once more
		nsB.SetUp("eth0")
		a := openIn(t, nsA, "eth0", Options{})
		var out []*link.Frame
		for i := range 60 {
			out = append(out, ipFrame(as.client(i), as.vip(0), i))
		}
		linktest.Eventually(t, "frames come", func() bool {
			_, err := a.NewWriter().WriteBatch(out)
			got := readGroup(t, g, 0)
			require.Empty(t, got[1])
			require.Empty(t, got[2])
			return err == nil && len(got[0]) > 0
		})
	})
}

func TestGroupErrors(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		_, err := OpenGroup("nowhere0", 2, nil, Options{})
		assert.ErrorContains(t, err, "nowhere0")
	})
}
