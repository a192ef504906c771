package ipvsabi

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// decoded are the messages of datagrams, and the attributes in them, read by
// another implementation.
func decoded(t testing.TB, datagrams [][]byte) (entries []map[uint16][]byte, done bool) {
	t.Helper()
	for _, d := range datagrams {
		for len(d) > 0 {
			size := min(align(int(native.Uint32(d))), len(d))
			var m netlink.Message
			require.NoError(t, m.UnmarshalBinary(d[:size]))
			require.Equal(t, uint32(42), m.Header.PID)
			require.Equal(t, uint32(7), m.Header.Sequence)
			require.NotZero(t, m.Header.Flags&netlink.Multi)
			require.False(t, done, "nothing follows the end")
			if m.Header.Type == netlink.Done {
				done = true
			} else {
				require.EqualValues(t, FamilyID, m.Header.Type)
				entries = append(entries, inside(t, m.Data[genericHeaderLen:]))
			}
			d = d[size:]
		}
	}
	return entries, done
}

func inside(t testing.TB, b []byte) map[uint16][]byte {
	t.Helper()
	ad, err := netlink.NewAttributeDecoder(b)
	require.NoError(t, err)
	all := map[uint16][]byte{}
	for ad.Next() {
		all[ad.Type()] = ad.Bytes()
	}
	require.NoError(t, ad.Err())
	return all
}

func number(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(native.Uint16(b))
	case 4:
		return uint64(native.Uint32(b))
	}
	return native.Uint64(b)
}

// Random tables are listed completely and in order, in datagrams that fit, and
// read by another implementation they are what the Backend said.
func TestListsAgainstAnotherDecoder(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := &fake{services: randomServices(r, r.IntN(120))}
		s := NewServer(b)
		replies, _ := s.Netlink(request(cmdGetService, flagDump, nil), 42, true)
		checkSizes(t, replies)
		entries, done := decoded(t, replies)
		require.True(t, done)
		require.Len(t, entries, len(b.services), "seed %d", seed)
		for i, e := range entries {
			checkService(t, inside(t, e[1]), &b.services[i])
			checkServers(t, s, &b.services[i])
		}
	}
}

func checkSizes(t *testing.T, datagrams [][]byte) {
	t.Helper()
	for i, d := range datagrams {
		require.LessOrEqual(t, len(d), datagramMax)
		if i < len(datagrams)-2 {
			require.Greater(t, len(d), datagramMax-entryMax, "all but the last are filled")
		}
	}
}

func checkService(t *testing.T, a map[uint16][]byte, want *ipvs.ServiceEntry) {
	t.Helper()
	if want.ID.Mark != 0 {
		require.EqualValues(t, want.ID.Mark, number(a[5]))
		require.NotContains(t, a, uint16(3))
	} else {
		require.EqualValues(t, want.ID.Protocol, number(a[2]))
		require.Equal(t, want.ID.Addr, address(t, number(a[1]), a[3]))
		require.Equal(t, want.ID.Port, binary.BigEndian.Uint16(a[4]))
		require.NotContains(t, a, uint16(5))
	}
	require.Equal(t, want.Spec.Scheduler+"\x00", string(a[6]))
	require.EqualValues(t, want.Spec.Flags, number(a[7][:4]))
	require.EqualValues(t, 0xffffffff, number(a[7][4:]))
	require.EqualValues(t, want.Spec.Timeout, number(a[8]))
	if want.ID.Family == ipvs.IPv6 {
		require.EqualValues(t, want.Spec.PrefixLen, number(a[9]))
	} else {
		require.Equal(t, want.Spec.Netmask.AsSlice(), a[9])
	}
	if want.Spec.PE == "" {
		require.NotContains(t, a, uint16(11))
	} else {
		require.Equal(t, want.Spec.PE+"\x00", string(a[11]))
	}
	checkStats(t, inside(t, a[10]), inside(t, a[12]), &want.Stats)
}

func checkStats(t *testing.T, old, wide map[uint16][]byte, want *ipvs.Stats) {
	t.Helper()
	for i, n := range []uint64{
		want.Conns, want.InPkts, want.OutPkts, want.InBytes, want.OutBytes,
		want.CPS, want.InPPS, want.OutPPS, want.InBPS, want.OutBPS,
	} {
		typ := uint16(i + 1)
		require.Len(t, wide[typ], 8)
		require.Equal(t, n, number(wide[typ]))
		if typ == 4 || typ == 5 {
			require.Len(t, old[typ], 8)
			require.Equal(t, n, number(old[typ]))
			continue
		}
		require.Len(t, old[typ], 4)
		require.EqualValues(t, uint32(n), number(old[typ]))
	}
}

