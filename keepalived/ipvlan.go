package keepalived

import (
	"fmt"
	"net/netip"
	"slices"
)

var ipvlanTypes = []string{"bridge", "private", "vepa"}

// useIPVLAN reads the words of use_ipvlan, which may stand in any order.
func useIPVLAN(p *parser, s statement) {
	i := p.instance
	if i.IPVLAN.Set() {
		p.invalid("use_ipvlan again; the first counts", fmt.Sprintf("it was set in line %d", i.IPVLAN.At.Line))
		return
	}
	var v IPVLAN
	for _, w := range s.words[1:] {
		if what := v.take(p, w); what != "" {
			p.invalid("use_ipvlan "+shown(w)+": "+what, "valid is one interface, one type and one address")
		}
	}
	i.IPVLAN.set(v, s.at)
}

// take fills in the word's part, or says what is wrong with it.
func (v *IPVLAN) take(p *parser, word string) string {
	addr, isAddr := addressOf(word)
	i := p.instance
	switch {
	case slices.Contains(ipvlanTypes, word):
		if v.Type != "" {
			return "a second type"
		}
		v.Type = word
	case isAddr && i.familyKnown() && i.IPv6() != addr.Is6():
		return "not of the instance's address family"
	case isAddr:
		if v.Address.IsValid() {
			return "a second address"
		}
		v.Address = addr
	case v.Interface != "":
		return "a second interface"
	case word == "" || len(word) > maxInterfaceName:
		return "not the name of an interface, which has 1 to 15 bytes"
	case word == i.Interface.V:
		return "the instance's own interface"
	default:
		v.Interface = word
		p.onInterface(word)
	}
	return ""
}

// addressOf reads an address, which may have the length of its prefix.
func addressOf(word string) (netip.Addr, bool) {
	if p, err := netip.ParsePrefix(word); err == nil {
		return p.Addr(), true
	}
	a, err := netip.ParseAddr(word)
	return a, err == nil && a.Zone() == ""
}

func instanceVRF(p *parser, s statement) {
	i, name := p.instance, s.arg(1)
	switch {
	case len(name) > maxInterfaceName:
		p.invalid("vrf "+shown(name)+": the name is too long", "15 bytes at most")
	case i.Interface.Set():
		p.invalid("vrf with interface: it is for instances without one", "")
	case i.VRF.Set():
		p.invalid("vrf again; the first counts", fmt.Sprintf("it was set in line %d", i.VRF.At.Line))
	default:
		p.onInterface(name)
		i.VRF.set(name, s.at)
	}
}

// virtual reports whether the instance has an interface of its own.
func (i *Instance) virtual() bool { return i.UseVMAC.Set() || i.IPVLAN.Set() }
