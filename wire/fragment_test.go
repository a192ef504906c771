package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// fragment6 is an IPv6 fragment of a protocol with n bytes of data.
func fragment6(proto uint8, offset uint16, more bool, n int) []byte {
	b := make([]byte, IPv6Len+8+n)
	h := IPv6(b)
	h[0] = 0x60
	h.SetPayloadLen(8 + n)
	h.SetNextHeader(ProtoFragment)
	h[8], h[24] = 0x20, 0x20
	b[IPv6Len] = proto
	b[IPv6Len+2], b[IPv6Len+3] = byte(offset>>8), byte(offset)
	if more {
		b[IPv6Len+3] |= 1
	}
	return b
}

func TestFragmentsOfWhichNoDatagramCanCome(t *testing.T) {
	for _, c := range []struct {
		name             string
		proto            uint8
		offset           uint16
		more             bool
		n                int
		headless, uneven bool
	}{
		{"TCP, whole header", ProtoTCP, 0, true, 24, false, false},
		{"TCP, 16 bytes", ProtoTCP, 0, true, 16, true, false},
		{"TCP, 16 bytes and no more", ProtoTCP, 0, false, 16, true, false},
		{"TCP, later", ProtoTCP, 8, true, 16, false, false},
		{"UDP", ProtoUDP, 0, true, 8, false, false},
		{"UDP, nothing", ProtoUDP, 0, true, 0, true, false},
		{"ICMPv6, 7 bytes", ProtoICMPv6, 0, true, 7, true, true},
		{"SCTP, 8 bytes", ProtoSCTP, 0, true, 8, false, false},
		{"SCTP, nothing", ProtoSCTP, 0, true, 0, true, false},
		{"uneven", ProtoUDP, 16, true, 17, false, true},
		{"the last may be uneven", ProtoUDP, 16, false, 17, false, false},
	} {
		var p Packet
		require.Equal(t, None, p.Parse(fragment6(c.proto, c.offset, c.more, c.n), IP), c.name)
		require.Equal(t, c.headless, p.Headless(), c.name)
		require.Equal(t, c.uneven, p.Uneven(), c.name)
	}
}
