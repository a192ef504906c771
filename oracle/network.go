package oracle

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"usvs/link"
	"usvs/route"
	"usvs/wire"
)

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// neighbour is an address on a link.
type neighbour struct {
	port int
	addr netip.Addr
}

// ipError is a refused ip command: what iproute2 says, and its exit status.
type ipError struct {
	text   string
	status int
}

func (e *ipError) Error() string { return e.text }

func usageError(format string, args ...any) error { return &ipError{fmt.Sprintf(format, args...), 1} }
func kernelError(text string) error               { return &ipError{text, 2} }

var (
	errFileExists = kernelError("RTNETLINK answers: File exists")
	errNoAddress  = kernelError("RTNETLINK answers: Cannot assign requested address")
	errNoRoute    = kernelError("RTNETLINK answers: No such process")
	errNoFile     = kernelError("RTNETLINK answers: No such file or directory")
	errGateway    = kernelError("Error: Nexthop has invalid gateway.")
)

// ipCommand is a parsed ip command: ip [-4|-6] OBJECT VERB WORDS.
type ipCommand struct {
	six   bool
	verb  string
	words []string
	args  map[string]string // of the words: dev NAME, via ADDR and so on
}

// ipObjects are what ip knows, each with how to carry a verb out. Names may be
// cut short; of several that fit the first is meant.
var ipObjects = []struct {
	name  string
	carry func(*world, *ipCommand) error
}{
	{"address", (*world).ipAddress}, {"route", (*world).ipRoute}, {"link", (*world).ipLink}, {"neighbour", (*world).ipNeighbour},
	{"neighbor", (*world).ipNeighbour}, {"rule", (*world).ipRule},
}

var ipVerbs = []string{"add", "append", "change", "delete", "flush", "replace", "set"}

// ip carries out an ip command.
func (w *world) ip(args []string, _ io.Reader, _, errs io.Writer) int {
	err := w.runIP(args[1:])
	if err == nil {
		w.reroute()
		return 0
	}
	fmt.Fprintln(errs, err)
	if e, ok := err.(*ipError); ok {
		return e.status
	}
	return 1
}

func (w *world) runIP(words []string) error {
	var c ipCommand
	for len(words) > 0 && strings.HasPrefix(words[0], "-") {
		c.six = c.six || words[0] == "-6"
		words = words[1:]
	}
	if len(words) == 0 {
		return usageError("Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }")
	}
	for _, o := range ipObjects {
		if !strings.HasPrefix(o.name, words[0]) {
			continue
		}
		if len(words) < 2 {
			return usageError("the player does not show %s tables", o.name)
		}
		c.verb = completed(words[1], ipVerbs)
		c.words = words[2:]
		c.args = ipArgs(words[2:])
		return o.carry(w, &c)
	}
	return usageError(`Object "%s" is unknown, try "ip help".`, words[0])
}

// completed is the first of the names that s is the beginning of, or s.
func completed(s string, names []string) string {
	for _, n := range names {
		if strings.HasPrefix(n, s) {
			return n
		}
	}
	return s
}

var ipValued = []string{"fwmark", "dev", "via", "lladdr", "nud", "src", "metric", "mtu", "scope", "label", "proto", "table", "broadcast", "brd"}

func ipArgs(words []string) map[string]string {
	args := map[string]string{}
	for i := 0; i+1 < len(words); i++ {
		if slices.Contains(ipValued, words[i]) {
			args[words[i]] = words[i+1]
			i++
		}
	}
	return args
}

func (c *ipCommand) unknown() error {
	return usageError(`Command "%s" is unknown, try "ip help".`, c.verb)
}

// first is the word that the command is about.
func (c *ipCommand) first() string {
	if len(c.words) == 0 {
		return ""
	}
	return c.words[0]
}

// device finds a device; lo is -1.
func (w *world) deviceNamed(name string) (int, error) {
	if name == "lo" {
		return -1, nil
	}
	for i := range w.net.Interfaces {
		if w.net.Interfaces[i].Name == name {
			return i, nil
		}
	}
	return 0, usageError(`Cannot find device "%s"`, name)
}

