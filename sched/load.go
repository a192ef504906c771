package sched

import "usvs/ipvs"

// serverList is the state of the schedulers that need nothing but the servers.
type serverList struct {
	servers []*ipvs.RealServer // newest first
	ranking *ranking           // of many; nil: they are few
}

func newServerList(servers []*ipvs.RealServer) serverList {
	l := serverList{servers: servers}
	if len(servers) >= rankedFrom {
		l.ranking = new(ranking)
		l.ranking.renew(len(servers))
	}
	return l
}

// Update takes the list.
func (l *serverList) Update(change Change, servers []*ipvs.RealServer, _ *ipvs.RealServer) error {
	switch {
	case l.ranking == nil || len(servers) < rankedFrom:
		*l = newServerList(servers)
	case change != Edit: // of which the server tells by itself
		l.servers = servers
		l.ranking.renew(len(servers))
	}
	return nil
}

// usable reports whether rs may be given new connections.
func usable(rs *ipvs.RealServer) bool { return rs.Weight() > 0 && !rs.Overloaded() }

// overhead is the load of rs in the least-connection family, where an active
// connection costs as much as 256 inactive ones.
func overhead(rs *ipvs.RealServer) int64 {
	return int64(rs.Active())<<8 + int64(rs.Inactive())
}

// expectedDelay is the load rs would have with one more active connection.
func expectedDelay(rs *ipvs.RealServer) int64 { return int64(rs.Active()) + 1 }

// leastLoaded returns the server with the smallest overhead per weight.
func (l *serverList) leastLoaded() *ipvs.RealServer {
	if l.ranking != nil {
		return l.ranking.first(l.servers, byOverheadPerWeight)
	}
	return leastLoaded(l.servers, overhead)
}

// leastLoaded returns the usable server with the smallest load per weight, the
// first in the list among equals.
func leastLoaded(servers []*ipvs.RealServer, load func(*ipvs.RealServer) int64) *ipvs.RealServer {
	var best *ipvs.RealServer
	var bestLoad, bestWeight int64
	for _, rs := range servers {
		weight := int64(rs.Weight())
		if weight <= 0 || rs.Overloaded() {
			continue
		}
		// bestLoad/bestWeight > l/weight without a division.
		if l := load(rs); best == nil || bestLoad*weight > l*bestWeight {
			best, bestLoad, bestWeight = rs, l, weight
		}
	}
	return best
}

// heaviest returns the server with the greatest weight that eligible accepts,
// the first in the list among equals.
func heaviest(servers []*ipvs.RealServer, eligible func(rs *ipvs.RealServer, weight int32) bool) *ipvs.RealServer {
	var best *ipvs.RealServer
	var top int32
	for _, rs := range servers {
		if w := rs.Weight(); w > top && !rs.Overloaded() && eligible(rs, w) {
			best, top = rs, w
		}
	}
	return best
}
