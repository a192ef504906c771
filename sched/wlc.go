package sched

import "usvs/ipvs"

// wlc is weighted least-connection: the smallest overhead per weight.
type wlc struct{ serverList }

// Schedule returns the server that is least loaded for its weight.
func (s *wlc) Schedule(*Request) *ipvs.RealServer { return s.leastLoaded() }
