package oracle

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"usvs/connsync"
	"usvs/control"
	"usvs/ipvs"
	"usvs/link"
	"usvs/wire"
)

// syncPort is the source port of the replayed master's messages; the recorded
// one is any.
const syncPort = 40000

// syncTransport carries the synchronisation daemons' messages as frames.
type syncTransport struct{ *world }

// Interface returns a device's MTU.
func (t syncTransport) Interface(name string) (int, error) {
	port, err := t.deviceNamed(name)
	if err != nil || port < 0 {
		return 0, fmt.Errorf("%s: %w", name, ipvs.ErrNoDevice)
	}
	return t.net.Interfaces[port].MTU, nil
}

// Open has nothing to do: the wires are there.
func (syncTransport) Open(*ipvs.Daemon, control.SyncOptions) error { return nil }

// Close has nothing to do.
func (syncTransport) Close(ipvs.DaemonState) {}

// Send emits a message on its device.
func (t syncTransport) Send(g *connsync.Datagram) {
	port, err := t.deviceNamed(g.Interface)
	if err != nil || port < 0 {
		return
	}
	ifc := &t.net.Interfaces[port]
	f := wire.NewFrame(wire.MaxFrame)
	f.SetBytes(g.Frame(ifc.MAC, netip.AddrPortFrom(t.source(port, g.Group.Addr()), syncPort), 0))
	f.Port = port
	t.record(f, true)
}

// source is the address that messages to group leave a device with: its first
// IPv4 address, or its link-local one.
func (w *world) source(port int, group netip.Addr) netip.Addr {
	ifc := &w.net.Interfaces[port]
	if group.Is6() {
		m := ifc.MAC
		return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
	}
	for _, p := range ifc.Addrs {
		if p.Addr().Is4() {
			return p.Addr()
		}
	}
	return netip.IPv4Unspecified()
}

// receiveSync gives the backup daemon a message that arrived, and reports
// whether it was one.
func (w *world) receiveSync(f *link.Frame, p *wire.Packet) bool {
	to, payload, ok := connsync.Payload(p)
	return ok && to.Addr().IsMulticast() && w.ctl.ReceiveSync(w.now, w.net.Interfaces[f.Port].Name, to, payload)
}

// isSync reports whether p is a message of a synchronisation daemon, of which
// the identification and the source port are any.
func isSync(p *wire.Packet) bool {
	return p.Proto == wire.ProtoUDP && p.Dst.IsMulticast() && p.Full && !p.Fragment
}

// maskSync zeroes what does not repeat of a daemon's message.
func maskSync(p *wire.Packet) {
	if p.Version == 4 {
		hideID(p.V4())
	} else {
		p.V6().SetFlow(p.V6().TrafficClass(), 0)
	}
	hidePort(wire.UDP(p.Transport()))
}

// syncStream is the daemon's messages in order. A step takes a replay no time,
// while a message was recorded some milliseconds after what caused it: perhaps
// in a later step. So messages are compared with one another only.
type syncStream struct{ recorded, here []Emission }

// setAside moves messages from the frames of a step to the stream.
func (s *syncStream) setAside(recorded, here []Emission) (rest, restHere []Emission) {
	split := func(list []Emission, to *[]Emission) (rest []Emission) {
		for _, e := range list {
			var p wire.Packet
			if p.Parse(e.Data, wire.Ethernet) == wire.None && isSync(&p) {
				*to = append(*to, e)
				continue
			}
			rest = append(rest, e)
		}
		return rest
	}
	return split(recorded, &s.recorded), split(here, &s.here)
}

// compare compares what of the stream is there on both sides, all of it at the
// end of a recording.
func (s *syncStream) compare(m mask, end bool) string {
	n := min(len(s.recorded), len(s.here))
	if end {
		return m.compareFrames(s.recorded, s.here)
	}
	return m.compareFrames(s.recorded[:n], s.here[:n])
}

// compareVerdict compares where frames went, messages left out: those that are
// not printed cannot be compared.
func (s *syncStream) compareVerdict(want []string, here []Emission) string {
	_, rest := (&syncStream{}).setAside(nil, here)
	want = slices.DeleteFunc(slices.Clone(want), func(word string) bool {
		_, mac, ok := strings.Cut(word, ":")
		return ok && (strings.HasPrefix(mac, "01005e") || strings.HasPrefix(mac, "3333"))
	})
	if len(want) == 0 {
		want = []string{"none"}
	}
	return compareVerdict(want, rest)
}
