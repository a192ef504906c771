package oracle

import (
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// timeExceeded is a frame with an ICMP error that quotes a few bytes.
func timeExceeded(code byte, quote ...byte) Emission {
	b := make([]byte, wire.EthernetLen+wire.IPv4Len+wire.ICMPLen, 64)
	wire.EthernetHeader(b).SetType(wire.TypeIPv4)
	b = append(b, quote...)
	h := wire.IPv4(b[wire.EthernetLen:])
	h[0] = 0x45
	h.SetTotalLen(len(h))
	h.SetTTL(64)
	h.SetProto(wire.ProtoICMP)
	h.UpdateChecksum()
	h[wire.IPv4Len], h[wire.IPv4Len+1] = wire.ICMPTimeExceeded, code
	return Emission{Link: "c", Data: b}
}

func TestLapsesOfAMomentComeInAnyOrder(t *testing.T) {
	a, b, other := timeExceeded(1, 1), timeExceeded(1, 2), timeExceeded(0, 0)
	frames := []Emission{b, other, a}
	require.Equal(t, []Emission{a, other, b}, byLapse(frames), "other frames stay where they are")
	require.Equal(t, []Emission{b, other, a}, frames)
	require.Empty(t, byLapse(nil))
	require.Empty(t, mask{}.compareFrames([]Emission{a, b}, []Emission{b, a}))
	require.NotEmpty(t, mask{}.compareFrames([]Emission{a, other}, []Emission{other, a}))
	require.NotEmpty(t, mask{}.compareFrames([]Emission{a, a}, []Emission{b, a}))
}
