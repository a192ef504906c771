package director

import (
	"net/netip"
	"slices"

	"usvs/wire"
)

// Station is where an address is that VRRP manages.
type Station struct {
	Interface string
	MAC       wire.MAC // the virtual MAC it has there; zero: the interface's own
}

// StationSet is an immutable map of addresses to stations.
type StationSet struct {
	of   endpointView[Station]
	macs []Station // with a virtual MAC, each once
}

// Get returns where an address is, and whether VRRP has it here.
func (s *StationSet) Get(a netip.Addr) (Station, bool) { return s.of.Get(Endpoint{Addr: a}) }

// Has reports whether an interface has that virtual MAC, and so is to receive
// frames to it.
func (s *StationSet) Has(iface string, mac wire.MAC) bool {
	return slices.Contains(s.macs, Station{iface, mac})
}

// Virtual lists the virtual MACs with their interfaces, each once.
func (s *StationSet) Virtual() []Station { return slices.Clone(s.macs) }

func (s *StationSet) hasMAC(mac wire.MAC) bool {
	for i := range s.macs {
		if s.macs[i].MAC == mac {
			return true
		}
	}
	return false
}

// Stations is a map of addresses to stations that changes.
type Stations struct {
	of    *endpointMap[Station]
	count map[Station]int // addresses at a virtual MAC
	macs  []Station       // never changed, replaced
}

// NewStations returns an empty map.
func NewStations() *Stations {
	return &Stations{of: newEndpointMap[Station](), count: map[Station]int{}}
}

// Set says where an address is.
func (s *Stations) Set(a netip.Addr, st Station) {
	s.Remove(a)
	s.of.Set(Endpoint{Addr: a}, st)
	if st.MAC.IsZero() {
		return
	}
	if s.count[st]++; s.count[st] == 1 {
		s.macs = append(slices.Clone(s.macs), st)
	}
}

// Remove says that an address is nowhere.
func (s *Stations) Remove(a netip.Addr) {
	st, ok := s.of.Get(Endpoint{Addr: a})
	if !ok {
		return
	}
	s.of.Delete(Endpoint{Addr: a})
	if st.MAC.IsZero() {
		return
	}
	if s.count[st]--; s.count[st] == 0 {
		delete(s.count, st)
		s.macs = slices.DeleteFunc(slices.Clone(s.macs), func(o Station) bool { return o == st })
	}
}

// Freeze returns the map as it is now, in constant time.
func (s *Stations) Freeze() StationSet { return StationSet{s.of.Freeze(), s.macs} }
