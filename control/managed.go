package control

import (
	"maps"
	"net/netip"

	"usvs/director"
)

// Addresses that VRRP manages are owned like others while VRRP holds them here,
// with OwnServices. Otherwise they are owned only while the host carries them,
// whatever Config.Own says: another director may have them.

// SetManaged says which addresses VRRP manages, and publishes. What is not among
// them any more is not held any more either.
func (c *Control) SetManaged(addrs []netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[netip.Addr]struct{}, len(addrs))
	for _, a := range addrs {
		all[a] = struct{}{}
	}
	if maps.Equal(c.own.managed, all) {
		return
	}
	c.own.managed = all
	maps.DeleteFunc(c.own.held, func(a netip.Addr, _ director.Station) bool {
		_, still := all[a]
		return !still
	})
	c.own.relocate(c.routes, c.services)
	c.publishLocked()
}

// Hold notes that managed addresses are ours from now on, and where, and
// publishes. With a virtual MAC the director itself answers for an address,
// whether or not a service names it. An address that is not managed stays as it is.
func (c *Control) Hold(addrs map[netip.Addr]director.Station) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := false
	for a, st := range addrs {
		_, managed := c.own.managed[a]
		if was, held := c.own.held[a]; managed && (!held || was != st) {
			c.own.release(a)
			c.own.hold(a, st)
			changed = true
		}
	}
	if changed {
		c.publishLocked()
	}
}

// Release notes that addresses ceased to be ours, and publishes.
func (c *Control) Release(addrs ...netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := false
	for _, a := range addrs {
		if _, held := c.own.held[a]; held {
			c.own.release(a)
			changed = true
		}
	}
	if changed {
		c.publishLocked()
	}
}

// ownOf is which rule an address is owned by.
func (o *ownership) ownOf(a netip.Addr) Own {
	if _, held := o.held[a]; held {
		return OwnServices
	}
	if _, managed := o.managed[a]; managed {
		return OwnHost
	}
	return o.own
}

// hold takes in that a managed address is ours.
func (o *ownership) hold(a netip.Addr, st director.Station) {
	o.held[a] = st
	o.stations.Set(a, st)
	if !st.MAC.IsZero() {
		o.claim(a)
	}
	if o.virtual[a] > 0 {
		o.settle(a)
	}
}

// release takes in that an address is ours no longer, if it was.
func (o *ownership) release(a netip.Addr) {
	st, held := o.held[a]
	if !held {
		return
	}
	delete(o.held, a)
	o.stations.Remove(a)
	if !st.MAC.IsZero() {
		o.disclaim(a)
	}
	if o.virtual[a] > 0 {
		o.settle(a)
	}
}
