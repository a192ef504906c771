package director

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/wire"
)

// TestSendTo: packets of the host's own take the way of clients' packets.
func TestSendTo(t *testing.T) {
	b := newTestbed(t)
	dip, target := ap(netip.MustParseAddr("10.2.0.1"), 61000), ap(vip, 80)
	send := func(method ipvs.ForwardMethod, server string, in []byte) (Reason, []byte) {
		addr := netip.MustParseAddrPort(server)
		rs := ipvs.NewRealServer(ipvs.ServerID{Addr: addr.Addr(), Port: addr.Port()}, nil, ipvs.ServerSpec{Method: method, Weight: 0})
		f := wire.NewFrame(2048)
		f.Medium = wire.IP
		f.SetBytes(in)
		b.out.Reset()
		r := b.w.SendTo(b.now, f, rs, &b.out)
		if len(b.out.Tx) == 0 {
			return r, nil
		}
		return r, b.out.Tx[0].Bytes()
	}
	syn := segment(dip, target, wire.FlagSYN, 0)[wire.EthernetLen:]
	parse := func(frame []byte) *wire.Packet {
		var p wire.Packet
		require.Equal(t, wire.None, p.Parse(frame, wire.Ethernet))
		require.Equal(t, dirMAC1, wire.EthernetHeader(frame).Src())
		require.Equal(t, rsMAC, wire.EthernetHeader(frame).Dst())
		return &p
	}

	r, frame := send(ipvs.DirectRoute, "10.2.0.11:80", syn)
	require.Equal(t, Forwarded, r)
	p := parse(frame)
	require.Equal(t, "10.2.0.1 10.9.0.1 80 63", fmt.Sprint(p.Src, " ", p.Dst, " ", p.DstPort, " ", p.TTL))

	r, frame = send(ipvs.Masquerade, "10.2.0.11:8080", syn)
	require.Equal(t, Forwarded, r)
	p = parse(frame)
	require.Equal(t, "10.2.0.1 10.2.0.11 8080 63", fmt.Sprint(p.Src, " ", p.Dst, " ", p.DstPort, " ", p.TTL))

	r, frame = send(ipvs.Tunnel, "10.2.0.11:80", syn)
	require.Equal(t, Forwarded, r)
	p = parse(frame)
	require.EqualValues(t, wire.ProtoIPIP, p.Proto)
	require.Equal(t, "10.2.0.1 10.2.0.11", fmt.Sprint(p.Src, " ", p.Dst))

	for server, want := range map[string]Reason{"10.7.0.1:80": DropNoRoute, "10.8.0.1:80": DropForeignRoute, "10.2.0.99:80": Waiting} {
		r, _ = send(ipvs.DirectRoute, server, syn)
		require.Equal(t, want, r, server)
	}
	r, _ = send(ipvs.DirectRoute, "10.2.0.11:80", syn[:10])
	require.Equal(t, DropMalformed, r)
	r, _ = send(ipvs.DirectRoute, "10.2.0.11:80", nil)
	require.Equal(t, DropMalformed, r)
	require.Zero(t, b.d.Table.Len(), "no connection is made")
}
