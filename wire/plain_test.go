package wire

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// agrees fails unless what Plain finds in a frame is what Packet finds.
func agrees(t testing.TB, frame []byte) bool {
	var p Plain
	var q Packet
	plain := p.Parse(frame)
	m := q.Parse(frame, Ethernet)
	ordinary := m == None && q.L3 == EthernetLen && q.Version != 0 && !q.Fragment && q.Full &&
		(q.Proto == ProtoTCP || q.Proto == ProtoUDP) && !(q.Version == 6 && q.Dst.IsMulticast()) &&
		q.L4 == EthernetLen+map[uint8]int{4: IPv4Len, 6: IPv6Len}[q.Version]
	require.Equal(t, ordinary, plain, "% x", frame)
	if !plain {
		return false
	}
	require.Equal(t, q.Src, p.Src.Addr(p.V6))
	require.Equal(t, q.Dst, p.Dst.Addr(p.V6))
	require.Equal(t, WordsOf(q.Src), p.Src)
	require.Equal(t, WordsOf(q.Dst), p.Dst)
	require.Equal(t, [2]uint16{q.SrcPort, q.DstPort}, [2]uint16{p.SrcPort, p.DstPort})
	require.Equal(t, []int{q.L4, q.End, q.IPLen()}, []int{int(p.L4), int(p.End), p.IPLen()})
	require.Equal(t, []uint8{q.Proto, q.TTL, q.TCPFlags}, []uint8{p.Proto, p.TTL, p.TCPFlags})
	require.Equal(t, q.Version == 6, p.V6)
	var same Packet
	same.SetPlain(frame, &p)
	require.Equal(t, q, same)
	return true
}

func plainFrame(v6 bool, proto uint8, payload int) []byte {
	b := make([]byte, EthernetLen, 200)
	src, dst := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2")
	n := map[uint8]int{ProtoTCP: TCPLen, ProtoUDP: UDPLen}[proto] + payload
	if v6 {
		src, dst = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
		EthernetHeader(b).SetType(TypeIPv6)
		h := IPv6(make([]byte, IPv6Len))
		h.SetFlow(0, 0)
		h.SetPayloadLen(n)
		h.SetNextHeader(proto)
		h.SetHopLimit(9)
		h.SetSrc(src)
		h.SetDst(dst)
		b = append(b, h...)
	} else {
		EthernetHeader(b).SetType(TypeIPv4)
		h := IPv4(make([]byte, IPv4Len))
		h[0] = 0x45
		h.SetTotalLen(IPv4Len + n)
		h.SetTTL(9)
		h.SetProto(proto)
		h.SetSrc(src)
		h.SetDst(dst)
		h.UpdateChecksum()
		b = append(b, h...)
	}
	t := make([]byte, n)
	for i := range t {
		t[i] = byte(i * 7)
	}
	return append(b, t...)
}

func TestPlainFindsWhatPacketFinds(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, proto := range []uint8{ProtoTCP, ProtoUDP} {
			whole := plainFrame(v6, proto, 3)
			require.True(t, agrees(t, whole))
			require.True(t, agrees(t, append(whole, 0, 0, 0)), "padding")
			for n := range whole {
				agrees(t, whole[:n])
			}
			for i := EthernetLen - 2; i < len(whole); i++ {
				for bit := range 8 {
					b := append([]byte(nil), whole...)
					b[i] ^= 1 << bit
					agrees(t, b)
					if !v6 && i >= EthernetLen && i < EthernetLen+IPv4Len {
						IPv4(b[EthernetLen : EthernetLen+IPv4Len]).SetChecksum(0)
						IPv4(b[EthernetLen:]).SetChecksum(Checksum(b[EthernetLen : EthernetLen+IPv4Len]))
						agrees(t, b)
					}
				}
			}
		}
	}
}

func FuzzPlain(f *testing.F) {
	for _, v6 := range []bool{false, true} {
		f.Add(plainFrame(v6, ProtoTCP, 0))
		f.Add(plainFrame(v6, ProtoUDP, 5))
	}
	f.Fuzz(func(t *testing.T, frame []byte) { agrees(t, frame) })
}

func BenchmarkPlain(b *testing.B) {
	for name, v6 := range map[string]bool{"IPv4": false, "IPv6": true} {
		b.Run(name, func(b *testing.B) {
			frame := plainFrame(v6, ProtoTCP, 0)
			var p Plain
			for b.Loop() {
				p.Parse(frame)
			}
		})
	}
}