func parsePrefix(s, kind string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, usageError(`Error: %s prefix is expected rather than "%s".`, kind, s)
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func (w *world) ipAddress(c *ipCommand) error {
	if c.verb == "flush" {
		return w.flushAddrs(c)
	}
	p, err := parsePrefix(c.first(), "any valid")
	if err != nil {
		return err
	}
	if c.args["dev"] == "" {
		return usageError(`Not enough information: "dev" argument is required.`)
	}
	port, err := w.deviceNamed(c.args["dev"])
	if err != nil {
		return err
	}
	switch c.verb {
	case "add", "replace", "change":
		return w.addAddr(p, port, c.verb != "add")
	case "delete":
		return w.delAddr(p, port)
	}
	return c.unknown()
}

func (w *world) addAddr(p netip.Prefix, port int, again bool) error {
	if port < 0 {
		w.net.Locals = append(w.net.Locals, p.Addr())
		return nil
	}
	ifc := &w.net.Interfaces[port]
	if slices.Contains(ifc.Addrs, p) {
		if again {
			return nil
		}
		return errFileExists
	}
	ifc.Addrs = append(ifc.Addrs, p)
	if !p.IsSingleIP() {
		w.net.Routes = append(w.net.Routes, route.Route{Prefix: p.Masked(), Kind: route.Unicast, Port: port, Src: p.Addr()})
	}
	return nil
}

func (w *world) delAddr(p netip.Prefix, port int) error {
	if port < 0 {
		i := slices.Index(w.net.Locals, p.Addr())
		if i < 0 {
			return errNoAddress
		}
		w.net.Locals = slices.Delete(slices.Clone(w.net.Locals), i, i+1)
		return nil
	}
	ifc := &w.net.Interfaces[port]
	i := slices.Index(ifc.Addrs, p)
	if i < 0 {
		return errNoAddress
	}
	ifc.Addrs = slices.Delete(slices.Clone(ifc.Addrs), i, i+1)
	w.net.Routes = slices.DeleteFunc(slices.Clone(w.net.Routes), func(r route.Route) bool {
		return r.Src == p.Addr() && r.Port == port && r.Kind == route.Unicast
	})
	return nil
}

func (w *world) flushAddrs(c *ipCommand) error {
	port, err := w.deviceNamed(c.args["dev"])
	if err != nil || port < 0 {
		return err
	}
	for _, p := range slices.Clone(w.net.Interfaces[port].Addrs) {
		if err := w.delAddr(p, port); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) ipLink(c *ipCommand) error {
	name := c.args["dev"]
	if name == "" {
		name = c.first()
	}
	port, err := w.deviceNamed(name)
	if err != nil || port < 0 {
		return err
	}
	if c.verb != "set" {
		return c.unknown()
	}
	ifc := &w.net.Interfaces[port]
	if mtu, err := strconv.Atoi(c.args["mtu"]); err == nil {
		ifc.MTU = mtu
	}
	if slices.Contains(c.words, "up") {
		ifc.Up = true
	}
	if slices.Contains(c.words, "down") {
		ifc.Up = false
		w.lose(port)
	}
	return nil
}

// lose forgets what does not outlive a device that goes down: its neighbours,
// and its routes, but for those that its addresses bring back.
func (w *world) lose(port int) {
	w.net.Routes = slices.DeleteFunc(slices.Clone(w.net.Routes), func(r route.Route) bool {
		return r.Kind == route.Unicast && r.Port == port && r.Via.IsValid()
	})
	w.flushNeighbours(port)
}

func (w *world) flushNeighbours(port int) {
	for n := range w.neigh {
		if n.port == port {
			w.forget(n)
		}
	}
}

func (w *world) ipNeighbour(c *ipCommand) error {
	port, err := w.deviceNamed(c.args["dev"])
	if err != nil || port < 0 {
		return err
	}
	if c.verb == "flush" {
		w.flushNeighbours(port)
		return nil
	}
	a, err := netip.ParseAddr(c.first())
	if err != nil {
		return usageError(`Error: any valid address is expected rather than "%s".`, c.first())
	}
	n := neighbour{port, a}
	_, known := w.neigh[n]
	switch c.verb {
	case "delete":
		if !known {
			return errNoFile
		}
		w.forget(n)
		return nil
	case "add", "replace", "change":
		if known && c.verb == "add" {
			return errFileExists
		}
		return w.learn(n, c.args["lladdr"])
	}
	return c.unknown()
}

func (w *world) learn(n neighbour, lladdr string) error {
	m, ok := parseMAC(lladdr)
	if !ok {
		return usageError(`"%s" is invalid lladdr.`, lladdr)
	}
	w.neigh[n] = m
	w.out.Reset()
	w.dir.Neighbours.SetStatic(w.now, n.port, n.addr, m, w.worker)
	w.collect()
	return nil
}

func (w *world) forget(n neighbour) {
	delete(w.neigh, n)
	w.dir.Neighbours.Delete(n.port, n.addr)
}

func parseMAC(s string) (m wire.MAC, ok bool) {
	parts := strings.Split(s, ":")
	if len(parts) != len(m) {
		return m, false
	}
	for i, part := range parts {
		b, err := strconv.ParseUint(part, 16, 8)
		if err != nil {
			return m, false
		}
		m[i] = byte(b)
	}
	return m, true
}

// rule is a rule of ip about a mark.
type rule struct {
	six  bool
	mark uint32
}

// ipRule accepts rules about marks: they lead marked packets to a table of local
// routes, so that the kernel's ip_vs sees them; usvs goes by the mark itself.
// No other table has routes here.
func (w *world) ipRule(c *ipCommand) error {
	mark, err := strconv.ParseUint(c.args["fwmark"], 0, 32)
	if err != nil || c.verb != "add" && c.verb != "delete" {
		return usageError("the player knows rules about marks only")
	}
	w.ruled[rule{c.six, uint32(mark)}] = c.verb == "add"
	return nil
}

// keep does what the machine does with a packet that a rule kept there: it
// answers it, as if it were that host, for IPv6; for IPv4 it cannot.
func (w *world) keep(f *link.Frame) {
	var p wire.Packet
	if p.Parse(f.Bytes(), f.Medium) != wire.None || p.Version == 4 {
		return
	}
	if f = w.whole(f, &p); f != nil {
		w.answer(f, &p)
	}
}

// taken reports whether a rule about its mark keeps a packet for another host on
// this machine.
func (w *world) taken(f *link.Frame) bool {
	var p wire.Packet
	if len(w.ruled) == 0 || p.Parse(f.Bytes(), f.Medium) != wire.None || w.routes.Lookup(p.Dst).Kind == route.Local {
		return false
	}
	rules := w.dir.Snapshot().Marks4
	if p.Version == 6 {
		rules = w.dir.Snapshot().Marks6
	}
	return rules != nil && w.ruled[rule{p.Version == 6, rules.Mark(w.net.Interfaces[f.Port].Name, &p, f.Mark)}]
}

// otherTable reports whether a route is not of the tables that all packets meet.
func otherTable(name string) bool {
	return !slices.Contains([]string{"", "main", "local", "254", "255"}, name)
}

// routeKinds are the kinds of routes that may stand before the prefix.
var routeKinds = map[string]route.Kind{
	"unicast": route.Unicast, "local": route.Local, "unreachable": route.None, "blackhole": route.None, "prohibit": route.None,
}

func (w *world) ipRoute(c *ipCommand) error {
	if otherTable(c.args["table"]) {
		return nil
	}
	words, kind := c.words, route.Unicast
	if k, ok := routeKinds[c.first()]; ok {
		kind, words = k, words[1:]
	}
	if c.verb == "flush" {
		w.net.Routes = slices.DeleteFunc(slices.Clone(w.net.Routes), func(r route.Route) bool { return r.Via.IsValid() })
		return nil
	}
	if len(words) == 0 {
		return usageError("Not enough information: \"dst\" argument is required.")
	}
	r := route.Route{Kind: kind}
	if err := w.routeWords(&r, words[0], c); err != nil {
		return err
	}
	i := slices.IndexFunc(w.net.Routes, func(x route.Route) bool { return x.Prefix == r.Prefix && x.Metric == r.Metric })
	switch c.verb {
	case "add":
		if i >= 0 {
			return errFileExists
		}
		w.net.Routes = append(w.net.Routes, r)
	case "replace", "change", "append":
		if i >= 0 && c.verb != "append" {
			w.net.Routes = slices.Delete(slices.Clone(w.net.Routes), i, i+1)
		}
		w.net.Routes = append(w.net.Routes, r)
	case "delete":
		if i < 0 {
			return errNoRoute
		}
		w.net.Routes = slices.Delete(slices.Clone(w.net.Routes), i, i+1)
	default:
		return c.unknown()
	}
	return nil
}

// routeWords reads a route's destination and where it leads.
func (w *world) routeWords(r *route.Route, dst string, c *ipCommand) (err error) {
	via, hasVia := c.args["via"]
	if hasVia {
		if r.Via, err = netip.ParseAddr(via); err != nil {
			return usageError(`Error: any valid address is expected rather than "%s".`, via)
		}
	}
	switch {
	case dst != "default":
		if r.Prefix, err = parsePrefix(dst, "any valid"); err != nil {
			return err
		}
	case c.six || r.Via.Is6():
		r.Prefix = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	default:
		r.Prefix = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	r.Prefix = r.Prefix.Masked()
	r.Metric, _ = strconv.Atoi(c.args["metric"])
	r.MTU, _ = strconv.Atoi(c.args["mtu"])
	if src, ok := c.args["src"]; ok {
		if r.Src, err = netip.ParseAddr(src); err != nil {
			return usageError(`Error: any valid address is expected rather than "%s".`, src)
		}
	}
	if dev, ok := c.args["dev"]; ok {
		if r.Port, err = w.deviceNamed(dev); err != nil {
			return err
		}
	} else if r.Kind == route.Unicast && c.verb != "delete" {
		hop := w.routes.Lookup(r.Via)
		if !hasVia || hop.Kind != route.Unicast || hop.Via != r.Via {
			return errGateway
		}
		r.Port = hop.Port
	}
	return nil
}
