package vrrp

import (
	"fmt"

	"usvs/clock"
)

// process is a tracked process. A change of quorum may have to last before it
// counts, lest a fork or a restart be taken for a failure.
type process struct {
	*Process
	count   int
	up      bool
	turnsAt clock.Instant // when up follows the count, or Never
}

func (p *process) quorum() bool {
	return p.count >= p.Quorum && !(p.HasMax && p.count > p.QuorumMax)
}

// SetProcess tells how many of a tracked process run.
func (r *Router) SetProcess(now clock.Instant, name string, count int) {
	p := r.process(name)
	if p == nil {
		return
	}
	before := p.count
	p.count = count
	if !r.running {
		p.up = p.quorum()
		return
	}
	if p.quorum() == p.up {
		p.turnsAt = clock.Never
		return
	}
	r.fx.Log(Info, fmt.Sprintf("Process %s, number of current processes changed from %d to %d, quorum %s", name, before, count, upDown(p.quorum())))
	wait := p.TerminateDelay
	if count > before {
		wait = p.ForkDelay
	}
	if wait > 0 {
		p.turnsAt = min(p.turnsAt, now.Add(wait))
		return
	}
	p.up, p.turnsAt = p.quorum(), clock.Never
	r.reviewAll(now)
}

// tickProcesses has a quorum count that has lasted.
func (r *Router) tickProcesses(now clock.Instant) clock.Instant {
	next, turned := clock.Never, false
	for _, p := range r.processes {
		if !now.Before(p.turnsAt) {
			p.up, p.turnsAt, turned = p.quorum(), clock.Never, true
		}
		next = next.Min(p.turnsAt)
	}
	if turned {
		r.reviewAll(now)
	}
	return next
}

func (r *Router) process(name string) *process {
	for _, p := range r.processes {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// file is a tracked file.
type file struct {
	*File
	value int
}

// SetFile tells the number in a tracked file.
func (r *Router) SetFile(now clock.Instant, name string, value int) {
	f := r.file(name)
	if f == nil || f.value == value {
		return
	}
	f.value = value
	if r.running {
		r.reviewAll(now)
	}
}

func (r *Router) file(name string) *file {
	for _, f := range r.files {
		if f.Name == name {
			return f
		}
	}
	return nil
}

func upDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}
