package netconn

import (
	"net"
	"sync"
	"time"

	"usvs/clock"
	"usvs/netsim"
)

// Net runs a simulated network in the time of a synctest bubble.
type Net struct {
	sim    *netsim.Net
	origin time.Time     // the bubble's time when ...
	base   clock.Instant // ... the network's was this

	mu      sync.Mutex
	queue   []*call // handed over; guarded by mu
	arrived uint64  // guarded by mu
	closed  bool    // guarded by mu

	kick    chan struct{} // something is in the queue
	stopped chan struct{}
	waiting []*call // carried out in part: they wait for the network
	closing bool
}

// Cleaner is the part of a *testing.T that New needs.
type Cleaner interface{ Cleanup(func()) }

// New runs sim in the time of the synctest bubble it is called in, until the
// test ends. Until then the network may be touched within Do only.
func New(t Cleaner, sim *netsim.Net) *Net {
	n := &Net{
		sim: sim, origin: time.Now(), base: sim.Now(),
		kick: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	go n.run()
	t.Cleanup(n.Close)
	return n
}

// Close stops the network. Whatever waits for it fails with net.ErrClosed, and
// so does every later call.
func (n *Net) Close() {
	n.submit(&call{try: func(clock.Instant) bool { n.closing = true; return true }})
	<-n.stopped
}

// Do calls f while the network stands still, so that f may use it: change a
// link, run ipvsadm, read counters. It must not use connections of netconn.
func (n *Net) Do(f func()) {
	granted, released := make(chan struct{}), make(chan struct{})
	defer close(released)
	c := &call{try: func(clock.Instant) bool {
		close(granted)
		<-released
		return true
	}}
	if n.enqueue(c) == nil {
		select {
		case <-granted:
			f()
			return
		case <-c.done:
		}
	}
	<-n.stopped // nobody else uses the network any more
	f()
}

// Sim is the network. Use it within Do.
func (n *Net) Sim() *netsim.Net { return n.sim }

// submit hands a call over and waits until it is done.
func (n *Net) submit(c *call) error {
	if err := n.enqueue(c); err != nil {
		return err
	}
	<-c.done
	return c.err
}

func (n *Net) enqueue(c *call) error {
	c.done = make(chan struct{})
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return net.ErrClosed
	}
	n.arrived++
	c.arrival, c.at = n.arrived, time.Now()
	n.queue = append(n.queue, c)
	select {
	case n.kick <- struct{}{}:
	default:
	}
	return nil
}

// run is the goroutine that owns the network.
func (n *Net) run() {
	defer close(n.stopped)
	for !n.closing {
		now := time.Now()
		n.sim.RunUntil(n.instant(now))
		n.proceed(n.take(now))
		n.sim.RunUntil(n.instant(now)) // what the calls caused without delay
		n.proceed(nil)
		n.sleep()
	}
	n.fail()
}

// take returns the calls of earlier instants in their order. Those of this
// instant wait: more of them may come.
func (n *Net) take(now time.Time) []*call {
	n.mu.Lock()
	defer n.mu.Unlock()
	var due, rest []*call
	for _, c := range n.queue {
		if c.at.Before(now) {
			due = append(due, c)
		} else {
			rest = append(rest, c)
		}
	}
	n.queue = rest
	sortCalls(due)
	return due
}

// proceed carries out new calls and those that wait for something which may
// have happened.
func (n *Net) proceed(fresh []*call) {
	now := n.sim.Now()
	calls := append(n.waiting, fresh...)
	n.waiting = nil
	for _, c := range calls {
		if c.again(now) && c.attempt(now) {
			close(c.done)
		} else {
			n.waiting = append(n.waiting, c)
		}
	}
}

// sleep waits for the next event, deadline or call.
func (n *Net) sleep() {
	if n.closing {
		return
	}
	n.mu.Lock()
	pending := len(n.queue) > 0
	n.mu.Unlock()
	if pending {
		time.Sleep(time.Nanosecond) // until all calls of this instant have come
		return
	}
	next := n.sim.Next()
	for _, c := range n.waiting {
		next = min(next, c.deadline())
	}
	if next == clock.Never {
		<-n.kick
		return
	}
	timer := time.NewTimer(next.Sub(n.sim.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-n.kick:
	}
}

// fail ends everything that waits.
func (n *Net) fail() {
	n.mu.Lock()
	n.closed = true
	calls := append(n.waiting, n.queue...)
	n.queue, n.waiting = nil, nil
	n.mu.Unlock()
	for _, c := range calls {
		c.err = net.ErrClosed
		close(c.done)
	}
}

// instant is the network's time at t.
func (n *Net) instant(t time.Time) clock.Instant { return n.base.Add(t.Sub(n.origin)) }
