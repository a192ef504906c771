package load

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/wire"
)

func specOf(to string, clients string, flows, size int) Spec {
	return Spec{
		Src: wire.MAC{2, 0, 0, 0, 0, 1}, Dst: wire.MAC{2, 0, 0, 0, 0, 2},
		Clients: netip.MustParseAddr(clients), To: netip.MustParseAddrPort(to), Flows: flows, Size: size,
	}
}

func TestFrames(t *testing.T) {
	for name, s := range map[string]Spec{
		"IPv4, shortest":  specOf("198.18.2.1:9000", "198.19.0.1", 1<<10, 60),
		"IPv4, one flow":  specOf("198.18.2.1:9000", "198.19.255.255", 1, 60),
		"IPv4, two flows": specOf("198.18.2.1:9000", "198.19.0.1", 2, 60),
		"IPv4, long":      specOf("198.18.2.1:9000", "198.19.0.1", 1<<10, 1400),
		"IPv4, odd":       specOf("198.18.2.1:9000", "198.19.0.1", 1<<10, 61),
		"IPv6":            specOf("[2001:2::1]:9000", "2001:2:0:3::1", 1<<10, 64),
		"IPv6, many":      specOf("[2001:2::1]:9000", "2001:2:0:3::ffff:fff0", 1<<16, 64),
	} {
		t.Run(name, func(t *testing.T) {
			f, err := NewFlows(s)
			require.NoError(t, err)
			require.Equal(t, s.Flows, f.Count())
			require.Equal(t, s.Size, f.Size())
			frame := f.Template()
			require.Len(t, frame, s.Size)
			seen := map[netip.AddrPort]int{}
			for range 2 * s.Flows {
				f.Next(frame)
				seen[check(t, frame, &s)]++
			}
			require.Len(t, seen, s.Flows)
			for _, n := range seen {
				require.Equal(t, 2, n, "each flow once before any comes again")
			}
		})
	}
}

// check looks at one frame and returns who it is from.
func check(t *testing.T, frame []byte, s *Spec) netip.AddrPort {
	t.Helper()
	var p wire.Packet
	if why := p.Parse(frame, wire.Ethernet); why != wire.None {
		t.Fatalf("the frame is refused: %v", why)
	}
	if p.Dst != s.To.Addr() || p.DstPort != s.To.Port() || p.Proto != wire.ProtoUDP {
		t.Fatalf("to %v port %d protocol %d", p.Dst, p.DstPort, p.Proto)
	}
	if s.Clients.Is4() && wire.Checksum(frame[wire.EthernetLen:][:wire.IPv4Len]) != 0 {
		t.Fatal("IPv4 checksum")
	}
	body := p.Transport()
	if wire.Fold(wire.Sum(body, wire.PseudoSum(p.Src, p.Dst, p.Proto, len(body)))) != 0xffff {
		t.Fatal("UDP checksum")
	}
	return netip.AddrPortFrom(p.Src, p.SrcPort)
}

// TestOrder: no two rounds have an order in common, not even in parts.
func TestOrder(t *testing.T) {
	f, err := NewFlows(specOf("198.18.2.1:9000", "198.19.0.1", 1<<12, 60))
	require.NoError(t, err)
	next := make([]uint32, f.Count()) // who followed whom in the first round
	for n := range uint32(f.Count() - 1) {
		next[f.turn(n)] = f.turn(n + 1)
	}
	for round := 1; round < 20; round++ {
		again := 0
		for n := range uint32(f.Count() - 1) {
			at := uint32(round*f.Count()) + n
			if next[f.turn(at)] == f.turn(at+1) {
				again++
			}
		}
		require.Less(t, again, f.Count()/8, "round %d", round)
	}
}

func TestRefusals(t *testing.T) {
	for want, s := range map[string]Spec{
		"power of two":       specOf("198.18.2.1:9000", "198.19.0.1", 1000, 60),
		"0 flows":            specOf("198.18.2.1:9000", "198.19.0.1", 0, 60),
		"different families": specOf("[2001:2::1]:9000", "198.19.0.1", 1, 60),
		"headers alone":      specOf("198.18.2.1:9000", "198.19.0.1", 1, 41),
	} {
		_, err := NewFlows(s)
		require.ErrorContains(t, err, want)
	}
}

func TestNextDoesNotAllocate(t *testing.T) {
	f, err := NewFlows(specOf("198.18.2.1:9000", "198.19.0.1", 1<<10, 60))
	require.NoError(t, err)
	frame := f.Template()
	require.Zero(t, testing.AllocsPerRun(100, func() { f.Next(frame) }))
}

// TestPace lets time pass in steps and counts what was due.
func TestPace(t *testing.T) {
	for _, rate := range []float64{1, 1000, 65_000, 1e6, 2.5e6} {
		p := Pace{PerSecond: rate}
		sent := 0
		const step = 5 * time.Microsecond
		for since := time.Duration(0); since < time.Second; since += step {
			n := p.Due(since, 64)
			require.LessOrEqual(t, n, max(1, int(rate*maxBurst.Seconds())))
			sent += n
		}
		require.InDelta(t, rate, sent, 65, "%v", rate)
	}
	all := Pace{}
	require.Equal(t, 64, all.Due(0, 64))
	require.Equal(t, 64, all.Due(0, 64))
}

// TestPaceAfterAStall: what is long overdue is given up.
func TestPaceAfterAStall(t *testing.T) {
	p := Pace{PerSecond: 1e6}
	sent := 0
	for range 1000 {
		sent += p.Due(100*time.Millisecond, 64)
	}
	require.Positive(t, sent)
	require.LessOrEqual(t, sent, (maxLate+1)*64)
}
