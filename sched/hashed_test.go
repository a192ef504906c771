package sched

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

func shLetters(s *sh, n int) (owned map[byte]int, first string) {
	owned = map[byte]int{}
	for i, rs := range s.table {
		owned[letter(rs)]++
		if i < n {
			first += string(letter(rs))
		}
	}
	return owned, first
}

func TestShTable(t *testing.T) {
	b := newBench(t, "sh")
	servers := b.add(3, 2, 1)
	owned, first := shLetters(b.s.(*sh), 12)
	require.Equal(t, map[byte]int{'A': 127, 'B': 86, 'C': 43}, owned)
	require.Equal(t, "CBBAAACBBAAA", first)

	b.weight(servers[0], 0) // takes one slot all the same
	_, first = shLetters(b.s.(*sh), 12)
	require.Equal(t, "CBBACBBACBBA", first)

	b.weight(servers[2], 1000)
	owned, _ = shLetters(b.s.(*sh), 0)
	require.Equal(t, map[byte]int{'C': 256}, owned)
}

func TestShPicks(t *testing.T) {
	b := newBench(t, "sh")
	servers := b.add(3, 2, 1)
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
		require.Equal(t, c.want, letter(b.from(c.client+":5")), "no sh-port, %s", c.client)

		overloadedOnce(own, func() {
			require.Nil(t, b.from(c.client), c.client)
			b.req.Flags = ipvs.FlagSched1
			require.Equal(t, c.fallback, letter(b.from(c.client)), "fallback of %s", c.client)
			b.req.Flags = 0
		})
	}
}

// overloadedOnce runs f while rs is overloaded.
func overloadedOnce(rs *ipvs.RealServer, f func()) {
	overload(rs)
	f()
	rs.Unbind(false)
	relieve(rs)
}

func TestShPort(t *testing.T) {
	b := newBench(t, "sh")
	b.add(1, 1, 1, 1, 1, 1, 1)
	s := b.s.(*sh)
	b.req.Flags = ipvs.FlagSched2
	require.Same(t, s.table[203], b.from("10.0.0.1:40000"))
	b.req.Protocol = ipvs.ProtoICMP
	require.Same(t, s.table[39], b.from("10.0.0.1:40000"))
}

func TestShFallbackGivesUp(t *testing.T) {
	b := newBench(t, "sh")
	b.req.Flags = ipvs.FlagSched1
	require.Nil(t, b.from("10.0.0.1"), "empty table")
	b.add(0, 0)
	require.Nil(t, b.from("10.0.0.1"), "nobody usable")
	b.add(1)
	require.Equal(t, byte('C'), letter(b.from("10.0.0.1")))
}

func TestShAgainstModel(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 0))
		b := newBench(t, "sh")
		for range rng.IntN(300) {
			b.link(newServer(rng.IntN(1000), rng.Int32N(int32(1+seed%7))))
		}
		var deck []*ipvs.RealServer // one round after the other, far more than enough
		for len(deck) < shSize && len(b.servers) > 0 {
			for _, rs := range b.servers {
				for range max(1, rs.Weight()) {
					deck = append(deck, rs)
				}
			}
		}
		for slot, rs := range b.s.(*sh).table {
			if len(deck) == 0 {
				require.Nil(t, rs)
				continue
			}
			require.Same(t, deck[slot], rs, "seed %d slot %d", seed, slot)
		}
	}
}

func TestDh(t *testing.T) {
	b := newBench(t, "dh")
	servers := b.add(1, 0, 5)
	table := &b.s.(*dh).table
	for slot, rs := range table {
		require.Equal(t, "CBA"[slot%3], letter(rs), "slot %d", slot)
	}
	require.Equal(t, byte('C'), letter(b.to("10.0.0.1")), "slot 39")
	require.Nil(t, b.to("203.0.113.7"), "slot 124 is of weight 0")
	require.Equal(t, byte('B'), letter(table[124]))

	b.weight(servers[1], 1)
	require.Equal(t, byte('B'), letter(b.to("203.0.113.7")))
	overloadedOnce(servers[1], func() { require.Nil(t, b.to("203.0.113.7")) })
	require.Equal(t, byte('B'), letter(b.to("203.0.113.7")))

	b.unlink(servers[0])
	require.Equal(t, byte('C'), letter(b.to("203.0.113.7")), "dealt anew")
	require.Equal(t, byte('B'), letter(b.to("10.0.0.1")))
}

// The table refuses a server that was deleted before its Update comes.
func TestDhUnavailable(t *testing.T) {
	b := newBench(t, "dh")
	b.add(1)[0].SetAvailable(false)
	require.Nil(t, b.pick())
}

func TestDhIgnoresTheClient(t *testing.T) {
	b := newBench(t, "dh")
	b.add(1, 1, 1)
	b.req.Dst = netip.MustParseAddr("2001:db8::1")
	want := b.s.(*dh).table[63]
	for _, client := range []string{"10.0.0.1:1", "10.0.0.2:2", "2001:db8::9"} {
		require.Same(t, want, b.from(client))
	}
}
