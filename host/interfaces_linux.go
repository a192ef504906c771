package host

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"usvs/wire"
)

// Interface is what there is to know about an interface of the host.
type Interface struct {
	Name  string
	Index int
	Up    bool // administratively up, and running
	MAC   wire.MAC
	MTU   int
	NoARP bool
	Addrs []netip.Prefix // that can be used, in the kernel's order
}

// Equal reports whether two are the same in everything.
func (i *Interface) Equal(o *Interface) bool {
	return i.Name == o.Name && i.Index == o.Index && i.Up == o.Up && i.MAC == o.MAC && i.MTU == o.MTU &&
		i.NoARP == o.NoARP && slices.Equal(i.Addrs, o.Addrs)
}

// InterfaceWatcher follows every interface of the network namespace and its
// addresses. Unlike a Watcher it does not look at routes, so that a host with
// very many of them hears of a link that goes down at once.
type InterfaceWatcher struct {
	onChange func([]Interface)
	nl       *netlink.Handle
	events   *nl.NetlinkSocket
	follower *follower

	have []Interface // owned by refresh once WatchInterfaces has returned
}

// WatchInterfaces calls onChange with all interfaces before it returns, and
// from a goroutine of its own when something about them has changed.
func WatchInterfaces(onChange func([]Interface)) (*InterfaceWatcher, error) {
	w := &InterfaceWatcher{onChange: onChange}
	if err := w.open(); err != nil {
		return nil, fmt.Errorf("watch the host's interfaces: %w", err)
	}
	if err := w.refresh(); err != nil {
		w.events.Close()
		w.nl.Close()
		return nil, fmt.Errorf("watch the host's interfaces: %w", err)
	}
	w.follower = newFollower(w.events, w.refresh)
	w.follower.start()
	return w, nil
}

func (w *InterfaceWatcher) open() (err error) {
	w.events, err = subscribe(unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return err
	}
	if w.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		w.events.Close()
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	return nil
}

// Close ends the watching. It waits for a callback that is running; it must
// not be called from one.
func (w *InterfaceWatcher) Close() error {
	w.follower.close()
	w.nl.Close()
	return nil
}

func (w *InterfaceWatcher) refresh() error {
	inv := inventory{}
	var err error
	if inv.links, err = whole(w.nl.LinkList); err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	addrs := func() ([]netlink.Addr, error) { return w.nl.AddrList(nil, netlink.FAMILY_ALL) }
	if inv.addrs, err = whole(addrs); err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	is := inv.interfaces()
	if w.have != nil && slices.EqualFunc(is, w.have, func(a, b Interface) bool { return a.Equal(&b) }) {
		return nil
	}
	w.have = is
	w.onChange(slices.Clone(is))
	return nil
}

// wholeAttempts is how often a list is read before what there is of it counts.
const wholeAttempts = 8

// whole reads a list again when it changed meanwhile: it may lack what has been
// there all the time, and an interface that seems to be gone costs mastership.
func whole[T any](read func() ([]T, error)) (list []T, err error) {
	for range wholeAttempts {
		if list, err = read(); !interrupted(err) {
			return list, err
		}
	}
	return list, nil
}

// interfaces lists everything there is to know about interfaces.
func (inv *inventory) interfaces() []Interface {
	list := make([]Interface, 0, len(inv.links))
	at := map[int]int{}
	for _, l := range inv.links {
		attrs := l.Attrs()
		at[attrs.Index] = len(list)
		list = append(list, Interface{
			Name: attrs.Name, Index: attrs.Index, MTU: attrs.MTU,
			Up:    attrs.Flags&net.FlagUp != 0 && attrs.RawFlags&unix.IFF_RUNNING != 0,
			NoARP: attrs.RawFlags&unix.IFF_NOARP != 0,
			MAC:   macOf(attrs.HardwareAddr),
		})
	}
	for _, a := range inv.addrs {
		prefix, ok := prefixOf(a.IPNet)
		i, known := at[a.LinkIndex]
		if ok && known && usable(a.Flags) {
			list[i].Addrs = append(list[i].Addrs, prefix)
		}
	}
	return list
}

func macOf(hardware net.HardwareAddr) (mac wire.MAC) {
	if len(hardware) == len(mac) {
		copy(mac[:], hardware)
	}
	return mac
}

// InterfaceTo returns the interface by which the host's routes lead to addr.
func InterfaceTo(addr netip.Addr) (string, error) {
	routes, err := netlink.RouteGet(addr.AsSlice())
	if err == nil && len(routes) == 0 {
		err = unix.ENETUNREACH
	}
	if err != nil {
		return "", fmt.Errorf("route to %v: %w", addr, err)
	}
	return interfaceName(routes[0].LinkIndex)
}

// InterfaceWith returns an interface of the host that carries addr; empty if
// none does.
func InterfaceWith(addr netip.Addr) (string, error) {
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !interrupted(err) {
		return "", fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range list {
		if addrOf(a.IP) == addr {
			return interfaceName(a.LinkIndex)
		}
	}
	return "", nil
}

func interfaceName(index int) (string, error) {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return "", fmt.Errorf("interface %d: %w", index, err)
	}
	return link.Attrs().Name, nil
}
