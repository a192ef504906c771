package afxdp

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
	"usvs/wire"
)

const xdpRedirect = 4

// takes is the program in slow and obvious words, for well-formed frames.
func takes(w Wanted, mac wire.MAC, maxLen int, frame []byte) bool {
	var p wire.Packet
	if p.Parse(frame, wire.Ethernet) != wire.None || p.Version == 0 || p.L3 != wire.EthernetLen {
		return false
	}
	if wire.EthernetHeader(frame).Dst() != mac || len(frame) > maxLen {
		return false
	}
	if slices.Contains(w.Addrs, p.Dst) {
		return true
	}
	plain := wire.EthernetLen + map[uint8]int{4: wire.IPv4Len, 6: wire.IPv6Len}[p.Version]
	if !p.Ports || p.Fragment || p.L4 != plain {
		return false
	}
	if slices.Contains(w.Locals, p.Dst) {
		return matches(w.Services, p.Proto, p.Dst, p.DstPort)
	}
	return matches(w.Servers, p.Proto, p.Src, p.SrcPort)
}

func matches(list []Endpoint, proto uint8, a netip.Addr, port uint16) bool {
	return slices.ContainsFunc(list, func(e Endpoint) bool {
		return e.Addr == a && (e.Port == 0 || e.Port == port) && (e.Protocol == 0 || e.Protocol == proto)
	})
}

// verdict runs the program on a frame.
func verdict(t *testing.T, d *Device, frame []byte) (taken bool) {
	t.Helper()
	ret, err := d.program.Run(&ebpf.RunOptions{Data: frame})
	require.NoError(t, err)
	require.Contains(t, []uint32{xdpPass, xdpRedirect}, ret)
	return ret == xdpRedirect
}

// site is what the tests of the program have on board.
var site = Wanted{
	Addrs: []netip.Addr{vip, vip6},
	Services: []Endpoint{
		{wire.ProtoTCP, netip.MustParseAddr("10.0.0.2"), 80},
		{wire.ProtoUDP, netip.MustParseAddr("2001:db8::2"), 0},
		{0, netip.MustParseAddr("10.0.0.3"), 53},
		{0, netip.MustParseAddr("10.0.0.4"), 0},
	},
	Servers: []Endpoint{
		{wire.ProtoTCP, netip.MustParseAddr("10.0.0.11"), 8080},
		{wire.ProtoUDP, netip.MustParseAddr("10.0.0.11"), 0},
		{0, netip.MustParseAddr("2001:db8::11"), 80},
	},
	Locals: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("2001:db8::2")},
}

func siteDevice(t *testing.T, lab *netnstest.Lab) *Device {
	_, _, _, b := wirePair(t, lab, Options{})
	require.NoError(t, b.Change(site, Wanted{Addrs: []netip.Addr{vip, vip6}})) // of which one is left
	return b
}

