package sched

import (
	"slices"

	"usvs/ipvs"
)

// Remembers reports whether s still sends some destination to rs though that
// may have been deleted. Such a server must stay what it is: if it comes back,
// its destinations are its again (ipvs.md 1.9, 4.4). The work is that of
// looking through the whole cache of lblc or lblcr.
func Remembers(s Scheduler, rs *ipvs.RealServer) bool {
	switch s := s.(type) {
	case *lblc:
		return s.cache.contains(func(v *ipvs.RealServer) bool { return v == rs })
	case *lblcr:
		return s.cache.contains(func(set serverSet) bool { return slices.Contains(set.members, rs) })
	}
	return false
}

// contains reports whether some entry's value is as wanted.
func (c *cache[V]) contains(wanted func(V) bool) bool {
	for _, e := range c.entries {
		if wanted(e.value) {
			return true
		}
	}
	return false
}
