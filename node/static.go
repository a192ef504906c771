package node

import (
	"maps"
	"reflect"
	"slices"

	"usvs/iproute"
)

// heldRoute is a route that instances have now.
type heldRoute struct {
	iproute.Route
	holders int // instances
}

// AddRoutes has the host get the routes that no other instance has brought.
func (r *routerEffects) AddRoutes(_ string, routes []string) {
	for _, words := range routes {
		h := r.routes[words]
		if h.holders++; h.holders == 1 {
			h.Route = r.plan.routes[words]
			r.world.AddRoute(h.Route)
		}
		r.routes[words] = h
	}
}

// RemoveRoutes is AddRoutes backwards. What no instance has added is left to the
// World, which knows of it by Setup.LeftoverRoutes.
func (r *routerEffects) RemoveRoutes(_ string, routes []string) {
	for _, words := range slices.Backward(routes) {
		h, ok := r.routes[words]
		if h.holders--; h.holders > 0 {
			r.routes[words] = h
			continue
		}
		if ok {
			delete(r.routes, words)
			r.world.RemoveRoute(h.Route)
		}
	}
}

// restoreRoutes makes the routes again that the kernel took away with an
// interface.
func (n *Node) restoreRoutes(iface string) {
	restore := func(r iproute.Route) {
		names := r.Interfaces()
		if slices.Contains(names, iface) || len(names) == 0 && len(r.Hops) > 0 {
			n.world.AddRoute(r)
		}
	}
	for _, r := range n.plan.staticRoutes {
		restore(r)
	}
	for _, words := range slices.Sorted(maps.Keys(n.routes)) {
		restore(n.routes[words].Route)
	}
}

// addStatic adds the static addresses and routes that are not in the old plan.
func (n *Node) addStatic(old *plan) {
	for _, a := range n.plan.static {
		if old == nil || !hasAddress(old.static, a) {
			n.world.AddAddress(a)
		}
	}
	for _, r := range n.plan.staticRoutes {
		if old == nil || !hasRoute(old.staticRoutes, r) {
			n.world.AddRoute(r)
		}
	}
}

// removeStatic removes the static addresses and routes that are not in the next
// plan.
func (n *Node) removeStatic(next *plan) {
	for _, r := range slices.Backward(n.plan.staticRoutes) {
		if next == nil || !hasRoute(next.staticRoutes, r) {
			n.world.RemoveRoute(r)
		}
	}
	for _, a := range n.plan.static {
		if next == nil || !hasAddress(next.static, a) {
			n.world.RemoveAddress(a)
		}
	}
}

func hasAddress(list []Address, a Address) bool {
	return slices.ContainsFunc(list, func(o Address) bool { return reflect.DeepEqual(o, a) })
}

func hasRoute(list []iproute.Route, r iproute.Route) bool {
	return slices.ContainsFunc(list, func(o iproute.Route) bool { return o.String() == r.String() })
}
