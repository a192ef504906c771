package director

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/ipvs"
	"usvs/wire"
)

// fragments6 cuts the payload of an IPv6 frame at some offsets.
func fragments6(frame []byte, at ...int) (list [][]byte) {
	h := wire.IPv6(frame[wire.EthernetLen:])
	data, from := h[wire.IPv6Len:], 0
	for _, end := range append(at, len(data)) {
		ext := []byte{h.NextHeader(), 0, byte(from >> 8), byte(from), 0, 0, 0, 9}
		if end < len(data) {
			ext[3] |= 1
		}
		list = append(list, ethernet(packet(h.Src(), h.Dst(), wire.ProtoFragment, head{ttl: h.HopLimit()}, append(ext, data[from:end]...))))
		from = end
	}
	return list
}

// tick lets time pass and returns the ICMP messages that the director sends of
// its own accord.
func (b *testbed) tick(d time.Duration) [][]byte {
	b.now = b.now.Add(d)
	b.out.Reset()
	b.w.Tick(b.now, &b.out)
	var sent [][]byte
	for _, f := range b.out.Tx {
		if p := b.parse(f); p.Proto == wire.ProtoICMP || p.Proto == wire.ProtoICMPv6 && p.Data[p.L4] < 128 {
			sent = append(sent, f.Bytes())
		}
	}
	return sent
}

// settle lets announcements and the like be done with.
func (b *testbed) settle() {
	for range 20 {
		b.tick(time.Minute)
	}
}

func parseFrame(t *testing.T, b []byte) (p wire.Packet) {
	t.Helper()
	require.Equal(t, wire.None, p.Parse(b, wire.Ethernet))
	return p
}

func TestSenderOfHalfADatagramIsTold(t *testing.T) {
	rip6 := netip.MustParseAddr("fd00:2::11")
	for _, c := range []struct {
		name      string
		in        [][]byte
		port      int
		src, dst  netip.Addr
		after     time.Duration
		typ, code uint8
		ttl       uint8 // quoted
	}{
		{"to the VIP", fragments(udp(ap(cip, 1), ap(vip, 53), 300), 128), 0, vip, cip, 30 * time.Second, wire.ICMPTimeExceeded, 1, 64},
		{"a server's reply", fragments(udp(ap(rip1, 53), ap(cip, 1), 300), 128), 1, netip.MustParseAddr("10.2.0.1"), rip1, 30 * time.Second, wire.ICMPTimeExceeded, 1, 63},
		{"IPv6 to the VIP", fragments6(udp(ap(cip6, 1), ap(vip6, 53), 300), 128), 0, vip6, cip6, 60 * time.Second, wire.ICMPv6TimeExceeded, 1, 64},
		{"IPv6, a server's reply", fragments6(udp(ap(rip6, 53), ap(cip6, 1), 300), 128), 1, netip.MustParseAddr("fd00:2::1"), rip6, 60 * time.Second, wire.ICMPv6TimeExceeded, 1, 64},
	} {
		b := newTestbed(t)
		b.service(udpID(vip, 53), ipvs.Masquerade, "10.2.0.11:53")
		b.service(udpID(vip6, 53), ipvs.Masquerade, "[fd00:2::11]:53")
		b.settle()
		require.Empty(t, b.handle(c.port, c.in[0]).Tx, c.name)
		require.Equal(t, b.now.Add(c.after), b.w.Handle(b.now, nil, &b.out), "the director wants to be called then")
		require.Empty(t, b.tick(c.after-1), c.name)
		sent := b.tick(1)
		require.Len(t, sent, 1, c.name)
		p := parseFrame(t, sent[0])
		require.Equal(t, []netip.Addr{c.src, c.dst}, []netip.Addr{p.Src, p.Dst}, c.name)
		quote := requireICMP(t, p, c.typ, c.code)
		require.True(t, quote.Fragment && quote.FragOffset == 0, c.name)
		require.Equal(t, c.ttl, quote.TTL, c.name)
		require.EqualValues(t, 1, b.d.Counters()["datagram_timeout"])
		require.Empty(t, b.handle(c.port, c.in[1]).Tx, "too late")
		require.Empty(t, b.tick(time.Hour), "without a first fragment nobody is told")
	}
}

// What is ignored of a first fragment's data is not quoted either.
func TestTrimmedFragmentIsQuotedTrimmed(t *testing.T) {
	b := newTestbed(t)
	b.service(udpID(vip, 53), ipvs.Masquerade, "10.2.0.11:53")
	first := fragments(udp(ap(cip, 1), ap(vip, 53), 300), 128)[0]
	h := wire.IPv4(first[wire.EthernetLen:])
	h.SetTotalLen(len(h) - 3)
	h.UpdateChecksum()
	b.handle(0, first[:len(first)-3])
	sent := b.tick(time.Minute)
	require.Len(t, sent, 1)
	p := parseFrame(t, sent[0])
	require.Equal(t, first[wire.EthernetLen:wire.EthernetLen+wire.IPv4Len+120], p.Transport()[wire.ICMPLen:])
}

