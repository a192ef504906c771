package machine

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"usvs/host"
	"usvs/node"
)

// scopes are the words of ip-address(8).
var scopes = map[string]uint8{"": 0, "global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}

// hostAddress translates an address from keepalived.conf's words.
func hostAddress(a node.Address) (host.Address, error) {
	has := func(flag string) bool { return slices.Contains(a.Flags, flag) }
	out := host.Address{
		Refused: a.Refused, Interface: a.Interface, Prefix: a.Prefix, Peer: a.Peer, Label: a.Label,
		HomeAddress: has("home"), ManageTemp: has("mngtmpaddr"), NoPrefixRoute: has("noprefixroute"), AutoJoin: has("autojoin"),
	}
	var err error
	if a.Prefix.Addr().Is4() {
		if out.Broadcast, err = broadcast(a); err != nil {
			return out, err
		}
		out.Scope, err = scope(a.Scope)
		return out, err
	}
	out.NoDAD = a.Virtual && !has("-nodad")
	err = lifetime(&out, a)
	return out, err
}

// broadcast reads an address, + for the last and - for the first of the prefix.
func broadcast(a node.Address) (netip.Addr, error) {
	p := a.Prefix.Masked()
	switch a.Broadcast {
	case "":
		return netip.Addr{}, nil
	case "-":
		return p.Addr(), nil
	case "+":
		b := p.Addr().As4()
		for i := p.Bits(); i < 32; i++ {
			b[i/8] |= 1 << (7 - i%8)
		}
		return netip.AddrFrom4(b), nil
	}
	return netip.ParseAddr(a.Broadcast)
}

func scope(word string) (uint8, error) {
	if s, ok := scopes[word]; ok {
		return s, nil
	}
	n, err := strconv.ParseUint(word, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("scope %q: %w", word, err)
	}
	return uint8(n), nil
}

// lifetime: a virtual address without a network is not to be chosen as a source
// (keepalived.conf(5)), unless preferred_lft says otherwise.
func lifetime(out *host.Address, a node.Address) error {
	switch a.Preferred {
	case "":
		out.Deprecated = a.Virtual && a.Prefix.IsSingleIP()
		return nil
	case "forever":
		return nil
	}
	n, err := strconv.ParseUint(a.Preferred, 10, 31)
	if err != nil {
		return fmt.Errorf("preferred_lft %q: %w", a.Preferred, err)
	}
	out.Deprecated, out.PreferredSecs = true, int(n)
	return nil
}
