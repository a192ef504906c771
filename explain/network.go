package explain

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"usvs/control"
	"usvs/ipvs"
	"usvs/ipvsadm"
	"usvs/route"
	"usvs/wire"
)

// Options describe the director whose rules are read from a file. The zero
// Options make a network up.
type Options struct {
	Interfaces []string // NAME[=PREFIX,...][,mtu=N][,tun]
	Routes     []string // PREFIX dev NAME, or PREFIX via GATEWAY
	Addrs      []string // further addresses of the host
	Own        control.Own
	Resolver   ipvsadm.Resolver // names in the rules; nil: numbers only
}

const defaultMTU = 1500

// The made-up network: one interface, through which everything is reached.
const (
	madeUpInterface = "eth0=100.64.0.1/32,fd64::1/128"
	madeUpText      = "made up: eth0 with MTU 1500, through which every address is reached directly; MAC addresses are made from IP addresses"
)

// network is the host as o describes it, and what was made up.
func (o *Options) network() (cfg route.Config, madeUp []string, err error) {
	ifaces, routes := o.Interfaces, o.Routes
	if len(ifaces) == 0 {
		ifaces, madeUp = []string{madeUpInterface}, []string{madeUpText}
		routes = append(slices.Clone(routes), "0.0.0.0/0 dev eth0", "::/0 dev eth0")
	}
	for i, text := range ifaces {
		ifc, err := parseInterface(text, i)
		if err != nil {
			return cfg, nil, err
		}
		cfg.Interfaces = append(cfg.Interfaces, ifc)
		for _, a := range ifc.Addrs {
			cfg.Routes = append(cfg.Routes, route.Route{Prefix: a.Masked(), Kind: route.Unicast, Port: i})
		}
	}
	for _, text := range o.Addrs {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return cfg, nil, fmt.Errorf("address %q: want an IPv4 or IPv6 address", text)
		}
		cfg.Locals = append(cfg.Locals, a.Unmap())
	}
	for _, text := range routes {
		r, err := parseRoute(text, cfg.Interfaces)
		if err != nil {
			return cfg, nil, err
		}
		cfg.Routes = append(cfg.Routes, r)
	}
	return cfg, madeUp, nil
}

// parseInterface reads NAME[=PREFIX,...][,mtu=N][,tun].
func parseInterface(text string, port int) (route.Interface, error) {
	name, rest, _ := strings.Cut(text, "=")
	if before, options, ok := strings.Cut(name, ","); ok { // without addresses
		name, rest = before, options+"="+rest
	}
	ifc := route.Interface{Name: name, MTU: defaultMTU, Up: true, MAC: wire.MAC{2, 0, 0, 0, 0, byte(port + 1)}}
	if name == "" {
		return ifc, fmt.Errorf("interface %q: want NAME[=PREFIX,...][,mtu=N][,tun]", text)
	}
	for _, word := range strings.Split(strings.TrimSuffix(rest, "="), ",") {
		mtu, isMTU := strings.CutPrefix(word, "mtu=")
		switch n, err := strconv.Atoi(mtu); {
		case word == "":
		case word == "tun":
			ifc.Medium, ifc.MAC = wire.IP, wire.MAC{}
		case isMTU && err == nil && n >= minFragment && n < 1<<16:
			ifc.MTU = n
		default:
			p, err := netip.ParsePrefix(word)
			if err != nil {
				return ifc, fmt.Errorf("interface %q: %q: want an address with prefix length, mtu=N or tun", text, word)
			}
			ifc.Addrs = append(ifc.Addrs, p)
		}
	}
	return ifc, nil
}

// parseRoute reads PREFIX dev NAME, or PREFIX via GATEWAY.
func parseRoute(text string, ifaces []route.Interface) (route.Route, error) {
	f := strings.Fields(text)
	bad := fmt.Errorf("route %q: want PREFIX dev NAME, or PREFIX via GATEWAY", text)
	if len(f) != 3 {
		return route.Route{}, bad
	}
	p, err := netip.ParsePrefix(f[0])
	if err != nil {
		return route.Route{}, bad
	}
	r := route.Route{Prefix: p.Masked(), Kind: route.Unicast}
	switch f[1] {
	case "dev":
		r.Port = slices.IndexFunc(ifaces, func(i route.Interface) bool { return i.Name == f[2] })
	case "via":
		gw, err := netip.ParseAddr(f[2])
		if err != nil {
			return r, bad
		}
		r.Via = gw
		r.Port = slices.IndexFunc(ifaces, func(i route.Interface) bool {
			return slices.ContainsFunc(i.Addrs, func(a netip.Prefix) bool { return a.Contains(gw) })
		})
	default:
		return r, bad
	}
	if r.Port < 0 {
		return r, fmt.Errorf("route %q: no interface leads to %s", text, f[2])
	}
	return r, nil
}

// madeUpMAC is the MAC address of a neighbour of which only the IP address is known.
func madeUpMAC(a netip.Addr) wire.MAC {
	if a.Is4() {
		b := a.As4()
		return wire.MAC{2, 4, b[0], b[1], b[2], b[3]}
	}
	b := a.As16()
	h := binary.BigEndian.Uint32(b[:4]) ^ binary.BigEndian.Uint32(b[4:8]) ^ binary.BigEndian.Uint32(b[8:12]) ^ binary.BigEndian.Uint32(b[12:])
	return wire.MAC{2, 6, byte(h >> 24), byte(h >> 16), byte(h >> 8), byte(h)}
}

// serviceName is how ipvsadm names a service.
func serviceName(id ipvs.ServiceID) string {
	if id.Mark != 0 {
		return fmt.Sprintf("mark %d", id.Mark)
	}
	return fmt.Sprintf("%v %v", id.Protocol, netip.AddrPortFrom(id.Addr, id.Port))
}
