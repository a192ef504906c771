package host

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"regexp"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/link/afpacket"
	"usvs/wire"
)

const (
	// handoffMTU lets every IP packet pass.
	handoffMTU = 65535
	// maxHandoffs bounds the search for a free name.
	maxHandoffs = 1000
	// claimHandoff and a number name what a hand-off's owner holds.
	claimHandoff = "handoff/"
)

// vethPair is a private pair of interfaces: packets are written to a and b
// receives them. Their names are usvs<n>a and usvs<n>b.
type vethPair struct {
	nl     *netlink.Handle
	number int
	claim  *net.UnixListener // of the number; says that the owner is alive
	a, b   netlink.Link
}

func openVethHandoff() (*Handoff, error) {
	pair, err := newVethPair()
	if err != nil {
		return nil, fmt.Errorf("make a veth pair: %w", err)
	}
	if err := pair.prepare(); err != nil {
		pair.remove()
		return nil, fmt.Errorf("prepare %s: %w", pair.b.Attrs().Name, err)
	}
	// Nothing is ever read: what b might send is of no interest.
	dev, err := afpacket.Open(pair.a.Attrs().Name, afpacket.Options{ReceiveBuffer: 1 << 12})
	if err != nil {
		pair.remove()
		return nil, err
	}
	return &Handoff{
		dev: dev, name: pair.b.Attrs().Name, medium: wire.Ethernet,
		mac: wire.MAC(pair.b.Attrs().HardwareAddr), undo: pair.remove,
	}, nil
}

// newVethPair makes a pair under a number that no living process claims.
func newVethPair() (*vethPair, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	removeStalePairs(handle)
	for n := range maxHandoffs {
		pair, err := makePair(handle, n)
		if err == nil {
			return pair, nil
		}
		if !errors.Is(err, errClaimed) && !errors.Is(err, unix.EEXIST) {
			handle.Close()
			return nil, err
		}
	}
	handle.Close()
	return nil, fmt.Errorf("all of the names usvs0a to usvs%da are taken", maxHandoffs-1)
}

func makePair(handle *netlink.Handle, number int) (*vethPair, error) {
	claim, err := claimName(claimHandoff + fmt.Sprint(number))
	if err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = fmt.Sprintf("usvs%da", number), handoffMTU
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerMTU = fmt.Sprintf("usvs%db", number), handoffMTU
	if err := handle.LinkAdd(veth); err != nil {
		claim.Close()
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("CAP_NET_ADMIN is missing: %w", err)
		}
		return nil, err
	}
	p := &vethPair{nl: handle, number: number, claim: claim, a: veth}
	if p.a, err = handle.LinkByName(attrs.Name); err == nil {
		p.b, err = handle.LinkByName(veth.PeerName)
	}
	if err != nil {
		p.a = veth
		p.remove()
		return nil, err
	}
	return p, nil
}

var pairName = regexp.MustCompile(`^usvs([0-9]+)a$`)

// removeStalePairs removes the pairs of processes that were killed: those whose
// number nobody claims.
func removeStalePairs(handle *netlink.Handle) {
	links, err := handle.LinkList()
	if err != nil && !interrupted(err) {
		return
	}
	for _, l := range links {
		m := pairName.FindStringSubmatch(l.Attrs().Name)
		if m == nil || l.Type() != "veth" {
			continue
		}
		claim, err := claimName(claimHandoff + m[1])
		if err != nil {
			continue
		}
		if err := handle.LinkDel(l); err == nil {
			slog.Info("host: removed what a killed process left behind", "interface", l.Attrs().Name, "alias", l.Attrs().Alias)
		}
		claim.Close()
	}
}

// remove deletes the pair. The number is given up last.
func (p *vethPair) remove() {
	_ = p.nl.LinkDel(p.a)
	p.nl.Close()
	p.claim.Close()
}

// prepare makes b receive whatever is written to a, and both silent.
func (p *vethPair) prepare() error {
	alias := fmt.Sprintf("usvs handoff pid %d", os.Getpid())
	for _, l := range []netlink.Link{p.a, p.b} {
		if err := errors.Join(p.nl.LinkSetAlias(l, alias), p.nl.LinkSetARPOff(l)); err != nil {
			return err
		}
	}
	if err := silence(p.a.Attrs().Name, false); err != nil {
		return err
	}
	if err := receiveForHost(p.nl, p.b, p.number); err != nil {
		return err
	}
	return errors.Join(p.nl.LinkSetUp(p.b), p.nl.LinkSetUp(p.a))
}

// receiveForHost lets an interface without subnets of its own take packets from
// any source to any of the host's addresses.
func receiveForHost(handle *netlink.Handle, l netlink.Link, number int) error {
	name := l.Attrs().Name
	if err := silence(name, true); err != nil {
		return err
	}
	if err := setSysctl(sysctlPath("net", "ipv4", "conf", name, "accept_local"), "1"); err != nil {
		slog.Warn("host: packets from the host's own addresses will not be handed back to it", "err", err)
	}
	return acceptAnySource(handle, l, number)
}

// silence keeps the kernel from saying anything of its own on an interface, as
// far as IPv6 goes; ARP is off by flag. With receive the interface still takes
// IPv6 packets.
func silence(name string, receive bool) error {
	conf := func(key string) string { return sysctlPath("net", "ipv6", "conf", name, key) }
	if _, err := os.Stat(conf("disable_ipv6")); err != nil {
		return nil // no IPv6 here
	}
	if !receive {
		return setSysctl(conf("disable_ipv6"), "1")
	}
	const none = "1" // IN6_ADDR_GEN_MODE_NONE
	return errors.Join(setSysctl(conf("addr_gen_mode"), none), setSysctl(conf("accept_ra"), "0"), setSysctl(conf("autoconf"), "0"))
}

// acceptAnySource turns the check of source addresses off.
func acceptAnySource(handle *netlink.Handle, l netlink.Link, number int) error {
	name := l.Attrs().Name
	value, addr, err := sourceCheck(number)
	if err != nil {
		return err
	}
	if err := setSysctl(rpFilterPath(name), value); err != nil {
		return err
	}
	if !addr.IsValid() {
		return nil
	}
	err = handle.AddrAdd(l, netlinkAddr(addr))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add %v to %s, for the sake of rp_filter: %w", addr, name, err)
	}
	return nil
}

func rpFilterPath(name string) string { return sysctlPath("net", "ipv4", "conf", name, "rp_filter") }

// sourceCheck says what makes an interface without addresses take packets from
// any source: the value of its rp_filter, and an address if it needs one.
//
// The kernel uses the larger of the interface's and the whole host's rp_filter,
// so where the host has it on it can only be made loose (2): any source that
// some route leads to. Loose checking in turn refuses everything on an interface
// without an address. One of 127.0.0.0/8 will do: it is the host's in any case,
// and, with scope host, never chosen as a source.
func sourceCheck(number int) (rpFilter string, addr netip.Prefix, err error) {
	all, err := readSysctlInt(rpFilterPath("all"))
	if err != nil || all == 0 {
		return "0", netip.Prefix{}, err
	}
	return "2", netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 85, 83, byte(1 + number%254)}), 32), nil
}

// netlinkAddr is an address for an interface of this host: loopback addresses
// with scope host; IPv6 at once usable, but not as a source unless asked for.
func netlinkAddr(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().IsLoopback() {
		a.Scope = unix.RT_SCOPE_HOST
	}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
		a.ValidLft, a.PreferedLft = math.MaxUint32, 0 // valid for ever, deprecated
	}
	return a
}
