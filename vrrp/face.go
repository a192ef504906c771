package vrrp

import (
	"net/netip"
	"slices"
	"time"

	"usvs/clock"
)

// face is an interface, and whether it counts as up: interface_up_down_delays
// may have a change wait.
type face struct {
	Interface
	up      bool
	turnsAt clock.Instant // when up follows Up, or Never
}

func (f *face) has(a netip.Addr) bool {
	return slices.ContainsFunc(f.Addrs, func(p netip.Prefix) bool { return p.Addr() == a })
}

// SetInterface tells what has become of an interface. An interface that nobody
// has told of is down.
func (r *Router) SetInterface(now clock.Instant, i Interface) {
	f := r.faces[i.Name]
	if f == nil {
		f = &face{up: i.Up && !r.running, turnsAt: clock.Never}
		r.faces[i.Name] = f
		r.faceList = append(r.faceList, f)
	}
	i.Addrs = slices.Clone(i.Addrs)
	f.Interface = i
	if !r.running {
		f.up = i.Up
		return
	}
	r.turn(now, f)
	r.reviewAll(now)
}

// RemoveInterface tells that an interface is gone. What comes and goes on a host
// with containers is not remembered.
func (r *Router) RemoveInterface(now clock.Instant, name string) {
	r.SetInterface(now, Interface{Name: name})
	if f := r.faces[name]; f.turnsAt == clock.Never {
		delete(r.faces, name)
		r.faceList = slices.DeleteFunc(r.faceList, func(g *face) bool { return g == f })
	}
}

// turn has the state of an interface count at once, or begins to wait.
func (r *Router) turn(now clock.Instant, f *face) {
	if f.Up == f.up {
		f.turnsAt = clock.Never
		return
	}
	if wait := r.debounce(f); wait > 0 {
		if f.turnsAt == clock.Never {
			f.turnsAt = now.Add(wait)
		}
		return
	}
	r.settle(f)
}

func (r *Router) settle(f *face) {
	f.up, f.turnsAt = f.Up, clock.Never
	if slices.ContainsFunc(r.instances, func(i *instance) bool { return i.dependsOn(f.Name) }) {
		r.fx.Log(Info, "Netlink reports "+f.Name+" "+upDown(f.up))
	}
}

// dependsOn reports whether an interface matters to the instance.
func (i *instance) dependsOn(iface string) bool {
	return i.Interface == iface || slices.ContainsFunc(i.tracks.Interfaces, func(t Track) bool { return t.Name == iface })
}

// debounce is how long the state that f is in now has to last.
func (r *Router) debounce(f *face) time.Duration {
	for _, d := range r.cfg.Debounces {
		if d.Interface == f.Name && f.Up {
			return d.Up
		}
		if d.Interface == f.Name {
			return d.Down
		}
	}
	return 0
}

// tickFaces settles what has lasted, and returns when more will have.
func (r *Router) tickFaces(now clock.Instant) clock.Instant {
	next, settled := clock.Never, false
	for _, f := range r.faceList {
		if !now.Before(f.turnsAt) {
			r.settle(f)
			settled = true
		}
		next = next.Min(f.turnsAt)
	}
	if settled {
		r.reviewAll(now)
	}
	return next
}

// AddressLost tells that somebody else took addr off an interface. A master it
// belongs to is elected again.
func (r *Router) AddressLost(now clock.Instant, iface string, addr netip.Addr) {
	if !r.running {
		return
	}
	for _, i := range r.instances {
		own := func(a Address) bool { return i.carrier(a) == iface && a.Prefix.Addr() == addr && !a.NoTrack }
		if i.state == Master && slices.ContainsFunc(i.addresses(), own) {
			r.fx.Log(Info, "Netlink reflector reports IP "+addr.String()+" removed from "+iface)
			i.robbed(now)
		}
	}
}

// isVirtual reports whether addr comes and goes with an instance.
func (r *Router) isVirtual(addr netip.Addr) bool { return r.virtual[addr] }
