package keeper

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
	"weak"

	"usvs/conntrack"
)

// Prepare has memory made for a table, now and whenever it has grown, then by a
// goroutine that lasts as long as the table: to start one is more work than all
// else that the packet does who asks for memory.
func Prepare(t *conntrack.Table) {
	t.Prepare(provide)
	wanted := make(chan struct{}, 1)
	t.OnGrowth(func() {
		select {
		case wanted <- struct{}{}:
		default: // it has not begun with what was wanted before
		}
	})
	go prepare(weak.Make(t), wanted)
	runtime.AddCleanup(t, func(wanted chan struct{}) { close(wanted) }, wanted)
}

// prepare makes memory when it is wanted, as long as there is a table.
func prepare(table weak.Pointer[conntrack.Table], wanted <-chan struct{}) {
	for range wanted {
		if t := table.Value(); t != nil {
			t.Prepare(provide)
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
