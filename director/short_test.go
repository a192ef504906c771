package director

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/wire"
)

// cut leaves n bytes of the transport header, and the IP header right.
func cut(frame []byte, n int) []byte {
	b := append([]byte(nil), frame[:wire.EthernetLen+wire.IPv4Len+n]...)
	ip := wire.IPv4(b[wire.EthernetLen:])
	binary.BigEndian.PutUint16(ip[2:], uint16(wire.IPv4Len+n))
	ip.UpdateChecksum()
	return b
}

// A packet of a connection whose transport header is cut short cannot be
// translated: its port would stay, and name another service of the server.
func TestShortHeadersAreNotTranslated(t *testing.T) {
	ack := segment(ap(cip, 40000), ap(vip, 80), wire.FlagACK, 0)
	verdicts{
		{name: "in", setup: masqueraded(), in: cut(ack, 14), want: DropShortTransport},
		{name: "back", port: 1, setup: masqueraded(), in: cut(answer(0), 14), want: DropShortTransport},
		{name: "DR", setup: func(b *testbed) {
			tcp80(ipvs.DirectRoute, "10.2.0.11:80")(b)
			b.handle(0, syn(0))
			b.forget()
		}, in: cut(ack, 14), want: Forwarded},
	}.run(t)
	require.Len(t, cut(ack, 14), wire.EthernetLen+wire.IPv4Len+14)
}