// The host saw the first fragment of what is not hidden, and tells its sender itself.
func TestHostTellsAboutWhatItSaw(t *testing.T) {
	b := newTestbed(t)
	b.carry(vip)
	b.service(udpID(vip, 53), ipvs.Masquerade, "10.2.0.11:53")
	b.snap.Hidden = &Hidden{Services: EndpointsOf(Endpoint{ipvs.UDP, vip, 53})}
	b.publish()
	b.handle(0, fragments(udp(ap(cip, 1), ap(vip, 99), 300), 128)[0])
	require.Empty(t, b.tick(time.Minute))
	b.handle(0, fragments(udp(ap(cip, 1), ap(vip, 53), 300), 128)[0])
	require.Len(t, b.tick(time.Minute), 1)
}

// What timed out is dropped before the fragment that comes too late is looked at.
func TestLateFragmentFindsNothing(t *testing.T) {
	b := newTestbed(t)
	b.service(udpID(vip, 53), ipvs.Masquerade, "10.2.0.11:53")
	in := fragments(udp(ap(cip, 1), ap(vip, 53), 300), 160)
	b.handle(0, in[0])
	b.now = b.now.Add(30 * time.Second)
	out := b.handle(0, in[1])
	require.Len(t, out.Tx, 1)
	requireICMP(t, parseFrame(t, out.Tx[0].Bytes()), wire.ICMPTimeExceeded, 1)
	require.Equal(t, Consumed, b.w.seen)
}

// TestFragmentsLeaveAsTheyCame, in any order and of any lengths.
func TestFragmentsLeaveAsTheyCame(t *testing.T) {
	b := newTestbed(t)
	b.service(udpID(vip6, 53), ipvs.Masquerade, "[fd00:2::11]:53")
	in := fragments6(udp(ap(cip6, 1), ap(vip6, 53), 2000), 800, 1000)
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		var frames [][]byte
		for _, i := range order {
			frames = append(frames, in[i])
		}
		out := b.feed(0, frames...)
		require.Len(t, out.Tx, 3)
		for i, f := range out.Tx {
			require.Equal(t, len(in[i]), f.Len())
		}
	}
}

// TestFragmentsOfRepliesAreForwardedOneByOne: TTL and MTU are each one's own.
func TestFragmentsOfRepliesAreForwardedOneByOne(t *testing.T) {
	b := newTestbed(t)
	b.service(udpID(vip, 53), ipvs.Masquerade, "10.2.0.11:53")
	b.feed(0, udp(ap(cip, 1), ap(vip, 53), 10))
	b.setMTU(0, 1000)
	in := fragments(udp(ap(rip1, 53), ap(cip, 1), 1800), 1200)
	h := wire.IPv4(in[0][wire.EthernetLen:])
	h.SetFragWord(h.FragWord() | 0x4000)
	h.UpdateChecksum()
	out := b.feed(1, in[0])
	require.Equal(t, DropTooBig, b.w.seen)
	requireICMP(t, parseFrame(t, out.Tx[0].Bytes()), wire.ICMPUnreachable, 4)

	in = fragments(udp(ap(rip1, 53), ap(cip, 1), 300), 160)
	out = b.feed(1, withTTL(in[0], 1))
	require.Equal(t, DropTTL, b.w.seen)
	requireICMP(t, parseFrame(t, out.Tx[0].Bytes()), wire.ICMPTimeExceeded, 0)
	require.Empty(t, b.feed(1, withTTL(in[1], 1)).Tx, "of a later one nobody is told")
	require.Equal(t, DropTTL, b.w.seen)
}

// TestHeadlessFragments: a first fragment without the whole TCP header is handled
// as it is, the others wait in vain.
func TestHeadlessFragments(t *testing.T) {
	for _, c := range []struct {
		method ipvs.ForwardMethod
		sent   int
		seen   Reason
	}{
		{ipvs.Masquerade, 0, DropShortTransport},
		{ipvs.DirectRoute, 1, Forwarded},
	} {
		b := newTestbed(t)
		b.service(tcpID(vip6, 80), c.method, "[fd00:2::11]:80")
		in := fragments6(segment(ap(cip6, 1), ap(vip6, 80), wire.FlagACK, 40), 16)
		require.Empty(t, b.feed(0, in[0]).Tx, "it opens no connection")
		b.feed(0, segment(ap(cip6, 1), ap(vip6, 80), wire.FlagSYN, 0))
		require.Len(t, b.feed(0, in[0]).Tx, c.sent)
		require.Equal(t, c.seen, b.w.seen)
		require.Empty(t, b.feed(0, in[1]).Tx)
		require.Equal(t, Consumed, b.w.seen)
		require.Empty(t, b.tick(time.Hour))
	}
}

