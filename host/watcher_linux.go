package host

import (
	"fmt"
	"io"
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

const defaultUnprivilegedPort = 1024

// Watcher follows the interfaces, addresses and routes of the network namespace
// it was made in.
type Watcher struct {
	names    []string
	onChange func(*route.Table, uint16)

	nl       *netlink.Handle   // asks
	events   *nl.NetlinkSocket // is told
	portFile *os.File          // net.ipv4.ip_unprivileged_port_start; nil if unreadable
	follower *follower

	table atomic.Pointer[route.Table]

	// Owned by refresh once NewWatcher has returned.
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
	w := &Watcher{names: slices.Clone(names), onChange: onChange}
	if err := w.open(); err != nil {
		w.closeFiles()
		return nil, fmt.Errorf("watch the host's network: %w", err)
	}
	if err := w.refresh(); err != nil {
		w.closeFiles()
		return nil, fmt.Errorf("watch the host's network: %w", err)
	}
	w.follower = newFollower(w.events, w.refresh)
	w.follower.start()
	return w, nil
}

func (w *Watcher) open() (err error) {
	// Listen first: no change may fall between listing and listening.
	w.events, err = subscribe(unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return err
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

// Close ends the watching. It waits for a callback that is running; it must
// not be called from one.
func (w *Watcher) Close() error {
	w.follower.close()
	w.closeFiles()
	return nil
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