func TestProgram(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		d := siteDevice(t, lab)
		for _, tc := range []struct {
			name             string
			src, dst         string
			proto            uint8
			srcPort, dstPort uint16
			change           func(b []byte) []byte
			want             bool
		}{
			{"to an address", "10.0.0.1", "10.0.0.100", wire.ProtoTCP, 1, 2, nil, true},
			{"to an address, any protocol", "10.0.0.1", "10.0.0.100", 47, 1, 2, nil, true},
			{"to an address, IPv6", "2001:db8::1", "2001:db8::100", wire.ProtoICMPv6, 1, 2, nil, true},
			{"a later fragment to an address", "10.0.0.1", "10.0.0.100", wire.ProtoUDP, 1, 2,
				func(b []byte) []byte { b[21] = 5; return b }, true},
			{"to an address, with options", "10.0.0.1", "10.0.0.100", wire.ProtoUDP, 1, 2,
				func(b []byte) []byte { b[14] = 0x46; return b }, true},
			{"to an address, with extension headers", "2001:db8::1", "2001:db8::100", wire.ProtoTCP, 1, 2,
				func(b []byte) []byte { b[20] = 60; return b }, true},
			{"another station", "10.0.0.1", "10.0.0.100", wire.ProtoTCP, 1, 2, func(b []byte) []byte { b[5]++; return b }, false},
			{"another station, first bytes", "10.0.0.1", "10.0.0.100", wire.ProtoTCP, 1, 2, func(b []byte) []byte { b[0] = 6; return b }, false},
			{"tagged", "10.0.0.1", "10.0.0.100", wire.ProtoTCP, 1, 2,
				func(b []byte) []byte { return slices.Insert(b, 12, 0x81, 0, 0, 42) }, false},
			{"ARP", "10.0.0.1", "10.0.0.100", wire.ProtoTCP, 1, 2, func(b []byte) []byte { b[13] = 6; return b }, false},
			{"too long", "10.0.0.1", "10.0.0.100", wire.ProtoTCP, 1, 2, func(b []byte) []byte { return append(b, make([]byte, 1500)...) }, false},
			{"cut short", "10.0.0.1", "10.0.0.100", wire.ProtoTCP, 1, 2, func(b []byte) []byte { return b[:33] }, false},
			{"cut short, IPv6", "2001:db8::1", "2001:db8::100", wire.ProtoTCP, 1, 2, func(b []byte) []byte { return b[:53] }, false},
			{"to a service", "10.0.0.1", "10.0.0.2", wire.ProtoTCP, 1, 80, nil, true},
			{"to a service, another port", "10.0.0.1", "10.0.0.2", wire.ProtoTCP, 1, 81, nil, false},
			{"to a service, another protocol", "10.0.0.1", "10.0.0.2", wire.ProtoUDP, 1, 80, nil, false},
			{"to a service, a first fragment", "10.0.0.1", "10.0.0.2", wire.ProtoTCP, 1, 80, func(b []byte) []byte { b[20] = 0x20; return b }, false},
			{"to a service, DF", "10.0.0.1", "10.0.0.2", wire.ProtoTCP, 1, 80, func(b []byte) []byte { b[20] = 0x40; return b }, true},
			{"to a service without ports", "10.0.0.1", "10.0.0.2", wire.ProtoTCP, 1, 80, func(b []byte) []byte { return b[:36] }, false},
			{"to any port", "2001:db8::1", "2001:db8::2", wire.ProtoUDP, 1, 4711, nil, true},
			{"to any protocol", "10.0.0.1", "10.0.0.3", wire.ProtoSCTP, 1, 53, nil, true},
			{"to a service whose address the host has not", "10.0.0.1", "10.0.0.4", wire.ProtoTCP, 1, 53, nil, false},
			{"from a server", "10.0.0.11", "10.0.0.1", wire.ProtoTCP, 8080, 9, nil, true},
			{"from a server, another port", "10.0.0.11", "10.0.0.1", wire.ProtoTCP, 8081, 9, nil, false},
			{"from a server, any port", "10.0.0.11", "10.0.0.1", wire.ProtoUDP, 8081, 9, nil, true},
			{"from a server to the host", "10.0.0.11", "10.0.0.2", wire.ProtoTCP, 8080, 9, nil, false},
			{"from a server to a service", "10.0.0.11", "10.0.0.2", wire.ProtoTCP, 1, 80, nil, true},
			{"from a server, IPv6", "2001:db8::11", "2001:db8::1", wire.ProtoTCP, 80, 9, nil, true},
			{"neither", "10.0.0.1", "10.0.0.4", wire.ProtoTCP, 80, 80, nil, false},
		} {
			b := datagram(netip.MustParseAddr(tc.src), netip.MustParseAddr(tc.dst), tc.proto, tc.srcPort, tc.dstPort, 30).Bytes()
			b = slices.Clone(b)
			if tc.change != nil {
				b = tc.change(b)
			}
			assert.Equal(t, tc.want, verdict(t, d, b), tc.name)
		}
	})
}

// The program and the model agree about anything well-formed.
func TestProgramAgainstModel(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		d := siteDevice(t, lab)
		const seed = 1
		rng := rand.New(rand.NewPCG(seed, seed))
		taken := 0
		for i := range 3000 {
			frame := randomFrame(rng)
			want := takes(site, macB, 1500+linkLen, frame)
			require.Equal(t, want, verdict(t, d, frame), "seed %d, frame %d: %x", seed, i, frame)
			if want {
				taken++
			}
		}
		assert.Greater(t, taken, 300)
	})
}

