package scenario

import (
	"slices"
	"strconv"
	"strings"

	"usvs/wire"
)

// Pattern is what a frame must look like. What is absent fits anything.
type Pattern struct {
	Proto    string // one of protocols; empty: any frame
	Type     string // of icmp, icmp6 and arp: echo, reply, unreachable and so on
	Src, Dst Endpoint
	Flags    string // of TCP: exactly these
	Fields   []Field
}

// Endpoint is an address and a port, either of which may be absent. The name
// of a node stands for all its addresses.
type Endpoint struct {
	Addrs []addr
	Port  uint16
}

// Field is a condition on a frame, like ttl=63 or eth.dst=rs1. A key that
// begins with "inner." is about the packet that a tunnel carries or that an
// ICMP error quotes.
type Field struct {
	Key   string
	Text  string     // the value as it was written
	Range            // the value, if it is a number
	Addrs []addr     // if it is an address
	Port  uint16     // behind the address
	MACs  []wire.MAC // if it is a MAC address
	Data  string     // if it is a text, what that stands for
}

// protocols are the first words of patterns.
var protocols = []string{"ip", "ip6", "tcp", "udp", "sctp", "icmp", "icmp6", "arp", "ipip", "gre"}

// messageTypes name messages of protocols that have no flags.
var messageTypes = map[string]map[string]int{
	"arp": {"request": 1, "reply": 2},
	"icmp": {"reply": wire.ICMPEchoReply, "unreachable": wire.ICMPUnreachable, "echo": wire.ICMPEcho,
		"exceeded": wire.ICMPTimeExceeded},
	"icmp6": {"unreachable": wire.ICMPv6Unreachable, "toobig": wire.ICMPv6TooBig, "exceeded": wire.ICMPv6TimeExceeded,
		"echo": wire.ICMPv6Echo, "reply": wire.ICMPv6EchoReply,
		"solicit": 135, "advert": 136},
}

// pattern takes `tcp client > 10.0.0.1:80 S ttl=63 eth.dst=rs1`.
func (w *words) pattern() Pattern {
	var m Pattern
	if slices.Contains(protocols, w.peek()) {
		m.Proto = w.next()
	}
	if _, ok := messageTypes[m.Proto][w.peek()]; ok {
		m.Type = w.next()
	}
	if len(w.list) > 2 && w.list[1] == ">" {
		m.Src = w.endpoint(w.next())
		w.want(">")
		m.Dst = w.endpoint(w.next())
	}
	if _, ok := messageTypes[m.Proto][w.peek()]; ok && m.Type == "" {
		m.Type = w.next()
	}
	if m.Proto == "tcp" && isFlags(w.peek()) {
		m.Flags = w.next()
	}
	for w.peek() != "" && w.err == nil {
		m.Fields = append(m.Fields, w.field())
	}
	return m
}

// flagLetters are TCP's flags from bit 0 on.
const flagLetters = "FSRPAU"

func isFlags(s string) bool {
	return s != "" && strings.Trim(s, flagLetters) == ""
}

// flagBits turns letters into bits.
func flagBits(s string) (bits uint8) {
	for _, c := range s {
		bits |= 1 << strings.IndexRune(flagLetters, c)
	}
	return bits
}

// flagText turns bits into letters.
func flagText(bits uint8) string {
	var b strings.Builder
	for i, c := range flagLetters {
		if bits&(1<<i) != 0 {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// Keys of fields, by what their values are.
var (
	numberKeys = []string{"ttl", "len", "id", "payload", "offset", "tos", "seq", "ack", "mtu", "code"}
	addrKeys   = []string{"src", "dst"}
	macKeys    = []string{"eth.src", "eth.dst"}
	boolKeys   = []string{"df", "mf", "sum"}
	textKeys   = []string{"text"}
)

// field takes key=value.
func (w *words) field() Field {
	word := w.next()
	key, value, ok := strings.Cut(word, "=")
	f := Field{Key: key, Text: value}
	inner := strings.TrimPrefix(key, "inner.")
	switch {
	case !ok || value == "":
		w.fail("%q: want a condition like ttl=63", word)
	case slices.Contains(macKeys, key):
		f.MACs = w.macs(value)
	case slices.Contains(numberKeys, inner):
		if f.Range, ok = parseRange(value); !ok {
			w.fail("%s: %q is no number or range", key, value)
		}
	case slices.Contains(addrKeys, inner):
		e := w.endpoint(value)
		f.Addrs, f.Port = e.Addrs, e.Port
	case inner == "proto":
		if !slices.Contains(protocols, value) {
			w.fail("%s: %q is no protocol", key, value)
		}
	case slices.Contains(textKeys, inner):
		var err error
		if f.Data, err = strconv.Unquote(`"` + value + `"`); err != nil || f.Data == "" {
			w.fail(`%s: %q is no text; \r, \n, \x20 and the like stand for what cannot be written`, key, value)
		}
	case slices.Contains(boolKeys, inner):
		if !slices.Contains([]string{"yes", "no"}, value) {
			w.fail("%s: want yes or no", key)
		}
	default:
		w.fail("frames have no %q: want one of %s", key,
			strings.Join(slices.Concat(macKeys, addrKeys, numberKeys, boolKeys, textKeys, []string{"proto"}), ", "))
	}
	return f
}

// macs are the addresses a word stands for: those of a node or an interface,
// "broadcast", or one written out.
func (w *words) macs(s string) []wire.MAC {
	t := &w.p.file.Topology
	if n := t.Node(s); n != nil {
		var list []wire.MAC
		for _, nic := range n.NICs {
			list = append(list, t.MACOf(Interface{s, nic.Name}))
		}
		return list
	}
	if s == "broadcast" {
		return []wire.MAC{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	}
	if node, nic, ok := strings.Cut(s, ":"); ok {
		if m := t.MACOf(Interface{node, nic}); !m.IsZero() {
			return []wire.MAC{m}
		}
	}
	m, ok := parseMAC(s)
	if !ok {
		w.fail("%q is neither a machine, an interface nor a MAC address", s)
	}
	return []wire.MAC{m}
}

func parseMAC(s string) (m wire.MAC, ok bool) {
	parts := strings.Split(s, ":")
	if len(parts) != len(m) {
		return m, false
	}
	for i, part := range parts {
		v, err := strconv.ParseUint(part, 16, 8)
		if err != nil {
			return m, false
		}
		m[i] = byte(v)
	}
	return m, true
}
