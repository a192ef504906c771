package main

import (
	"cmp"
	"fmt"
	"net/netip"

	"usvs/director"
	"usvs/link"
	"usvs/link/afpacket"
	"usvs/link/afxdp"
	"usvs/route"
)

// ioMethod is how frames of an interface are received.
type ioMethod string

// The words of --io.
const (
	ioAuto ioMethod = "auto"
	ioMmsg ioMethod = "mmsg"
	ioRing ioMethod = "ring"
	ioXDP  ioMethod = "xdp"
)

func parseIO(s string) (ioMethod, error) {
	switch m := ioMethod(s); m {
	case ioAuto, ioMmsg, ioRing, ioXDP:
		return m, nil
	}
	return "", fmt.Errorf("--io %q: want auto, mmsg, ring or xdp", s)
}

// resolve says what a method means for an interface, and why. The measurements
// that auto follows are in docs/io.md: batched calls are the fastest for bulk
// TCP, and never far behind for small packets, whatever the core they run on.
func (m ioMethod) resolve() (method ioMethod, why string) {
	if m == ioAuto {
		return ioMmsg, "fastest for bulk TCP on any interface; see --io"
	}
	return m, "asked for with --io"
}

// openInterface opens an interface as --io says.
func (n *node) openInterface(name string, io ioMethod) (link.Device, error) {
	method, why := io.resolve()
	if method == ioXDP {
		return n.openXDP(name, why)
	}
	d, err := afpacket.Open(name, afpacket.Options{Ring: method == ioRing, Log: n.log})
	if err != nil {
		return nil, fmt.Errorf("--io %s: %w", io, err)
	}
	n.log.Info("interface opened", "interface", name, "io", string(method), "why", why)
	return d, nil
}

func (n *node) openXDP(name, why string) (link.Device, error) {
	d, err := afxdp.Open(name, afxdp.Options{Log: n.log})
	if err != nil {
		return nil, fmt.Errorf("--io %s: %w; try --io %s", ioXDP, err, ioMmsg)
	}
	n.takers = append(n.takers, d)
	n.log.Info("interface opened", "interface", name, "io", string(ioXDP), "mode", d.Mode(), "why", why)
	return d, nil
}

// applyTaken tells the XDP programs what changed about what is the director's.
// The director knows already: it would hand what it does not know to the host,
// which might reset it.
func (n *node) applyTaken(s *director.Snapshot) {
	if len(n.takers) == 0 {
		return
	}
	add, drop := takenChange(cmp.Or(n.taken, &nothingTaken), s)
	n.taken = s
	for _, d := range n.takers {
		if err := d.Change(add, drop); err != nil {
			n.log.Warn("some packets take the slower way", "err", err)
		}
	}
}

// nothingTaken is what is known at first.
var nothingTaken = director.Snapshot{Routes: route.New(route.Config{})}

// takenChange is the difference of what two snapshots keep the host's stack
// from, as far as single addresses and ports say it. The rest the device
// receives too, but not by XDP. It takes as long as there is to change.
func takenChange(old, is *director.Snapshot) (add, drop afxdp.Wanted) {
	add.Locals, drop.Locals = localsBut(is.Routes, old.Routes), localsBut(old.Routes, is.Routes)
	was, now := hiddenOf(old), hiddenOf(is)
	director.DiffAddrs(&was.Addrs, &now.Addrs,
		func(a netip.Addr) { drop.Addrs = append(drop.Addrs, a) },
		func(a netip.Addr) { add.Addrs = append(add.Addrs, a) })
	add.Services, drop.Services = endpointsChange(&was.Services, &now.Services)
	add.Servers, drop.Servers = endpointsChange(&was.Servers, &now.Servers)
	return add, drop
}

// localsBut are the host's addresses in one table that another does not have.
func localsBut(routes, other *route.Table) (list []netip.Addr) {
	if routes == other {
		return nil
	}
	for _, a := range routes.Locals() {
		if !other.IsLocal(a) {
			list = append(list, a)
		}
	}
	return list
}

func hiddenOf(s *director.Snapshot) *director.Hidden {
	return cmp.Or(s.Hidden, new(director.Hidden))
}

func endpointsChange(old, is *director.EndpointSet) (add, drop []afxdp.Endpoint) {
	director.DiffEndpoints(old, is, func(e director.Endpoint) {
		to := &drop
		if is.Has(e) {
			to = &add
		}
		*to = append(*to, afxdp.Endpoint{Protocol: uint8(e.Protocol), Addr: e.Addr, Port: e.Port})
	})
	return add, drop
}