// randomFrame is a well-formed frame from a small world.
func randomFrame(rng *rand.Rand) []byte {
	pools := [2][]string{
		{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.11", "10.0.0.100"},
		{"2001:db8::1", "2001:db8::2", "2001:db8::11", "2001:db8::100"},
	}
	pool := pools[rng.IntN(2)]
	pick := func() netip.Addr { return netip.MustParseAddr(pool[rng.IntN(len(pool))]) }
	port := func() uint16 { return []uint16{53, 80, 8080, 1000}[rng.IntN(4)] }
	proto := []uint8{wire.ProtoTCP, wire.ProtoUDP, wire.ProtoSCTP, 47}[rng.IntN(4)]
	b := slices.Clone(datagram(pick(), pick(), proto, port(), port(), 8*rng.IntN(3)).Bytes())
	v4 := b[12] == 8
	switch rng.IntN(8) {
	case 0:
		b[rng.IntN(6)] ^= 1
	case 1:
		b = slices.Insert(b, 12, 0x81, 0, 0, 42)
	case 2:
		if v4 {
			b[20+rng.IntN(2)] = 0x20 >> (5 * rng.IntN(2))
			wire.IPv4(b[14:]).UpdateChecksum()
		}
	case 3:
		if v4 {
			b = slices.Insert(b, 34, 1, 1, 1, 0)
			b[14], b[17] = 0x46, b[17]+4
			wire.IPv4(b[14:]).UpdateChecksum()
		} else {
			b = slices.Insert(b, 54, b[20], 0, 1, 4, 0, 0, 0, 0)
			b[19], b[20] = b[19]+8, 60
		}
	}
	return b
}

// What is no longer wanted is left to the host again.
func TestChange(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		d := siteDevice(t, lab)
		four, six := datagram(cip, vip, wire.ProtoTCP, 1, 2, 0).Bytes(), datagram(cip6, vip6, wire.ProtoTCP, 1, 2, 0).Bytes()
		assert.True(t, verdict(t, d, four))
		require.NoError(t, d.Change(Wanted{}, Wanted{}))
		assert.True(t, verdict(t, d, four), "no change changes nothing")
		require.NoError(t, d.Change(Wanted{}, Wanted{Addrs: []netip.Addr{vip}}))
		assert.False(t, verdict(t, d, four))
		assert.True(t, verdict(t, d, six))
		require.NoError(t, d.Change(Wanted{Addrs: []netip.Addr{vip}}, Wanted{Addrs: []netip.Addr{vip6}}))
		assert.True(t, verdict(t, d, four))
		assert.False(t, verdict(t, d, six))
	})
}

// An endpoint of every protocol is others' as well: the program takes what any
// of those that are left names.
func TestChangeOfWhatOverlaps(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, _, d := wirePair(t, lab, Options{})
		rip := netip.MustParseAddr("10.0.0.11")
		every, tcp, udp := Endpoint{0, rip, 80}, Endpoint{wire.ProtoTCP, rip, 80}, Endpoint{wire.ProtoUDP, rip, 80}
		rng := rand.New(rand.NewPCG(1, 1))
		var have []Endpoint
		for i := range 200 {
			var add, drop Wanted
			for _, e := range []Endpoint{every, tcp, udp} {
				if rng.IntN(2) == 0 {
					continue
				}
				if at := slices.Index(have, e); at >= 0 {
					have = slices.Delete(have, at, at+1)
					drop.Servers = append(drop.Servers, e)
				} else {
					have = append(have, e)
					add.Servers = append(add.Servers, e)
				}
			}
			require.NoError(t, d.Change(add, drop))
			for _, proto := range []uint8{wire.ProtoTCP, wire.ProtoUDP, wire.ProtoSCTP} {
				want := matches(have, proto, rip, 80)
				require.Equal(t, want, verdict(t, d, datagram(rip, cip, proto, 80, 9, 0).Bytes()), "%d: %v, protocol %d", i, have, proto)
			}
		}
	})
}

// More than the tables hold is said, what fits works, and what did not fit comes
// when there is room.
func TestTableFull(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, _, d := wirePair(t, lab, Options{})
		require.NoError(t, d.Change(Wanted{}, Wanted{Addrs: []netip.Addr{vip, vip6}}))
		var w Wanted
		for i := range maxAddrs + 10 {
			w.Addrs = append(w.Addrs, netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}))
		}
		assert.ErrorContains(t, d.Change(w, Wanted{}), "10 of 65546 entries")
		assert.ErrorContains(t, d.Change(Wanted{Addrs: []netip.Addr{vip}}, Wanted{}), "11 of 65547 entries")
		taken := 0
		for _, a := range w.Addrs[:20] {
			if verdict(t, d, datagram(cip, a, wire.ProtoTCP, 1, 2, 0).Bytes()) {
				taken++
			}
		}
		assert.GreaterOrEqual(t, taken, 9)
		require.NoError(t, d.Change(Wanted{}, Wanted{Addrs: w.Addrs[:11]}))
		assert.True(t, verdict(t, d, datagram(cip, vip, wire.ProtoTCP, 1, 2, 0).Bytes()))
		assert.False(t, verdict(t, d, datagram(cip, w.Addrs[0], wire.ProtoTCP, 1, 2, 0).Bytes()))
		assert.True(t, verdict(t, d, datagram(cip, w.Addrs[11], wire.ProtoTCP, 1, 2, 0).Bytes()))
	})
}
