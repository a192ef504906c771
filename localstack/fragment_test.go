package localstack

import (
	"encoding/binary"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// ipv6Fragment is a frame with n bytes of a TCP segment or UDP datagram.
func ipv6Fragment(proto layers.IPProtocol, offset uint16, more bool, n int) []byte {
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolIPv6Fragment, SrcIP: cip6.AsSlice(), DstIP: vip6.AsSlice()}
	ext := []byte{byte(proto), 0, byte(offset >> 8), byte(offset), 0, 0, 0, 1}
	if more {
		ext[3] |= 1
	}
	return build(ip, gopacket.Payload(append(ext, make([]byte, n)...)))
}

// TestFragmentsOfWhichNoDatagramCanCome: RFC 8200 4.5; pointers as recorded.
func TestFragmentsOfWhichNoDatagramCanCome(t *testing.T) {
	for _, c := range []struct {
		name    string
		frame   []byte
		outcome Outcome
		code    byte
		pointer uint32
	}{
		{"TCP header cut short", ipv6Fragment(layers.IPProtocolTCP, 0, true, 16), ErrorSent, 3, 0},
		{"no multiple of 8 bytes", ipv6Fragment(layers.IPProtocolUDP, 16, true, 20), ErrorSent, 0, 4},
		{"one of many", ipv6Fragment(layers.IPProtocolUDP, 16, true, 24), Fragment, 0, 0},
		{"the last", ipv6Fragment(layers.IPProtocolUDP, 16, false, 20), Fragment, 0, 0},
	} {
		in, out := wire.NewFrame(2048), wire.NewFrame(2048)
		in.SetBytes(c.frame)
		var p, q wire.Packet
		require.Equal(t, wire.None, p.Parse(in.Bytes(), in.Medium), c.name)
		require.Equal(t, c.outcome, New(Options{}).Answer(0, Request{Frame: in, Packet: &p, MAC: dirMAC}, out), c.name)
		if c.outcome != ErrorSent {
			continue
		}
		require.Equal(t, wire.None, q.Parse(out.Bytes(), out.Medium), c.name)
		require.Equal(t, []byte{wire.ICMPv6ParamProblem, c.code}, q.Transport()[:2], c.name)
		require.Equal(t, c.pointer, binary.BigEndian.Uint32(q.Transport()[4:]), c.name)
		require.Equal(t, p.Data[p.L3:p.End], q.Transport()[wire.ICMPLen:], c.name)
	}
}

// TestErrorsBehindAH: an ICMPv6 error behind an authentication header is none to
// complain about either, as recorded.
func TestErrorsBehindAH(t *testing.T) {
	ah := func(next, words byte, rest ...byte) []byte {
		ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolAH, SrcIP: cip6.AsSlice(), DstIP: vip6.AsSlice()}
		return build(ip, gopacket.Payload(append([]byte{next, words, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2}, rest...)))
	}
	for _, c := range []struct {
		name    string
		frame   []byte
		outcome Outcome
	}{
		{"UDP", ah(17, 1, make([]byte, 8)...), ErrorSent},
		{"echo", ah(58, 1, 128, 0, 0, 0), ErrorSent},
		{"an error", ah(58, 1, 1, 0, 0, 0), Ineligible},
		{"nothing", ah(58, 1), Ineligible},
		{"longer than the packet", ah(58, 81), Ineligible},
		{"AH again", ah(51, 1, 58, 0, 0, 0, 0, 0, 0, 0, 1), Ineligible},
	} {
		in := wire.NewFrame(2048)
		in.SetBytes(c.frame)
		var p wire.Packet
		require.Equal(t, wire.None, p.Parse(in.Bytes(), in.Medium), c.name)
		r := Request{Frame: in, Packet: &p, MAC: dirMAC}
		require.Equal(t, c.outcome, New(Options{}).Answer(0, r, wire.NewFrame(2048)), c.name)
	}
}
