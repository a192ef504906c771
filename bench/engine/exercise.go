package engine

import (
	"context"
	"fmt"
	"net/netip"
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
	return repeat(ctx, d, func() error {
		_, _, err := b.once(b.to)
		return err
	})
}

// Workout does to directors all that the suite measures of frames, one thing
// after the other and each for a while: with every forwarding method, in both
// families, in both directions, and opening connections.
func Workout(ctx context.Context, flows int, each time.Duration) error {
	for _, work := range workout(flows) {
		if err := repeat(ctx, each, work); err != nil {
			return err
		}
	}
	return nil
}

func workout(flows int) (works []func() error) {
	add := func(b *bed, s func() *testbed.Stream) {
		works = append(works, func() error {
			if err := b.ready(); err != nil {
				return err
			}
			_, _, err := b.once(s())
			return err
		})
	}
	for _, method := range []string{routed, masqueraded, tunnelled} {
		b := &bed{rules: testbed.Rules(1, perService, "wlc", method), flows: flows}
		add(b, func() *testbed.Stream { return b.to })
		b6 := &bed{rules: testbed.Rules6(perService, "wlc", method), v6: true, flows: flows}
		add(b6, func() *testbed.Stream { return b6.to })
	}
	real := testbed.FromReal(netip.AddrPortFrom(testbed.Server(0), testbed.RealPort(masqueraded)))
	add(&bed{rules: testbed.Rules(1, 1, "wlc", masqueraded), flows: flows}, func() *testbed.Stream { return real })
	opener := newOpener(testbed.Rules(1, perService, "wlc", routed), 0, sizes{few: flows, opened: flows})
	return append(works, func() error {
		_, err := opener.open()
		return err
	})
}

// repeat calls work again and again until d is over.
func repeat(ctx context.Context, d time.Duration, work func() error) error {
	for begin := time.Now(); time.Since(begin) < d; {
		if err := work(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
