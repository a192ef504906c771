package fuzz

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"usvs/wire"
)

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// What this package builds and reads, another library reads alike.
func TestFramesAgainstGopacket(t *testing.T) {
	for _, s := range []segment{
		{proto: protoTCP, src: at("10.0.0.9:1024"), dst: at("10.0.0.100:80"), flags: 2, ttl: 64, data: []byte("abc")},
		{proto: protoUDP, src: at("10.0.0.9:1024"), dst: at("10.0.0.100:53"), ttl: 1, data: []byte("abcd"), options: true},
		{proto: protoUDP, src: at("[2001:db8::9]:1024"), dst: at("[2001:db8::100]:53"), ttl: 64, data: []byte("abcd")},
		{proto: protoTCP, src: at("[2001:db8::9]:1024"), dst: at("[2001:db8::100]:80"), flags: 0x12, ttl: 9},
		{proto: protoSCTP, src: at("10.0.0.9:1024"), dst: at("10.0.0.100:80"), chunk: 1, ttl: 64, data: []byte("abcd")},
	} {
		frame := ether(wire.MAC{2}, wire.MAC{4}, s.packet())
		p, err := readIP(frame)
		require.NoError(t, err)
		require.True(t, p.sound())
		require.Equal(t, s.src, p.src)
		require.Equal(t, s.dst, p.dst)
		require.Equal(t, s.ttl, p.ttl)
		q := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
		require.NotNil(t, q.TransportLayer())
		if s.proto != protoSCTP && !s.options {
			require.Equal(t, q.TransportLayer().LayerContents(), recomputed(t, q))
		}
	}
}

// recomputed is a packet's transport header with gopacket's checksum.
func recomputed(t *testing.T, q gopacket.Packet) []byte {
	t.Helper()
	type summed interface {
		gopacket.SerializableLayer
		SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
	}
	l := q.TransportLayer().(summed)
	require.NoError(t, l.SetNetworkLayerForChecksum(q.NetworkLayer()))
	buf := gopacket.NewSerializeBuffer()
	payload := gopacket.Payload(q.TransportLayer().LayerPayload())
	require.NoError(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{ComputeChecksums: true, FixLengths: true}, l, payload))
	return buf.Bytes()[:len(q.TransportLayer().LayerContents())]
}

func TestFragmentsAreRead(t *testing.T) {
	for _, dst := range []string{"10.0.0.100:53", "[2001:db8::100]:53"} {
		s := segment{proto: protoUDP, src: at("10.0.0.9:7"), dst: at(dst), ttl: 64, id: 77, data: make([]byte, 100)}
		if s.dst.Addr().Is6() {
			s.src = at("[2001:db8::9]:7")
		}
		list := s.pieces(64)
		require.Len(t, list, 2)
		for i, b := range list {
			p, err := readIP(ether(wire.MAC{}, wire.MAC{}, b))
			require.NoError(t, err)
			require.True(t, p.frag)
			require.Equal(t, i == 0, p.first)
			require.Equal(t, i == 0, p.ports)
			require.EqualValues(t, 77, p.id)
		}
	}
}

// A sum that comes out as 0 is one that NAT must write as 0xffff.
func TestZeroSum(t *testing.T) {
	s := segment{proto: protoUDP, src: at("10.0.0.9:1"), dst: at("10.0.0.100:53"), ttl: 64}
	s.zeroSum(at("10.1.0.21:5353"))
	after := s
	after.dst = at("10.1.0.21:5353")
	require.Equal(t, []byte{0xff, 0xff}, after.transport()[6:8])
	require.NotEqual(t, []byte{0xff, 0xff}, s.transport()[6:8])
}

func TestHeadersThatNobodyMaySend(t *testing.T) {
	good := (&segment{proto: protoUDP, src: at("10.0.0.9:1"), dst: at("10.0.0.100:53"), ttl: 64}).packet()
	for name, change := range map[string]func(b []byte) []byte{
		"short":        func(b []byte) []byte { return b[:19] },
		"checksum":     func(b []byte) []byte { b[8]++; return b },
		"total length": func(b []byte) []byte { b[3]++; return b },
		"header":       func(b []byte) []byte { b[0] = 0x44; return b },
		"version":      func(b []byte) []byte { b[0] = 0x65; return b },
	} {
		_, err := readIP(ether(wire.MAC{}, wire.MAC{}, change(append([]byte(nil), good...))))
		require.Error(t, err, name)
	}
	_, err := readIP(good[:10])
	require.Error(t, err)
	p, err := readIP(make([]byte, 60))
	require.NoError(t, err)
	require.Nil(t, p, "neither IPv4 nor IPv6")
}

func TestInnerPackets(t *testing.T) {
	in := (&segment{proto: protoUDP, src: at("10.0.0.9:1"), dst: at("10.0.0.100:53"), ttl: 63}).packet()
	for proto, head := range map[uint8]string{protoIPIP: "", protoGRE: "00000800", protoUDP: "1234567800200000" + "00040000"} {
		b, err := hex.DecodeString(head)
		require.NoError(t, err)
		p := &packet{proto: proto, body: append(b, in...)}
		q, err := p.inner()
		require.NoError(t, err)
		require.Equal(t, at("10.0.0.100:53"), q.dst)
	}
	_, err := (&packet{proto: protoUDP, body: make([]byte, 9)}).inner()
	require.Error(t, err)
	_, err = (&packet{proto: protoGRE, body: []byte{0x80, 0, 8, 0}}).inner()
	require.Error(t, err)
}

func FuzzReadIP(f *testing.F) {
	f.Add(ether(wire.MAC{}, wire.MAC{}, (&segment{proto: protoTCP, src: at("10.0.0.9:1"), dst: at("10.0.0.100:53"), ttl: 64}).packet()))
	f.Add(ether(wire.MAC{}, wire.MAC{}, (&segment{proto: protoUDP, src: at("[::9]:1"), dst: at("[::8]:53"), ttl: 64, data: make([]byte, 30)}).pieces(16)[1]))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := readIP(b)
		if err != nil || p == nil {
			return
		}
		p.sound()
		p.icmpError()
		if q, err := p.inner(); err == nil {
			q.sound()
		}
	})
}
