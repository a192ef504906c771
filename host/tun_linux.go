package host

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/link/tun"
	"usvs/wire"
)

// openTunHandoff hands packets over by a TUN device, one system call for each.
// The kernel removes the device with the process.
func openTunHandoff() (*Handoff, error) {
	dev, err := tun.Open("usvs%d", tun.Options{MTU: handoffMTU})
	if err != nil {
		return nil, err
	}
	if err := receiveOnTun(dev); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare %s: %w", dev.Name(), err), dev.Close())
	}
	return &Handoff{dev: dev, name: dev.Name(), medium: wire.IP}, nil
}

// AcceptFromTUN lets the host's stack take what a director writes to its TUN
// device: packets from anybody, and from the host's own addresses too.
func AcceptFromTUN(dev *tun.Device) error {
	if err := receiveOnTun(dev); err != nil {
		return fmt.Errorf("let the host take packets from %s: %w", dev.Name(), err)
	}
	return nil
}

func receiveOnTun(dev *tun.Device) error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	defer handle.Close()
	l, err := handle.LinkByIndex(dev.Index())
	if err != nil {
		return err
	}
	return receiveForHost(handle, l, dev.Index())
}