func checkServers(t *testing.T, s *Server, svc *ipvs.ServiceEntry) {
	t.Helper()
	replies, _ := s.Netlink(request(cmdGetDest, flagDump, naming(svc.ID, "", 0, 0)), 42, true)
	checkSizes(t, replies)
	entries, done := decoded(t, replies)
	require.True(t, done)
	require.Len(t, entries, len(svc.Servers))
	for i, e := range entries {
		a, want := inside(t, e[2]), &svc.Servers[i]
		require.Equal(t, want.ID.Addr, address(t, number(a[11]), a[1]))
		require.Equal(t, want.ID.Port, binary.BigEndian.Uint16(a[2]))
		for typ, n := range map[uint16]uint64{
			3: uint64(want.Spec.Method), 4: uint64(uint32(want.Spec.Weight)), 5: uint64(want.Spec.UpperThreshold),
			6: uint64(want.Spec.LowerThreshold), 7: uint64(want.Active), 8: uint64(want.Inactive), 9: uint64(want.Persistent),
			13: uint64(want.Spec.Tunnel.Type), 15: uint64(want.Spec.Tunnel.Flags),
		} {
			require.Equal(t, n, number(a[typ]), "attribute %d", typ)
		}
		require.Equal(t, want.Spec.Tunnel.Port, binary.BigEndian.Uint16(a[14]))
		checkStats(t, inside(t, a[10]), inside(t, a[12]), &want.Stats)
	}
}

func address(t *testing.T, af uint64, b []byte) netip.Addr {
	t.Helper()
	require.Len(t, b, 16)
	if af == 2 {
		require.Equal(t, make([]byte, 12), b[4:])
		return netip.AddrFrom4([4]byte(b))
	}
	require.EqualValues(t, 10, af)
	return netip.AddrFrom16([16]byte(b))
}

// The socket options show the same table, as far as it is IPv4.
func TestOptionListsAgainstTheTable(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 2))
		b := &fake{services: randomServices(r, r.IntN(60))}
		s := NewServer(b)
		var want []ipvs.ServiceEntry
		for _, e := range b.services {
			if e.ID.Family == ipvs.IPv4 {
				want = append(want, e)
			}
		}
		info, errno := s.GetOption(1153, make([]byte, 12), true)
		require.Zero(t, errno)
		n := int(number(info[8:]))
		require.Len(t, want, n)
		buf := make([]byte, 8+104*n)
		native.PutUint32(buf, uint32(n))
		out, errno := s.GetOption(1154, buf, true)
		require.Zero(t, errno)
		for i := range want {
			checkServiceEntry(t, s, out[8+104*i:][:104], &want[i])
		}
	}
}

func checkServiceEntry(t *testing.T, s *Server, b []byte, want *ipvs.ServiceEntry) {
	t.Helper()
	if want.ID.Mark != 0 {
		require.EqualValues(t, want.ID.Mark, number(b[12:16]))
	} else {
		require.EqualValues(t, want.ID.Protocol, number(b[:2]))
		require.Equal(t, want.ID.Addr.AsSlice(), b[4:8])
		require.Equal(t, want.ID.Port, binary.BigEndian.Uint16(b[8:]))
	}
	require.Equal(t, want.Spec.Scheduler, str(b[16:32]))
	require.EqualValues(t, want.Spec.Flags, number(b[32:36]))
	require.EqualValues(t, want.Spec.Timeout, number(b[36:40]))
	require.Equal(t, want.Spec.Netmask.AsSlice(), b[40:44])
	require.EqualValues(t, len(want.Servers), number(b[44:48]))
	checkStatsRecord(t, b[48:], &want.Stats)

	var v4 []ipvs.ServerEntry
	for _, rs := range want.Servers {
		if rs.ID.Addr.Is4() {
			v4 = append(v4, rs)
		}
	}
	buf := make([]byte, 24+96*len(want.Servers))
	copy(buf, b[:16])
	native.PutUint32(buf[16:], uint32(len(want.Servers)))
	out, errno := s.GetOption(1156, buf, true)
	require.Zero(t, errno)
	require.Len(t, out, len(buf))
	for i := range v4 {
		b, want := out[24+96*i:][:96], &v4[i]
		require.Equal(t, want.ID.Addr.AsSlice(), b[:4])
		require.Equal(t, want.ID.Port, binary.BigEndian.Uint16(b[4:]))
		require.EqualValues(t, want.Spec.Method, number(b[8:12])&7)
		for at, n := range map[int]uint64{
			12: uint64(uint32(want.Spec.Weight)), 16: uint64(want.Spec.UpperThreshold), 20: uint64(want.Spec.LowerThreshold),
			24: uint64(want.Active), 28: uint64(want.Inactive), 32: uint64(want.Persistent),
		} {
			require.Equal(t, n, number(b[at:at+4]), "offset %d", at)
		}
		checkStatsRecord(t, b[40:], &want.Stats)
	}
	require.Equal(t, make([]byte, 96*(len(want.Servers)-len(v4))), out[24+96*len(v4):], "those of IPv6 are not shown")
}

