package show

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"usvs/dissect"
	"usvs/netsim"
	"usvs/wire"
)

// columnWidth is the distance between two nodes of a ladder.
const columnWidth = 22

// WriteLadder writes a sequence diagram of each connection: a column for each
// node that took part, a line for each frame, and behind it what the node that
// sent it on had changed.
func (r *Recording) WriteLadder(w io.Writer) error {
	var b strings.Builder
	for i, c := range group(r.hops()) {
		if i > 0 {
			b.WriteByte('\n')
		}
		r.ladder(&b, i+1, c)
	}
	if r.more > 0 {
		fmt.Fprintf(&b, "\n%d more frames are not shown\n", r.more)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// ladder draws one connection.
func (r *Recording) ladder(b *strings.Builder, number int, c *connection) {
	nodes := r.columns(c)
	fmt.Fprintf(b, "connection %d: %s\n", number, c.name)
	fmt.Fprintf(b, "%12s  ", "seconds")
	for _, n := range nodes {
		fmt.Fprintf(b, "%-*s", columnWidth, short(n.Name()))
	}
	trim(b)
	names := r.macs()
	for _, h := range c.hops {
		from, to := slices.Index(nodes, h.from), slices.Index(nodes, h.to)
		row := lifelines(len(nodes))
		arrow(row, from, to, label(h.rec.Data), h.lost)
		at := netsim.Since(h.at)
		fmt.Fprintf(b, "%5d.%06d  %s  %s", at/1e9, at%1e9/1e3, string(row), remark(&h, names))
		trim(b)
	}
}

// trim ends a line without blanks at its end.
func trim(b *strings.Builder) {
	s := strings.TrimRight(b.String(), " ")
	b.Reset()
	b.WriteString(s)
	b.WriteByte('\n')
}

func short(name string) string {
	if len(name) >= columnWidth {
		return name[:columnWidth-2]
	}
	return name
}

// columns are the nodes of a connection: the one that began it, routers on the
// way to the director, the director, routers behind it, and who answers.
func (r *Recording) columns(c *connection) []netsim.Node {
	ranks := map[netsim.Node]int{}
	seen := false // a director
	for _, h := range c.hops {
		for _, n := range [2]netsim.Node{h.from, h.to} {
			if _, ok := ranks[n]; ok {
				continue
			}
			_, isDirector := n.(*netsim.Director)
			switch {
			case n == c.hops[0].from:
				ranks[n] = 0
			case isDirector:
				ranks[n], seen = 2, true
			case c.passesOn(n) && !seen:
				ranks[n] = 1
			case c.passesOn(n):
				ranks[n] = 3
			case !isSwitch(n):
				ranks[n] = 4
			}
		}
	}
	var list []netsim.Node
	for _, n := range r.net.Nodes() {
		if _, ok := ranks[n]; ok {
			list = append(list, n)
		}
	}
	slices.SortStableFunc(list, func(a, b netsim.Node) int { return ranks[a] - ranks[b] })
	return list
}

// passesOn reports whether n sends on what others sent.
func (c *connection) passesOn(n netsim.Node) bool {
	return slices.ContainsFunc(c.hops, func(h hop) bool { return h.from == n && h.before != nil })
}

func lifelines(n int) []byte {
	row := []byte(strings.Repeat(" ", (n-1)*columnWidth+1))
	for i := range n {
		row[i*columnWidth] = '|'
	}
	return row
}

// arrow draws from one column to another; a lost frame ends in an x.
func arrow(row []byte, from, to int, text string, lost bool) {
	if from == to || from < 0 || to < 0 {
		lost = true // on a link to a switch: nobody got it
		if to = from + 1; to*columnWidth >= len(row) {
			to = from - 1
		}
		if from < 0 || to < 0 {
			return
		}
	}
	left, right := min(from, to)*columnWidth, max(from, to)*columnWidth
	for i := left + 1; i < right; i++ {
		row[i] = '-'
	}
	head := byte('>')
	at := right - 1
	if to < from {
		head, at = '<', left+1
	}
	if lost {
		head, at = 'x', (left+right)/2
		for i := min(at, to*columnWidth) + 1; i < max(at, to*columnWidth); i++ {
			row[i] = ' '
		}
	}
	room := right - left - 5
	if lost {
		room = columnWidth/2 - 3
	}
	text = text[:min(len(text), room)]
	start := left + (right-left-len(text)-2)/2
	if lost && to > from {
		start = left + 1
	} else if lost {
		start = at + 1
	}
	copy(row[start:], " "+text+" ")
	row[at] = head
}

// label says what a frame is in a few letters.
func label(frame []byte) string {
	p, ok := innermost(frame)
	if !ok {
		return "?"
	}
	switch {
	case p.Fragment:
		return fmt.Sprintf("frag %d", p.FragOffset)
	case p.Proto == wire.ProtoTCP && p.Full:
		s := dissect.Flags(p.TCPFlags)
		if n := len(p.Transport()) - wire.TCP(p.Transport()).HeaderLen(); n > 0 {
			s += fmt.Sprintf(" %d", n)
		}
		return s
	case p.Proto == wire.ProtoUDP && p.Full:
		return fmt.Sprintf("UDP %d", len(p.Transport())-wire.UDPLen)
	case (p.Proto == wire.ProtoICMP || p.Proto == wire.ProtoICMPv6) && p.Full:
		_, what, _ := strings.Cut(strings.SplitN(dissect.Packet(&p), " about ", 2)[0], p.Dst.String()+" ")
		return brief.Replace(what)
	}
	return protocol(p.Proto)
}

// brief makes names of ICMP messages fit between two columns.
var brief = strings.NewReplacer("fragmentation needed (mtu ", "too big (", "packet too big (mtu ", "too big (", " reassembly", "")

// remark tells the ends of a frame that a host sent, and what was changed of
// one that was sent on.
func remark(h *hop, names map[string]string) string {
	var parts []string
	if h.before == nil {
		if p, ok := innermost(h.rec.Data); ok && p.Ports {
			parts = append(parts, fmt.Sprintf("%v > %v", netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort)))
		} else if ok {
			parts = append(parts, fmt.Sprintf("%v > %v", p.Src, p.Dst))
		}
		parts = append(parts, "MAC "+named(wire.EthernetHeader(h.rec.Data).Dst().String(), names))
	} else {
		parts = changes(h.before, h.rec.Data, names)
	}
	if h.lost {
		parts = append(parts, h.rec.Fate.String())
	}
	if v := h.rec.Verdict; v != nil && v.Reason.Dropped() {
		parts = append(parts, strings.ReplaceAll(v.Reason.String(), "_", " "))
	}
	return strings.Join(parts, ", ")
}

// marked are the changes that a ladder shows, with a star: addresses and ports.
var marked = map[string]string{
	"Ethernet dst": "MAC", "IPv4 src": "IP src", "IPv4 dst": "IP dst", "IPv6 src": "IP src", "IPv6 dst": "IP dst",
	"TCP src port": "src port", "TCP dst port": "dst port", "UDP src port": "src port", "UDP dst port": "dst port",
	"SCTP src port": "src port", "SCTP dst port": "dst port", "IPv4 ttl": "ttl", "IPv6 hop limit": "hop limit",
	"outer IPv4 dst": "tunnel to", "outer IPv6 dst": "tunnel to",
}

func changes(before, after []byte, names map[string]string) (parts []string) {
	for _, c := range dissect.Diff(dissect.Fields(before, wire.Ethernet), dissect.Fields(after, wire.Ethernet)) {
		what, ok := marked[c.Layer+" "+c.Name]
		switch {
		case !ok || c.After == "":
		case what == "MAC":
			parts = append(parts, "*MAC "+named(c.After, names))
		case c.Before == "":
			parts = append(parts, "*"+what+" "+c.After)
		default:
			parts = append(parts, fmt.Sprintf("*%s %s -> %s", what, c.Before, c.After))
		}
	}
	return parts
}

// macs names the owner of each MAC address.
func (r *Recording) macs() map[string]string {
	names := map[string]string{wire.Broadcast.String(): "broadcast"}
	for _, n := range r.net.Nodes() {
		for _, p := range ports(n) {
			names[p.MAC().String()] = n.Name()
		}
	}
	return names
}

func named(mac string, names map[string]string) string {
	if n, ok := names[mac]; ok {
		return n
	}
	return mac
}

// ports are a node's interfaces.
func ports(n netsim.Node) []*netsim.Port {
	if h, ok := n.(interface{ Ports() []*netsim.Port }); ok {
		return h.Ports()
	}
	return nil
}
