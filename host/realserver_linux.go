package host

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// realServer is a real server's set-up at work.
type realServer struct {
	nl    *netlink.Handle
	state *realServerState
}

func openRealServer(dir string) (*realServer, error) {
	state, err := openState(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("real server: %w: it takes root, or a --state-dir of your own", err)
	}
	if err != nil {
		return nil, fmt.Errorf("real server: %w", err)
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		state.close()
		return nil, fmt.Errorf("real server: open a netlink socket: %w", err)
	}
	return &realServer{handle, state}, nil
}

func (rs *realServer) close() {
	rs.nl.Close()
	rs.state.close()
}

// RealServerUp puts VIPs on the loopback interface, and keeps the host from
// telling the network that it has them: it neither answers ARP for them nor
// sends ARP with them (arp_ignore 1, arp_announce 2). IPv6 needs no such
// settings: the kernel answers for an address only on the interface that has
// it. It may be called again, with other VIPs too. needsDecapsulator says
// that the kernel does not unpack what is tunnelled here: start RunDecapsulator
// in a process of its own.
func RealServerUp(opts RealServerOptions) (needsDecapsulator bool, err error) {
	rs, err := openRealServer(opts.StateDir)
	if err != nil {
		return false, err
	}
	defer rs.close()
	if err := rs.check(opts.VIPs); err != nil {
		return false, fmt.Errorf("real server: %w", err)
	}
	if _, err := rs.nl.LinkByName(opts.Device); opts.Device != "" && err != nil {
		return false, fmt.Errorf("real server: interface %s: %w", opts.Device, err)
	}
	needsDecapsulator, err = rs.up(opts)
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("CAP_NET_ADMIN is missing: %w", err)
	}
	if err != nil {
		return false, fmt.Errorf("real server: %w ('down' undoes what was done)", err)
	}
	return needsDecapsulator, nil
}

// check refuses what would not work.
func (rs *realServer) check(vips []netip.Addr) error {
	if len(vips) == 0 {
		return errors.New("no VIP given")
	}
	for _, vip := range vips {
		if !vip.IsValid() || vip.IsLoopback() || vip.IsMulticast() || vip.IsUnspecified() || vip.Zone() != "" || vip.Is4In6() {
			return fmt.Errorf("%v cannot be a VIP", vip)
		}
		elsewhere, err := rs.elsewhere(vip)
		if err != nil {
			return err
		}
		if elsewhere != "" {
			return fmt.Errorf("%v is on %s, which answers the network's questions for it: remove it there", vip, elsewhere)
		}
	}
	lo, err := rs.nl.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	if lo.Attrs().Flags&net.FlagUp == 0 {
		return errors.New("the loopback interface is down: ip link set lo up")
	}
	return nil
}

// elsewhere returns the interface, other than lo and the kernel's tunnels, that
// has vip.
func (rs *realServer) elsewhere(vip netip.Addr) (string, error) {
	addrs, err := rs.nl.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !interrupted(err) {
		return "", fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if addrOf(a.IP) != vip {
			continue
		}
		l, err := rs.nl.LinkByIndex(a.LinkIndex)
		if err == nil && l.Attrs().Name != "lo" && !isKernelTunnel(l.Attrs().Name) {
			return l.Attrs().Name, nil
		}
	}
	return "", nil
}

func (rs *realServer) up(opts RealServerOptions) (needsDecapsulator bool, err error) {
	s := rs.state
	for _, vip := range opts.VIPs {
		if !slices.Contains(s.VIPs, vip) {
			s.VIPs = append(s.VIPs, vip)
		}
	}
	s.Tunnel = s.Tunnel || opts.Tunnel
	if opts.Device != "" {
		s.Device = opts.Device
	}
	if err := s.save(); err != nil {
		return false, err
	}
	if err := rs.quietARP(); err != nil {
		return false, err
	}
	for _, vip := range opts.VIPs {
		if err := rs.addAddr("lo", netip.PrefixFrom(vip, vip.BitLen())); err != nil {
			return false, err
		}
	}
	if !opts.Tunnel {
		return false, nil
	}
	return rs.receiveTunnels(opts.Userspace)
}

// setting is a kernel parameter and the values that do; the first is the one to
// set.
type setting struct {
	path     string
	accepted []string
}

// arpSettings are those for a device. The stricter arp_ignore 2 does too.
func arpSettings(device string) []setting {
	conf := func(key string) string { return sysctlPath("net", "ipv4", "conf", device, key) }
	return []setting{{conf("arp_ignore"), []string{"1", "2"}}, {conf("arp_announce"), []string{"2"}}}
}

