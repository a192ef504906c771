package host

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// settle is how long a change waits for the changes that follow it.
	settle = 5 * time.Millisecond
	// retryAfter is when a reading that failed is repeated.
	retryAfter = time.Second
	// eventBufferBytes holds the notifications of some thousand changes. Losing
	// some is harmless: everything is read again.
	eventBufferBytes = 1 << 20
)

// subscribe opens a socket that is told of changes.
func subscribe(groups ...uint) (*nl.NetlinkSocket, error) {
	events, err := nl.Subscribe(unix.NETLINK_ROUTE, groups...)
	if err != nil {
		return nil, fmt.Errorf("subscribe to netlink notifications: %w", err)
	}
	if events.SetReceiveBufferSize(eventBufferBytes, true) != nil {
		_ = events.SetReceiveBufferSize(eventBufferBytes, false)
	}
	return events, nil
}

// follower reads something again whenever the kernel says that it changed.
type follower struct {
	events  *nl.NetlinkSocket
	refresh func() error
	stop    chan struct{}
	stopped chan struct{} // closed when nothing calls refresh any more
}

func newFollower(events *nl.NetlinkSocket, refresh func() error) *follower {
	return &follower{events: events, refresh: refresh, stop: make(chan struct{}), stopped: make(chan struct{})}
}

// start begins to call refresh, from one goroutine.
func (f *follower) start() {
	changed := make(chan struct{}, 1)
	go f.listen(changed)
	go f.follow(changed)
}

// close waits for a refresh that is running.
func (f *follower) close() {
	close(f.stop)
	f.events.Close()
	<-f.stopped
}

// listen turns notifications into the one fact that something changed. What
// changed does not matter, so notifications lost to a full buffer (ENOBUFS)
// do not either.
func (f *follower) listen(changed chan<- struct{}) {
	for {
		_, _, err := f.events.Receive()
		if isClosed(f.stop) {
			return
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			slog.Warn("host: netlink notifications", "err", err)
			if sleep(f.stop, retryAfter) {
				return
			}
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

// follow reads everything again when something changed, and waits before the
// next reading for as long as that took: a host with a million routes that
// change all the time gets a part of one core, not all of it.
func (f *follower) follow(changed chan struct{}) {
	defer close(f.stopped)
	pause := settle
	for {
		select {
		case <-f.stop:
			return
		case <-changed:
		}
		if sleep(f.stop, pause) {
			return
		}
		select {
		case <-changed:
		default:
		}
		began := time.Now()
		err := f.refresh()
		pause = max(settle, time.Since(began))
		if err != nil {
			slog.Warn("host: cannot follow the host's network", "err", err, "retry", retryAfter)
			pause = retryAfter
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}
}
