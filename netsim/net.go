package netsim

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"usvs/clock"
)

// epoch is when a simulation begins: late enough that nothing of the
// production code takes the zero Instant for something recent.
const epoch = clock.Instant(1000 * time.Second)

// maxBurst is how many events one instant may have. Links may have no delay,
// so two applications that answer each other would stop time for good.
const maxBurst = 1 << 23

// Net is a simulated network.
type Net struct {
	seed  uint64
	now   clock.Instant
	burst int // events since time last moved
	queue queue
	pool  pool

	nodes map[string]Node
	order []Node // as they were made
	links []*Link

	observers []func(*Record)
	cause     *Record // the frame that is being handled, if it is recorded
	records   uint64
	log       journal
	stats     Stats
}

// Node is a host, a director or a switch.
type Node interface {
	Name() string
	// receive takes a frame that arrived and owns it from then on.
	receive(p *Port, f *frame)
}

// Stats count what a Net did.
type Stats struct {
	Events     uint64 // deliveries and timers
	Deliveries uint64 // frames that arrived at the end of a link
	Lost       uint64 // frames that did not
}

// New returns an empty network. The seed decides every random draw in it.
func New(seed uint64) *Net {
	return &Net{seed: seed, now: epoch, nodes: map[string]Node{}}
}

// Seed is what New was given.
func (n *Net) Seed() uint64 { return n.seed }

// Now is the virtual time. A Net is a clock.Clock.
func (n *Net) Now() clock.Instant { return n.now }

// Elapsed is the virtual time since the network was made.
func (n *Net) Elapsed() time.Duration { return n.now.Sub(epoch) }

// Since is how long after the network was made t is.
func Since(t clock.Instant) time.Duration { return t.Sub(epoch) }

// Stats are the counters now.
func (n *Net) Stats() Stats { return n.stats }

// Rand returns a stream of random numbers that depends on the seed and the
// name alone. Each call begins the stream anew.
func (n *Net) Rand(name string) *rand.Rand {
	return rand.New(rand.NewPCG(n.seed, n.derived(name)))
}

// derived is a number that depends on the seed and the name alone.
func (n *Net) derived(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	v := h.Sum64() ^ n.seed*0x9E3779B97F4A7C15
	v ^= v >> 29 // finish as splitmix64 does: near names and seeds end far apart
	v *= 0xBF58476D1CE4E5B9
	return v ^ v>>32
}

// Node returns the node of that name, or nil.
func (n *Net) Node(name string) Node { return n.nodes[name] }

// Nodes lists the nodes in the order in which they were made.
func (n *Net) Nodes() []Node { return append([]Node(nil), n.order...) }

// Links lists the links in the order in which they were made.
func (n *Net) Links() []*Link { return append([]*Link(nil), n.links...) }

// LinkNamed returns the link of that name, or nil.
func (n *Net) LinkNamed(name string) *Link {
	for _, l := range n.links {
		if l.name == name {
			return l
		}
	}
	return nil
}

// add registers a node. Two nodes of one name are a mistake in the program.
func (n *Net) add(node Node) {
	if _, ok := n.nodes[node.Name()]; ok {
		panic("netsim: two nodes are called " + node.Name())
	}
	n.nodes[node.Name()] = node
	n.order = append(n.order, node)
}

// Run lets d of virtual time pass.
func (n *Net) Run(d time.Duration) { n.RunUntil(n.now.Add(d)) }

// RunUntil lets everything happen that is due until t, and makes it t.
func (n *Net) RunUntil(t clock.Instant) {
	for n.Next() <= t {
		n.Step()
	}
	n.advance(t)
}

// advance moves time forward to t.
func (n *Net) advance(t clock.Instant) {
	if t > n.now {
		n.now, n.burst = t, 0
	}
}

// RunWhile lets virtual time pass while cond holds, at most d. It reports
// whether cond ended the run. The condition is asked after every event.
func (n *Net) RunWhile(d time.Duration, cond func() bool) bool {
	end := n.now.Add(d)
	for cond() {
		if n.Next() > end {
			n.advance(end)
			return false
		}
		n.Step()
	}
	return true
}

// Next is when the next event happens; clock.Never if none is due.
func (n *Net) Next() clock.Instant {
	if len(n.queue.items) == 0 {
		return clock.Never
	}
	return n.queue.items[0].at
}

// Step lets the next event happen and reports whether there was one.
func (n *Net) Step() bool {
	if len(n.queue.items) == 0 {
		return false
	}
	it := n.queue.pop()
	n.advance(it.at)
	if n.burst++; n.burst > maxBurst {
		panic(fmt.Sprintf("netsim: %d events at %v: something answers itself without delay", n.burst, n.Elapsed()))
	}
	n.stats.Events++
	if it.frame != nil {
		it.frame.arrive()
		return true
	}
	it.timer.expire(it.seq)
	return true
}

// At calls f at time t, or at once when t has passed, but never within At.
func (n *Net) At(t clock.Instant, f func()) { n.NewTimer(f).Set(t) }

// After calls f when d has passed.
func (n *Net) After(d time.Duration, f func()) { n.At(n.now.Add(d), f) }
