package host

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Address is an address that usvs gives an interface of the host.
type Address struct {
	Interface string
	Prefix    netip.Prefix // the address and its prefix length
	Peer      netip.Addr   // of a point-to-point link; invalid: none
	Broadcast netip.Addr   // invalid: none
	Scope     uint8        // of IPv4, as in rtnetlink(7)
	Label     string       // of IPv4
	// NoDAD has the kernel use an IPv6 address at once.
	NoDAD bool
	// Deprecated keeps the kernel from choosing an IPv6 address as a source, at
	// once or after PreferredSecs.
	Deprecated    bool
	PreferredSecs int
	// HomeAddress, ManageTemp, NoPrefixRoute and AutoJoin are the address flags
	// of ip-address(8).
	HomeAddress, ManageTemp, NoPrefixRoute, AutoJoin bool
	// Refused has the host drop packets to and from the address, as long as usvs
	// runs: see refuser.
	Refused bool
}

// carried names an address of an interface. That is what the kernel knows
// addresses by, apart from IPv4's prefix length.
type carried struct {
	index int
	addr  netip.Addr
}

// Addresses puts virtual addresses on the host's interfaces and takes them off,
// and notices when somebody else does.
type Addresses struct {
	nl      *netlink.Handle
	events  *nl.NetlinkSocket
	lost    func(Address)
	stopped chan struct{}
	stop    chan struct{}

	guards sync.WaitGroup

	mu    sync.Mutex // guards what follows; not held while lost is called
	held  map[carried]Address
	duty  *duty  // as the guard knows it
	guard *guard // nil: there is none

	refused *refuser // nil while no address is
}

// NewAddresses returns an Addresses without any. lost is told, by a goroutine
// of its own, that an address was taken away that Add had put there or found.
func NewAddresses(lost func(Address)) (*Addresses, error) {
	a := &Addresses{lost: lost, held: map[carried]Address{}, duty: newDuty(), stop: make(chan struct{}), stopped: make(chan struct{})}
	var err error
	if a.events, err = subscribe(unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR); err != nil {
		return nil, err
	}
	if a.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		a.events.Close()
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	go a.listen()
	return a, nil
}

// Close ends the watching. Addresses stay where they are, unless there is a Guard.
func (a *Addresses) Close() error {
	close(a.stop)
	a.guards.Wait() // none is started any more
	a.guard.close()
	a.events.Close()
	<-a.stopped
	a.nl.Close()
	return a.refused.close()
}

// Add gives an interface an address. One that it has is adopted.
func (a *Addresses) Add(addr Address) error {
	index, err := a.index(addr.Interface)
	if err != nil {
		return fmt.Errorf("add address %v: %w", addr.Prefix, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refuseLocked(addr); err != nil {
		return fmt.Errorf("add address %v: %w", addr.Prefix, err)
	}
	a.tellGuardLocked(guardLine{Ours: true, Address: &addr})
	err = a.nl.AddrAdd(byIndex(index), addr.netlink())
	if err != nil && !errors.Is(err, unix.EEXIST) {
		a.tellGuardLocked(guardLine{Address: &addr})
		a.acceptLocked(addr)
		return fmt.Errorf("add address %v to %s: %w", addr.Prefix, addr.Interface, err)
	}
	a.held[carried{index, addr.Prefix.Addr()}] = addr
	return nil
}

// Remove takes an address off an interface and reports whether it was there.
func (a *Addresses) Remove(addr Address) (bool, error) {
	index, err := a.index(addr.Interface)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		a.forget(addr) // it is gone with its interface
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("remove address %v: %w", addr.Prefix, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.held, carried{index, addr.Prefix.Addr()})
	defer a.tellGuardLocked(guardLine{Address: &addr})
	defer a.acceptLocked(addr)
	err = a.nl.AddrDel(byIndex(index), addr.netlink())
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("remove address %v from %s: %w", addr.Prefix, addr.Interface, err)
	}
	return true, nil
}

// forget drops an address whose interface is gone: whatever is made with that
// name or number, the address is not ours there.
func (a *Addresses) forget(addr Address) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c, held := range a.held {
		if held.Interface == addr.Interface && held.Prefix == addr.Prefix {
			delete(a.held, c)
		}
	}
	a.acceptLocked(addr)
	a.tellGuardLocked(guardLine{Address: &addr})
}

func (a *Addresses) index(iface string) (int, error) {
	link, err := a.nl.LinkByName(iface)
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", iface, err)
	}
	return link.Attrs().Index, nil
}

