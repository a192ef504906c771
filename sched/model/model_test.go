package model

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/sched"
)

// The known answers of ipvs.md section 12 hold the models themselves. Servers
// are added in the order A, B, C; A is 10.1.0.1:80.

func servers(weights ...int32) []*ipvs.RealServer {
	list := make([]*ipvs.RealServer, len(weights))
	for i, w := range weights {
		id := ipvs.ServerID{Addr: netip.AddrFrom4([4]byte{10, 1, 0, byte(i + 1)}), Port: 80}
		list[i] = ipvs.NewRealServer(id, nil, ipvs.ServerSpec{Weight: w})
	}
	return list
}

// filled returns a model to which the servers were added one at a time.
func filled(t *testing.T, name string, added []*ipvs.RealServer) Scheduler {
	t.Helper()
	m, err := New(name, rand.New(rand.NewPCG(1, 1)))
	require.NoError(t, err)
	var list []*ipvs.RealServer
	require.NoError(t, m.Update(sched.Bind, nil, nil))
	for _, rs := range added {
		list = slices.Concat([]*ipvs.RealServer{rs}, list)
		require.NoError(t, m.Update(sched.Add, list, rs))
	}
	return m
}

func letters(list []*ipvs.RealServer) string {
	var b strings.Builder
	for _, rs := range list {
		a := rs.ID.Addr.AsSlice()
		b.WriteByte('A' + a[len(a)-1] - 1)
	}
	return b.String()
}

func request(client string) *sched.Request {
	sysctls := ipvs.DefaultSysctls()
	ap, err := netip.ParseAddrPort(client)
	if err != nil {
		ap = netip.AddrPortFrom(netip.MustParseAddr(client), 0)
	}
	return &sched.Request{Protocol: ipvs.TCP, Client: ap.Addr(), ClientPort: ap.Port(), Dst: ap.Addr(), Sysctls: &sysctls}
}

func TestSipHash(t *testing.T) {
	const k0, k1 = 0x0706050403020100, 0x0f0e0d0c0b0a0908
	message := make([]byte, 15)
	for i := range message {
		message[i] = byte(i)
	}
	// The paper's own vector, and two of SipHash-1-3 in 32 bits.
	require.Equal(t, uint64(0xa129ca6149be45e5), sipHash(message, k0, k1, 2, 4))
	require.Equal(t, uint32(0x050fc4dc), uint32(sipHash(nil, k0, k1, 1, 3)))
	require.Equal(t, uint32(0x88d38328), uint32(sipHash(message[:4], k0, k1, 1, 3)))
}

func TestHashes(t *testing.T) {
	for _, c := range []struct {
		client            string
		slot, bucket, key uint32
		mh                uint32
	}{
		{"0.0.0.0", 0, 0, 0x1d5a77c2, 2495},
		{"10.0.0.1", 39, 159, 0x03080ce4, 3711},
		{"192.168.1.10", 248, 995, 0xd5e959b6, 3323},
		{"203.0.113.7", 124, 499, 0xa86e2c15, 1705},
		{"2001:db8::1", 63, 252, 0xcdc3f189, 3457},
	} {
		x := fold(netip.MustParseAddr(c.client))
		require.Equal(t, c.slot, golden(x, 8), c.client)
		require.Equal(t, c.bucket, golden(x, 10), c.client)
		require.Equal(t, c.key, hsiphash(x, key1), c.client)
		require.Equal(t, c.mh, hsiphash(x, key1)%maglev, c.client)
	}
}

func TestSequences(t *testing.T) {
	for _, c := range []struct {
		name    string
		weights []int32
		want    string
	}{
		{"rr", []int32{1, 1, 1}, "CBACBA"},
		{"wrr", []int32{1, 1}, "BABABA"},
		{"wrr", []int32{1, 2, 3}, "CBACCBCBACCBCBA"},
		{"wrr", []int32{4, 3, 2}, "CBAABACBACBA"},
		{"wrr", []int32{10, 20}, "BABBABBA"},
		{"lc", []int32{1, 0, 3}, "CCC"},
		{"wlc", []int32{2, 1}, "BB"},
		{"sed", []int32{2, 1}, "AA"},
		{"nq", []int32{2, 1}, "BB"},
		{"fo", []int32{2, 1}, "AA"},
		{"ovf", []int32{2, 1}, "AA"},
	} {
		m := filled(t, c.name, servers(c.weights...))
		var got []*ipvs.RealServer
		for range c.want {
			got = append(got, m.Schedule(request("192.0.2.1")))
		}
		require.Equal(t, c.want, letters(got), c.name)
	}
}

