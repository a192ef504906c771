package steer

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Shares are about equal, and a queue more or less moves only its own.
func TestShares(t *testing.T) {
	before := shares(1)
	for n := 1; n <= 64; n++ {
		owners := shares(n)
		count := make([]int, n)
		for b, q := range owners {
			count[q]++
			if q != before[b] {
				assert.EqualValues(t, n-1, q, "bucket %d was %d's", b, before[b])
			}
		}
		for q, c := range count {
			assert.InDelta(t, buckets/n, c, max(float64(buckets/n)/3, float64(n)), "queue %d of %d", q, n)
		}
		before = owners
	}
}

// bucketOf is what the program makes of an IPv4 address.
func bucketOf(addr uint32) uint32 { return addr * golden >> (32 - bucketBits) }

// A few clients of one network, one after the other or in even steps, are not
// all one queue's.
func TestNeighbours(t *testing.T) {
	const clients = 8
	for _, network := range []uint32{10 << 24, 192<<24 | 168<<16, 198<<24 | 18<<16} {
		for _, step := range []uint32{1, 2, 3, 4, 10} {
			for first := range uint32(200) {
				for n := 2; n <= 4; n++ {
					owners, count := shares(n), make([]int, n)
					for c := range uint32(clients) {
						count[owners[bucketOf(network+first+c*step)]]++
					}
					for q, c := range count {
						assert.LessOrEqual(t, c, clients-1, "step %d from %d: queue %d of %d", step, first, q, n)
					}
				}
			}
		}
	}
}
