package netsim

import (
	"fmt"
	"net/netip"

	"usvs/connsync"
	"usvs/control"
	"usvs/ipvs"
	"usvs/wire"
)

// syncPort is the source port of a master's messages.
const syncPort = firstEphemeral

// syncTransport carries a director's synchronisation messages as frames, which
// all interfaces of the network see like any others.
type syncTransport struct{ d *Director }

// Interface returns an interface's MTU.
func (t syncTransport) Interface(name string) (int, error) {
	if p := t.port(name); p != nil {
		return p.mtu, nil
	}
	return 0, fmt.Errorf("%s: %w", name, ipvs.ErrNoDevice)
}

func (t syncTransport) port(name string) *Port {
	for _, p := range t.d.ports {
		if p.name == name {
			return p
		}
	}
	return nil
}

// Open has nothing to do: multicast reaches every host of a link.
func (syncTransport) Open(*ipvs.Daemon, control.SyncOptions) error { return nil }

// Close has nothing to do.
func (syncTransport) Close(ipvs.DaemonState) {}

// Send puts a message on its link.
func (t syncTransport) Send(g *connsync.Datagram) {
	p := t.port(g.Interface)
	if p == nil {
		return
	}
	src := p.source(g.Group.Addr().Is6())
	if !src.IsValid() {
		return // as with a socket: no address to send from
	}
	p.Inject(g.Frame(p.mac, netip.AddrPortFrom(src, syncPort), 0))
}

// source is the port's first IPv4 address, or its link-local one.
func (p *Port) source(v6 bool) netip.Addr {
	for _, a := range p.addrs {
		if a := a.Addr(); a.Is6() == v6 && (!v6 || a.IsLinkLocalUnicast()) {
			return a
		}
	}
	if !v6 {
		return netip.Addr{}
	}
	m := p.mac
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// receiveSync gives the backup daemon the message in f, and reports whether f
// was one.
func (d *Director) receiveSync(p *Port, f *frame) bool {
	pk := &d.p
	if pk.Parse(f.Bytes(), wire.Ethernet) != wire.None || !pk.Dst.IsMulticast() {
		return false
	}
	to, payload, ok := connsync.Payload(pk)
	return ok && d.ctl.ReceiveSync(d.net.now, p.name, to, payload)
}
