package host

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"usvs/route"
)

const (
	// settle is how long a change waits for the changes that follow it.
	settle = 5 * time.Millisecond
	// retryAfter is when a reading that failed is repeated.
	retryAfter = time.Second
	// eventBufferBytes holds the notifications of some thousand changes. Losing
	// some is harmless: everything is read again.
	eventBufferBytes = 1 << 20

	defaultUnprivilegedPort = 1024
)

// Watcher follows the interfaces, addresses and routes of the network namespace
// it was made in.
type Watcher struct {
	names    []string
	onChange func(*route.Table, uint16)

	nl       *netlink.Handle   // asks
	events   *nl.NetlinkSocket // is told
	portFile *os.File          // net.ipv4.ip_unprivileged_port_start; nil if unreadable
	stop     chan struct{}
	stopped  chan struct{} // closed when nothing calls back any more

	table atomic.Pointer[route.Table]

	// Owned by follow once NewWatcher has returned.
	cfg       route.Config
	indexes   []int
	portStart uint16
}

// NewWatcher watches for a director that runs on the named interfaces, in port
// order. onChange gets the first table before NewWatcher returns, and later
// ones from a goroutine of the watcher, one at a time, each with the first port
// that needs no privilege (net.ipv4.ip_unprivileged_port_start). An interface that does
// not exist is not up; it keeps its port and may appear later. Some tables may
// look equal to the one before: an interface was made anew, and what was tied
// to the old one is to be done again.
func NewWatcher(names []string, onChange func(*route.Table, uint16)) (*Watcher, error) {
	w := &Watcher{
		names:    slices.Clone(names),
		onChange: onChange,
		stop:     make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	if err := w.open(); err != nil {
		w.closeFiles()
		return nil, fmt.Errorf("watch the host's network: %w", err)
	}
	if err := w.refresh(); err != nil {
		w.closeFiles()
		return nil, fmt.Errorf("watch the host's network: %w", err)
	}
	changed := make(chan struct{}, 1)
	go w.listen(changed)
	go w.follow(changed)
	return w, nil
}

func (w *Watcher) open() (err error) {
	// Listen first: no change may fall between listing and listening.
	w.events, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR,
		unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return fmt.Errorf("subscribe to netlink notifications: %w", err)
	}
	if w.events.SetReceiveBufferSize(eventBufferBytes, true) != nil {
		_ = w.events.SetReceiveBufferSize(eventBufferBytes, false)
	}
	if w.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	w.portFile, err = os.Open(sysctlPath("net", "ipv4", "ip_unprivileged_port_start"))
	if err != nil {
		w.portFile = nil
	}
	return nil
}

func (w *Watcher) closeFiles() {
	if w.events != nil {
		w.events.Close()
	}
	if w.nl != nil {
		w.nl.Close()
	}
	if w.portFile != nil {
		w.portFile.Close()
	}
}

// Table returns the latest table.
func (w *Watcher) Table() *route.Table { return w.table.Load() }

// Close ends the watching. It waits for a callback that is running; it must
// not be called from one.
func (w *Watcher) Close() error {
	close(w.stop)
	w.events.Close()
	<-w.stopped
	w.closeFiles()
	return nil
}

// listen turns notifications into the one fact that something changed. What
// changed does not matter, so notifications lost to a full buffer (ENOBUFS)
// do not either.
func (w *Watcher) listen(changed chan<- struct{}) {
	for {
		_, _, err := w.events.Receive()
		if isClosed(w.stop) {
			return
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			slog.Warn("host: netlink notifications", "err", err)
			if sleep(w.stop, retryAfter) {
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
func (w *Watcher) follow(changed chan struct{}) {
	defer close(w.stopped)
	pause := settle
	for {
		select {
		case <-w.stop:
			return
		case <-changed:
		}
		if sleep(w.stop, pause) {
			return
		}
		select {
		case <-changed:
		default:
		}
		began := time.Now()
		err := w.refresh()
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

// refresh reads the namespace and publishes a table if it changed.
func (w *Watcher) refresh() error {
	inv, err := readInventory(w.nl)
	if err != nil {
		return err
	}
	start := w.readPortStart()
	cfg, indexes := inv.config(w.names)
	if w.table.Load() != nil && start == w.portStart && slices.Equal(indexes, w.indexes) && equalConfig(&cfg, &w.cfg) {
		return nil
	}
	w.cfg, w.indexes, w.portStart = cfg, indexes, start
	table := route.New(cfg)
	w.table.Store(table)
	w.onChange(table, start)
	return nil
}

func (w *Watcher) readPortStart() uint16 {
	if w.portFile == nil {
		return defaultUnprivilegedPort
	}
	var buf [16]byte
	n, err := w.portFile.ReadAt(buf[:], 0)
	if err != nil && err != io.EOF {
		return defaultUnprivilegedPort
	}
	port, err := strconv.ParseUint(strings.TrimSpace(string(buf[:n])), 10, 16)
	if err != nil {
		return defaultUnprivilegedPort
	}
	return uint16(port)
}

func equalConfig(a, b *route.Config) bool {
	return slices.Equal(a.Routes, b.Routes) && slices.Equal(a.Locals, b.Locals) &&
		slices.EqualFunc(a.Interfaces, b.Interfaces, equalInterface)
}

func equalInterface(a, b route.Interface) bool {
	return a.Name == b.Name && a.Medium == b.Medium && a.MAC == b.MAC && a.MTU == b.MTU && a.Up == b.Up &&
		slices.Equal(a.Addrs, b.Addrs)
}

// sleep waits for d, or until stop is closed; then it returns true.
func sleep(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-stop:
		return true
	case <-timer.C:
		return false
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
