package tun

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/link"
)

// configuration is what was done to an interface and how to undo it.
type configuration struct {
	index int
	undos []func() error // in the order in which things were done
	users atomic.Int32   // devices that are not closed

	mu sync.Mutex
	nl *netlink.Handle // guarded by mu once the device is open; nil: undone
}

// configure makes the interface what the options say. What is so already stays
// so in the end.
func configure(name string, opts Options) (*configuration, error) {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	c := &configuration{nl: nl}
	if err := c.apply(name, opts); err != nil {
		return nil, errors.Join(err, c.undo())
	}
	return c, nil
}

func (c *configuration) apply(name string, opts Options) error {
	dev, err := c.nl.LinkByName(name)
	if err != nil {
		return err
	}
	c.index = dev.Attrs().Index
	if err := c.setMTU(dev, opts.MTU); err != nil {
		return err
	}
	for _, p := range opts.Addresses {
		if err := c.addAddress(dev, p); err != nil {
			return err
		}
	}
	if err := c.setUp(dev); err != nil {
		return err
	}
	for _, p := range opts.Routes {
		if err := c.addRoute(p); err != nil {
			return err
		}
	}
	return nil
}

func (c *configuration) setMTU(dev netlink.Link, mtu int) error {
	before := dev.Attrs().MTU
	if mtu == 0 || mtu == before {
		return nil
	}
	if err := c.nl.LinkSetMTU(dev, mtu); err != nil {
		return fmt.Errorf("set MTU %d: %w", mtu, err)
	}
	c.onUndo(func() error { return c.nl.LinkSetMTU(dev, before) })
	return nil
}

func (c *configuration) addAddress(dev netlink.Link, p netip.Prefix) error {
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD // nobody else is on the link
	}
	err := c.nl.AddrAdd(dev, addr)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("add address %v: %w", p, err)
	}
	c.onUndo(func() error { return c.nl.AddrDel(dev, addr) })
	return nil
}

func (c *configuration) setUp(dev netlink.Link) error {
	if dev.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	if err := c.nl.LinkSetUp(dev); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	c.onUndo(func() error { return c.nl.LinkSetDown(dev) })
	return nil
}

func (c *configuration) addRoute(p netip.Prefix) error {
	route := &netlink.Route{LinkIndex: c.index, Dst: ipNet(p.Masked()), Scope: netlink.SCOPE_LINK}
	if err := c.nl.RouteAdd(route); err != nil {
		return fmt.Errorf("add route %v: %w", p, err)
	}
	c.onUndo(func() error { return c.nl.RouteDel(route) })
	return nil
}

func (c *configuration) onUndo(f func() error) { c.undos = append(c.undos, f) }

// mtu asks for the interface's present MTU.
func (c *configuration) mtu() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nl == nil {
		return 0, link.ErrClosed
	}
	dev, err := c.nl.LinkByIndex(c.index)
	if err != nil {
		return 0, err
	}
	return dev.Attrs().MTU, nil
}

// undo takes everything back, last thing first. What is gone already, with the
// interface perhaps, is no error.
func (c *configuration) undo() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for i := len(c.undos) - 1; i >= 0; i-- {
		if err := c.undos[i](); err != nil && !isGone(err) {
			errs = append(errs, err)
		}
	}
	c.undos = nil
	c.nl.Close()
	c.nl = nil // a closed handle would ask the thread's namespace, whichever that is
	return errors.Join(errs...)
}

func isGone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EADDRNOTAVAIL)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
