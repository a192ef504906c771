package netsim

import (
	"net/netip"
	"slices"
	"strings"

	"usvs/arp"
	"usvs/clock"
	"usvs/health"
	"usvs/iproute"
	"usvs/node"
	"usvs/vrrp"
	"usvs/wire"
)

// world is what a node needs done on a simulated director.
type world struct {
	d     *Director
	setup *node.Setup
	mine  []placed // addresses the node has put on interfaces
}

// placed is an address that the node has put on an interface.
type placed struct {
	port *Port
	addr netip.Prefix
}

// Configure takes note of what is to be there: a simulated host has it already.
func (w *world) Configure(s *node.Setup) {
	w.setup = s
	w.d.later(func(n *node.Node, now clock.Instant) {
		for _, f := range s.Files {
			n.SetFile(now, f.Name, w.d.env.file(f))
		}
		for _, p := range s.Processes {
			n.SetProcess(now, p.Name, w.d.env.process(p.Name))
		}
	})
}

// SendVRRP sends a packet by an interface, or where the routes lead.
func (w *world) SendVRRP(iface string, packet []byte, src wire.MAC) {
	var pk wire.Packet
	if pk.Parse(packet, wire.IP) != wire.None || pk.Version == 0 {
		return
	}
	p := w.d.Port(iface)
	if !pk.Dst.IsMulticast() || p == nil {
		_ = w.d.SendPacket(packet) // lost, as with a socket that has no route
		return
	}
	if src.IsZero() {
		src = p.mac
	}
	f := w.d.net.frame(wire.EthernetLen + len(packet))
	f.SetLen(wire.EthernetLen + len(packet))
	copy(f.Bytes()[wire.EthernetLen:], packet)
	eth := wire.EthernetHeader(ethernetFor(f))
	eth.SetSrc(src)
	eth.SetDst(arp.GroupMAC(pk.Dst))
	p.send(f)
}

// Farewell does nothing: a director that crashes takes its whole host along.
func (w *world) Farewell(string, []vrrp.Packet) {}

// Announce sends one announcement of an address.
func (w *world) Announce(iface string, addr netip.Addr, mac wire.MAC) {
	p := w.d.Port(iface)
	if p == nil {
		return
	}
	if mac.IsZero() {
		mac = p.mac
	}
	if addr.Is4() {
		p.Inject(vrrp.GratuitousARP(mac, addr))
		return
	}
	p.Inject(vrrp.UnsolicitedNA(mac, addr, w.d.sysctl.forward6))
}

// AddAddress puts an address on an interface.
func (w *world) AddAddress(a node.Address) {
	p := w.d.Port(a.Interface)
	if p == nil || slices.Contains(p.addrs, a.Prefix) {
		return
	}
	_ = w.d.addAddr(p, a.Prefix)
	w.d.setRefused(a.Prefix.Addr(), a.Refused)
	w.mine = append(w.mine, placed{p, a.Prefix})
	w.d.reroute()
}

// RemoveAddress takes an address away.
func (w *world) RemoveAddress(a node.Address) {
	p := w.d.Port(a.Interface)
	if p == nil || !slices.Contains(p.addrs, a.Prefix) {
		return
	}
	_ = w.d.delAddr(p, a.Prefix)
	w.d.setRefused(a.Prefix.Addr(), false)
	w.mine = slices.DeleteFunc(w.mine, func(m placed) bool { return m == placed{p, a.Prefix} })
	w.d.reroute()
}

// AddRoute says that a route is made: a simulated host's own stay as they are.
func (w *world) AddRoute(r iproute.Route) {
	w.d.net.logf(w.d.name, "adds route %v", r)
}

// RemoveRoute says that it is taken away.
func (w *world) RemoveRoute(r iproute.Route) {
	w.d.net.logf(w.d.name, "removes route %v", r)
}

// lost takes note of addresses that somebody else took off interfaces.
func (w *world) lost() {
	kept := w.mine[:0]
	for _, m := range w.mine {
		if slices.Contains(m.port.addrs, m.addr) {
			kept = append(kept, m)
			continue
		}
		w.d.later(func(n *node.Node, now clock.Instant) { n.AddressLost(now, m.port.name, m.addr.Addr()) })
	}
	w.mine = kept
}

// vanish takes the node's addresses away with a machine that has crashed.
func (w *world) vanish() {
	for _, m := range w.mine {
		_ = w.d.delAddr(m.port, m.addr)
	}
	w.d.refused = nil
	w.mine = nil
	w.d.reroute()
}

// StartProbe begins an attempt of a check.
func (w *world) StartProbe(id health.CheckID, p *health.Probe) { w.d.probes.start(id, p) }

// CancelProbe ends it.
func (w *world) CancelProbe(id health.CheckID) { w.d.probes.cancel(id) }

// RunTrackScript runs a script whose outcome SetScript has said.
func (w *world) RunTrackScript(name string) {
	i := slices.IndexFunc(w.setup.Scripts, func(s node.TrackScript) bool { return s.Name == name })
	if i < 0 {
		return
	}
	s := w.d.env.script(name, w.setup.Scripts[i].Args)
	res, after := vrrp.ScriptResult{Status: s.Status}, scriptTime
	if s.Hangs {
		res, after = vrrp.ScriptResult{TimedOut: true}, max(w.setup.Scripts[i].Timeout, scriptTime)
	}
	w.d.newTimer(func() {
		w.d.later(func(n *node.Node, now clock.Instant) { n.ScriptDone(now, name, res) })
	}).Set(w.d.net.now.Add(after))
}

// RunScript says that a notify script runs.
func (w *world) RunScript(s node.Notification) {
	w.d.net.logf(w.d.name, "runs %s", strings.Join(s.Args, " "))
}

// WriteFIFO says what is written to a FIFO.
func (w *world) WriteFIFO(path, line string) {
	w.d.net.logf(w.d.name, "writes to %s: %s", path, line)
}

// SendMail says what is mailed.
func (w *world) SendMail(m node.Mail) {
	w.d.net.logf(w.d.name, "mails %q: %s", m.Subject, strings.Join(strings.Fields(m.Body), " "))
}

// Log is what keepalived logs with its option -D.
func (w *world) Log(level vrrp.Level, text string) {
	if level == vrrp.Warning {
		text = "WARN " + text
	}
	w.d.net.logf(w.d.name, "%s", text)
}

// isVRRP reports whether a packet is what VRRP's sockets receive: protocol 112,
// or an authentication header.
func isVRRP(pk *wire.Packet) bool {
	return !pk.Fragment && (pk.Version == 4 || pk.Version == 6) && (pk.Proto == protoVRRP || pk.Proto == wire.ProtoAH)
}

const protoVRRP = 112
