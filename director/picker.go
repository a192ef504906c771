package director

import (
	"sync"
	"sync/atomic"

	"usvs/ipvs"
	"usvs/sched"
)

// Picker is a service's scheduler behind its mutex: the one lock a packet may
// take, and only when it opens a connection with a scheduler that remembers what
// it decides. It outlives snapshots; control replaces it only when the service
// gets another scheduler.
type Picker struct {
	mu sync.Mutex
	s  sched.Scheduler // guarded by mu; nil: no scheduler bound

	still atomic.Pointer[stillScheduler] // as s, for packets; nil: ask s
}

// stillScheduler is one that is asked without a lock, as it never changes.
type stillScheduler struct{ sched.Scheduler }

// NewPicker returns a picker over s. A nil s never picks anyone.
func NewPicker(s sched.Scheduler) *Picker {
	p := &Picker{s: s}
	p.settle()
	return p
}

// settle has packets ask a copy of the scheduler as it is now, if that will do.
func (p *Picker) settle() {
	if s := sched.Still(p.s); s != nil {
		p.still.Store(&stillScheduler{s})
		return
	}
	p.still.Store(nil)
}

// Schedule picks a server for a new connection, or nil.
func (p *Picker) Schedule(req *sched.Request) *ipvs.RealServer {
	if s := p.still.Load(); s != nil {
		return s.Schedule(req)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.s == nil {
		return nil
	}
	return p.s.Schedule(req)
}

// Clone copies the picker with its scheduler's state, over the servers that m names.
func (p *Picker) Clone(m sched.Mapping) *Picker {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.s == nil {
		return &Picker{}
	}
	return NewPicker(p.s.Clone(m))
}

// Explain says by what the scheduler would decide, and changes nothing. It
// reports false if there is none.
func (p *Picker) Explain(req *sched.Request) (sched.Explanation, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.s == nil {
		return sched.Explanation{}, false
	}
	return p.s.Explain(req), true
}

// Remembers reports whether the scheduler still knows rs, which was deleted.
func (p *Picker) Remembers(rs *ipvs.RealServer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return sched.Remembers(p.s, rs)
}

// Update tells the scheduler of a changed list of servers.
func (p *Picker) Update(change sched.Change, servers []*ipvs.RealServer, rs *ipvs.RealServer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.s == nil {
		return nil
	}
	err := p.s.Update(change, servers, rs)
	p.settle()
	return err
}
