package scenario

import (
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"usvs/netsim"
)

// block is a keepalived.conf that stands in the scenario between braces.
type block struct {
	node  int // of the topology
	first int // its first line
	depth int // braces that are open
	lines []string
}

// parseKeepalived reads `keepalived FILE` or the `keepalived {` of a block, of
// which the rest follows on the next lines.
func (p *parser) parseKeepalived(w *words, n *Node) {
	p.simOnly()
	if !w.is("{") {
		n.Keepalived = w.config(n.Name)
		return
	}
	if len(w.list) > 0 {
		w.fail("the configuration begins on the next line")
	}
	p.block = &block{node: len(p.file.Topology.Nodes), first: p.no + 1, depth: 1}
}

// config takes the name of a keepalived.conf at the end of the file.
func (w *words) config(host string) *netsim.Keepalived {
	name := w.need("a file")
	text, ok := w.p.file.Data[name]
	if !ok && w.err == nil {
		w.fail("there is no `-- %s --` at the end of the file", name)
	}
	return w.p.keepalived(w, host, name, string(text))
}

// keepalived makes a configuration, which must be right.
func (p *parser) keepalived(w *words, host, name, text string) *netsim.Keepalived {
	k := &netsim.Keepalived{Host: host, Name: name, Text: text, Files: map[string]string{}}
	for other, data := range p.file.Data {
		if other != name {
			k.Files[other] = string(data)
		}
	}
	if w.err != nil {
		return k
	}
	if _, err := k.Parse(); err != nil {
		w.fail("%v", err)
	}
	return k
}

// blockLine takes a line of a block; the last one has only its closing brace.
func (p *parser) blockLine(line string) error {
	b := p.block
	p.text = strings.TrimRight(line, " \t")
	p.expandKnown()
	b.depth += braces(p.text)
	if b.depth > 0 {
		b.lines = append(b.lines, p.text)
		return nil
	}
	if strings.TrimSpace(p.text) != "}" {
		return p.errorf("the brace that closes the configuration stands alone")
	}
	p.block = nil
	w := &words{p: p}
	n := &p.file.Topology.Nodes[b.node]
	// Lines are counted as in the scenario.
	n.Keepalived = p.keepalived(w, n.Name, path.Base(p.file.Name), strings.Repeat("\n", b.first-1)+strings.Join(b.lines, "\n")+"\n")
	return w.err
}

// braces is by how much a line of keepalived.conf goes into blocks. Comments
// begin with # or !.
func braces(line string) int {
	n, quoted := 0, false
	for _, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '#' || c == '!':
			return n
		case c == '{':
			n++
		case c == '}':
			n--
		}
	}
	return n
}

// expandKnown puts the values of the scenario's variables into a line. Others
// are keepalived's own.
func (p *parser) expandKnown() {
	p.text = variable.ReplaceAllStringFunc(p.text, func(v string) string {
		if value, ok := p.vars[strings.Trim(v, "${}")]; ok {
			return value
		}
		return v
	})
}

// disturbances are the lines by which something happens to a machine.
var disturbances = map[Deed]func(*words, *Disturbance){
	Pause:   func(w *words, d *Disturbance) { d.Node, d.For = w.node(), w.duration("how long") },
	Crash:   func(w *words, d *Disturbance) { d.Node = w.node() },
	Restart: func(w *words, d *Disturbance) { d.Node = w.node() },
	Skew:    parseSkew,
	Stop:    func(w *words, d *Disturbance) { d.Node = w.keepalivedNode() },
	Start:   func(w *words, d *Disturbance) { d.Node = w.keepalivedNode() },
	Reload: func(w *words, d *Disturbance) {
		d.Node = w.keepalivedNode()
		d.Config = w.config(d.Node)
	},
	Script: parseScriptOutcome,
	TrackFile: func(w *words, d *Disturbance) {
		d.Node, d.Name, d.Value = w.keepalivedNode(), w.need("the file's name"), w.number("its number", -1<<31, 1<<31-1)
	},
	Process: func(w *words, d *Disturbance) {
		d.Node, d.Name, d.Value = w.keepalivedNode(), w.need("the process's name"), w.number("how many run", 0, 1e6)
	},
	Serve: parseServe,
}

