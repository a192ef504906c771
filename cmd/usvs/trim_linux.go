package main

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	trimEvery  = 10 * time.Second
	trimBudget = 1 << 13 // items in one step, well under a millisecond's work
	trimPause  = time.Millisecond
)

// trim gives back what a flood of connections left, long after packets wanted
// it and beside their way.
func (n *node) trim(ctx context.Context) {
	dropped := 0
	for wait := trimEvery; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		d, more := n.dir.Table.Trim(trimBudget)
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
