package netsim

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"usvs/route"
	"usvs/wire"
)

// errUsage says that a command is not one that the simulated host knows.
var errUsage = errors.New("not understood by the simulated host")

// ip runs an ip(8) command.
func (h *Host) ip(w []string) Result {
	v6 := false
	for len(w) > 0 && strings.HasPrefix(w[0], "-") {
		v6 = v6 || w[0] == "-6"
		w = w[1:]
	}
	if len(w) == 0 {
		return failed(255, "ip: %v", errUsage)
	}
	verb := "show"
	if len(w) > 1 {
		verb = w[1]
	}
	var out string
	err := errUsage
	switch object := w[0]; {
	case abbreviates(object, "address"):
		out, err = h.ipAddr(verb, rest(w))
	case abbreviates(object, "link"):
		err = h.ipLink(verb, rest(w))
	case object == "tuntap" && verb == "add":
		err = h.addTUN(rest(w))
	case abbreviates(object, "route"):
		out, err = h.ipRoute(verb, rest(w), v6)
	case abbreviates(object, "neighbour"), abbreviates(object, "neighbor"):
		out, err = h.ipNeigh(verb, rest(w))
	}
	if err != nil {
		return failed(2, "ip %s: %v", strings.Join(w, " "), err)
	}
	return Result{Stdout: out}
}

func rest(w []string) []string { return w[min(len(w), 2):] }

// abbreviates reports whether word is name or a beginning of it.
func abbreviates(word, name string) bool {
	return word != "" && strings.HasPrefix(name, word)
}

// arguments are the KEY VALUE pairs of a command, and what is no pair.
func arguments(w []string, keys ...string) (pairs map[string]string, plain []string) {
	pairs = map[string]string{}
	for i := 0; i < len(w); i++ {
		known := false
		for _, k := range keys {
			known = known || w[i] == k
		}
		if known && i+1 < len(w) {
			pairs[w[i]] = w[i+1]
			i++
			continue
		}
		plain = append(plain, w[i])
	}
	return pairs, plain
}

func (h *Host) dev(name string) (*Port, error) {
	if p := h.Port(name); p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("cannot find device %q", name)
}

func (h *Host) ipAddr(verb string, w []string) (string, error) {
	pairs, plain := arguments(w, "dev", "label", "scope", "broadcast", "brd")
	switch {
	case abbreviates(verb, "show"), abbreviates(verb, "list"):
		return h.showAddrs(), nil
	case abbreviates(verb, "flush"):
		return "", h.flushAddrs(pairs, plain)
	case len(plain) == 0:
		return "", errUsage
	}
	a, err := parsePrefix(plain[0])
	if err != nil {
		return "", err
	}
	p, err := h.dev(pairs["dev"])
	if err != nil {
		return "", err
	}
	switch {
	case abbreviates(verb, "add"):
		err = h.addAddr(p, a)
	case abbreviates(verb, "delete"):
		err = h.delAddr(p, a)
	default:
		err = errUsage
	}
	h.reroute()
	return "", err
}

func (h *Host) flushAddrs(pairs map[string]string, plain []string) error {
	name := pairs["dev"]
	if name == "" && len(plain) > 0 {
		name = plain[0]
	}
	p, err := h.dev(name)
	if err != nil {
		return err
	}
	p.addrs = nil
	h.reroute()
	return nil
}

func (h *Host) showAddrs() string {
	var b strings.Builder
	for _, p := range h.devices {
		fmt.Fprintf(&b, "%s: mtu %d state %s\n", p.name, p.mtu, strings.ToUpper(upDown(!p.down)))
		if p.index >= 0 {
			fmt.Fprintf(&b, "    link/ether %v\n", p.mac)
		}
		for _, a := range p.addrs {
			family := "inet"
			if a.Addr().Is6() {
				family = "inet6"
			}
			fmt.Fprintf(&b, "    %s %v\n", family, a)
		}
	}
	return b.String()
}

