package ipvs

import (
	"net/netip"
	"sync/atomic"
)

const (
	registryChunk = 1 << 10
	registryMax   = 1 << 22 // servers ever alive at once
)

// Registry names real servers by small numbers, so that connections can refer
// to them without a pointer. Get may be called by anyone at any time; Add and
// Remove by one caller at a time (control, under its mutex).
type Registry struct {
	chunks [registryMax / registryChunk]atomic.Pointer[[registryChunk]atomic.Pointer[RealServer]]
	next   uint32
	free   []uint32
	paths  map[netip.Addr]*path
}

// Add gives rs an index. It reports false when the registry is full.
func (r *Registry) Add(rs *RealServer) bool {
	i := r.next
	if n := len(r.free); n > 0 {
		i, r.free = r.free[n-1], r.free[:n-1]
	} else {
		if i == 0 {
			i = 1
		}
		if i >= registryMax {
			return false
		}
		r.next = i + 1
	}
	c := r.chunks[i/registryChunk].Load()
	if c == nil {
		c = new([registryChunk]atomic.Pointer[RealServer])
		r.chunks[i/registryChunk].Store(c)
	}
	rs.Index = i
	r.joinPath(rs)
	c[i%registryChunk].Store(rs)
	return true
}

// joinPath has rs share what is known of the way to its address.
func (r *Registry) joinPath(rs *RealServer) {
	if r.paths == nil {
		r.paths = map[netip.Addr]*path{}
	}
	if p := r.paths[rs.ID.Addr]; p != nil {
		rs.path = p
	} else {
		r.paths[rs.ID.Addr] = rs.path
	}
	rs.path.servers++
}

// Get returns the server with index i, or nil.
func (r *Registry) Get(i uint32) *RealServer {
	if i >= registryMax {
		return nil
	}
	c := r.chunks[i/registryChunk].Load()
	if c == nil {
		return nil
	}
	return c[i%registryChunk].Load()
}

// Remove frees rs's index. No connection may refer to it any more.
func (r *Registry) Remove(rs *RealServer) {
	r.chunks[rs.Index/registryChunk].Load()[rs.Index%registryChunk].Store(nil)
	r.free = append(r.free, rs.Index)
	if rs.path.servers--; rs.path.servers == 0 {
		delete(r.paths, rs.ID.Addr)
	}
}
