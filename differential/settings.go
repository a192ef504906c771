package differential

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"usvs/wire"
)

// setting is a key of net.ipv4.vs and values that a scenario may give it.
type setting struct {
	key    string
	values []int
}

// settings are those that change what becomes of packets and connections, in ways
// that repeat: not drop_entry=3, which draws lots.
var settings = []setting{
	{"secure_tcp", []int{0, 1, 2, 3, 3}},
	{"conn_reuse_mode", []int{0, 1, 2, 3}},
	{"sloppy_tcp", []int{0, 1, 1}},
	{"sloppy_sctp", []int{0, 1, 1}},
	{"schedule_icmp", []int{0, 1, 1, 1}},
	{"cache_bypass", []int{0, 1, 1, 1}},
	{"expire_nodest_conn", []int{0, 1, 1, 1}},
	{"expire_quiescent_template", []int{0, 1, 1, 1}},
	{"nat_icmp_send", []int{0, 1, 1, 1}},
	{"snat_reroute", []int{0, 1}},
	{"drop_entry", []int{0, 1, 2}},
	{"am_droprate", []int{1, 2, 3, 7}}, // before drop_packet, which takes it at once; else it would be some time within a second
	{"drop_packet", []int{0, 1, 2, 3, 3, 3}},
}

// behaviour makes settings, each once in n times.
func (l *lab) behaviour(n int) {
	for _, s := range settings {
		if l.oneIn(n) {
			l.sysctl(s.key, pick(l.draft, s.values...))
		}
	}
}

// anotherSetting changes one while the scenario runs, or reads one.
func (l *lab) anotherSetting() {
	s := pick(l.draft, settings...)
	if l.oneIn(4) {
		l.add("$ sysctl net.ipv4.vs.%s", s.key)
		return
	}
	text := fmt.Sprintf("$ sysctl -w net.ipv4.vs.%s=%d", s.key, pick(l.draft, s.values...))
	if s.key == "am_droprate" {
		text += fmt.Sprintf(" net.ipv4.vs.drop_packet=%d", l.IntN(4))
	}
	l.add("%s", text)
}

// tick lets what a packet ended be gone: the kernel's timers come to it with
// the next tick.
func (l *lab) tick() { l.add("@ 0.02") }

// strayError adds an ICMP error, about a connection or about none: with
// schedule_icmp it opens one.
func (l *lab) strayError(f flow) {
	if l.oneIn(2) {
		f = l.flow(f.service, 6)
	}
	if l.oneIn(3) {
		l.fromServer(f, func(r server) { l.errorFromServer(f, r) })
		return
	}
	l.errorFromClient(f)
}

// away makes a firewall-mark service reach beyond the director: packets to a
// network behind it are marked and go to IPVS, as on a transparent proxy's
// director. With cache_bypass they go on to where they were sent.
func (l *lab) away(s *service) {
	if s.mark == 0 || s.vip.Is6() || len(l.services) > 0 {
		return
	}
	s.away = true
	if !l.oneIn(3) {
		l.sysctl("cache_bypass", 1)
	}
	l.add("%% ip rule add fwmark %d lookup 100", s.mark)
	l.add("%% ip route add local 0.0.0.0/0 dev lo table 100")
	l.add("%% iptables-legacy -t mangle -A PREROUTING -d %s -j MARK --set-mark %d", awayNet, s.mark)
}

// awayNet is the network that services reach beyond the director.
const awayNet = "10.3.1.0/24"

// protocolOf is a flow's protocol: a firewall mark's packets are of any.
func (l *lab) protocolOf(s *service) string {
	if s.mark == 0 {
		return s.protocol
	}
	return often(l.draft, w(5, s.protocol), w(2, "tcp"), w(2, "udp"), w(1, "sctp"))
}

// anyServer adds a server of any method; a tunnel's end may be of the other family.
func (l *lab) anyServer(s *service, options ...string) {
	if s.method != "-i" || l.oneIn(2) {
		l.grow(s, options...)
		return
	}
	l.tunnel(s)
}

// says adds a packet like a macro's, with this payload.
func (d *draft) says(link, macro, payload string) {
	f := build(fmt.Sprintf("%s len=%d", macro, len(payload)))
	body := f[headerLen(f):]
	copy(body[len(body)-len(payload):], payload)
	proto, at := uint8(wire.ProtoUDP), 6
	if strings.HasPrefix(macro, "tcp") {
		proto, at = wire.ProtoTCP, 16
	}
	src, dst := ends(f)
	binary.BigEndian.PutUint16(body[at:], 0)
	binary.BigEndian.PutUint16(body[at:], ^wire.Fold(wire.Sum(body, wire.PseudoSum(src, dst, proto, len(body)))))
	d.raw(link, f)
}

// ends are a frame's addresses.
func ends(frame []byte) (src, dst netip.Addr) {
	if packet := frame[wire.EthernetLen:]; packet[0]>>4 == 6 {
		return wire.IPv6(packet).Src(), wire.IPv6(packet).Dst()
	}
	h := wire.IPv4(frame[wire.EthernetLen:])
	return h.Src(), h.Dst()
}
