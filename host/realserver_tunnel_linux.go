package host

import (
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
)

// kernelTunnels are the interfaces by which the kernel unpacks tunnelled packets
// from anyone to anyone: of IPv4 and IPv6 VIPs, and, unused here, IPv6 in IPv4.
var kernelTunnels = [...]string{"tunl0", "ip6tnl0", "sit0"}

func isKernelTunnel(name string) bool { return slices.Contains(kernelTunnels[:], name) }

// receiveTunnels lets the kernel unpack, if it can for every VIP.
func (rs *realServer) receiveTunnels(userspace bool) (needsDecapsulator bool, err error) {
	if userspace {
		return !DecapsulatorRuns(), nil
	}
	var tunnels []netlink.Link
	for _, i := range rs.familiesOfVIPs() {
		l := rs.findTunnel(i)
		if l == nil {
			return !DecapsulatorRuns(), nil
		}
		tunnels = append(tunnels, l)
	}
	for i, l := range tunnels {
		if err := rs.raiseTunnel(l, i); err != nil {
			return false, err
		}
	}
	return false, nil
}

// familiesOfVIPs lists the family indexes that occur among the VIPs.
func (rs *realServer) familiesOfVIPs() (families []int) {
	for _, vip := range rs.state.VIPs {
		if i := familyIndex(vip); !slices.Contains(families, i) {
			families = append(families, i)
		}
	}
	return families
}

// findTunnel returns the kernel's tunnel interface for a family, nil if the
// kernel has none. Asking for it to be made loads the module, which makes it.
func (rs *realServer) findTunnel(family int) netlink.Link {
	name := kernelTunnels[family]
	if l, err := rs.nl.LinkByName(name); err == nil {
		return l
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if family == 0 {
		_ = rs.nl.LinkAdd(&netlink.Iptun{LinkAttrs: attrs})
	} else {
		_ = rs.nl.LinkAdd(&netlink.Ip6tnl{LinkAttrs: attrs})
	}
	l, err := rs.nl.LinkByName(name)
	if err != nil {
		return nil
	}
	return l
}

func (rs *realServer) raiseTunnel(l netlink.Link, number int) error {
	name := l.Attrs().Name
	value, addr, err := sourceCheck(number)
	if err != nil {
		return err
	}
	if err := rs.state.setSysctl(rpFilterPath(name), value); err != nil {
		return err
	}
	if addr.IsValid() {
		if err := rs.addAddr(name, addr); err != nil {
			return err
		}
	}
	if l.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	rs.state.Raised = append(rs.state.Raised, name)
	if err := rs.state.save(); err != nil {
		return err
	}
	if err := rs.nl.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// tunnelInTheWay returns the kernel's tunnel interface that is up and would
// unpack what a decapsulator unpacks, a second time.
func tunnelInTheWay(handle *netlink.Handle) string {
	for _, name := range kernelTunnels {
		l, err := handle.LinkByName(name)
		if err == nil && l.Attrs().Flags&net.FlagUp != 0 {
			return name
		}
	}
	return ""
}
