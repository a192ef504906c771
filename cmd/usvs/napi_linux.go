package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"usvs/host"
)

// napiMode is who receives for the interfaces, as --napi has it.
type napiMode string

// The words of --napi.
const (
	napiKeep    napiMode = "keep"
	napiAuto    napiMode = "auto"
	napiThreads napiMode = "threads"
)

func parseNAPI(s string) (napiMode, error) {
	switch m := napiMode(s); m {
	case napiKeep, napiAuto, napiThreads:
		return m, nil
	}
	return "", fmt.Errorf("--napi %q: want keep, auto or threads", s)
}

// receiver is an interface that threads of the kernel's receive for.
type receiver struct {
	*host.Receiver
	name   string
	failed bool // the last attempt, as the log says
}

// openReceiver has threads of the kernel's receive for an interface, if --napi
// says so. The interface is open: its driver has what they need by then.
func (n *node) openReceiver(name string, mode napiMode) error {
	if mode == napiKeep {
		return nil
	}
	r, err := host.NewReceiver(name, n.workers.cpus)
	switch {
	case err == nil:
	case mode == napiThreads:
		return fmt.Errorf("--napi %s: %w", mode, err)
	default:
		n.log.Info("interrupts receive, as before", "interface", name, "err", err)
		return nil
	}
	own := &receiver{Receiver: r, name: name}
	n.receivers = append(n.receivers, own)
	n.placeReceiver(own)
	return nil
}

// placeReceiver says what became of the threads, too.
func (n *node) placeReceiver(r *receiver) {
	threads, err := r.Place()
	switch {
	case errors.Is(err, host.ErrNoThreads):
		n.log.Info("threads of the kernel's receive; their CPUs and time slices stay as they are", "interface", r.name, "err", err)
	case err != nil:
		n.log.Warn("threads of the kernel's receive; some of their CPUs or time slices stay as they are", "interface", r.name, "err", err)
	default:
		n.log.Info("threads of the kernel's receive", "interface", r.name, "threads", threads, "cpus", n.workers.cpus)
	}
}

// followEvery is how often interfaces are looked at that threads receive for.
const followEvery = 2 * time.Second

// followReceivers looks after the interfaces until ctx is done: one that is made
// anew knows nothing of threads.
func (n *node) followReceivers(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(followEvery):
		}
		for _, r := range n.receivers {
			n.followReceiver(r)
		}
	}
}

func (n *node) followReceiver(r *receiver) {
	again, err := r.Follow()
	if err != nil && !r.failed {
		n.log.Warn("interrupts receive", "interface", r.name, "err", err)
	}
	r.failed = err != nil
	if again {
		n.placeReceiver(r)
	}
}

// closeReceivers lets receive who did before.
func (n *node) closeReceivers() {
	for _, r := range n.receivers {
		if err := r.Close(); err != nil {
			n.log.Warn("who receives", "interface", r.name, "err", err)
		}
	}
}
