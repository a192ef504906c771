package main

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"

	"usvs/host"
	"usvs/link/afpacket"
	"usvs/link/staff"
)

const (
	// quietFrames is how few frames a second one worker needs no help with.
	quietFrames = 5000

	// quietEvery is how often is looked meanwhile, which costs a little.
	quietEvery = 4 * staff.Every
)

// staffing is what is known of the workers that share interfaces.
type staffing struct {
	threads [][]*atomic.Int32 // by worker: the numbers of its threads; 0: not yet known
	active  atomic.Int32      // how many are given frames

	last    staff.Reading // frames and time only
	manners manners
}

// onThread is what a pump's thread does first.
func (n *node) onThread(port, worker int) func() error {
	pin := n.workers.pin(worker)
	if !n.workers.auto || len(n.devices[port]) == 1 {
		return pin
	}
	tid := new(atomic.Int32)
	s := &n.staffing
	for len(s.threads) <= worker {
		s.threads = append(s.threads, nil)
	}
	s.threads[worker] = append(s.threads[worker], tid)
	return func() error {
		tid.Store(int32(syscall.Gettid()))
		if pin == nil {
			return nil
		}
		return pin()
	}
}

// staffed reports whether there are workers who are given frames only if it pays.
func (n *node) staffed() bool { return n.workers.auto && len(n.groups) > 0 }

// staff gives frames to as many workers as it pays to.
func (n *node) staff(ctx context.Context) {
	s := staff.New(n.workers.count)
	n.staffing.manners = newManners(&n.workers)
	for every := quietEvery; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		r, err := n.staffReading()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			_ = n.keepOff(staff.Nowhere)
			n.log.Warn("it cannot be seen how busy the workers are: as many go on as do now", "active", s.Active(), "err", err)
			return
		}
		before := s.Active()
		if why := s.Look(r); why != "" {
			n.employ(before, s.Active(), why)
		}
		n.behave(r, s.Active())
		every = staff.Every
		if r.Threads == nil && s.Active() == 1 {
			every = quietEvery
		}
	}
}

// staffReading looks at the threads only if there is something to see.
func (n *node) staffReading() (r staff.Reading, err error) {
	r.At = n.clock.Now()
	for _, p := range n.pumps {
		st := p.Stats()
		r.Frames, r.Bytes = r.Frames+st.RxFrames, r.Bytes+st.RxBytes
	}
	s := &n.staffing
	n.seeReceived(&r)
	last := s.last
	s.last = r
	if float64(r.Frames-last.Frames) < quietFrames*r.At.Sub(last.At).Seconds() {
		return r, nil
	}
	for w, tids := range s.threads {
		times, err := timesOf(tids)
		if err != nil {
			return r, err
		}
		if w == 0 {
			s.manners.seeWaits(&r, times)
		}
		list := make([]time.Duration, len(times))
		for i, t := range times {
			list[i] = t.Ran + t.Waited - s.manners.pardon(w, i)
		}
		r.Threads = append(r.Threads, list)
	}
	r.Idle, err = host.IdleTime(n.workers.among)
	return r, err
}

// timesOf are those of a worker's threads; of one that is not yet known, none.
func timesOf(tids []*atomic.Int32) (times []host.ThreadTimes, err error) {
	times = make([]host.ThreadTimes, len(tids))
	for i, tid := range tids {
		if tid.Load() == 0 {
			continue
		}
		if times[i], err = host.ThreadTimesOf(int(tid.Load())); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// employ changes how many workers are given frames.
func (n *node) employ(before, after int, why string) {
	if err := afpacket.Handover(n.groups, before, after, n.steering.Deal); err != nil {
		n.log.Warn("frames are not shared out as they should be", "err", err)
	}
	n.staffing.active.Store(int32(after))
	n.log.Info("workers", "active", after, "before", before, "why", why)
}
