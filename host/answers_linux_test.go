package host

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"

	"usvs/wire"
)

// packetOf is an IP packet with a transport header to a port.
func packetOf(t *testing.T, v6 bool, proto uint8, port uint16, payload int) []byte {
	t.Helper()
	n := wire.TCPLen
	if proto != wire.ProtoTCP {
		n = wire.UDPLen
	}
	transport := make([]byte, n+payload)
	transport[2], transport[3] = byte(port>>8), byte(port)
	if proto == wire.ProtoTCP {
		transport[12] = 5 << 4
	} else {
		transport[5] = byte(len(transport))
	}
	if v6 {
		ip := wire.IPv6(make([]byte, wire.IPv6Len))
		ip.SetFlow(0, 0)
		ip.SetPayloadLen(len(transport))
		ip.SetNextHeader(proto)
		ip.SetHopLimit(64)
		ip.SetSrc(netip.MustParseAddr("2001:db8::100"))
		ip.SetDst(netip.MustParseAddr("2001:db8::1"))
		return append(ip, transport...)
	}
	ip := wire.IPv4(make([]byte, wire.IPv4Len))
	ip[0] = 0x45
	ip.SetTotalLen(wire.IPv4Len + len(transport))
	ip.SetTTL(64)
	ip.SetProto(proto)
	ip.SetSrc(netip.MustParseAddr("10.0.0.100"))
	ip.SetDst(netip.MustParseAddr("10.0.0.1"))
	ip.UpdateChecksum()
	return append(ip, transport...)
}

func TestAnswersFilter(t *testing.T) {
	vm4, err := bpf.NewVM(answers4(61000))
	require.NoError(t, err)
	vm6, err := bpf.NewVM(answers6(61000))
	require.NoError(t, err)
	for _, v6 := range []bool{false, true} {
		for _, c := range []struct {
			proto uint8
			port  uint16
			want  bool
		}{
			{wire.ProtoTCP, 61000, true}, {wire.ProtoTCP, 65535, true}, {wire.ProtoTCP, 60999, false},
			{wire.ProtoUDP, 61000, true}, {wire.ProtoUDP, 53, false}, {132, 61000, false},
		} {
			vm := vm4
			if v6 {
				vm = vm6
			}
			n, err := vm.Run(packetOf(t, v6, c.proto, c.port, 4))
			require.NoError(t, err)
			require.Equal(t, c.want, n > 0, "v6 %v, %+v", v6, c)
		}
	}
	fragment := packetOf(t, false, wire.ProtoTCP, 61000, 4)
	wire.IPv4(fragment).SetFragWord(0x2000)
	n, err := vm4.Run(fragment)
	require.NoError(t, err)
	require.Zero(t, n)
	wire.IPv4(fragment).SetFragWord(0x4000)
	n, err = vm4.Run(fragment)
	require.NoError(t, err)
	require.NotZero(t, n, "don't fragment is no fragment")
}

func TestFinishSum(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, proto := range []uint8{wire.ProtoTCP, wire.ProtoUDP} {
			b := packetOf(t, v6, proto, 61000, 7)
			finishSum(b)
			var p wire.Packet
			require.Equal(t, wire.None, p.Parse(b, wire.IP))
			require.EqualValues(t, 0xffff, wire.Fold(wire.Sum(p.Transport(), wire.PseudoSum(p.Src, p.Dst, p.Proto, len(p.Transport())))))
		}
	}
	for _, b := range [][]byte{nil, {0x45}, packetOf(t, false, 132, 61000, 9)} {
		before := append([]byte(nil), b...)
		finishSum(b)
		require.Equal(t, before, b)
	}
	require.False(t, unsummed(nil))
	require.False(t, unsummed([]byte{1, 2, 3}))
}
