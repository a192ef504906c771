package sched

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// mhTable returns how many slots each letter owns, and the owners of the first n.
func mhTable(s *mh, n int) (owned map[byte]int, first string) {
	s.populate()
	owned = map[byte]int{}
	for i, o := range s.table {
		l := letter(s.owners[o])
		owned[l]++
		if i < n {
			first += string(l)
		}
	}
	return owned, first
}

func TestMhParameters(t *testing.T) {
	b := newBench(t, "mh")
	b.add(1, 1, 1)
	s := b.s.(*mh)
	s.owners = s.servers
	require.True(t, s.deal())
	require.Equal(t, []mhTurn{{2424, 45, 1}, {2769, 572, 1}, {310, 1461, 1}}, s.turns)
}

func TestMhTables(t *testing.T) {
	v6 := []string{"2001:db8:1::1", "2001:db8:1::2"}
	cases := []struct {
		addrs   []string
		weights []int32
		owned   map[byte]int
		first   string
	}{
		{nil, []int32{1, 1, 1}, map[byte]int{'A': 1364, 'B': 1364, 'C': 1365}, "CCCACBCBCABACACA"},
		{nil, []int32{3, 2, 1}, map[byte]int{'A': 2046, 'B': 1364, 'C': 683}, "CAAACBABBABACAAA"},
		{nil, []int32{6, 4, 2}, map[byte]int{'A': 2046, 'B': 1364, 'C': 683}, "CAAACBABBABACAAA"},
		{v6, []int32{1, 1}, map[byte]int{'A': 2046, 'B': 2047}, "AABBBBBBBB"},
	}
	for _, c := range cases {
		b := newBench(t, "mh")
		if c.addrs == nil {
			b.add(c.weights...)
		}
		for i, a := range c.addrs {
			id := ipvs.ServerID{Addr: netip.MustParseAddr(a), Port: 80}
			b.link(ipvs.NewRealServer(id, nil, spec(c.weights[i])))
		}
		owned, first := mhTable(b.s.(*mh), len(c.first))
		require.Equal(t, c.owned, owned, c.weights)
		require.Equal(t, c.first, first, c.weights)
	}
}

func TestMhPicks(t *testing.T) {
	b := newBench(t, "mh")
	servers := b.add(1, 1, 1)
	cases := []struct {
		client         string
		want, fallback byte
	}{
		{"192.168.1.10", 'B', 'C'},
		{"10.0.0.1", 'A', 'C'},
		{"203.0.113.7", 'A', 'B'},
		{"198.51.100.23", 'B', 'A'},
	}
	for _, c := range cases {
		own := servers[c.want-'A']
		require.Equal(t, c.want, letter(b.from(c.client)), c.client)
		require.Equal(t, c.want, letter(b.from(c.client+":40000")), "no mh-port, %s", c.client)

		b.weight(own, 0)
		require.Nil(t, b.from(c.client), c.client)
		b.req.Flags = ipvs.FlagSched1
		require.Equal(t, c.fallback, letter(b.from(c.client)), "fallback of %s", c.client)
		b.req.Flags = 0
		b.weight(own, 1)
	}
	b.req.Flags = ipvs.FlagSched2
	require.Equal(t, byte('B'), letter(b.from("192.168.1.10:1024")))
	require.Equal(t, byte('A'), letter(b.from("10.0.0.1:40000")))
	require.Equal(t, byte('B'), letter(b.from("203.0.113.7:65535")))
}

func TestMhPicksIPv6(t *testing.T) {
	b := newBench(t, "mh")
	for _, a := range []string{"2001:db8:1::1", "2001:db8:1::2"} {
		b.link(ipvs.NewRealServer(ipvs.ServerID{Addr: netip.MustParseAddr(a), Port: 80}, nil, spec(1)))
	}
	require.Equal(t, byte('B'), letter(b.from("2001:db8::1")))
	require.Equal(t, byte('B'), letter(b.from("2001:db8::abcd")))
}

// A quiesced server keeps its slots; one that never had a weight has none.
func TestMhLastWeight(t *testing.T) {
	b := newBench(t, "mh")
	servers := b.add(2, 1)
	s := b.s.(*mh)
	before, _ := mhTable(s, 0)
	b.weight(servers[0], 0)
	after, _ := mhTable(s, 0)
	require.Equal(t, before, after)

	b.add(0)
	after, _ = mhTable(s, 0)
	require.Equal(t, before, after)

	b.weight(servers[0], 1)
	after, _ = mhTable(s, 0)
	require.Equal(t, map[byte]int{'A': 2046, 'B': 2047}, after)
}

// An IPv6 server of an IPv4 service hashes by its first word only.
func TestMhFoldsByServiceFamily(t *testing.T) {
	id := ipvs.ServerID{Addr: netip.MustParseAddr("2001:db8::7"), Port: 80}
	in4 := &ipvs.VirtualService{ID: ipvs.ServiceID{Family: ipvs.IPv4}}
	in6 := &ipvs.VirtualService{ID: ipvs.ServiceID{Family: ipvs.IPv6}}
	require.Equal(t, uint32(0x20010db8), mhFold(ipvs.NewRealServer(id, in4, spec(1))))
	require.Equal(t, uint32(0x20010db8^7), mhFold(ipvs.NewRealServer(id, in6, spec(1))))
	id.Addr = netip.MustParseAddr("10.1.0.1")
	require.Equal(t, uint32(0x0a010001), mhFold(ipvs.NewRealServer(id, in6, spec(1))))
}