// TestUnevenFragments: whoever sends one is told (RFC 8200 4.5).
func TestUnevenFragments(t *testing.T) {
	b := newTestbed(t)
	b.service(udpID(vip6, 53), ipvs.Masquerade, "[fd00:2::11]:53")
	shorten := func(frame []byte) []byte {
		h := wire.IPv6(frame[wire.EthernetLen:])
		h.SetPayloadLen(h.PayloadLen() - 1)
		return frame[:len(frame)-1]
	}
	in := fragments6(udp(ap(cip6, 1), ap(vip6, 53), 300), 80, 160)
	out := b.feed(0, in[0], shorten(in[1]))
	require.Len(t, out.Tx, 1)
	p := parseFrame(t, out.Tx[0].Bytes())
	requireICMP(t, p, wire.ICMPv6ParamProblem, 0)
	require.EqualValues(t, 4, binary.BigEndian.Uint32(p.Transport()[4:]), "the payload length is wrong")
	require.Empty(t, b.feed(0, in[2]).Tx, "the datagram is lost")

	in = fragments6(udp(ap(cip6, 1), ap(vip6, 53), 300), 80)
	require.Len(t, b.feed(0, shorten(in[0])).Tx, 1, "a first one goes its way alone")
	require.Equal(t, Forwarded, b.w.seen)
}

// TestStatesMisreadExtensionHeaders: as recorded, flags are looked for behind the
// IPv6 header whatever is there.
func TestStatesMisreadExtensionHeaders(t *testing.T) {
	seq := func(n uint32) []byte {
		f := segment(ap(cip6, 1), ap(vip6, 80), wire.FlagACK, 0)
		h := wire.IPv6(f[wire.EthernetLen:])
		tcp := h[wire.IPv6Len:]
		binary.BigEndian.PutUint32(tcp[4:], n)
		options := []byte{wire.ProtoTCP, 0, 1, 4, 0, 0, 0, 0}
		return ethernet(packet(h.Src(), h.Dst(), wire.ProtoDstOpts, head{}, append(options, tcp...)))
	}
	for n, want := range map[uint32]uint8{
		1000:       conntrack.TCPClose, // no flags
		2 << 16:    conntrack.TCPSynReceived,
		0x10 << 16: conntrack.TCPEstablished,
	} {
		b := newTestbed(t)
		b.service(tcpID(vip6, 80), ipvs.DirectRoute, "[fd00:2::11]:80")
		b.feed(0, segment(ap(cip6, 1), ap(vip6, 80), wire.FlagSYN, 0))
		b.feed(0, seq(n))
		var c conntrack.Conn
		require.True(t, b.d.Table.LookupIn(b.now, ipvs.TCP, ap(cip6, 1), ap(vip6, 80), &c))
		require.Equal(t, want, c.State, "sequence number %d", n)
	}
}

// TestLongStraysAreNotForwarded: the kernel judges the length before ip_vs sees them.
func TestLongStraysAreNotForwarded(t *testing.T) {
	b := newTestbed(t)
	b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:80")
	b.snap.Sysctls.NATICMPSend = 1
	b.setMTU(0, 1000)
	out := b.feed(1, segment(ap(rip1, 80), ap(cip, 9), wire.FlagACK, 1200))
	requireICMP(t, parseFrame(t, out.Tx[0].Bytes()), wire.ICMPUnreachable, 4)
	out = b.feed(1, segment(ap(rip1, 80), ap(cip, 9), wire.FlagACK, 100))
	requireICMP(t, parseFrame(t, out.Tx[0].Bytes()), wire.ICMPUnreachable, 3)
}

// TestFragmentDeadlineIsKept: Handle says when the first datagram times out.
func TestFragmentDeadlineIsKept(t *testing.T) {
	b := newTestbed(t)
	b.service(udpID(vip, 53), ipvs.Masquerade, "10.2.0.11:53")
	b.settle()
	require.Equal(t, clock.Never, b.w.Handle(b.now, nil, &b.out))
	b.handle(0, fragments(udp(ap(cip, 1), ap(vip, 53), 300), 128)[0])
	require.Equal(t, b.now.Add(30*time.Second), b.w.Handle(b.now, nil, &b.out))
}