func parseDisturbance(do Deed) func(*parser, *words) (Action, error) {
	return func(p *parser, w *words) (Action, error) {
		p.simOnly()
		d := &Disturbance{Do: do}
		disturbances[do](w, d)
		return d, w.err
	}
}

// keepalivedNode takes the name of a director that runs by a keepalived.conf.
func (w *words) keepalivedNode() string {
	s := w.director()
	if n := w.p.file.Topology.Node(s); n != nil && n.Keepalived == nil {
		w.fail("%s has no keepalived.conf", s)
	}
	return s
}

// parseSkew reads `skew a 1.05`.
func parseSkew(w *words, d *Disturbance) {
	d.Node = w.keepalivedNode()
	s := w.need("how fast")
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0.01 && v <= 100) {
		w.fail("speed %q: want a number like 1.05, from 0.01 to 100", s)
	}
	d.Factor = v
}

// parseScriptOutcome reads `script a chk exits 1` or `script a chk hangs`.
func parseScriptOutcome(w *words, d *Disturbance) {
	d.Node, d.Name = w.keepalivedNode(), w.need("the script's name")
	if w.is("hangs") {
		d.Hangs = true
		return
	}
	w.want("exits")
	d.Value = w.number("exit status", 0, 255)
}

// parseServe reads `serve rs1 http:80 off`, `on`, `slow 3s` or `status 503`.
func parseServe(w *words, d *Disturbance) {
	d.Node, d.Up = w.node(), true
	proto, port, _ := strings.Cut(w.need("a service, like http:80"), ":")
	d.Port = uint16(w.toNumber(port, "port", 1, 65535))
	n := w.p.file.Topology.Node(d.Node)
	if n != nil && (proto != "http" || !slices.Contains(n.HTTP, d.Port)) {
		w.fail("%s does not serve %s:%s", d.Node, proto, port)
	}
	switch how := w.oneOf("how", []string{"on", "off", "slow", "status"}); how {
	case "off":
		d.Up = false
	case "slow":
		d.For = w.duration("how late")
	case "status":
		d.Value = w.number("status", 100, 599)
	}
}

// parseMulticast reads `multicast lan off`.
func parseMulticast(p *parser, w *words) (Action, error) {
	p.simOnly()
	m := &Multicast{Switch: w.need("a switch")}
	if !slices.Contains(p.file.Topology.Switches, m.Switch) {
		w.fail("there is no switch called %q", m.Switch)
	}
	m.On = w.oneOf("multicast", []string{"on", "off"}) == "on"
	return m, w.err
}

// within takes `within 4s` at the end of a line.
func (w *words) within() time.Duration {
	if !w.is("within") {
		return 0
	}
	return w.duration("within")
}

// states are the states that instances can be in.
var states = []string{"INIT", "BACKUP", "MASTER", "FAULT"}

// parseState reads `a MASTER VI_1 within 4s`.
func parseState(w *words) (Action, error) {
	x := &ExpectState{Node: w.keepalivedNode(), State: w.oneOf("state", states), Instance: w.need("the instance's name")}
	x.Within = w.within()
	return x, w.err
}

// parseVIP reads `10.0.0.100 at a`, `at a b` or `at nobody`.
func parseVIP(w *words) (Action, error) {
	x := &ExpectVIP{Addr: w.addr()}
	w.want("at")
	if !w.is("nobody") {
		for ok := true; ok; ok = w.peek() != "" && w.peek() != "within" && w.err == nil {
			x.At = append(x.At, w.director())
		}
		slices.Sort(x.At)
	}
	x.Within = w.within()
	return x, w.err
}

// parseHealth reads `a 10.0.0.100:80 rs1 down within 12s`; without a server it is
// about the quorum.
func parseHealth(w *words) (Action, error) {
	x := &ExpectHealth{Node: w.keepalivedNode()}
	s := w.need("a virtual server")
	if e := w.endpoint(s); len(e.Addrs) > 0 {
		x.Service = netip.AddrPortFrom(e.Addrs[0], e.Port)
	}
	if next := w.peek(); next != "up" && next != "down" {
		x.Who = w.next()
		x.Server = w.addrsOf(x.Who)
	}
	x.Up = w.oneOf("up or down", []string{"up", "down"}) == "up"
	x.Within = w.within()
	return x, w.err
}
