package main

import (
	"slices"
	"time"

	"usvs/clock"
	"usvs/host"
	"usvs/link/staff"
)

// hardlyAny is how few frames need not be asked after, for askEvery at most: of more
// than that the next burst's first reading would tell where the last one was received.
const (
	hardlyAny = 100
	askEvery  = time.Second
)

// manners are those of the first worker's threads, while it is alone.
type manners struct {
	rules *staff.Manners // nil: where they run has been decided
	off   int            // the CPU they keep off; staff.Nowhere: none
	asked clock.Instant  // when it was last asked where frames are received
	gave  []int          // the threads that have been made to give way, and are to take it back

	// While they do, waiting is no sign of having too much to do.
	waited   []time.Duration // by thread, as last read; nil: not since they do
	forgiven []time.Duration // by thread, of what it has waited
}

func newManners(w *workers) manners {
	m := manners{off: staff.Nowhere}
	if len(w.cpus) == 0 {
		m.rules = staff.NewManners()
	}
	return m
}

// seeReceived adds to a reading where frames were received.
func (n *node) seeReceived(r *staff.Reading) {
	m := &n.staffing.manners
	if m.rules == nil {
		return
	}
	if last := &n.staffing.last; last.Received != nil && r.Frames-last.Frames < hardlyAny && r.At.Sub(m.asked) < askEvery {
		r.Received = last.Received // to ask costs more than all else that is done without traffic
		return
	}
	m.asked = r.At
	var err error
	if r.Received, err = n.steering.Received(); err != nil {
		n.forgetManners(err)
	}
}

// seeWaits adds how long the first worker's threads waited, which is of interest
// where they give way.
func (m *manners) seeWaits(r *staff.Reading, threads []host.ThreadTimes) {
	if m.off == staff.Nowhere {
		return
	}
	now := make([]time.Duration, len(threads))
	for i, t := range threads {
		now[i] = t.Waited
		r.Waited, r.Turns = r.Waited+t.Waited, r.Turns+t.Turns
	}
	m.forgive(now)
}

// forgive is told how long each thread has waited.
func (m *manners) forgive(now []time.Duration) {
	if m.forgiven == nil {
		m.forgiven = make([]time.Duration, len(now))
	}
	for i := range m.waited {
		m.forgiven[i] += now[i] - m.waited[i]
	}
	m.waited = now
}

// pardon is how much of its waiting a worker's thread is not to blame for.
func (m *manners) pardon(worker, thread int) time.Duration {
	if worker > 0 || m.forgiven == nil {
		return 0
	}
	return m.forgiven[thread]
}

// behave makes the first worker's threads keep off a CPU and give way on the
// others, or not.
func (n *node) behave(r staff.Reading, active int) {
	m := &n.staffing.manners
	if m.rules == nil {
		return
	}
	off := m.rules.Look(r, active)
	if off == m.off {
		return
	}
	n.log.Debug("workers", "keep off CPU", off, "before", m.off)
	if err := n.keepOff(off); err != nil {
		n.forgetManners(err)
	}
}

// forgetManners is for where they are not permitted, or nothing can be seen.
func (n *node) forgetManners(err error) {
	n.log.Info("workers run on any CPU, also where their frames are received", "err", err)
	n.staffing.manners.rules = nil
	_ = n.keepOff(staff.Nowhere)
}

// keepOff changes which CPU the threads keep off. Those that did not before, because
// somebody else has decided how they run, are left alone.
func (n *node) keepOff(off int) (last error) {
	m := &n.staffing.manners
	cpus := slices.DeleteFunc(slices.Clone(n.workers.among), func(cpu int) bool { return cpu == off })
	m.off, m.waited = off, nil
	if off == staff.Nowhere {
		for _, tid := range m.gave {
			if err := host.TakeWay(tid, cpus); err != nil {
				last = err
			}
		}
		m.gave = nil
		return last
	}
	for _, tid := range n.staffing.threads[0] {
		if tid.Load() == 0 {
			continue
		}
		if err := host.GiveWay(int(tid.Load()), cpus); err != nil {
			last = err
			continue
		}
		m.gave = append(m.gave, int(tid.Load()))
	}
	return last
}
