package steer

// buckets is into how many parts the clients are divided, each of which one
// queue has: a power of 2, and many more than there are queues.
const (
	bucketBits = 10
	buckets    = 1 << bucketBits
)

// activeAt is where the table of shares, behind the buckets, has the number of
// queues.
const activeAt = buckets

// shares are by bucket which of n queues has it. One queue more takes its share
// from each of the others, in one piece, and moves nothing else: as neighbours'
// buckets are far apart, a few clients of one network are many queues'.
func shares(n int) (owners [buckets]uint32) {
	for count := 2; count <= n; count++ {
		var has, seen [buckets]int
		for _, q := range owners {
			has[q]++
		}
		for b, q := range owners {
			if seen[q]++; seen[q] > has[q]-has[q]/count {
				owners[b] = uint32(count - 1)
			}
		}
	}
	return owners
}
