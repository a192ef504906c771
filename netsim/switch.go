package netsim

import (
	"fmt"
	"slices"
	"time"

	"usvs/clock"
	"usvs/wire"
)

// DefaultAgeing is how long a switch remembers where a station is (IEEE 802.1D).
const DefaultAgeing = 300 * time.Second

// maxHops is how many switches a frame may pass: more is a loop, for there is
// no spanning tree.
const maxHops = 32

// maxStations is how many stations a switch remembers. Frames to others are
// flooded.
const maxStations = 8192

// Switch is a learning switch with untagged ports.
type Switch struct {
	net    *Net
	name   string
	ports  []*Port
	ageing time.Duration
	table  map[station]*sighting
	counts SwitchStats
	filter func(dst wire.MAC) bool // of frames to groups; nil: all pass
}

// SwitchStats count what a switch did with frames.
type SwitchStats struct {
	Forwarded uint64 // to the one port where the station was seen
	Flooded   uint64 // to all ports
	Filtered  uint64 // for a station behind the port it came from, or a group that is filtered
	Looped    uint64 // passed too many switches
}

// station is a MAC address and a VLAN in one word.
type station uint64

func stationOf(m wire.MAC, vlan int) station {
	return station(m[0])<<40 | station(m[1])<<32 | station(m[2])<<24 | station(m[3])<<16 |
		station(m[4])<<8 | station(m[5]) | station(vlan&0xffff)<<48
}

func (s station) mac() wire.MAC {
	return wire.MAC{byte(s >> 40), byte(s >> 32), byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)}
}

func (s station) vlan() int { return int(s >> 48) }

// sighting is where a station was last heard.
type sighting struct {
	port *Port
	at   clock.Instant
}

// Station is an entry of a switch's table.
type Station struct {
	MAC  wire.MAC
	VLAN int
	Port *Port
	Age  time.Duration
}

// Switch adds a switch.
func (n *Net) Switch(name string) *Switch {
	s := &Switch{net: n, name: name, ageing: DefaultAgeing, table: map[station]*sighting{}}
	n.add(s)
	return s
}

// Name is what the switch is called.
func (s *Switch) Name() string { return s.name }

// Port returns the port of that name, which is made if it is new.
func (s *Switch) Port(name string) *Port {
	for _, p := range s.ports {
		if p.name == name {
			return p
		}
	}
	p := &Port{net: s.net, node: s, name: name, index: len(s.ports)}
	s.ports = append(s.ports, p)
	return p
}

// NextPort makes a port with the next free number.
func (s *Switch) NextPort() *Port {
	for i := len(s.ports) + 1; ; i++ {
		name := fmt.Sprint(i)
		if !slices.ContainsFunc(s.ports, func(p *Port) bool { return p.name == name }) {
			return s.Port(name)
		}
	}
}

// SetVLAN puts a port into a VLAN. Frames stay within theirs; all ports start
// in VLAN 0.
func (s *Switch) SetVLAN(p *Port, vlan int) {
	s.forget(p)
	p.vlan = vlan
}

// SetAgeing replaces DefaultAgeing.
func (s *Switch) SetAgeing(d time.Duration) { s.ageing = d }

// FilterGroups makes the switch pass on, of the frames to groups and to all, only
// those whose destination pass reports to be wanted; nil: all of them. Clouds do
// so with multicast, and switches whose IGMP snooping is mistaken.
func (s *Switch) FilterGroups(pass func(dst wire.MAC) bool) { s.filter = pass }

// Stats are the counters now.
func (s *Switch) Stats() SwitchStats { return s.counts }

// Stations lists the stations that the switch knows of, by VLAN and MAC.
func (s *Switch) Stations() []Station {
	var list []Station
	for k, v := range s.table {
		if age := s.net.now.Sub(v.at); age <= s.ageing {
			list = append(list, Station{k.mac(), k.vlan(), v.port, age})
		}
	}
	slices.SortFunc(list, func(a, b Station) int {
		if a.VLAN != b.VLAN {
			return a.VLAN - b.VLAN
		}
		return slices.Compare(a.MAC[:], b.MAC[:])
	})
	return list
}

// forget removes what was learned at a port.
func (s *Switch) forget(p *Port) {
	for k, v := range s.table {
		if v.port == p {
			delete(s.table, k)
		}
	}
}

func (s *Switch) receive(in *Port, f *frame) {
	b := f.Bytes()
	if len(b) < wire.EthernetLen {
		s.net.release(f)
		return
	}
	if f.hops++; f.hops > maxHops {
		s.counts.Looped++
		s.net.logf(s.name, "a frame passed %d switches: there is a loop", maxHops)
		s.net.release(f)
		return
	}
	eth := wire.EthernetHeader(b)
	s.learn(in, eth.Src())
	dst := eth.Dst()
	if dst.IsMulticast() {
		if s.filter != nil && !s.filter(dst) {
			s.counts.Filtered++
			s.net.release(f)
			return
		}
		s.flood(in, f)
		return
	}
	seen := s.table[stationOf(dst, in.vlan)]
	switch {
	case seen == nil || s.net.now.Sub(seen.at) > s.ageing:
		s.flood(in, f)
	case seen.port == in:
		s.counts.Filtered++
		s.net.release(f)
	default:
		s.counts.Forwarded++
		seen.port.send(f)
	}
}

// learn notes where a station is. One that moves is worth a line in the log.
func (s *Switch) learn(in *Port, src wire.MAC) {
	if src.IsMulticast() || src.IsZero() {
		return
	}
	key := stationOf(src, in.vlan)
	old := s.table[key]
	if old == nil {
		if len(s.table) < maxStations || s.sweep() {
			s.table[key] = &sighting{in, s.net.now}
		}
		return
	}
	if old.port != in && s.net.now.Sub(old.at) <= s.ageing {
		s.net.logf(s.name, "%v moved from port %s to %s", src, old.port.name, in.name)
	}
	old.port, old.at = in, s.net.now
}

// sweep removes what is too old and reports whether that made room.
func (s *Switch) sweep() bool {
	for k, v := range s.table {
		if s.net.now.Sub(v.at) > s.ageing {
			delete(s.table, k)
		}
	}
	return len(s.table) < maxStations
}

// flood sends a frame out of every other port of its VLAN.
func (s *Switch) flood(in *Port, f *frame) {
	s.counts.Flooded++
	for _, p := range s.ports {
		if p != in && p.vlan == in.vlan && p.link != nil && !p.down {
			g := s.net.copyOf(f.Bytes())
			g.hops = f.hops
			p.send(g)
		}
	}
	s.net.release(f)
}
