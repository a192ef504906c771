package node

import (
	"maps"
	"net/netip"
	"reflect"
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
	held := map[netip.Addr]director.Station{}
	for _, a := range addrs {
		n.holders[a.Prefix.Addr()]++
		held[a.Prefix.Addr()] = director.Station{Interface: n.interfaceOf(instance, a), MAC: a.VMAC}
	}
	n.ctl.Hold(held)
	for _, a := range addrs {
		if a.VMAC.IsZero() {
			n.place(instance, a)
		} else {
			n.carry(a.Prefix.Addr(), 1)
		}
	}
}

// RemoveAddresses is AddAddresses backwards.
func (r *routerEffects) RemoveAddresses(instance string, addrs []vrrp.Address) {
	n := (*Node)(r)
	var free []netip.Addr
	for _, a := range addrs {
		if a.VMAC.IsZero() {
			n.displace(instance, a)
		} else {
			n.carry(a.Prefix.Addr(), -1)
		}
		if n.holders[a.Prefix.Addr()]--; n.holders[a.Prefix.Addr()] <= 0 {
			delete(n.holders, a.Prefix.Addr())
			free = append(free, a.Prefix.Addr())
		}
	}
	n.ctl.Release(free...)
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

// placing is an address that an instance has on the host.
type placing struct {
	instance string
	prefix   netip.Prefix
	dev      string // as configured, or the instance's interface
}

func (n *Node) place(instance string, a vrrp.Address) {
	on := virtualAddress(a)
	on.Interface = n.interfaceOf(instance, a)
	n.placed[placing{instance, a.Prefix, a.Interface}] = on
	n.world.AddAddress(on)
}

// displace takes an address from where it was placed.
func (n *Node) displace(instance string, a vrrp.Address) {
	at := placing{instance, a.Prefix, a.Interface}
	if on, ok := n.placed[at]; ok {
		delete(n.placed, at)
		n.world.RemoveAddress(on)
	}
}

// addStatic adds the static addresses that are not in the old plan.
func (n *Node) addStatic(old *plan) {
	for _, a := range n.plan.static {
		if old == nil || !hasAddress(old.static, a) {
			n.world.AddAddress(a)
		}
	}
}

// removeStatic removes the static addresses that are not in the next plan.
func (n *Node) removeStatic(next *plan) {
	for _, a := range n.plan.static {
		if next == nil || !hasAddress(next.static, a) {
			n.world.RemoveAddress(a)
		}
	}
}

func hasAddress(list []Address, a Address) bool {
	return slices.ContainsFunc(list, func(o Address) bool { return reflect.DeepEqual(o, a) })
}
