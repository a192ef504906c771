package machine

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"usvs/clock"
	"usvs/director"
	"usvs/node"
)

// Config is what a Machine is made of.
type Config struct {
	Clock clock.Clock
	Log   *slog.Logger
	// Detail shows what keepalived does with its option -D, at level info.
	Detail bool
	// Director forwards the packets of checks that go by the VIP; nil: there are
	// no such checks.
	Director *director.Director
	// New makes the node that lives here.
	New func(node.World) (*node.Node, error)
}

// Machine is a node with the loop it lives in.
type Machine struct {
	clock  clock.Clock
	node   *node.Node
	world  *world
	events chan func(now clock.Instant)
	done   chan struct{} // closed when the loop takes no more events
}

// backlog is how many events wait for the loop.
const backlog = 4096

// Open makes a node that does nothing yet.
func Open(cfg Config) (*Machine, error) {
	m := &Machine{clock: cfg.Clock, events: make(chan func(clock.Instant), backlog), done: make(chan struct{})}
	var err error
	if m.world, err = openWorld(cfg, m); err != nil {
		return nil, err
	}
	if m.node, err = cfg.New(m.world); err != nil {
		m.world.close()
		return nil, err
	}
	return m, nil
}

// Run is the node's life: it starts, does what is due and what is posted, and
// stops in order when ctx is done.
func (m *Machine) Run(ctx context.Context) {
	m.drain() // what is known of the host
	m.node.Start(m.clock.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := m.clock.Now()
		timer.Reset(m.node.Tick(now).Sub(now))
		select {
		case f := <-m.events:
			f(m.clock.Now())
			m.drain()
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	m.node.Stop(m.clock.Now())
	close(m.done)
	m.world.close()
}

// atOnce is how many events are handled before the clock's are looked at again.
const atOnce = 64

// drain does what else is waiting, within bounds.
func (m *Machine) drain() {
	for range atOnce {
		select {
		case f := <-m.events:
			f(m.clock.Now())
		default:
			return
		}
	}
}

// post has the loop call f; after its end nothing happens.
func (m *Machine) post(f func(now clock.Instant)) {
	select {
	case m.events <- f:
	case <-m.done:
	}
}

// Do has the loop call f and waits for it. It must not be called by the loop.
func (m *Machine) Do(ctx context.Context, f func(now clock.Instant, n *node.Node)) error {
	called := make(chan struct{})
	m.post(func(now clock.Instant) {
		f(now, m.node)
		close(called)
	})
	select {
	case <-called:
		return nil
	case <-m.done:
		return fmt.Errorf("the node has stopped")
	case <-ctx.Done():
		return ctx.Err()
	}
}
