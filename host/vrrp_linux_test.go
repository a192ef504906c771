package host

import (
	"encoding/hex"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
	"usvs/wire"
)

// got is a VRRP packet that arrived.
type got struct {
	iface  string
	packet []byte
}

// vrrpEnd is a host that speaks VRRP.
type vrrpEnd struct {
	*VRRPSockets
	got chan got
}

func openVRRP(t *testing.T, ns *netnstest.Namespace, endpoints ...VRRPEndpoint) *vrrpEnd {
	t.Helper()
	e := &vrrpEnd{got: make(chan got, 100)}
	ns.Do(func() {
		frames, err := OpenFrames()
		require.NoError(t, err)
		t.Cleanup(func() { _ = frames.Close() })
		e.VRRPSockets, err = OpenVRRP(frames, func(iface string, packet []byte) { e.got <- got{iface, packet} })
		require.NoError(t, err)
		require.NoError(t, e.Set(endpoints))
	})
	t.Cleanup(func() { _ = e.Close() })
	return e
}

var (
	group4 = netip.MustParseAddr("224.0.0.18")
	group6 = netip.MustParseAddr("ff02::12")
)

// vrrp4 is an advertisement that keepalived sent, from 10.9.0.1.
func vrrp4(t *testing.T) []byte {
	packet, err := hex.DecodeString("45c0002c00010000ff70d0840a090001e0000012" + "213364020101028c0a0900640a0900653131313100000000")
	require.NoError(t, err)
	return packet
}

// vrrp6 is a packet with the traffic class and hop limit of VRRP.
func vrrp6(src, dst netip.Addr) []byte {
	packet := make([]byte, wire.IPv6Len, wire.IPv6Len+24)
	h := wire.IPv6(packet)
	h.SetFlow(0xc0, 0)
	h.SetPayloadLen(24)
	h.SetNextHeader(ProtocolVRRP)
	h.SetHopLimit(255)
	h.SetSrc(src)
	h.SetDst(dst)
	return append(packet, make([]byte, 24)...)
}

func pair(lab *netnstest.Lab) (a, b *netnstest.Namespace) {
	a, b = lab.Namespace("a"), lab.Namespace("b")
	lab.Veth(a, "eth0", b, "eth1")
	a.AddAddr("eth0", "10.9.0.1/24")
	b.AddAddr("eth1", "10.9.0.2/24")
	a.AddAddr("eth0", "fe80::a/64")
	b.AddAddr("eth1", "fe80::b/64")
	return a, b
}

func TestVRRPMulticast(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB := pair(lab)
		ends := func(iface string) []VRRPEndpoint {
			return []VRRPEndpoint{
				{Interface: iface, Protocol: ProtocolVRRP, Groups: []netip.Addr{group4}},
				{Interface: iface, Protocol: ProtocolVRRP, IPv6: true, Groups: []netip.Addr{group6}},
				{Interface: iface, Protocol: ProtocolAH, Groups: []netip.Addr{group4}},
			}
		}
		a, b := openVRRP(t, nsA, ends("eth0")...), openVRRP(t, nsB, ends("eth1")...)
		ah := append([]byte(nil), vrrp4(t)...)
		ah[9] = ProtocolAH
		wire.IPv4(ah).UpdateChecksum()
		six := vrrp6(netip.MustParseAddr("fe80::a"), group6)
		for _, packet := range [][]byte{vrrp4(t), six, ah} {
			for _, src := range []wire.MAC{{}, {0, 0, 0x5e, 0, 1, 51}} {
				require.NoError(t, a.Send("eth0", packet, src))
				g := receive(t, "the packet", b.got)
				assert.Equal(t, "eth1", g.iface)
				assert.Equal(t, hex.EncodeToString(packet), hex.EncodeToString(g.packet))
			}
		}
		assert.Empty(t, a.got, "nothing comes back to its sender")
		assert.Empty(t, b.got)
	})
}

func TestVRRPUnicast(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB := pair(lab)
		a := openVRRP(t, nsA, VRRPEndpoint{Interface: "eth0", Protocol: ProtocolVRRP}, VRRPEndpoint{Interface: "eth0", Protocol: ProtocolVRRP, IPv6: true})
		b := openVRRP(t, nsB, VRRPEndpoint{Protocol: ProtocolVRRP}, VRRPEndpoint{Interface: "eth1", Protocol: ProtocolVRRP, IPv6: true})
		four := vrrp4(t)
		wire.IPv4(four).SetDst(netip.MustParseAddr("10.9.0.2"))
		wire.IPv4(four).UpdateChecksum()
		require.NoError(t, a.Send("eth0", four, wire.MAC{}))
		assert.Equal(t, got{"", four}, receive(t, "IPv4", b.got))
		six := vrrp6(netip.MustParseAddr("fe80::a"), netip.MustParseAddr("fe80::b"))
		require.NoError(t, a.Send("eth0", six, wire.MAC{}))
		assert.Equal(t, got{"eth1", six}, receive(t, "IPv6", b.got))
	})
}

// Without a group the other end's multicast is not heard; an interface made
// anew is spoken on after the next Set.
func TestVRRPSet(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		nsA, nsB := pair(lab)
		on := func(iface string) []VRRPEndpoint {
			return []VRRPEndpoint{{Interface: iface, Protocol: ProtocolVRRP, Groups: []netip.Addr{group4}}}
		}
		a, b := openVRRP(t, nsA), openVRRP(t, nsB, on("eth1")...)
		assert.Error(t, a.Send("eth0", vrrp4(t), wire.MAC{}), "no endpoint")
		nsA.Do(func() { require.NoError(t, a.Set(append(on("eth0"), on("eth5")...)), "one that does not exist waits") })
		require.NoError(t, a.Send("eth0", vrrp4(t), wire.MAC{}))
		receive(t, "the first", b.got)

		nsA.Delete("eth0")
		lab.Veth(nsA, "eth0", nsB, "eth2")
		nsA.AddAddr("eth0", "10.9.0.1/24")
		nsA.Do(func() { require.NoError(t, a.Set(on("eth0"))) })
		nsB.Do(func() { require.NoError(t, b.Set(on("eth2"))) })
		require.NoError(t, a.Send("eth0", vrrp4(t), wire.MAC{}))
		assert.Equal(t, "eth2", receive(t, "the second", b.got).iface)
		assert.Error(t, a.Send("eth0", []byte{0x45}, wire.MAC{}), "no packet")
	})
}

// A socket is read until it is closed, whatever the kernel says.
func TestReadingGoesOnAfterErrors(t *testing.T) {
	for name, read := range map[string]func(*os.File){
		"VRRP":    func(f *os.File) { (&vrrpSocket{file: f}).read(func(string, []byte) {}) },
		"answers": func(f *os.File) { readAnswers(f, func([]byte) {}) },
	} {
		t.Run(name, func(t *testing.T) {
			in, out, err := os.Pipe() // recvmsg fails: it is no socket
			require.NoError(t, err)
			defer out.Close()
			_, err = out.Write([]byte("x"))
			require.NoError(t, err)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				read(in)
			}()
			select {
			case <-ended:
				t.Fatal("it is deaf")
			case <-time.After(3 * readPause):
			}
			require.NoError(t, in.Close())
			receive(t, "its end", ended)
		})
	}
}
