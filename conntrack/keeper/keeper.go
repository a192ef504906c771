package keeper

import (
	"context"
	"runtime/debug"
	"sync/atomic"
	"time"

	"usvs/conntrack"
)

// Prepare has memory made for a table, now and whenever it has grown, then by a
// goroutine that lasts until the table has not grown for a while.
func Prepare(t *conntrack.Table) {
	t.Prepare(provide)
	p := &preparer{table: t, wanted: make(chan struct{}, 1)}
	t.OnGrowth(p.want)
}

// linger is how long a preparer waits for more growth: to make a goroutine and
// its stack anew for each step would take the packet that asks for it longer than
// all else.
const linger = time.Second

// preparer makes memory for a table that grows.
type preparer struct {
	table   *conntrack.Table
	wanted  chan struct{}
	running atomic.Bool
}

// want has memory made, soon.
func (p *preparer) want() {
	select {
	case p.wanted <- struct{}{}:
	default: // it has not begun with what was wanted before
	}
	if !p.running.Load() && p.running.CompareAndSwap(false, true) {
		go p.run()
	}
}

func (p *preparer) run() {
	for {
		select {
		case <-p.wanted:
			p.table.Prepare(provide)
		case <-time.After(linger):
			p.running.Store(false)
			if len(p.wanted) == 0 || !p.running.CompareAndSwap(false, true) {
				return
			}
		}
	}
}

const (
	trimEvery  = 10 * time.Second
	trimBudget = 1 << 13 // items in one step, well under a millisecond's work
	trimPause  = time.Millisecond
)

// Trim gives back what a flood of connections left, until ctx is done.
func Trim(ctx context.Context, t *conntrack.Table) {
	dropped := 0
	for wait := trimEvery; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		d, more := t.Trim(trimBudget)
		dropped += d
		if wait = trimPause; more {
			continue
		}
		if wait = trimEvery; dropped > 0 {
			debug.FreeOSMemory()
			dropped = 0
		}
	}
}

// pageSize is at most that of the system's ordinary pages.
const pageSize = 4096

// provide has the system provide memory that was just made and is zero.
func provide(b []byte) {
	wantLargePages(b)
	for i := 0; i < len(b); i += pageSize {
		b[i] = 0
	}
}
