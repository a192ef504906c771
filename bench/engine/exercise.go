package engine

import (
	"context"
	"fmt"
	"time"

	"usvs/bench/testbed"
)

// Exercise keeps a director busy for a while with frames of established
// connections, to be looked at meanwhile. method is ipvsadm's -g, -m or -i.
func Exercise(ctx context.Context, method string, flows int, d time.Duration) error {
	b := &bed{rules: testbed.Rules(1, perService, "wlc", method), flows: flows}
	if err := b.ready(); err != nil {
		return fmt.Errorf("method %q: %w", method, err)
	}
	for begin := time.Now(); time.Since(begin) < d; {
		if _, _, err := b.once(b.to); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
