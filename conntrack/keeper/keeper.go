package keeper

import (
	"context"
	"runtime/debug"
	"sync/atomic"
	"time"

	"usvs/conntrack"
)

// Prepare has memory made for a table, now and whenever it has grown, then by a
// goroutine that lasts only as long as that takes.
func Prepare(t *conntrack.Table) {
	t.Prepare(provide)
	var busy atomic.Bool
	prepare := func() {
		t.Prepare(provide)
		busy.Store(false)
	}
	t.OnGrowth(func() {
		if busy.CompareAndSwap(false, true) {
			go prepare()
		}
	})
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
