package host

import (
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"

	"usvs/wire"
)

// kernelTunnels are the interfaces by which the kernel unpacks tunnelled packets
// from anyone to anyone: IPv4 in IPv4, anything in IPv6, and IPv6 in IPv4.
var kernelTunnels = [...]string{"tunl0", ip6tnl0, "sit0"}

// otherTunnels are, for VIPs of a family, those for packets that come in the
// other one, from a director with real servers of both.
var otherTunnels = [...]int{1, 2}

// What ip6tnl0 unpacks: anything, or what it does from the beginning.
const (
	anyProtocol = 0
	ownProtocol = wire.ProtoIPv6
)

func isKernelTunnel(name string) bool { return slices.Contains(kernelTunnels[:], name) }

// receiveTunnels lets the kernel unpack, if it can for every VIP. Packets that
// come in the other family are unpacked too where the kernel can.
func (rs *realServer) receiveTunnels(userspace bool) (needsDecapsulator bool, err error) {
	if userspace {
		return !DecapsulatorRuns(), nil
	}
	var numbers []int
	for _, i := range rs.familiesOfVIPs() {
		if rs.findTunnel(i) == nil {
			return !DecapsulatorRuns(), nil
		}
		numbers = append(numbers, i, otherTunnels[i])
	}
	slices.Sort(numbers)
	for _, i := range slices.Compact(numbers) {
		l := rs.findTunnel(i)
		if l == nil {
			continue
		}
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

// findTunnel returns one of the kernel's tunnel interfaces, nil if it has none.
// Asking for it to be made loads the module, which makes it.
func (rs *realServer) findTunnel(number int) netlink.Link {
	name := kernelTunnels[number]
	if l, err := rs.nl.LinkByName(name); err == nil {
		return l
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	switch number {
	case 0:
		_ = rs.nl.LinkAdd(&netlink.Iptun{LinkAttrs: attrs})
	case 1:
		_ = rs.nl.LinkAdd(&netlink.Ip6tnl{LinkAttrs: attrs})
	default:
		_ = rs.nl.LinkAdd(&netlink.Sittun{LinkAttrs: attrs})
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
	if err := openTunnel(l, anyProtocol); err != nil {
		return err
	}
	if err := rs.nl.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// openTunnel makes a tunnel interface that is choosy about protocols, as ip6tnl0
// is about IPv6 in IPv6, unpack proto. The other two unpack but one.
func openTunnel(l netlink.Link, proto uint8) error {
	if l.Attrs().Name != ip6tnl0 || l.Type() != (&netlink.Ip6tnl{}).Type() {
		return nil
	}
	return setIP6TunnelProtocol(proto)
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
