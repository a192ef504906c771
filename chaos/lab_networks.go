package chaos

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"usvs/keepalived"
)

// builder makes a Lab, step by step.
type builder struct {
	lab *Lab
	at  []map[string]*Network // by director: which network an interface is in
}

var (
	machineName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`)
	serverName  = regexp.MustCompile(`^rs[0-9]+$`)
)

func fileStem(name string) string {
	base := filepath.Base(name)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

func (b *builder) assume(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(b.lab.Assumed, text) {
		b.lab.Assumed = append(b.lab.Assumed, text)
	}
}

// segments finds out which interfaces are in one network: those whose instances
// are one virtual router, and else those of one name.
func (b *builder) segments() {
	for i, d := range b.lab.Directors {
		b.at = append(b.at, map[string]*Network{})
		for _, inst := range d.Config.Instances {
			name := instanceNIC(inst)
			if other := b.partner(i, inst); other != nil && b.at[i][name] == nil {
				b.at[i][name] = other
			}
		}
		for _, name := range interfaces(d.Config) {
			b.attach(i, name)
		}
	}
}

// instanceNIC is an instance's interface. One that is found by its source
// address has no name.
func instanceNIC(i *keepalived.Instance) string {
	if i.Interface.V == "" {
		return defaultNIC
	}
	return i.Interface.V
}

const defaultNIC = "eth0"

// partner is the network that the first director has the same virtual router in.
func (b *builder) partner(i int, inst *keepalived.Instance) *Network {
	if i == 0 {
		return nil
	}
	for _, other := range b.lab.Directors[0].Config.Instances {
		if sameRouter(inst, other) {
			return b.at[0][instanceNIC(other)]
		}
	}
	return nil
}

func sameRouter(a, b *keepalived.Instance) bool {
	return a.VirtualRouterID.V == b.VirtualRouterID.V && isV6(a) == isV6(b)
}

// isV6 reports whether an instance speaks VRRP over IPv6: by its addresses.
func isV6(i *keepalived.Instance) bool {
	if len(i.VirtualAddresses) == 0 {
		return i.NativeIPv6.V
	}
	return i.VirtualAddresses[0].Prefix.Addr().Is6()
}

// attach puts an interface into a network: of those that the first director has,
// one of its name that no other interface is in; or a new one.
func (b *builder) attach(i int, name string) *Network {
	if n := b.at[i][name]; n != nil {
		return n
	}
	n := (*Network)(nil)
	if i > 0 {
		n = b.at[0][name]
		for _, taken := range b.at[i] {
			if taken == n {
				n = nil
				break
			}
		}
	}
	if n == nil {
		n = b.newNetwork("net-" + name)
	}
	b.at[i][name] = n
	return n
}

func (b *builder) newNetwork(name string) *Network {
	for k := 2; b.lab.network(name) != nil; k++ {
		name = fmt.Sprintf("%s-%d", strings.TrimRight(name, "0123456789"), k)
	}
	n := &Network{Name: name, used: map[netip.Addr]bool{}}
	b.lab.Networks = append(b.lab.Networks, n)
	return n
}

// interfaces lists those that a configuration names, the instances' first.
func interfaces(c *keepalived.Config) []string {
	var list []string
	add := func(name string) {
		if name != "" && name != "lo" && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	for _, i := range c.Instances {
		add(instanceNIC(i))
	}
	for _, i := range c.Instances {
		for _, a := range slices.Concat(i.VirtualAddresses, i.ExcludedAddresses) {
			add(a.Interface)
		}
		for _, t := range i.Tracks.Interfaces {
			add(t.Name)
		}
	}
	for _, g := range c.SyncGroups {
		for _, t := range g.Tracks.Interfaces {
			add(t.Name)
		}
	}
	for _, a := range c.StaticAddresses {
		add(a.Interface)
	}
	add(c.Global.LVSSyncDaemon.V.Interface)
	if len(list) == 0 {
		list = []string{defaultNIC}
	}
	return list
}

// located is an address that a configuration puts into a network.
type located struct {
	net   *Network
	addr  netip.Prefix // a single address: the file does not say its prefix
	owner int          // a director; -1: a virtual address
}

// located lists the addresses in the files, in their order.
func (b *builder) located() []located {
	var list []located
	for i, d := range b.lab.Directors {
		for _, inst := range d.Config.Instances {
			n := b.at[i][instanceNIC(inst)]
			list = append(list, b.sources(i, inst, n)...)
			for _, a := range slices.Concat(inst.VirtualAddresses, inst.ExcludedAddresses) {
				at := n
				if a.Interface == "lo" {
					continue
				} else if a.Interface != "" {
					at = b.at[i][a.Interface]
				}
				list = append(list, located{at, a.Prefix, -1})
			}
		}
		for _, a := range d.Config.StaticAddresses {
			name := a.Interface
			if name == "" {
				name = instanceOr(d.Config)
			}
			if n := b.at[i][name]; n != nil {
				list = append(list, located{n, a.Prefix, i})
			}
		}
	}
	return list
}

// instanceOr is the interface of what does not name one.
func instanceOr(c *keepalived.Config) string { return interfaces(c)[0] }

// sources are the directors' own addresses that an instance tells of.
func (b *builder) sources(i int, inst *keepalived.Instance, n *Network) []located {
	var list []located
	for _, src := range []keepalived.Value[netip.Addr]{inst.UnicastSrc, inst.McastSrc} {
		if src.V.IsValid() {
			list = append(list, located{n, host(src.V), i})
		}
	}
	if len(b.lab.Directors) < 2 || len(inst.UnicastPeers) != 1 {
		return list // of more peers, it is not known which is the other one
	}
	return append(list, located{n, host(inst.UnicastPeers[0].Addr), 1 - i})
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// prefixes decides which prefixes each network has: those the files name, and
// for other addresses the /24 or /64 around them.
func (b *builder) prefixes() {
	all := b.located()
	for _, l := range all {
		if !l.addr.IsSingleIP() && !l.addr.Addr().IsLinkLocalUnicast() {
			l.net.addPrefix(l.addr.Masked())
		}
	}
	for _, l := range all {
		if !l.addr.Addr().IsLinkLocalUnicast() {
			b.around(l.net, l.addr.Addr())
			l.net.used[l.addr.Addr()] = true
		}
	}
}

// around gives a network a prefix for an address, if it has none.
func (b *builder) around(n *Network, a netip.Addr) {
	if _, ok := n.prefixOf(a); ok {
		return
	}
	bits := 24
	if a.Is6() {
		bits = 64
	}
	p := netip.PrefixFrom(a, bits).Masked()
	n.addPrefix(p)
	b.assume("%s is %v: no file says how long its prefix is", n.Name, p)
}

func (n *Network) addPrefix(p netip.Prefix) {
	if !slices.Contains(n.Prefixes, p) {
		n.Prefixes = append(n.Prefixes, p)
	}
}

// prefixOf is the network's longest prefix that an address is in.
func (n *Network) prefixOf(a netip.Addr) (best netip.Prefix, ok bool) {
	for _, p := range n.Prefixes {
		if p.Contains(a) && (!ok || p.Bits() > best.Bits()) {
			best, ok = p, true
		}
	}
	return best, ok
}

// free takes an address of a prefix that nobody has: from the first on, or from
// the last back.
func (n *Network) free(p netip.Prefix, last bool) netip.Prefix {
	a := p.Addr().Next()
	if last {
		a = lastOf(p)
	}
	for range 1 << 16 {
		if !p.Contains(a) {
			break
		}
		if !n.used[a] {
			n.used[a] = true
			return netip.PrefixFrom(a, p.Bits())
		}
		if a = a.Next(); last {
			a = a.Prev().Prev()
		}
	}
	return netip.Prefix{}
}

// lastOf is the last address of a prefix that a host may have; of a long
// prefix's first 254.
func lastOf(p netip.Prefix) netip.Addr {
	a := p.Addr()
	for range 254 {
		next := a.Next()
		if !p.Contains(next) || a.Is4() && !p.Contains(next.Next()) {
			break
		}
		a = next
	}
	return a
}

// virtualRouters pairs the instances up.
func (b *builder) virtualRouters() {
	n := len(b.lab.Directors)
	for i, d := range b.lab.Directors {
		for _, inst := range d.Config.Instances {
			r := b.routerOf(inst)
			if r == nil || r.Members[i] != nil {
				r = &VirtualRouter{ID: inst.VirtualRouterID.V, V6: isV6(inst), Network: b.at[i][instanceNIC(inst)], Members: make([]*keepalived.Instance, n)}
				b.lab.Routers = append(b.lab.Routers, r)
			}
			r.Members[i] = inst
		}
	}
}

func (b *builder) routerOf(inst *keepalived.Instance) *VirtualRouter {
	for _, r := range b.lab.Routers {
		if r.ID == inst.VirtualRouterID.V && r.V6 == isV6(inst) {
			return r
		}
	}
	return nil
}

// directorAddresses gives every director an address in each prefix of its
// networks: the files' or a free one. The first director gets the lower ones.
func (b *builder) directorAddresses() {
	known := b.located()
	for i, d := range b.lab.Directors {
		for _, name := range b.nicNames(i) {
			n := b.at[i][name]
			nic := &Interface{Name: name, Network: n}
			for _, p := range n.Prefixes {
				nic.Addrs = append(nic.Addrs, b.own(i, n, p, known))
			}
			d.NICs = append(d.NICs, nic)
		}
	}
}

// own is a director's address in a prefix of a network.
func (b *builder) own(i int, n *Network, p netip.Prefix, known []located) netip.Prefix {
	for _, l := range known {
		if best, ok := n.prefixOf(l.addr.Addr()); l.net == n && l.owner == i && ok && best == p {
			return netip.PrefixFrom(l.addr.Addr(), p.Bits())
		}
	}
	a := n.free(p, false)
	b.assume("%s has %v in %s", b.lab.Directors[i].Name, a, n.Name)
	return a
}

// nicNames lists a director's interfaces: as the file does, then those assumed.
func (b *builder) nicNames(i int) []string {
	names := interfaces(b.lab.Directors[i].Config)
	var more []string
	for name := range b.at[i] {
		if !slices.Contains(names, name) {
			more = append(more, name)
		}
	}
	slices.Sort(more)
	return append(names, more...)
}
