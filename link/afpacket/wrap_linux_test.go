package afpacket

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	ebpflink "github.com/cilium/ebpf/link"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
	"usvs/link/vnet"
	"usvs/wire"
)

// wrapping is a tunnel's outer headers, written out.
type wrapping struct {
	name  string
	outer []byte
	inner int // its IP version
}

const wrapID = 0x1000

// wrappings are all that the program knows.
func wrappings() (list []wrapping) {
	for _, inner := range []int{4, 6} {
		proto := map[int]byte{4: wire.ProtoIPIP, 6: wire.ProtoIPv6}[inner]
		gre := binary.BigEndian.AppendUint16([]byte{0, 0}, map[int]uint16{4: wire.TypeIPv4, 6: wire.TypeIPv6}[inner])
		gue := append(make([]byte, wire.UDPLen), 0, proto, 0, 0)
		copy(gue, []byte{0x90, 0, 0x17, 0xc0})
		for _, shim := range []struct {
			name  string
			proto byte
			bytes []byte
		}{{"IP", proto, nil}, {"GRE", wire.ProtoGRE, gre}, {"GUE", wire.ProtoUDP, gue}} {
			list = append(list,
				wrapping{fmt.Sprint(shim.name, " of IPv", inner, " in IPv4"), append(outer4(shim.proto), shim.bytes...), inner},
				wrapping{fmt.Sprint(shim.name, " of IPv", inner, " in IPv6"), append(outer6(shim.proto), shim.bytes...), inner})
		}
	}
	return list
}

func outer4(proto byte) []byte {
	h := make(wire.IPv4, wire.IPv4Len)
	h[0] = 0x45
	h.SetID(wrapID)
	h.SetTTL(61)
	h.SetProto(proto)
	h.SetSrc(netip.MustParseAddr("192.0.2.1"))
	h.SetDst(netip.MustParseAddr("192.0.2.2"))
	return h
}

func outer6(proto byte) []byte {
	h := make(wire.IPv6, wire.IPv6Len)
	h.SetFlow(0xb8, 0)
	h.SetNextHeader(proto)
	h.SetHopLimit(61)
	h.SetSrc(netip.MustParseAddr("2001:db8::1"))
	h.SetDst(netip.MustParseAddr("2001:db8::2"))
	return h
}

// packet is a frame with n bytes of TCP data from offset on, in the tunnel: the
// index-th segment of a stream, or all of it.
func (w *wrapping) packet(index, offset, n int, last bool) *link.Frame {
	ip := wire.IPv4Len
	if w.inner == 6 {
		ip = wire.IPv6Len
	}
	l3 := wire.EthernetLen + len(w.outer)
	l4 := l3 + ip
	f := wire.NewFrame(wire.MaxFrame)
	f.SetLen(l4 + wire.TCPLen + n)
	b := f.Bytes()
	eth := wire.EthernetHeader(b)
	eth.SetSrc(macA)
	eth.SetDst(macB)
	copy(b[wire.EthernetLen:], w.outer)
	finishOuter(b, index)
	src, dst := writeInner(b[l3:], w.inner, wire.TCPLen+n, index)
	tcp := wire.TCP(b[l4:])
	binary.BigEndian.PutUint32(tcp[4:], uint32(offset))
	tcp[12], tcp[13] = 5<<4, wire.FlagACK
	if last {
		tcp[13] |= wire.FlagPSH
	}
	for i := range n {
		tcp[wire.TCPLen+i] = byte((offset + i) * 7)
	}
	tcp.SetChecksum(wire.Fold(wire.PseudoSum(src, dst, wire.ProtoTCP, len(tcp))))
	f.Partial, f.CsumStart, f.CsumOffset = true, uint16(l4), 16
	return f
}

// finishOuter fills in what depends on the length.
func finishOuter(b []byte, index int) {
	o := b[wire.EthernetLen:]
	at, proto := wire.IPv6Len, o[6]
	if o[0]>>4 == 4 {
		wire.EthernetHeader(b).SetType(wire.TypeIPv4)
		h := wire.IPv4(o)
		h.SetTotalLen(len(o))
		h.SetID(wrapID + uint16(index))
		h.UpdateChecksum()
		at, proto = wire.IPv4Len, h.Proto()
	} else {
		wire.EthernetHeader(b).SetType(wire.TypeIPv6)
		wire.IPv6(o).SetPayloadLen(len(o) - wire.IPv6Len)
	}
	if proto == wire.ProtoUDP {
		wire.UDP(o[at:]).SetLength(len(o) - at)
	}
}

func writeInner(b []byte, version, n, index int) (src, dst netip.Addr) {
	if version == 6 {
		h := wire.IPv6(b)
		h.SetFlow(0, 5)
		h.SetPayloadLen(n)
		h.SetNextHeader(wire.ProtoTCP)
		h.SetHopLimit(60)
		h.SetSrc(netip.MustParseAddr("2001:db8:1::1"))
		h.SetDst(netip.MustParseAddr("2001:db8:1::2"))
		return h.Src(), h.Dst()
	}
	h := wire.IPv4(b)
	h[0] = 0x45
	h.SetTotalLen(wire.IPv4Len + n)
	h.SetID(500 + uint16(index))
	h.SetTTL(60)
	h.SetProto(wire.ProtoTCP)
	h.SetSrc(netip.MustParseAddr("10.0.0.1"))
	h.SetDst(netip.MustParseAddr("10.0.0.2"))
	h.UpdateChecksum()
	return h.Src(), h.Dst()
}

