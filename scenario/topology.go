package scenario

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a network, so that a file cannot ask for more than a machine has.
const (
	maxNodes    = 250
	maxSwitches = 32
	maxNICs     = 16
)

// declarations are the lines that make up the network.
var declarations = map[string]func(*parser, *words) error{
	"switch": func(p *parser, w *words) error { return p.parseSwitch(w) },
	"client": func(p *parser, w *words) error { return p.parseNode(w, Client) },
	"server": func(p *parser, w *words) error { return p.parseNode(w, Server) },
	"director": func(p *parser, w *words) error {
		return p.parseNode(w, Director)
	},
	"router": func(p *parser, w *words) error { return p.parseNode(w, Router) },
}

// parseSwitch reads `switch lan0 lan1`.
func (p *parser) parseSwitch(w *words) error {
	t := &p.file.Topology
	for ok := true; ok; ok = w.peek() != "" && w.err == nil {
		name := w.name("a switch's name")
		if slices.Contains(t.Switches, name) || t.Node(name) != nil {
			return p.errorf("there are two of the name %q", name)
		}
		if t.Switches = append(t.Switches, name); len(t.Switches) > maxSwitches {
			return p.errorf("more than %d switches", maxSwitches)
		}
	}
	return nil
}

// parseNode reads `server rs1 lan0 10.0.0.2/24 via 10.0.0.1`.
func (p *parser) parseNode(w *words, kind Kind) error {
	t := &p.file.Topology
	n := Node{Line: p.no, Kind: kind, Name: w.name("a machine's name")}
	if t.Node(n.Name) != nil || slices.Contains(t.Switches, n.Name) {
		return p.errorf("there are two of the name %q", n.Name)
	}
	for w.peek() != "" && w.err == nil {
		p.parseNodeWord(w, &n)
	}
	if w.err != nil {
		return w.err
	}
	n.defaults()
	switch {
	case len(n.NICs) == 0:
		return p.errorf("%s is plugged into no switch", n.Name)
	case len(t.Nodes) == maxNodes:
		return p.errorf("more than %d machines", maxNodes)
	}
	t.Nodes = append(t.Nodes, n)
	return nil
}

func (n *Node) defaults() {
	if n.Kind == Server && n.HTTP == nil && n.UDP == nil {
		n.HTTP, n.UDP = []uint16{80, 443, 8080}, []uint16{53}
	}
	if n.Kind == Director && n.Own == "" {
		n.Own = "services"
	}
}

// parseNodeWord reads one property of a machine, or one of its last interface.
func (p *parser) parseNodeWord(w *words, n *Node) {
	word := w.next()
	switch {
	case slices.Contains(p.file.Topology.Switches, word):
		if len(n.NICs) == maxNICs {
			w.fail("more than %d interfaces", maxNICs)
			return
		}
		n.NICs = append(n.NICs, NIC{Name: "eth" + strconv.Itoa(len(n.NICs)), Switch: word})
	case word == "via":
		p.parseGateway(w, n)
	case word == "serves":
		p.parseServes(w, n)
	case word == "keepalived" && n.Kind == Director:
		p.parseKeepalived(w, n)
	case word == "own" && n.Kind == Director:
		n.Own = w.oneOf("own", []string{"services", "host"})
	case len(n.NICs) == 0:
		w.fail("there is no switch called %q", word)
	case word == "mtu":
		n.NICs[len(n.NICs)-1].MTU = w.number("MTU", 68, 65535)
	default:
		p.parseInterfaceAddr(w, n, word)
	}
}

func (p *parser) parseGateway(w *words, n *Node) {
	gw := w.addr()
	for _, other := range n.Gateways {
		if other.Is4() == gw.Is4() {
			w.fail("%s has two gateways of one family", n.Name)
		}
	}
	n.Gateways = append(n.Gateways, gw)
}

// parseServes reads `serves http:80 udp:53`; `serves nothing` is possible too.
func (p *parser) parseServes(w *words, n *Node) {
	n.HTTP, n.UDP = []uint16{}, []uint16{}
	if w.is("nothing") {
		return
	}
	for {
		proto, port, ok := strings.Cut(w.peek(), ":")
		if !ok || proto != "http" && proto != "udp" {
			break
		}
		w.next()
		number := uint16(w.toNumber(port, "port", 1, 65535))
		if proto == "http" {
			n.HTTP = append(n.HTTP, number)
			continue
		}
		n.UDP = append(n.UDP, number)
	}
	if len(n.HTTP)+len(n.UDP) == 0 {
		w.fail("want `serves http:80 udp:53`, or `serves nothing`")
	}
}

func (p *parser) parseInterfaceAddr(w *words, n *Node, word string) {
	a, err := netip.ParsePrefix(word)
	if err != nil {
		w.fail("%q is neither a switch nor an address with its prefix length", word)
		return
	}
	for _, other := range p.file.Topology.Nodes {
		if slices.Contains(other.addrs(), a.Addr()) {
			w.fail("%s has the address %v already", other.Name, a.Addr())
		}
	}
	nic := &n.NICs[len(n.NICs)-1]
	nic.Addrs = append(nic.Addrs, a)
}