func (h *Host) ipLink(verb string, w []string) error {
	if verb == "add" {
		return h.addTunnelDevice(w)
	}
	pairs, plain := arguments(w, "dev", "mtu", "address", "arp")
	name := pairs["dev"]
	if name == "" && len(plain) > 0 {
		name, plain = plain[0], plain[1:]
	}
	if verb != "set" {
		return errUsage
	}
	p, err := h.linkDevice(name)
	if err != nil {
		return err
	}
	for _, word := range plain {
		switch word {
		case "up", "down":
			h.setUp(p, word == "up")
		default:
			return errUsage
		}
	}
	return h.setLink(p, pairs)
}

// setLink applies the values of `ip link set`.
func (h *Host) setLink(p *Port, pairs map[string]string) error {
	if v, ok := pairs["mtu"]; ok {
		mtu, err := strconv.Atoi(v)
		if err != nil || mtu < 68 || mtu > 65535 {
			return fmt.Errorf("mtu %q", v)
		}
		p.SetMTU(mtu)
	}
	if v, ok := pairs["arp"]; ok {
		p.sysctl.noARP = v == "off"
	}
	if v, ok := pairs["address"]; ok {
		mac, err := parseMAC(v)
		if err != nil {
			return err
		}
		p.SetMAC(mac)
	}
	return nil
}

func parseMAC(s string) (wire.MAC, error) {
	var m wire.MAC
	parts := strings.Split(s, ":")
	if len(parts) != 6 {
		return m, fmt.Errorf("%q is no MAC address", s)
	}
	for i, part := range parts {
		v, err := strconv.ParseUint(part, 16, 8)
		if err != nil {
			return m, fmt.Errorf("%q is no MAC address", s)
		}
		m[i] = byte(v)
	}
	return m, nil
}

// linkDevice finds a device. The fallback tunnel devices, which a Linux host
// has as soon as their modules are loaded, are made here.
func (h *Host) linkDevice(name string) (*Port, error) {
	if p := h.Port(name); p != nil {
		return p, nil
	}
	switch name {
	case "tunl0", "ip6tnl0", "sit0", "gre0":
		p := h.device(name)
		p.down = true
		return p, nil
	}
	return h.dev(name)
}

// addTunnelDevice takes `ip link add NAME type KIND`: a tunnel's device, or a dummy.
func (h *Host) addTunnelDevice(w []string) error {
	pairs, plain := arguments(w, "type", "name")
	name := pairs["name"]
	if name == "" && len(plain) > 0 {
		name = plain[0]
	}
	kind := map[string]string{"ipip": "tunl0", "ip6tnl": "ip6tnl0", "sit": "sit0", "gre": "gre0", dummy: dummy}[pairs["type"]]
	if name == "" || kind == "" || h.Port(name) != nil {
		return errUsage
	}
	p := h.device(name)
	p.down, p.kind = true, kind
	return nil
}

// dummy is the kind of a device that leads nowhere and that usvs does not run
// on, like a bridge of containers.
const dummy = "dummy"

// addTUN takes `ip tuntap add dev NAME mode tun`: an interface that carries IP
// packets without a link header, and at whose other end nobody reads them. On a
// director's host, usvs runs on it.
func (h *Host) addTUN(w []string) error {
	pairs, plain := arguments(w, "dev", "mode")
	if pairs["mode"] != "tun" || pairs["dev"] == "" || len(plain) > 0 || h.Port(pairs["dev"]) != nil {
		return errUsage
	}
	p := h.newNIC(pairs["dev"])
	p.medium, p.addrs = wire.IP, nil
	h.reroute()
	return nil
}

// setUp takes a device up or down; a tunnel's encapsulation goes with it.
func (h *Host) setUp(p *Port, up bool) {
	p.SetUp(up)
	switch orDefault(p.kind, p.name) {
	case "tunl0":
		h.tunnels.ipip = up
	case "ip6tnl0":
		h.tunnels.ip6tnl = up
	case "sit0":
		h.tunnels.sit = up
	case "gre0":
		h.tunnels.gre = up
	}
}