func TestWrrEdit(t *testing.T) {
	s := servers(3, 1)
	m := filled(t, "wrr", s)
	list := []*ipvs.RealServer{s[1], s[0]}
	var got []*ipvs.RealServer
	for i := range 18 {
		if i == 8 {
			s[1].SetSpec(ipvs.ServerSpec{Weight: 2})
			require.NoError(t, m.Update(sched.Edit, list, s[1]))
		}
		got = append(got, m.Schedule(request("192.0.2.1")))
	}
	require.Equal(t, "BAAABAAA"+"BABAABABAA", letters(got))
}

func TestTables(t *testing.T) {
	count := func(s string) [3]int {
		return [3]int{strings.Count(s, "A"), strings.Count(s, "B"), strings.Count(s, "C")}
	}
	table := letters(filled(t, "mh", servers(1, 1, 1)).(*mh).table)
	require.Equal(t, "CCCACBCBCABACACA", table[:16])
	require.Equal(t, [3]int{1364, 1364, 1365}, count(table))

	table = letters(filled(t, "mh", servers(3, 2, 1)).(*mh).table)
	require.Equal(t, "CAAACBABBABACAAA", table[:16])
	require.Equal(t, [3]int{2046, 1364, 683}, count(table))

	table = letters(filled(t, "sh", servers(3, 2, 1)).(*sh).table[:])
	require.Equal(t, "CBBAAACBBAAA", table[:12])
	require.Equal(t, [3]int{127, 86, 43}, count(table))
}

func TestHashedPicks(t *testing.T) {
	for _, c := range []struct {
		name, client, want, fallback string
		weights                      []int32
	}{
		{"mh", "192.168.1.10", "B", "C", []int32{1, 1, 1}},
		{"mh", "10.0.0.1", "A", "C", []int32{1, 1, 1}},
		{"mh", "203.0.113.7", "A", "B", []int32{1, 1, 1}},
		{"mh", "198.51.100.23", "B", "A", []int32{1, 1, 1}},
		{"sh", "192.168.1.10", "B", "C", []int32{3, 2, 1}},
		{"sh", "10.0.0.1", "A", "C", []int32{3, 2, 1}},
		{"sh", "203.0.113.7", "A", "B", []int32{3, 2, 1}},
		{"sh", "198.51.100.23", "B", "A", []int32{3, 2, 1}},
	} {
		s := servers(c.weights...)
		m, req := filled(t, c.name, s), request(c.client)
		own := m.Schedule(req)
		require.Equal(t, c.want, letters([]*ipvs.RealServer{own}), "%s %s", c.name, c.client)
		spec := own.Spec()
		spec.UpperThreshold = 1
		own.SetSpec(spec)
		own.Bind(false)
		require.Nil(t, m.Schedule(req))
		req.Flags = ipvs.FlagSched1
		require.Equal(t, c.fallback, letters([]*ipvs.RealServer{m.Schedule(req)}), "%s %s", c.name, c.client)
	}
}

func TestNewKnowsNoOther(t *testing.T) {
	_, err := New("fifo", nil)
	require.ErrorIs(t, err, ipvs.ErrNoEntry)
}

func TestServerCounts(t *testing.T) {
	s := NewServer(ipvs.ServerSpec{Weight: 2, UpperThreshold: 4})
	for range 4 {
		s.Open(true)
	}
	require.True(t, s.Overload)
	s.Turn(false)
	s.Close(false)
	require.True(t, s.Overload, "three of four")
	s.Edit(ipvs.ServerSpec{UpperThreshold: 4})
	require.True(t, s.Overload)
	s.Close(true)
	require.False(t, s.Overload, "below three quarters")
	require.Equal(t, Server{LastWeight: 2, Upper: 4, Active: 2}, *s)
	s.Revive(ipvs.ServerSpec{UpperThreshold: 2})
	require.Zero(t, s.LastWeight)
}