func checkStatsRecord(t *testing.T, b []byte, want *ipvs.Stats) {
	t.Helper()
	for at, n := range map[int]uint64{
		0: want.Conns, 4: want.InPkts, 8: want.OutPkts, 32: want.CPS, 36: want.InPPS, 40: want.OutPPS, 44: want.InBPS, 48: want.OutBPS,
	} {
		require.EqualValues(t, uint32(n), number(b[at:at+4]), "offset %d", at)
	}
	require.Equal(t, want.InBytes, number(b[16:24]))
	require.Equal(t, want.OutBytes, number(b[24:32]))
}

// randomServices makes n different services with servers.
func randomServices(r *rand.Rand, n int) []ipvs.ServiceEntry {
	var all []ipvs.ServiceEntry
	for i := range n {
		e := ipvs.ServiceEntry{
			ID: ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.SCTP, Addr: randomAddr(r, false), Port: uint16(i)},
			Spec: ipvs.ServiceSpec{
				Scheduler: fmt.Sprintf("%.*s", 1+r.IntN(15), "scheduler-names"), Flags: ipvs.ServiceFlags(r.Uint32()),
				Timeout: r.Uint32(), Netmask: randomAddr(r, false),
			},
			Stats: randomStats(r),
		}
		if r.IntN(2) == 0 {
			e.ID.Family, e.ID.Addr = ipvs.IPv6, randomAddr(r, true)
			e.Spec.Netmask, e.Spec.PrefixLen = netip.Addr{}, uint8(1+r.IntN(128))
		}
		if r.IntN(4) == 0 {
			e.ID = ipvs.ServiceID{Family: e.ID.Family, Protocol: ipvs.TCP, Mark: uint32(i + 1)}
		}
		if r.IntN(4) == 0 {
			e.Spec.PE = "sixteen-letters!"
		}
		for range r.IntN(25) {
			e.Servers = append(e.Servers, ipvs.ServerEntry{
				ID: ipvs.ServerID{Addr: randomAddr(r, r.IntN(3) == 0), Port: uint16(r.Uint32())},
				Spec: ipvs.ServerSpec{
					Method: ipvs.ForwardMethod(r.IntN(5)), Weight: int32(r.Uint32()), UpperThreshold: r.Uint32(), LowerThreshold: r.Uint32(),
					Tunnel: ipvs.TunnelParams{Type: ipvs.TunnelType(r.IntN(3)), Port: uint16(r.Uint32()), Flags: uint16(r.IntN(3))},
				},
				Active: r.Uint32(), Inactive: r.Uint32(), Persistent: r.Uint32(), Stats: randomStats(r),
			})
		}
		all = append(all, e)
	}
	return all
}

func randomAddr(r *rand.Rand, six bool) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], r.Uint64())
	binary.BigEndian.PutUint64(b[8:], r.Uint64())
	if six {
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte(b[:4]))
}

func randomStats(r *rand.Rand) ipvs.Stats {
	return ipvs.Stats{
		Conns: r.Uint64(), InPkts: r.Uint64(), OutPkts: r.Uint64(), InBytes: r.Uint64(), OutBytes: r.Uint64(),
		CPS: r.Uint64(), InPPS: r.Uint64(), OutPPS: r.Uint64(), InBPS: r.Uint64(), OutBPS: r.Uint64(),
	}
}

// table2000 is what the benchmarks list.
func table2000() *fake {
	r := rand.New(rand.NewPCG(1, 3))
	b := &fake{services: randomServices(r, 2000)}
	return b
}

func BenchmarkDumpServices(b *testing.B) {
	s := NewServer(table2000())
	req := request(cmdGetService, flagDump, nil)
	b.ReportAllocs()
	for b.Loop() {
		s.Netlink(req, 42, true)
	}
}

func BenchmarkDumpServers(b *testing.B) {
	f := table2000()
	f.services = f.services[:1]
	f.services[0].Servers = nil
	for i := range 2000 {
		f.services[0].Servers = append(f.services[0].Servers, ipvs.ServerEntry{ID: ipvs.ServerID{Addr: vip4, Port: uint16(i)}})
	}
	s := NewServer(f)
	req := request(cmdGetDest, flagDump, naming(f.services[0].ID, "", 0, 0))
	b.ReportAllocs()
	for b.Loop() {
		s.Netlink(req, 42, true)
	}
}

func BenchmarkOptionServices(b *testing.B) {
	s := NewServer(table2000())
	info, _ := s.GetOption(1153, make([]byte, 12), true)
	buf := make([]byte, 8+104*number(info[8:]))
	copy(buf, info[8:])
	b.ReportAllocs()
	for b.Loop() {
		s.GetOption(1154, buf, true)
	}
}

// A list costs an allocation per datagram, and a few.
func TestListAllocations(t *testing.T) {
	s := NewServer(table2000())
	req := request(cmdGetService, flagDump, nil)
	replies, _ := s.Netlink(req, 42, true)
	require.LessOrEqual(t, testing.AllocsPerRun(5, func() { s.Netlink(req, 42, true) }), float64(len(replies)+40))
}