func byIndex(index int) netlink.Link {
	return &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

// forever is a lifetime without end (rtnetlink's INFINITY_LIFE_TIME).
const forever = 0xffffffff

// netlink says what the kernel is to be told.
func (addr Address) netlink() *netlink.Addr {
	n := &netlink.Addr{
		IPNet: ipNet(addr.Prefix.Addr(), addr.Prefix.Bits()), Scope: int(addr.Scope), Label: addr.Label,
		Flags: addr.flags(),
	}
	if addr.Peer.IsValid() {
		n.Peer = ipNet(addr.Peer, addr.Prefix.Bits())
	}
	if addr.Prefix.Addr().Is4() {
		n.Broadcast = net.IPv4zero // the library would choose one; this is none
		if addr.Broadcast.IsValid() {
			n.Broadcast = addr.Broadcast.AsSlice()
		}
	}
	if addr.Deprecated {
		n.ValidLft, n.PreferedLft = forever, addr.PreferredSecs
	}
	return n
}

func ipNet(a netip.Addr, bits int) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}
}

func (addr Address) flags() (flags int) {
	for _, f := range []struct {
		on  bool
		bit int
	}{
		{addr.NoDAD, unix.IFA_F_NODAD}, {addr.HomeAddress, unix.IFA_F_HOMEADDRESS},
		{addr.ManageTemp, unix.IFA_F_MANAGETEMPADDR}, {addr.NoPrefixRoute, unix.IFA_F_NOPREFIXROUTE},
		{addr.AutoJoin, unix.IFA_F_MCAUTOJOIN},
	} {
		if f.on {
			flags |= f.bit
		}
	}
	return flags
}

// listen follows the kernel's notifications.
func (a *Addresses) listen() {
	defer close(a.stopped)
	for {
		messages, _, err := a.events.Receive()
		if isClosed(a.stop) {
			return
		}
		if errors.Is(err, unix.ENOBUFS) {
			a.checkAll() // some were lost
			continue
		}
		if err != nil {
			slog.Warn("host: netlink notifications", "err", err)
			if sleep(a.stop, retryAfter) {
				return
			}
			continue
		}
		for _, m := range messages {
			if m.Header.Type == unix.RTM_DELADDR {
				if gone, ok := addressOf(m.Data); ok {
					a.check(gone)
				}
			}
		}
	}
}

// addressOf reads which address a notification is about.
func addressOf(message []byte) (carried, bool) {
	if len(message) < unix.SizeofIfAddrmsg {
		return carried{}, false
	}
	m := nl.DeserializeIfAddrmsg(message)
	attrs, err := nl.ParseRouteAttr(message[m.Len():])
	if err != nil {
		return carried{}, false
	}
	c := carried{index: int(m.Index)}
	for _, attr := range attrs {
		switch attr.Attr.Type {
		case unix.IFA_LOCAL: // with a peer IFA_ADDRESS is the peer's
			c.addr, _ = netip.AddrFromSlice(attr.Value)
			return c, c.addr.IsValid()
		case unix.IFA_ADDRESS:
			c.addr, _ = netip.AddrFromSlice(attr.Value)
		}
	}
	return c, c.addr.IsValid()
}

// check looks whether an address that is ours is gone. The notification may be
// about an earlier time.
func (a *Addresses) check(c carried) {
	a.mu.Lock()
	addr, ours := a.held[c]
	a.mu.Unlock()
	if !ours || a.has(c) {
		return
	}
	a.mu.Lock()
	_, ours = a.held[c] // it may have been removed since
	delete(a.held, c)
	a.mu.Unlock()
	if ours {
		a.lost(addr)
	}
}

func (a *Addresses) checkAll() {
	a.mu.Lock()
	var all []carried
	for c := range a.held {
		all = append(all, c)
	}
	a.mu.Unlock()
	for _, c := range all {
		a.check(c)
	}
}

// has reports whether the host carries an address. If that cannot be found out
// it does.
func (a *Addresses) has(c carried) bool {
	family := netlink.FAMILY_V4
	if c.addr.Is6() {
		family = netlink.FAMILY_V6
	}
	list, err := a.nl.AddrList(byIndex(c.index), family)
	if err != nil {
		return !errors.Is(err, unix.ENODEV)
	}
	for _, got := range list {
		if addrOf(got.IP) == c.addr {
			return true
		}
	}
	return false
}
