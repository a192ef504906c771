//go:build !amd64

package conntrack

// Go has no prefetch. Reads that nobody waits for are the next best.

// prefetchBuckets begins to read the buckets that probes aim at.
func prefetchBuckets(probes []Probe) {
	for i := range probes {
		probes[i].bucket.look()
	}
}

// prefetchEntries begins to read the entries that probes were led to, if any.
func prefetchEntries(probes []Probe) {
	for i := range probes {
		if e := probes[i].entry; e != nil {
			e.ctl.Load()
		}
	}
}