// arpDevices are those whose settings count, if there is an IPv4 VIP.
func (s *realServerState) arpDevices() []string {
	if !slices.ContainsFunc(s.VIPs, netip.Addr.Is4) {
		return nil
	}
	devices := []string{"all", "lo"}
	if s.Device != "" {
		devices = append(devices, s.Device)
	}
	return devices
}

// quietARP comes before the VIPs: nobody may learn of them even for a moment.
func (rs *realServer) quietARP() error {
	for _, device := range rs.state.arpDevices() {
		for _, setting := range arpSettings(device) {
			if err := rs.state.setSysctl(setting.path, setting.accepted...); err != nil {
				return err
			}
		}
	}
	return nil
}

// addAddr adds an address and records it, unless it is there already: then it
// is somebody else's, and stays.
func (rs *realServer) addAddr(device string, prefix netip.Prefix) error {
	l, err := rs.nl.LinkByName(device)
	if err != nil {
		return fmt.Errorf("interface %s: %w", device, err)
	}
	have, err := rs.hasAddr(l, prefix)
	if err != nil || have {
		return err
	}
	record := addrRecord{device, prefix}
	if !slices.Contains(rs.state.Addrs, record) {
		rs.state.Addrs = append(rs.state.Addrs, record)
		if err := rs.state.save(); err != nil {
			return err
		}
	}
	if err := rs.nl.AddrAdd(l, netlinkAddr(prefix)); err != nil {
		return fmt.Errorf("add %v to %s: %w", prefix, device, err)
	}
	return nil
}

func (rs *realServer) hasAddr(l netlink.Link, prefix netip.Prefix) (bool, error) {
	addrs, err := rs.nl.AddrList(l, netlink.FAMILY_ALL)
	if err != nil && !interrupted(err) {
		return false, fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
	}
	return slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return addrOf(a.IP) == prefix.Addr() }), nil
}

// RealServerDown takes VIPs away, all if none are given, and with the last one
// puts back what RealServerUp changed. What was there before stays. Without
// anything to undo it does nothing.
func RealServerDown(opts RealServerOptions) error {
	rs, err := openRealServer(opts.StateDir)
	if err != nil {
		return err
	}
	defer rs.close()
	vips := opts.VIPs
	if len(vips) == 0 {
		vips = slices.Clone(rs.state.VIPs)
	}
	if err := rs.down(vips); err != nil {
		return fmt.Errorf("real server: %w", err)
	}
	return nil
}

func (rs *realServer) down(vips []netip.Addr) error {
	s := rs.state
	for _, vip := range vips {
		if err := rs.removeAddr(addrRecord{"lo", netip.PrefixFrom(vip, vip.BitLen())}); err != nil {
			return err
		}
		s.VIPs = slices.DeleteFunc(s.VIPs, func(a netip.Addr) bool { return a == vip })
		if err := s.save(); err != nil {
			return err
		}
	}
	if len(s.VIPs) > 0 {
		return nil
	}
	return rs.restore()
}

// restore undoes, in the reverse order, what is not tied to one VIP.
func (rs *realServer) restore() error {
	s := rs.state
	if s.Tunnel {
		if err := StopDecapsulator(); err != nil {
			return err
		}
	}
	for _, name := range s.Raised {
		l, err := rs.nl.LinkByName(name)
		if err == nil {
			err = errors.Join(rs.nl.LinkSetDown(l), openTunnel(l, ownProtocol))
		}
		if err != nil && !isNotFound(err) {
			return fmt.Errorf("set %s down: %w", name, err)
		}
	}
	s.Raised = nil
	for _, record := range slices.Clone(s.Addrs) {
		if err := rs.removeAddr(record); err != nil {
			return err
		}
	}
	if err := s.restoreSysctls(); err != nil {
		return err
	}
	return s.save()
}

func isNotFound(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound)
}

// removeAddr removes an address that was added here; any other stays.
func (rs *realServer) removeAddr(record addrRecord) error {
	i := slices.Index(rs.state.Addrs, record)
	if i < 0 {
		return nil
	}
	l, err := rs.nl.LinkByName(record.Interface)
	if err == nil {
		err = rs.nl.AddrDel(l, netlinkAddr(record.Prefix))
	}
	if err != nil && !isNotFound(err) && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("remove %v from %s: %w", record.Prefix, record.Interface, err)
	}
	rs.state.Addrs = slices.Delete(rs.state.Addrs, i, i+1)
	return nil
}