func (h *Host) ipRoute(verb string, w []string, v6 bool) (string, error) {
	if abbreviates(verb, "show") || abbreviates(verb, "list") {
		return h.showRoutes(), nil
	}
	pairs, plain := arguments(w, "via", "dev", "table", "proto", "scope", "src", "metric")
	if len(plain) > 1 && plain[0] == "local" {
		plain = plain[1:]
		pairs["dev"] = "lo"
	}
	if len(plain) != 1 {
		return "", errUsage
	}
	var via netip.Addr
	var err error
	if s := pairs["via"]; s != "" {
		if via, err = netip.ParseAddr(s); err != nil {
			return "", err
		}
		v6 = v6 || via.Is6()
	}
	if abbreviates(verb, "delete") {
		return "", h.DelRoute(plain[0], v6)
	}
	if verb == "replace" {
		_ = h.DelRoute(plain[0], v6)
	} else if !abbreviates(verb, "add") {
		return "", errUsage
	}
	var dev *Port
	if name := pairs["dev"]; name != "" {
		if dev, err = h.dev(name); err != nil {
			return "", err
		}
	}
	if dev == nil && !via.IsValid() {
		return "", errUsage
	}
	return "", h.AddRoute(plain[0], via, dev)
}

func (h *Host) showRoutes() string {
	var b strings.Builder
	for _, r := range h.static {
		fmt.Fprintf(&b, "%v", r.Prefix)
		if r.Via.IsValid() {
			fmt.Fprintf(&b, " via %v", r.Via)
		}
		if r.Kind == route.Unicast && r.Port >= 0 && r.Port < len(h.ports) {
			fmt.Fprintf(&b, " dev %s", h.ports[r.Port].name)
		}
		b.WriteByte('\n')
	}
	for _, p := range h.ports {
		for _, r := range h.connected(p) {
			fmt.Fprintf(&b, "%v dev %s src %v\n", r.Prefix, p.name, r.Src)
		}
	}
	return b.String()
}

func (h *Host) ipNeigh(verb string, w []string) (string, error) {
	pairs, plain := arguments(w, "dev", "lladdr", "nud")
	if abbreviates(verb, "show") || abbreviates(verb, "list") {
		return h.showNeighbours(), nil
	}
	p, err := h.dev(pairs["dev"])
	if err != nil {
		return "", err
	}
	if abbreviates(verb, "flush") {
		h.neigh.forget(p)
		return "", nil
	}
	if len(plain) != 1 {
		return "", errUsage
	}
	a, err := netip.ParseAddr(plain[0])
	if err != nil {
		return "", err
	}
	if abbreviates(verb, "delete") {
		if !h.DelNeighbour(p, a) {
			return "", fmt.Errorf("%v is not known", a)
		}
		return "", nil
	}
	mac, err := parseMAC(pairs["lladdr"])
	if err != nil {
		return "", err
	}
	h.SetNeighbour(p, a, mac)
	return "", nil
}

func (h *Host) showNeighbours() string {
	var b strings.Builder
	for _, e := range h.Neighbours() {
		fmt.Fprintf(&b, "%v dev %s", e.Addr, e.Port.name)
		if e.State != Incomplete && e.State != Failed {
			fmt.Fprintf(&b, " lladdr %v", e.MAC)
		}
		fmt.Fprintf(&b, " %v\n", e.State)
	}
	return b.String()
}

// arping takes `arping -U|-A -I DEV ADDR`: a gratuitous ARP.
func (h *Host) arping(w []string) Result {
	pairs, plain := arguments(w, "-I", "-c", "-w", "-s")
	p, err := h.dev(pairs["-I"])
	if err != nil {
		return failed(2, "arping: %v", err)
	}
	for _, word := range plain {
		if a, err := netip.ParseAddr(word); err == nil {
			p.Announce(a)
			return Result{}
		}
	}
	return failed(2, "arping: %v", errUsage)
}
