package table

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"usvs/bench"
	"usvs/clock"
	"usvs/conntrack"
	"usvs/link"
)

// standing is how many connections are there besides those that come and go.
const standing = 100_000

// churn is a table in which connections come and go.
type churn struct {
	o     *bench.Options
	n     int // in a round
	table *filled
	now   clock.Instant

	probes [link.BatchSize]conntrack.Probe
}

// writing are the figures of insertion and expiry.
func writing(o *bench.Options, n int) []bench.Case {
	c := &churn{o: o, n: n, now: t0}
	rate := func(name string, floor float64, round func() (bench.Round, error)) bench.Case {
		return bench.Case{
			Figure: bench.Figure{Group: group, Name: name, Unit: "M/s", Better: bench.Higher, Floor: &floor},
			Round:  c.with(round),
		}
	}
	both := rate("two writers at once", 1.7, c.writers)
	both.Of = "one writer"
	return []bench.Case{
		rate("insert and remove", 2, c.removed),
		rate("insert, and end by timer", 2, func() (bench.Round, error) { return c.expired(c.insert) }),
		rate("insert in batches of 64, and end by timer", 2, func() (bench.Round, error) { return c.expired(c.insertTouched) }),
		both,
	}
}

// with makes the table first.
func (c *churn) with(round func() (bench.Round, error)) func(context.Context) (bench.Round, error) {
	return func(context.Context) (r bench.Round, err error) {
		if c.table == nil {
			if c.table, err = newFilled(min(standing, 10*c.n), 2*c.n); err != nil {
				return r, err
			}
		}
		return round()
	}
}

// first is the number of the first flow that is not standing.
const first = 1 << 20

// removed inserts connections and ends each at once.
func (c *churn) removed() (bench.Round, error) {
	ns, err := c.o.PerOperation(func(n int) error { return c.turnOver(0, n, &c.table.conn) })
	return bench.Round{Value: 1000 / ns}, err
}

// turnOver has a writer insert and end n connections of its own.
func (c *churn) turnOver(writer, n int, conn *conntrack.Conn) error {
	mine := uint32(first + writer*c.n)
	for i := range n {
		if err := c.table.open(c.now, writer, mine+uint32(i%c.n), conn); err != nil {
			return err
		}
		if !c.table.Expire(c.now, conn.Ref) {
			return errors.New("a connection would not end")
		}
	}
	return nil
}

// budget is how many timers a call of Tick handles.
const budget = 256

// expired inserts connections, and then lets time pass until all have ended.
// They come at 5 million a second, in batches.
func (c *churn) expired(insert func(flows []uint32) error) (bench.Round, error) {
	stay := c.table.Len()
	flows := make([]uint32, 0, link.BatchSize)
	begin := time.Now()
	for i := 0; i < c.n; i += len(flows) {
		for flows = flows[:0]; len(flows) < min(c.n-i, cap(flows)); {
			flows = append(flows, uint32(first+i+len(flows)))
		}
		c.now = c.now.Add(time.Duration(len(flows)) * 200 * time.Nanosecond)
		if err := insert(flows); err != nil {
			return bench.Round{}, err
		}
	}
	for end := c.now.Add(5 * time.Second); c.now < end && c.table.Len() > stay; {
		c.now = max(c.now, c.table.Tick(c.now, budget))
	}
	took := time.Since(begin)
	if c.table.Len() != stay {
		return bench.Round{}, errors.New("connections outlived their timers")
	}
	return bench.Round{Value: float64(c.n) / 1e6 / took.Seconds()}, nil
}

// insert inserts the connections of flows, one by one.
func (c *churn) insert(flows []uint32) error {
	for _, flow := range flows {
		if err := c.table.open(c.now, 0, flow, &c.table.conn); err != nil {
			return err
		}
	}
	return nil
}

// insertTouched is insert as the director does it: what the connections of a
// batch will need is touched first.
func (c *churn) insertTouched(flows []uint32) error {
	probes := c.probes[:len(flows)]
	for i, flow := range flows {
		c.table.aim(&probes[i], flow)
	}
	c.table.Touch(probes)
	c.table.TouchFree(0, probes)
	return c.insert(flows)
}

// writers compares two goroutines with one, each with connections of its own.
func (c *churn) writers() (bench.Round, error) {
	if runtime.GOMAXPROCS(0) < 2 {
		return bench.Round{}, bench.Skip("one core only")
	}
	one, err := c.together(1)
	if err != nil {
		return bench.Round{}, err
	}
	two, err := c.together(2)
	return bench.Round{Value: two, Peer: one}, err
}

// together has some writers insert and end connections at once, and returns
// how many million of them a second all made.
func (c *churn) together(writers int) (float64, error) {
	errs := make([]error, writers)
	ns, err := c.o.PerOperation(func(n int) error {
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				var conn conntrack.Conn
				errs[w] = c.turnOver(w, n, &conn)
			})
		}
		all.Wait()
		return errors.Join(errs...)
	})
	return float64(writers) * 1000 / ns, err
}
