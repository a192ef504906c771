package main

import (
	"fmt"

	"usvs/director"
	"usvs/link"
	"usvs/link/afpacket"
	"usvs/link/afxdp"
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

// applyTaken tells the XDP programs what is the director's. The director knows
// already: it would hand what it does not know to the host, which might reset it.
func (n *node) applyTaken(s *director.Snapshot) {
	if len(n.takers) == 0 {
		return
	}
	wanted := wantedBy(s)
	for _, d := range n.takers {
		if err := d.SetWanted(wanted); err != nil {
			n.log.Warn("some packets take the slower way", "err", err)
		}
	}
}

// wantedBy is what the host's stack is kept from, as far as single addresses and
// ports say it. The rest the device receives too, but not by XDP.
func wantedBy(s *director.Snapshot) afxdp.Wanted {
	w := afxdp.Wanted{Locals: s.Routes.Locals()}
	if s.Hidden == nil {
		return w
	}
	for a := range s.Hidden.Addrs.All() {
		w.Addrs = append(w.Addrs, a)
	}
	w.Services, w.Servers = endpointsOf(&s.Hidden.Services), endpointsOf(&s.Hidden.Servers)
	return w
}

func endpointsOf(set *director.EndpointSet) (list []afxdp.Endpoint) {
	for e := range set.All() {
		list = append(list, afxdp.Endpoint{Protocol: uint8(e.Protocol), Addr: e.Addr, Port: e.Port})
	}
	return list
}
