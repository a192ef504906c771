package main

import (
	"cmp"
	"errors"
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

// openInterface opens an interface as --io says, once for each worker.
func (n *node) openInterface(name string, io ioMethod) (queues []link.Device, err error) {
	switch io {
	case ioXDP:
		queues, err = n.openXDP(name)
	case ioAuto:
		queues, err = n.openAuto(name)
	default:
		queues, err = n.openPacket(name, io, "asked for with --io")
	}
	if err != nil {
		return nil, fmt.Errorf("interface %s, --io %s: %w", name, io, err)
	}
	return queues, nil
}

// openAuto opens an interface with what was measured to be best (docs/io.md):
// the ring is faster than batched calls for small packets, the more so if another
// core takes the interrupts, and as fast for bulk TCP.
func (n *node) openAuto(name string) ([]link.Device, error) {
	queues, err := n.openPacket(name, ioRing, "fastest for small packets, and for bulk TCP as fast as any; see --io")
	if err == nil || !errors.Is(err, afpacket.ErrNoRing) {
		return queues, err
	}
	return n.openPacket(name, ioMmsg, err.Error())
}

// openPacket opens an interface with packet sockets.
func (n *node) openPacket(name string, io ioMethod, why string) (queues []link.Device, err error) {
	opts := afpacket.Options{Ring: io == ioRing, Urgent: true, Wraps: true, Log: n.log}
	queues, err = n.openSockets(name, opts)
	if err != nil {
		return nil, err
	}
	n.log.Info("interface opened", "interface", name, "io", string(io), "workers", len(queues), "why", why)
	return queues, nil
}

// openSockets opens an interface once for each worker. If that fails and nobody
// asked for several one will do: it needs less memory, and no interface that is up,
// which several do before Linux 6.13.
func (n *node) openSockets(name string, opts afpacket.Options) ([]link.Device, error) {
	var why error
	if n.workers.count > 1 {
		g, err := afpacket.OpenGroup(name, n.workers.count, n.steering, opts)
		if err == nil {
			n.groups = append(n.groups, g)
			n.staffing.active.Store(int32(n.workers.always()))
			return asDevices(g.Devices()), nil
		}
		if !n.workers.auto {
			return nil, err
		}
		why = err
	}
	d, err := afpacket.Open(name, opts)
	if err != nil {
		return nil, err
	}
	if why != nil {
		n.log.Info("one worker on this interface: several cannot share it", "interface", name, "err", why)
	}
	return []link.Device{d}, nil
}

// openXDP opens an interface for AF_XDP. Its receive queues are dealt out to the
// workers.
func (n *node) openXDP(name string) ([]link.Device, error) {
	d, err := afxdp.Open(name, afxdp.Options{Log: n.log})
	if err != nil {
		return nil, fmt.Errorf("%w; try --io %s", err, ioMmsg)
	}
	n.takers = append(n.takers, d)
	queues, err := d.Share(n.workers.always())
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	n.log.Info("interface opened", "interface", name, "io", string(ioXDP), "mode", d.Mode(), "workers", len(queues), "why", "asked for with --io")
	return queues, nil
}

// wrapper is a device that may take super-frames within tunnels.
type wrapper interface{ Wraps() bool }

func wrappersOf(queues []link.Device) (list []wrapper) {
	for _, d := range queues {
		if w, ok := d.(wrapper); ok {
			list = append(list, w)
		}
	}
	return list
}

// wraps reports whether all devices of a port take super-frames within tunnels.
// Being asked makes them.
func (n *node) wraps(port int) bool {
	if port >= len(n.wrappers) {
		return false
	}
	all := len(n.wrappers[port]) > 0
	for _, w := range n.wrappers[port] {
		all = w.Wraps() && all
	}
	return all
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
