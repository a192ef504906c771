package director

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/conntrack"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

// message is a UDP frame with a text.
func message(src, dst netip.AddrPort, text string) []byte {
	b := datagram(src, dst, len(text))
	copy(b[wire.UDPLen:], text)
	u := wire.UDP(b)
	u.SetChecksum(0)
	u.SetChecksum(^wire.Fold(wire.Sum(b, wire.PseudoSum(src.Addr(), dst.Addr(), wire.ProtoUDP, len(b)))))
	return ethernet(packet(src.Addr(), dst.Addr(), wire.ProtoUDP, head{}, b))
}

func call(id string) string { return fmt.Sprintf("INVITE sip:x SIP/2.0\r\nCall-ID: %s\r\n\r\n", id) }

// sipBed has a service for SIP with two servers.
func sipBed(t *testing.T, flags ipvs.ServiceFlags) (*testbed, []*ipvs.RealServer) {
	b := newTestbed(t)
	id := ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.UDP, Addr: vip, Port: 5060}
	servers := b.service(id, ipvs.Masquerade, "10.2.0.11:5060", "10.2.0.12:5060")
	spec := &b.snap.Services[0].Spec
	spec.Flags, spec.PE, spec.Timeout = ipvs.FlagPersistent|flags, "sip", 60
	b.publish()
	return b, servers
}

func (b *testbed) server(out *link.Output) netip.AddrPort {
	b.tb.Helper()
	_, p := b.parsed(out)
	return ap(p.Dst, p.DstPort)
}

// TestSIPCallsStay: a call keeps its server, whatever port its messages come from.
func TestSIPCallsStay(t *testing.T) {
	for _, flags := range []ipvs.ServiceFlags{0, ipvs.FlagOnePacket} {
		b, _ := sipBed(t, flags)
		to := map[string]netip.AddrPort{}
		used := map[netip.AddrPort]int{}
		for i := range 60 {
			id := fmt.Sprint("call-", i%6)
			rs := b.server(b.handle(0, message(ap(cip, uint16(5000+i)), ap(vip, 5060), call(id))))
			if was, ok := to[id]; ok {
				require.Equal(t, was, rs, id)
			}
			to[id] = rs
			used[rs]++
		}
		require.Len(t, used, 2)
	}
}

// TestSIPWithoutCallID: dropped, silently, and no server is asked for.
func TestSIPWithoutCallID(t *testing.T) {
	b, servers := sipBed(t, 0)
	for _, text := range []string{"", "hello", "INVITE sip:x SIP/2.0\r\nCall-ID: cut"} {
		require.Empty(t, b.handle(0, message(ap(cip, 5060), ap(vip, 5060), text)).Tx)
		require.Equal(t, DropEngine, b.w.seen)
	}
	require.Zero(t, servers[0].References()+servers[1].References())
	require.Zero(t, b.d.Table.Len())
}

// TestSIPServersCall: a server's own message comes from the virtual service,
// and what answers it returns to that server.
func TestSIPServersCall(t *testing.T) {
	for _, flags := range []ipvs.ServiceFlags{0, ipvs.FlagOnePacket} {
		b, servers := sipBed(t, flags)
		for i, rs := range []*ipvs.RealServer{servers[0], servers[0], servers[1]} { // the call moves
			from := netip.AddrPortFrom(rs.ID.Addr, rs.ID.Port)
			f, p := b.parsed(b.handle(1, message(from, ap(cip, 5070), call("own"))))
			require.Equal(t, ap(vip, 5060), ap(p.Src, p.SrcPort))
			require.Zero(t, wire.Fold(wire.Sum(p.Transport(), wire.PseudoSum(p.Src, p.Dst, p.Proto, len(p.Transport()))))^0xffff)
			require.Equal(t, 0, f.Port)
			require.Equal(t, from, b.server(b.handle(0, message(ap(cip, uint16(5080+i)), ap(vip, 5060), call("own")))))
		}
		var states []string
		b.d.Table.Walk(b.now, func(c *conntrack.Conn) bool {
			if c.Template() {
				states = append(states, c.Virtual.String()+" "+c.StateName())
			}
			return true
		})
		require.ElementsMatch(t, []string{"10.9.0.1:5060 ASSURED", "10.9.0.1:65535 ASSURED"}, states)

		b.snap.Sysctls.NATICMPSend = 0
		for _, stray := range [][]byte{
			message(ap(servers[0].ID.Addr, 5061), ap(cip, 5070), call("own")),
			message(ap(servers[0].ID.Addr, 5060), ap(cip, 5099), "no call"),
			message(netip.MustParseAddrPort("10.2.0.13:5060"), ap(cip, 5070), call("own")),
		} {
			b.handle(1, stray)
			require.Equal(t, Passed, b.w.seen)
		}
	}
}

func TestSIPAllocatesNothing(t *testing.T) {
	b, _ := sipBed(t, ipvs.FlagOnePacket)
	in := message(ap(cip, 5060), ap(vip, 5060), call("some-call@example.test"))
	f := wire.NewFrame(wire.MaxFrame)
	batch := []*link.Frame{f}
	round := func() {
		f.Reset()
		f.SetBytes(in)
		b.out.Reset()
		b.w.Handle(b.now, batch, &b.out)
	}
	round()
	require.Equal(t, Forwarded, b.w.seen)
	require.Zero(t, testing.AllocsPerRun(100, round))
	p := b.parse(f)
	require.Nil(t, forward.Payload(&p))
}
