package conntrack

// A prefetch begins to read a cache line, and the processor goes on at once: a
// read, even if nobody wants to know what, keeps it from finishing anything behind
// it, and it looks ahead no farther than some hundred instructions.

// prefetchBuckets prefetches the buckets that probes aim at.
//
//go:noescape
func prefetchBuckets(probes []Probe)

// prefetchEntries prefetches the entries that probes were led to; none is as good
// as any.
//
//go:noescape
func prefetchEntries(probes []Probe)
