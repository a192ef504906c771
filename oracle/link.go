package oracle

import (
	"slices"
	"strings"

	"usvs/wire"
)

// wireEnd is a link of the recorded machine: its own MAC and its gateway's.
type wireEnd struct {
	name    string
	device  string
	port    int
	mac     wire.MAC
	gateway wire.MAC
}

var links = []wireEnd{
	{"c", "eth0", 0, wire.MAC{2, 0, 0, 0, 0, 1}, wire.MAC{2, 0, 0, 0, 0, 0xfe}},
	{"s", "eth1", 1, wire.MAC{2, 0, 0, 0, 0, 2}, wire.MAC{2, 0, 0, 0, 0, 0xfd}},
	{"x", "eth2", 2, wire.MAC{2, 0, 0, 0, 0, 3}, wire.MAC{2, 0, 0, 0, 0, 0xfc}},
}

// linkNamed finds a link; nil if there is none.
func linkNamed(name string) *wireEnd {
	for i := range links {
		if links[i].name == name {
			return &links[i]
		}
	}
	return nil
}

// Emission is a frame the director emitted on a link.
type Emission struct {
	Link string
	Data []byte

	made bool // by the director or its host, not forwarded
}

// byLink sorts frames by their link, in their order on each.
func byLink(list []Emission) []Emission {
	slices.SortStableFunc(list, func(a, b Emission) int { return strings.Compare(a.Link, b.Link) })
	return list
}
