package keepalived

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// addressOptions are the words that take a value in a line of an address, and
// whether they mean something for IPv6.
var addressOptions = map[string]func(*parser, *Address, string) bool{
	"dev":           setDev,
	"brd":           setBroadcast,
	"broadcast":     setBroadcast,
	"scope":         setScope,
	"label":         setLabel,
	"peer":          setPeer,
	"preferred_lft": setPreferred,
}

// addressFlags are the words that stand alone.
var addressFlags = []string{"home", "-nodad", "mngtmpaddr", "noprefixroute", "autojoin", "no_track", "use_vmac"}

// ipAddress reads a line of virtual_ipaddress and its like; only a static one
// may name a track_group.
func (p *parser) ipAddress(s statement, static bool) (Address, bool) {
	a := Address{At: s.at}
	var ok bool
	if a.Prefix, ok = p.prefix(s.words[0]); !ok {
		return a, false
	}
	a.explicit = strings.Contains(s.words[0], "/")
	for i := 1; i < len(s.words); i++ {
		option := s.words[i]
		set := addressOptions[option]
		if option == "track_group" && static {
			set = func(_ *parser, a *Address, v string) bool { a.TrackGroup = v; return true }
		}
		if set == nil {
			p.addressFlag(&a, option)
			continue
		}
		i++
		if i == len(s.words) {
			p.invalid(fmt.Sprintf("%v: %s without its value", a.Prefix, option), "")
			return a, false
		}
		if !set(p, &a, s.words[i]) {
			return a, false
		}
	}
	if a.Broadcast != "" && a.Peer.IsValid() {
		p.invalid(fmt.Sprintf("%v: brd and peer exclude each other", a.Prefix), "")
		a.Broadcast = ""
	}
	if a.Interface != "" {
		p.onInterface(a.Interface)
	}
	return a, true
}

func (p *parser) addressFlag(a *Address, option string) {
	switch option {
	case "no_track":
		a.NoTrack = true
	case "use_vmac":
		a.UseVMAC = true
	case "home", "-nodad", "mngtmpaddr", "noprefixroute", "autojoin":
		a.Flags = append(a.Flags, option)
	default:
		valid := append([]string{"dev", "brd", "scope", "label", "peer", "preferred_lft"}, addressFlags...)
		p.invalid(fmt.Sprintf("%v: %s", a.Prefix, shown(option)), suggestion(option, valid)+"; one address stands on one line")
	}
}

// prefix is an address with the length of its network, by default all of it.
func (p *parser) prefix(word string) (netip.Prefix, bool) {
	host, length, has := strings.Cut(word, "/")
	a, ok := p.address(host, "address")
	if !ok {
		return netip.Prefix{}, false
	}
	bits := a.BitLen()
	if has {
		n, ok := p.integer(length, 0, bits, "prefix length")
		if ok {
			bits = n
		}
	}
	return netip.PrefixFrom(a, bits), true
}

func setDev(p *parser, a *Address, v string) bool {
	if a.Interface != "" {
		p.invalid(fmt.Sprintf("%v: dev %s after dev %s", a.Prefix, v, a.Interface), "one is enough")
		return true
	}
	a.Interface = v
	return true
}

func setBroadcast(p *parser, a *Address, v string) bool {
	if a.Prefix.Addr().Is6() {
		p.invalid(fmt.Sprintf("%v: IPv6 has no broadcast address", a.Prefix), "")
		return false
	}
	if v == "+" || v == "-" {
		if a.Prefix.Bits() > 30 {
			p.invalid(fmt.Sprintf("%v: a network of this size has no broadcast address", a.Prefix), "")
			return true
		}
		a.Broadcast = v
		return true
	}
	b, err := netip.ParseAddr(v)
	if err != nil || !b.Is4() {
		p.invalid(fmt.Sprintf("%v: brd %s is not an IPv4 address", a.Prefix, shown(v)), "valid is an address, + or -")
		return false
	}
	a.Broadcast = v
	return true
}

func setScope(p *parser, a *Address, v string) bool {
	if a.Prefix.Addr().Is6() {
		p.invalid(fmt.Sprintf("%v: an IPv6 address has no scope", a.Prefix), "")
		return true
	}
	switch v {
	case "site", "link", "host", "nowhere", "global":
	default:
		if _, err := strconv.ParseUint(v, 0, 8); err != nil {
			p.invalid(fmt.Sprintf("%v: scope %s", a.Prefix, shown(v)), "valid is site, link, host, nowhere, global or 0 to 255")
			return true
		}
	}
	a.Scope = v
	return true
}

func setLabel(p *parser, a *Address, v string) bool {
	switch {
	case a.Prefix.Addr().Is6():
		p.invalid(fmt.Sprintf("%v: an IPv6 address has no label", a.Prefix), "")
		return true
	case len(v) > maxInterfaceName:
		p.invalid(fmt.Sprintf("%v: label %s is too long", a.Prefix, shown(v)), "15 bytes at most")
		return false
	}
	a.Label = v
	return true
}

func setPeer(p *parser, a *Address, v string) bool {
	peer, ok := p.address(v, "peer") // 2.2.7 does not take the prefix length that its manual allows
	switch {
	case !ok:
		return false
	case a.Peer.IsValid():
		p.invalid(fmt.Sprintf("%v: peer %v after peer %v", a.Prefix, peer, a.Peer), "one is enough")
		return true
	case peer.Is6() != a.Prefix.Addr().Is6():
		p.invalid(fmt.Sprintf("%v: peer %v is of the other family", a.Prefix, peer), "")
		return false
	case a.explicit:
		p.invalid(fmt.Sprintf("%v: an address with a peer has no prefix length", a.Prefix), "")
	}
	a.Peer = peer
	return true
}

func setPreferred(p *parser, a *Address, v string) bool {
	if v != "forever" {
		if _, ok := p.integer(v, 0, math.MaxUint32, "preferred_lft"); !ok {
			return true
		}
	}
	a.Preferred = v
	return true
}