// More servers than slots cannot be bound, and later leave the table alone.
func TestMhTooManyServers(t *testing.T) {
	var servers []*ipvs.RealServer
	for i := range mhSize + 1 {
		servers = append(servers, newServer(i+1, 1))
	}
	s := new(mh)
	require.ErrorIs(t, s.Update(Bind, servers, nil), ipvs.ErrInvalid)

	require.NoError(t, s.Update(Bind, servers[1:], nil))
	req := Request{Client: netip.MustParseAddr("192.0.2.1")}
	owner := s.Schedule(&req)
	require.NotNil(t, owner)
	require.Len(t, owned(s), mhSize, "everyone has one slot")

	require.NoError(t, s.Update(Add, servers, servers[0]))
	require.Same(t, owner, s.Schedule(&req))
	owner.SetAvailable(false)
	require.Nil(t, s.Schedule(&req), "deleted, yet in the table")
	req.Flags = ipvs.FlagSched1
	require.NotNil(t, s.Schedule(&req))

	require.NoError(t, s.Update(Delete, servers[:10], owner))
	require.Len(t, owned(s), 10)
}

func owned(s *mh) map[*ipvs.RealServer]bool {
	set := map[*ipvs.RealServer]bool{}
	s.Schedule(&Request{Client: netip.MustParseAddr("192.0.2.1")})
	for _, o := range s.table {
		set[s.owners[o]] = true
	}
	return set
}

// mhModel fills the table as Maglev is explained: everyone writes down his
// whole permutation, then they take turns crossing out.
func mhModel(servers []*ipvs.RealServer) []*ipvs.RealServer {
	table := make([]*ipvs.RealServer, mhSize)
	var lists [][]uint32
	for _, rs := range servers {
		h := fold(rs.ID.Addr) + uint32(rs.ID.Port)
		offset, skip := mhHash(mhKey1, h)%mhSize, mhHash(mhKey2, h)%(mhSize-1)+1
		list := make([]uint32, mhSize)
		for j := range list {
			list[j] = (offset + uint32(j)*skip) % mhSize
		}
		lists = append(lists, list)
	}
	turns := mhModelTurns(servers)
	if len(turns) == 0 || slices.Max(turns) == 0 {
		return nil
	}
	for free := mhSize; ; {
		for i, rs := range servers {
			for range turns[i] {
				for table[lists[i][0]] != nil {
					lists[i] = lists[i][1:]
				}
				table[lists[i][0]] = rs
				if free--; free == 0 {
					return table
				}
			}
		}
	}
}

func mhModelTurns(servers []*ipvs.RealServer) []int {
	divisor, most := 0, 0
	for _, rs := range servers {
		most = max(most, int(rs.LastWeight()))
	}
	for d := 1; d <= most; d++ {
		if !slices.ContainsFunc(servers, func(rs *ipvs.RealServer) bool { return int(rs.LastWeight())%d != 0 }) {
			divisor = d
		}
	}
	shift := 0
	for divisor > 0 && most/divisor>>shift >= 64 {
		shift++
	}
	turns := make([]int, len(servers))
	for i, rs := range servers {
		if w := int(rs.LastWeight()); w > 0 {
			turns[i] = max(1, w/divisor>>shift)
		}
	}
	return turns
}

func TestMhAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 0))
		b := newBench(t, "mh")
		for i := range rng.IntN(20) {
			b.link(newServer(i+1, rng.Int32N(1<<(1+seed%14))*(1+int32(seed%3))))
		}
		s := b.s.(*mh)
		s.populate()
		want := mhModel(b.servers)
		require.Len(t, s.table, len(want), "seed %d", seed)
		for slot, o := range s.table {
			if s.owners[o] != want[slot] {
				require.Fail(t, "owners differ", "seed %d slot %d", seed, slot)
			}
		}
	}
}

// The fallback is the probe sequence of the kernel, tried against its own
// definition with ever fewer usable servers.
func TestMhFallbackAgainstModel(t *testing.T) {
	b := newBench(t, "mh")
	servers := b.add(1, 1, 1, 1, 1, 1, 1, 1)
	b.req.Flags = ipvs.FlagSched1
	table := mhModel(b.servers)
	for _, gone := range servers {
		for i := range 50 {
			client := fmt.Sprintf("203.0.113.%d", i)
			key := fold(netip.MustParseAddr(client))
			slot := mhHash(mhKey1, key) % mhSize
			want := table[slot]
			for k := uint32(0); k < mhSize && want.Weight() == 0; k++ {
				want = table[mhHash(mhKey1, (k+slot)%mhSize+key)%mhSize]
			}
			require.Same(t, want, b.from(client), client)
		}
		b.weight(gone, 0)
	}
	require.Nil(t, b.from("203.0.113.1"))
}
