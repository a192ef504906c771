package testbed

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// checksums verifies a frame's checksums by adding up all of it.
func checksums(t *testing.T, b []byte, v6 bool) {
	t.Helper()
	ip, tcp := wire.EthernetLen, wire.EthernetLen+wire.IPv4Len
	if v6 {
		tcp = wire.EthernetLen + wire.IPv6Len
	} else {
		require.Zero(t, wire.Checksum(b[ip:tcp]))
	}
	var p wire.Packet
	require.Equal(t, wire.None, p.Parse(b, wire.Ethernet))
	segment := b[tcp : tcp+wire.TCPLen]
	require.Zero(t, ^wire.Fold(wire.Sum(segment, wire.PseudoSum(p.Src, p.Dst, wire.ProtoTCP, len(segment)))))
}

func TestStreamsAreWholeFrames(t *testing.T) {
	vip, rs := Virtual(3), netip.AddrPortFrom(Server(7), 8080)
	rs6 := netip.AddrPortFrom(Server6(7), 80)
	for name, c := range map[string]struct {
		s        *Stream
		src, dst func(i uint32) netip.AddrPort
		v6       bool
	}{
		"to virtual": {ToVirtual(vip), Client, fixed(netip.AddrPortFrom(vip, Port)), false},
		"from real":  {FromReal(rs), fixed(rs), Client, false},
		"to v6":      {ToVirtual(Virtual6), Client6, fixed(netip.AddrPortFrom(Virtual6, Port)), true},
		"from v6":    {FromReal(rs6), fixed(rs6), Client6, true},
	} {
		f := wire.NewFrame(2000)
		for _, i := range []uint32{0, 1, 15, 16, 65535, 1 << 20, 9_999_999} {
			c.s.Fill(f, i, wire.FlagSYN)
			checksums(t, f.Bytes(), c.v6)
			var p wire.Packet
			p.Parse(f.Bytes(), f.Medium)
			tcp := f.Bytes()[c.s.tcp:]
			require.Equal(t, c.src(i), netip.AddrPortFrom(p.Src, binary.BigEndian.Uint16(tcp)), name)
			require.Equal(t, c.dst(i), netip.AddrPortFrom(p.Dst, binary.BigEndian.Uint16(tcp[2:])), name)
		}
	}
}

func fixed(a netip.AddrPort) func(uint32) netip.AddrPort {
	return func(uint32) netip.AddrPort { return a }
}

func TestClientsDiffer(t *testing.T) {
	seen := map[netip.AddrPort]bool{}
	for i := range uint32(100_000) {
		seen[Client(i)] = true
	}
	require.Len(t, seen, 100_000)
}

func TestShuffled(t *testing.T) {
	require.Equal(t, Shuffled(1000, 500), Shuffled(1000, 500), "always the same")
	for _, limit := range []int{10, 1000, 2000} {
		flows, seen := Shuffled(1000, limit), map[uint32]bool{}
		for _, f := range flows {
			require.Less(t, f, uint32(1000))
			seen[f] = true
		}
		require.Len(t, seen, min(limit, 1000))
	}
}

// TestPass: every forwarding method forwards what a suite sends.
func TestPass(t *testing.T) {
	flows := Shuffled(1000, 300)
	for _, method := range []string{"-g", "-m", "-i"} {
		b := New(10_000)
		require.NoError(t, b.Load(Rules(2, 10, "wlc", method)))
		require.NoError(t, b.Establish(ToVirtual(Virtual(1)), flows), method)
		require.Equal(t, 300, b.Table.Len())
		b.Expire(time.Hour, Untimed)
		require.Zero(t, b.Table.Len())
	}
}

// TestPassBack: a server's answers find their way.
func TestPassBack(t *testing.T) {
	flows := Shuffled(1000, 300)
	b := New(10_000)
	require.NoError(t, b.Load(Rules(1, 1, "wlc", "-m")+Rules6(1, "wlc", "-m")))
	for _, way := range []struct {
		in, out *Stream
	}{
		{ToVirtual(Virtual(0)), FromReal(netip.AddrPortFrom(Server(0), serverPort))},
		{ToVirtual(Virtual6), FromReal(netip.AddrPortFrom(Server6(0), serverPort))},
	} {
		require.NoError(t, b.Establish(way.in, flows))
		_, err := b.Pass(way.out, flows, wire.FlagACK)
		require.NoError(t, err)
		checksums(t, b.Frame(0).Bytes(), way.in.v6)
	}
	require.Equal(t, 600, b.Table.Len())
}

func TestPassTellsOfLostFrames(t *testing.T) {
	b := New(100)
	require.NoError(t, b.Load(Rules(1, 1, "wlc", "-g")))
	_, err := b.Pass(ToVirtual(Virtual(0)), Shuffled(1000, 300), wire.FlagSYN)
	require.ErrorContains(t, err, "drop_table_full")
}