// super is a super-frame of segments of wrapSize bytes.
func (w *wrapping) super(n int) *link.Frame {
	f := w.packet(0, 0, n, true)
	f.Wrapped, f.GSO, f.GSOSize = true, wire.GSOTCP4, wrapSize
	if w.inner == 6 {
		f.GSO = wire.GSOTCP6
	}
	return f
}

const (
	wrapSize  = 1000
	wrapBytes = 5*wrapSize + 307
)

// awaitWraps asks a device to take super-frames within tunnels, or skips.
func awaitWraps(t *testing.T, d *Device) {
	t.Helper()
	for end := time.Now().Add(patience); !d.Wraps(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			netnstest.Skip(t, "the kernel takes no super-frames within tunnels")
		}
	}
}

// programs is how many are on the egress hook of a namespace's eth0.
func programs(t *testing.T, ns *netnstest.Namespace) int {
	t.Helper()
	index := ns.Link("eth0").Attrs().Index
	var list *ebpflink.QueryResult
	var err error
	ns.Do(func() {
		list, err = ebpflink.QueryPrograms(ebpflink.QueryOptions{Target: index, Attach: ebpf.AttachTCXEgress})
	})
	require.NoError(t, err)
	return len(list.Programs)
}

// attachAgain is what happens if a device is asked for super-frames within tunnels
// before its interface comes back and again afterwards, and then finds time for both.
func (d *Device) attachAgain() {
	d.wrap.mu.Lock()
	defer d.wrap.mu.Unlock()
	d.wrap.attachLocked(d.log)
}

// next reads a frame of a tunnel.
func next(t *testing.T, d *Device, what string) *link.Frame {
	t.Helper()
	fs := linktest.Batch(1)
	linktest.Eventually(t, what, func() bool {
		n, err := d.ReadBatch(fs, time.Second)
		return err == nil && n == 1 && wire.EthernetHeader(fs[0].Bytes()).Src() == macA && fs[0].Len() > 200
	})
	return fs[0]
}

// A super-frame within a tunnel crosses a link whole that takes it whole, and
// the kernel cuts it for one that does not, into what it stands for.
func TestSuperFramesWithinTunnels(t *testing.T) {
	netnstest.NeedCommands(t, "ethtool")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, _, a, b := wirePair(t, lab, Options{Wraps: true}, Options{})
		awaitWraps(t, a)
		w := a.NewWriter()
		send := func(f *link.Frame) {
			sent, err := w.WriteBatch([]*link.Frame{f})
			require.NoError(t, err)
			require.Equal(t, 1, sent)
		}
		for _, c := range wrappings() {
			f := c.super(wrapBytes)
			send(f)
			got := next(t, b, c.name)
			assert.Equal(t, f.Bytes(), got.Bytes(), c.name)
			assert.Equal(t, []any{f.GSO, f.GSOSize, f.CsumStart, f.CsumOffset},
				[]any{got.GSO, got.GSOSize, got.CsumStart, got.CsumOffset}, c.name)
		}
		nsA.Run("ethtool", "-K", "eth0", "tx", "off")
		for _, c := range wrappings() {
			send(c.super(wrapBytes))
			for i, offset := 0, 0; offset < wrapBytes; i, offset = i+1, offset+wrapSize {
				n := min(wrapSize, wrapBytes-offset)
				want := c.packet(i, offset, n, offset+n == wrapBytes)
				require.True(t, vnet.Complete(want))
				got := next(t, b, c.name)
				assert.Equal(t, want.Bytes(), got.Bytes(), "%s, segment %d", c.name, i)
				assert.False(t, got.Partial, c.name)
			}
		}
	})
}

// Frames keep their order whichever socket they leave by.
func TestWrappedFramesKeepTheirOrder(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{Wraps: true}, Options{})
		awaitWraps(t, a)
		c := wrappings()[0]
		var fs []*link.Frame
		for i := range 40 {
			f := c.packet(0, i, 300, true)
			if i%3 > 0 {
				f = c.super(2000 + i)
			}
			fs = append(fs, f)
		}
		sent, err := a.NewWriter().WriteBatch(fs)
		require.NoError(t, err)
		require.Equal(t, len(fs), sent)
		for i, f := range fs {
			require.Equal(t, f.Len(), next(t, b, "a frame").Len(), "frame %d", i)
		}
	})
}

// An interface that is made anew gets the program again, and one that is closed
// keeps none.
func TestWrapsComesBack(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB, a, _ := wirePair(t, lab, Options{Wraps: true}, Options{})
		awaitWraps(t, a)
		nsA.Delete("eth0")
		veth(lab, nsA, nsB)
		linktest.Eventually(t, "the interface", func() bool {
			_, _ = a.ReadBatch(linktest.Batch(1), 10*time.Millisecond)
			return !a.Down() && a.Index() == nsA.Link("eth0").Attrs().Index
		})
		awaitWraps(t, a)
		require.Equal(t, 1, programs(t, nsA))
		a.attachAgain()
		require.Equal(t, 1, programs(t, nsA), "once is enough")
		b := openIn(t, nsB, "eth0", Options{})
		c := wrappings()[0]
		linktest.Eventually(t, "a super-frame to leave", func() bool {
			sent, _ := a.NewWriter().WriteBatch([]*link.Frame{c.super(wrapBytes)})
			return sent == 1
		})
		require.Equal(t, c.super(wrapBytes).Len(), next(t, b, "a frame").Len())
		require.NoError(t, a.Close())
		require.Zero(t, programs(t, nsA))
		require.False(t, openIn(t, nsA, "eth0", Options{}).Wraps(), "nobody asked for it")
	})
}
