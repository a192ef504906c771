package frames

import (
	"context"
	"fmt"
	"time"

	"usvs/bench/lab"
	"usvs/bench/load"
)

const (
	// firstGuess is where the first search starts, in frames a second.
	firstGuess = 400e3

	// warmUpRate is the rate at which connections are made before a search.
	warmUpRate = 250e3

	// settle is how long frames may still be under way after a probe.
	settle = 8 * time.Millisecond
)

// stand is a contender in its line.
type stand struct {
	contender
	line    *lab.Line
	program *lab.Program
	pin     func(thread string, core int) error
	probe   time.Duration
	flows   map[int]*load.Flows // by frame size and number
	guess   map[string]float64  // by scene
}

// result is what one measurement gave.
type result struct {
	ladder
	flood float64 // delivered of twice the best rate
}

// measure searches the best rate and then offers twice as much.
func (st *stand) measure(ctx context.Context, sc *scene) (result, error) {
	receiving := sc.receiving(st.contender)
	receiving.Pin = st.pin
	if err := st.line.Steer(receiving); err != nil {
		return result{}, err
	}
	flows, err := st.warm(ctx, sc)
	if err != nil {
		return result{}, err
	}
	try := func(rate float64) (probe, error) { return st.offer(ctx, flows, rate) }
	guess, growth := st.guess[sc.name], 1.12
	if guess == 0 {
		guess, growth = firstGuess, 1.5
	}
	found, err := climb(guess, growth, try)
	if err != nil {
		return result{}, err
	}
	if found.best == 0 {
		return result{}, fmt.Errorf("nothing was delivered\n%s", st.program.Log())
	}
	if found.sustained.offered > 0 {
		st.guess[sc.name] = found.sustained.offered
	}
	flood, err := try(2 * found.best)
	return result{found, flood.delivered}, err
}

// warm makes the director know every flow.
func (st *stand) warm(ctx context.Context, sc *scene) (*load.Flows, error) {
	key := sc.size<<32 | sc.flows
	flows := st.flows[key]
	if flows == nil {
		var err error
		if flows, err = st.line.Flows(sc.flows, sc.size); err != nil {
			return nil, err
		}
		st.flows[key] = flows
	}
	long := max(time.Duration(float64(sc.flows)/warmUpRate*float64(time.Second)), 20*time.Millisecond)
	_, err := st.line.Send(ctx, flows, warmUpRate, long)
	time.Sleep(settle)
	return flows, err
}

// offer sends frames at a rate and counts what arrives.
func (st *stand) offer(ctx context.Context, flows *load.Flows, rate float64) (p probe, err error) {
	before, err := st.look()
	if err != nil {
		return p, err
	}
	sent, err := st.line.Send(ctx, flows, rate, st.probe)
	if err != nil {
		return p, err
	}
	busy, err := lab.Busy(lab.DirectorCore)
	if err != nil {
		return p, err
	}
	time.Sleep(settle)
	after, err := st.look()
	if err != nil {
		return p, err
	}
	delivered := float64(after.delivered - before.delivered)
	p = probe{offered: sent.PerSecond(), delivered: delivered / sent.Took.Seconds()}
	if delivered > 0 {
		p.cpu = (busy - before.busy).Seconds() / delivered
	}
	return p, ctx.Err()
}

// state is what a probe changes.
type state struct {
	delivered uint64
	busy      time.Duration
}

func (st *stand) look() (s state, err error) {
	if s.delivered, err = st.line.Delivered(); err != nil {
		return s, err
	}
	s.busy, err = lab.Busy(lab.DirectorCore)
	return s, err
}
