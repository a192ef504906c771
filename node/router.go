package node

import (
	"maps"
	"net/netip"
	"slices"

	"usvs/director"
	"usvs/vrrp"
	"usvs/wire"
)

// routerEffects is a Node as the Router sees it.
type routerEffects Node

var _ vrrp.Effects = (*routerEffects)(nil)

func (r *routerEffects) Send(iface string, packet []byte, src wire.MAC) {
	r.world.SendVRRP(iface, packet, src)
}

func (r *routerEffects) Farewell(router string, packets []vrrp.Packet) {
	r.world.Farewell(router, packets)
}

func (r *routerEffects) Announce(iface string, addr netip.Addr, mac wire.MAC) {
	r.world.Announce(iface, addr, mac)
}

func (r *routerEffects) RunScript(name string) { r.world.RunTrackScript(name) }

func (r *routerEffects) Notify(e vrrp.Event) { (*Node)(r).tellVRRP(e) }

func (r *routerEffects) Log(level vrrp.Level, text string) { r.world.Log(level, text) }

// AddAddresses has the director own the addresses, and then the host carry them:
// before its neighbours know, and before its own stack would answer clients.
func (r *routerEffects) AddAddresses(instance string, addrs []vrrp.Address) {
	n := (*Node)(r)
	var fresh []placed
	held := map[netip.Addr]director.Station{}
	for _, a := range addrs {
		at := placing{a.Prefix, a.Interface}
		p := n.placed[at]
		if p.holders++; p.holders == 1 {
			p.Address, p.mac = virtualAddress(a), a.VMAC
			p.Interface = n.interfaceOf(instance, a)
			held[a.Prefix.Addr()] = p.station()
			fresh = append(fresh, p)
		}
		n.placed[at] = p
	}
	n.ctl.Hold(held)
	for _, p := range fresh {
		if p.vmac() {
			n.carry(p.Prefix.Addr(), 1)
		} else {
			n.world.AddAddress(p.Address)
		}
	}
}

// RemoveAddresses is AddAddresses backwards. What no instance has added is left
// to the World, which knows of it by Setup.Leftovers.
func (r *routerEffects) RemoveAddresses(_ string, addrs []vrrp.Address) {
	n := (*Node)(r)
	free := map[netip.Addr]bool{}
	for _, a := range addrs {
		at := placing{a.Prefix, a.Interface}
		p, ok := n.placed[at]
		if p.holders--; p.holders > 0 {
			n.placed[at] = p
		}
		if !ok || p.holders > 0 {
			continue
		}
		delete(n.placed, at)
		if p.vmac() {
			n.carry(p.Prefix.Addr(), -1)
		} else {
			n.world.RemoveAddress(p.Address)
		}
		free[p.Prefix.Addr()] = true
	}
	n.release(free)
}

// release has the director own addresses no longer, but for those that are in
// another place, too.
func (n *Node) release(free map[netip.Addr]bool) {
	left := map[netip.Addr]director.Station{}
	for at, p := range n.placed {
		a := at.prefix.Addr()
		if st, several := left[a]; free[a] && (!several || p.Interface < st.Interface) {
			left[a] = p.station()
		}
	}
	n.ctl.Hold(left)
	for a := range left {
		delete(free, a)
	}
	n.ctl.Release(slices.Collect(maps.Keys(free))...)
}

// placing is where instances have an address, as configured: an instance may be
// called otherwise after a reload, and two may have the same.
type placing struct {
	prefix netip.Prefix
	dev    string
}

// placed is an address that instances have now.
type placed struct {
	Address
	mac     wire.MAC // virtual: the director has it, not the host
	holders int      // instances
}

func (p *placed) vmac() bool { return !p.mac.IsZero() }

func (p *placed) station() director.Station {
	return director.Station{Interface: p.Interface, MAC: p.mac}
}

// interfaceOf is where an address of an instance is: its own interface, the
// instance's, or that with the source address of one that names none.
func (n *Node) interfaceOf(instance string, a vrrp.Address) string {
	if a.Interface != "" {
		return a.Interface
	}
	i := n.plan.instances[instance]
	if i == nil {
		return ""
	}
	if i.Interface != "" || !i.Source.IsValid() {
		return i.Interface
	}
	for _, name := range slices.Sorted(maps.Keys(n.ifaces)) {
		for _, p := range n.ifaces[name].Addrs {
			if p.Addr() == i.Source {
				return name
			}
		}
	}
	return ""
}
