package ipvs

// CopyFrom makes rs what from is, except for its ID, Index, service and
// traffic counters: settings, connection counts and everything learned. Nobody
// else may use rs yet.
func (rs *RealServer) CopyFrom(from *RealServer) {
	rs.method.Store(from.method.Load())
	rs.weight.Store(from.weight.Load())
	rs.lastWeight.Store(from.lastWeight.Load())
	rs.upper.Store(from.upper.Load())
	rs.lower.Store(from.lower.Load())
	rs.tunnel.Store(from.tunnel.Load())
	rs.available.Store(from.available.Load())
	rs.overload.Store(from.overload.Load())
	rs.active.Store(from.active.Load())
	rs.inactive.Store(from.inactive.Load())
	rs.persistent.Store(from.persistent.Load())
	rs.path.mtu.Store(from.path.mtu.Load())
	rs.path.until.Store(from.path.until.Load())
}
