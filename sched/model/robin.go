package model

import (
	"slices"

	"usvs/ipvs"
	"usvs/sched"
)

// rr is section 1.3. A nil cursor is the head of the list.
type rr struct {
	servers []*ipvs.RealServer
	cursor  *ipvs.RealServer
}

// Schedule walks on from the cursor, and a second time from the head unless
// the walk began there.
func (m *rr) Schedule(*sched.Request) *ipvs.RealServer {
	start := m.cursor
	from := slices.Index(m.servers, start) + 1
	for pass := 1; ; pass++ {
		for _, rs := range m.servers[from:] {
			if usable(rs) {
				m.cursor = rs
				return rs
			}
			if rs == start {
				return nil
			}
		}
		if start == nil || pass == 2 {
			return nil
		}
		from = 0
	}
}

// Update moves the cursor off a server that is deleted, to the one before it.
func (m *rr) Update(change sched.Change, servers []*ipvs.RealServer, rs *ipvs.RealServer) error {
	switch {
	case change == sched.Bind:
		m.cursor = nil
	case change == sched.Delete && m.cursor == rs:
		m.cursor = nil
		if i := slices.Index(m.servers, rs); i > 0 {
			m.cursor = m.servers[i-1]
		}
	}
	m.servers = servers
	return nil
}

// wrr is section 1.4, one level after the other. The cursor is a position; -1
// is the head.
type wrr struct {
	servers          []*ipvs.RealServer
	cursor           int
	level, top, step int
}

// Schedule walks from behind the cursor; at the tail it goes one level down.
func (m *wrr) Schedule(*sched.Request) *ipvs.RealServer {
	if m.top == 0 {
		return nil
	}
	start, fromHead, wrapped := m.cursor, m.cursor == -1, false
	for at := start + 1; ; at++ {
		if at == len(m.servers) {
			final := m.level <= m.step
			m.level -= m.step
			if m.level <= 0 {
				m.level = m.top
				if start == -1 || final && fromHead {
					m.cursor = -1
					return nil
				}
				wrapped = true
			}
			fromHead, at = true, 0
		}
		rs := m.servers[at]
		if !rs.Overloaded() && int(rs.Weight()) >= m.level {
			m.cursor = at
			return rs
		}
		if at == start && wrapped && m.level <= m.step {
			m.cursor = at
			return nil
		}
	}
}

// Update derives the parameters anew, returns to the head and adjusts the level.
func (m *wrr) Update(change sched.Change, servers []*ipvs.RealServer, _ *ipvs.RealServer) error {
	m.servers, m.cursor = servers, -1
	heaviest := 0
	for _, rs := range servers {
		heaviest = max(heaviest, int(rs.Weight()))
	}
	m.step = divisor(servers, (*ipvs.RealServer).Weight)
	m.top = heaviest - (m.step - 1)
	switch {
	case change == sched.Bind, m.level > m.top, m.level == 0:
		m.level = m.top
	case m.step > 1:
		m.level = m.level/m.step*m.step + 1
	}
	return nil
}

// divisor is the greatest common divisor of all weights above 0; 1 if there
// are none. Euclid's way, by subtraction while that is short.
func divisor(servers []*ipvs.RealServer, weight func(*ipvs.RealServer) int32) int {
	d := 0
	for _, rs := range servers {
		w := int(weight(rs))
		if w <= 0 {
			continue
		}
		if d == 0 {
			d = w
		}
		for d != w {
			if d > w {
				d = remainder(d, w)
			} else {
				w = remainder(w, d)
			}
		}
	}
	return max(d, 1)
}

// remainder is a less b as often as that leaves more than 0.
func remainder(a, b int) int { return (a-1)%b + 1 }
