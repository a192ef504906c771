package afxdp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
	"usvs/wire"
)

const patience = linktest.Patience

var (
	macA = wire.MAC{2, 0, 0, 0, 0, 0xa}
	macB = wire.MAC{2, 0, 0, 0, 0, 0xb}

	vip  = netip.MustParseAddr("10.0.0.100")
	vip6 = netip.MustParseAddr("2001:db8::100")
	cip  = netip.MustParseAddr("10.0.0.1")
	cip6 = netip.MustParseAddr("2001:db8::1")
)

// generic makes openIn use the generic hook. It is of a lab's process.
var generic bool

// eachWay runs a test in two labs, with the program in the driver and in the
// generic hook, beside other tests.
func eachWay(t *testing.T, f func(t *testing.T, lab *netnstest.Lab)) {
	t.Parallel()
	eachWayAlone(t, f)
}

// eachWayAlone runs it beside no other.
func eachWayAlone(t *testing.T, f func(t *testing.T, lab *netnstest.Lab)) {
	for _, g := range []bool{false, true} {
		t.Run(map[bool]string{false: "native", true: "generic"}[g], func(t *testing.T) {
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
				generic = g
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
	opts.Generic = generic
	ns.Do(func() { d, err = Open(name, opts) })
	if errors.Is(err, unix.EPERM) || errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, unix.EAFNOSUPPORT) {
		netnstest.Skip(t, "%v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// wirePair joins two fresh namespaces by eth0 and opens a device on each. Both
// want what goes to the virtual addresses.
func wirePair(t testing.TB, lab *netnstest.Lab, opts Options) (nsA, nsB *netnstest.Namespace, a, b *Device) {
	t.Helper()
	nsA, nsB = lab.Namespace("a"), lab.Namespace("b")
	veth(lab, nsA, nsB)
	a, b = openIn(t, nsA, "eth0", opts), openIn(t, nsB, "eth0", opts)
	for _, d := range []*Device{a, b} {
		require.NoError(t, d.Change(Wanted{Addrs: []netip.Addr{vip, vip6}}, Wanted{}))
	}
	return nsA, nsB, a, b
}

func veth(lab *netnstest.Lab, nsA, nsB *netnstest.Namespace) {
	lab.Veth(nsA, "eth0", nsB, "eth0")
	nsA.SetMAC("eth0", macA)
	nsB.SetMAC("eth0", macB)
}

// toVIP is a datagram of n bytes, link header included, that carries a number.
func toVIP(dst wire.MAC, number, n int) *link.Frame {
	f := datagram(cip, vip, wire.ProtoUDP, 1000, 80, n-wire.EthernetLen-wire.IPv4Len-wire.UDPLen)
	wire.EthernetHeader(f.Bytes()).SetDst(dst)
	binary.BigEndian.PutUint32(f.Bytes()[numberAt:], uint32(number))
	return f
}

// numberAt is where the payload of toVIP's datagrams begins.
const numberAt = wire.EthernetLen + wire.IPv4Len + wire.UDPLen

// datagram is a frame from A to B with n bytes of data behind 8 bytes that hold
// the ports (of TCP the header is 20 bytes long). Its checksums are right.
func datagram(src, dst netip.Addr, proto uint8, srcPort, dstPort uint16, n int) *link.Frame {
	header := map[uint8]int{wire.ProtoTCP: wire.TCPLen}[proto]
	if header == 0 {
		header = wire.UDPLen
	}
	f := wire.NewFrame(wire.MaxFrame)
	l4 := wire.EthernetLen + wire.IPv4Len
	if dst.Is6() {
		l4 = wire.EthernetLen + wire.IPv6Len
	}
	f.SetLen(l4 + header + n)
	b := f.Bytes()
	clear(b)
	eth := wire.EthernetHeader(b)
	eth.SetSrc(macA)
	eth.SetDst(macB)
	if dst.Is6() {
		eth.SetType(wire.TypeIPv6)
		b[14], b[20], b[21] = 0x60, proto, 64
		binary.BigEndian.PutUint16(b[18:], uint16(header+n))
		copy(b[22:], src.AsSlice())
		copy(b[38:], dst.AsSlice())
	} else {
		eth.SetType(wire.TypeIPv4)
		ip := wire.IPv4(b[wire.EthernetLen:])
		ip[0] = 0x45
		ip.SetTotalLen(len(ip))
		ip.SetTTL(64)
		ip.SetProto(proto)
		copy(ip[12:], src.AsSlice())
		copy(ip[16:], dst.AsSlice())
		ip.UpdateChecksum()
	}
	l4b := b[l4:]
	binary.BigEndian.PutUint16(l4b, srcPort)
	binary.BigEndian.PutUint16(l4b[2:], dstPort)
	switch proto {
	case wire.ProtoTCP:
		l4b[12] = 5 << 4
	case wire.ProtoUDP:
		binary.BigEndian.PutUint16(l4b[4:], uint16(len(l4b)))
	}
	f.Medium = wire.Ethernet
	return f
}

// readNumbers reads the numbers of n frames made by toVIP, whatever else arrives.
func readNumbers(t testing.TB, d *Device, n int) []int {
	t.Helper()
	var got []int
	fs := linktest.Batch(link.BatchSize)
	for deadline := time.Now().Add(patience); len(got) < n; {
		require.True(t, time.Now().Before(deadline), "got %d of %d frames: %v", len(got), n, got)
		k, err := d.ReadBatch(fs, time.Second)
		require.NoError(t, err)
		for _, f := range fs[:k] {
			var p wire.Packet
			if p.Parse(f.Bytes(), wire.Ethernet) == wire.None && p.Dst == vip && p.DstPort == 80 {
				require.True(t, f.Hidden)
				got = append(got, int(binary.BigEndian.Uint32(f.Bytes()[numberAt:])))
			}
		}
	}
	return got
}
