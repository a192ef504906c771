package conntrack

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHashDependsOnEverything(t *testing.T) {
	k := newHashKey(1)
	seen := map[uint64]string{}
	add := func(name string, h uint64) {
		assert.Empty(t, seen[h], name)
		seen[h] = name
	}
	v4, v6 := pack(netip.MustParseAddr("192.0.2.1")), pack(netip.MustParseAddr("::192.0.2.1"))
	add("base", k.hash(v4, 1000, 6))
	add("port", k.hash(v4, 1001, 6))
	add("protocol", k.hash(v4, 1000, 17))
	add("address", k.hash(pack(netip.MustParseAddr("192.0.2.2")), 1000, 6))
	add("family", k.hash(v6, 1000, 6))
	add("mapped", k.hash(pack(netip.MustParseAddr("::ffff:192.0.2.1")), 1000, 6))
	add("upper half", k.hash(pack(netip.MustParseAddr("1::192.0.2.1")), 1000, 6))
	for i := range 63 {
		add("seed", new(newHashKey(2<<i)).hash(v4, 1000, 6))
	}
	add("data", k.hashData(1, nil))
	add("a zero", k.hashData(1, []byte{0}))
	add("eight", k.hashData(1, make([]byte, 8)))
	add("another client", k.hashData(2, nil))
}

// clientMessages are kinds of messages that differ in little: hash i is that of
// the i-th.
var clientMessages = []struct {
	name string
	hash func(k *hashKey, i uint32) uint64
}{
	{"addresses in a row", func(k *hashKey, i uint32) uint64 { return k.hash4(last4(10<<24+i, 1024, 6)) }},
	{"networks in a row", func(k *hashKey, i uint32) uint64 { return k.hash4(last4(bits.Reverse32(i), 1024, 6)) }},
	{"ports in a row", func(k *hashKey, i uint32) uint64 { return k.hash4(last4(10<<24+i>>16, uint16(i), 6)) }},
	{"ports from the top", func(k *hashKey, i uint32) uint64 {
		return k.hash4(last4(10<<24+i>>16, bits.Reverse16(uint16(i)), 17))
	}},
	{"IPv6 hosts in a row", func(k *hashKey, i uint32) uint64 {
		return k.hash(addr{0x20010db8 << 32, uint64(i), true}, 1024, 6)
	}},
	{"IPv6 networks in a row", func(k *hashKey, i uint32) uint64 {
		return k.hash(addr{0x20010db8<<32 + uint64(i), 1, true}, 1024, 6)
	}},
	{"IPv6 both halves alike", func(k *hashKey, i uint32) uint64 {
		return k.hash(addr{uint64(i), uint64(i), true}, uint16(i), 6)
	}},
}

// hashParts are the bits of a hash that choose something.
var hashParts = []struct {
	name string
	of   func(h uint64) uint64
}{
	{"bucket", func(h uint64) uint64 { return h & 1023 }},
	{"bucket of a large table", func(h uint64) uint64 { return h >> 12 & 1023 }},
	{"top of a word's part", func(h uint64) uint64 { return h >> 26 & 1023 }},
	{"above that", func(h uint64) uint64 { return h >> 40 & 1023 }},
	{"shard", func(h uint64) uint64 { return h >> 54 }},
}

// TestHashSpreads: whatever clients have in common, each of 1024 places gets its
// share of them, within what chance allows (chi-square, 1023 degrees of freedom).
func TestHashSpreads(t *testing.T) {
	const n = 1 << 17
	for _, m := range clientMessages {
		for seed := range uint64(8) {
			k := newHashKey(seed)
			var count [5][1024]int
			for i := range uint32(n) {
				h := m.hash(&k, i)
				for j, p := range hashParts {
					count[j][p.of(h)]++
				}
			}
			for j, p := range hashParts {
				x2 := 0.0
				for _, c := range count[j] {
					x2 += float64((c-n/1024)*(c-n/1024)) / (n / 1024)
				}
				require.InDelta(t, 1023, x2, 7*math.Sqrt(2*1023), "%s, %s, seed %d", m.name, p.name, seed)
			}
		}
	}
}

// TestHashAvalanche: any bit of the message changes each bit of the hash with a
// chance of a half, over keys and messages.
func TestHashAvalanche(t *testing.T) {
	const n = 4096
	rng := rand.New(rand.NewPCG(1, 2))
	for bit := range 56 {
		var flips [64]int
		for range n {
			k, m := newHashKey(rng.Uint64()), rng.Uint64()
			d := k.hash4(m) ^ k.hash4(m^1<<bit)
			for i := range flips {
				flips[i] += int(d >> i & 1)
			}
		}
		for i, f := range flips {
			require.InDelta(t, n/2, f, 6*math.Sqrt(n)/2, "bit %d of the hash by bit %d of the message", i, bit)
		}
	}
}

// TestHashPairs: two messages that differ by a fixed pattern share a place as
// rarely as any two do, whoever chose the pattern, unless he knows the key.
func TestHashPairs(t *testing.T) {
	const n, places = 1 << 16, 1 << 10
	rng := rand.New(rand.NewPCG(3, 4))
	patterns := []uint64{1, 3, 1 << 16, 1 << 31, 1 << 32, 0xffffffff, 1 << 47, 0xffff << 32, 0xff << 48, 1 << 55, 0x00ff_ffff_ffff_ffff}
	for range 16 {
		patterns = append(patterns, rng.Uint64()>>8)
	}
	for _, d := range patterns {
		var same [5]int
		for range n {
			k, m := newHashKey(rng.Uint64()), rng.Uint64()
			a, b := k.hash4(m), k.hash4(m^d)
			for j, p := range hashParts {
				if p.of(a) == p.of(b) {
					same[j]++
				}
			}
		}
		for j, p := range hashParts {
			require.InDelta(t, n/places, same[j], 7*math.Sqrt(n/places), "%x, %s", d, p.name)
		}
	}
}

// TestHashForgetsNothing: no two of many messages get the same hash, also where
// some are what a product is zero for.
func TestHashForgetsNothing(t *testing.T) {
	for seed := range uint64(4) {
		k := newHashKey(seed)
		seen := make(map[uint64]bool)
		for i := range uint32(1 << 17) {
			h := clientMessages[0].hash(&k, i)
			require.False(t, seen[h])
			seen[h] = true
		}
		require.Zero(t, k.word(k.mask, k.mask), "the one word that no other follows from")
		for i := range uint64(1000) {
			h := k.hash(addr{k.mask, i, true}, 1, 6)
			require.False(t, seen[h], "a product that is zero forgets what came before, not what comes after")
			seen[h] = true
		}
	}
}
