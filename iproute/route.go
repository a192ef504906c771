package iproute

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Keepalived is the protocol number of routes whose text names none.
const Keepalived = 18

// Route is an entry of a routing table.
type Route struct {
	Kind     string       // of route: see Kinds; empty is unicast
	Dst      netip.Prefix // of length 0 for default
	Src      netip.Addr   // the host's own towards Dst; not valid for its choice
	Hops     []Hop        // several share the traffic; none for a blackhole and its like
	Scope    uint8        // as in rtnetlink(7)
	Table    uint32       // 0 is main
	TOS      uint8
	Protocol uint8
	Metric   uint32
	Append   bool     // behind others of the same destination and metric, not before
	Metrics  []Metric // of the path, each once
}

// Hop is where packets go next.
type Hop struct {
	Via       netip.Addr // not valid if all of Dst is on the link
	Interface string
	Weight    int // 2 to 256; 0 is 1
	OnLink    bool
}

// Metric is a property of a path, by the name ip-route(8) gives it.
type Metric struct {
	Name  string
	Lock  bool
	Value uint32 // times are in milliseconds
	Text  string // of congctl
}

// Interfaces are those that the route names.
func (r *Route) Interfaces() (names []string) {
	for _, h := range r.Hops {
		if h.Interface != "" && !slices.Contains(names, h.Interface) {
			names = append(names, h.Interface)
		}
	}
	return names
}

// String is the route in words that Parse takes. Routes are the same if their
// words are.
func (r Route) String() string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, " "+format, args...) }
	if r.Kind != "" {
		say("%s", r.Kind)
	}
	say("%v", r.Dst)
	if len(r.Hops) == 1 {
		r.Hops[0].words(say)
	}
	if r.Src.IsValid() {
		say("src %v", r.Src)
	}
	for _, n := range []struct {
		word  string
		value uint32
	}{{"table", r.Table}, {"metric", r.Metric}, {"scope", uint32(r.Scope)}, {"tos", uint32(r.TOS)}} {
		if n.value != 0 {
			say("%s %d", n.word, n.value)
		}
	}
	if r.Protocol != Keepalived {
		say("protocol %d", r.Protocol)
	}
	for _, m := range r.Metrics {
		m.words(say)
	}
	if r.Append {
		say("append")
	}
	if len(r.Hops) > 1 {
		for _, h := range r.Hops {
			say("nexthop")
			h.words(say)
		}
	}
	return b.String()[1:]
}

func (h *Hop) words(say func(string, ...any)) {
	if h.Via.IsValid() {
		say("via %v", h.Via)
	}
	if h.Interface != "" {
		say("dev %s", h.Interface)
	}
	if h.Weight > 1 {
		say("weight %d", h.Weight)
	}
	if h.OnLink {
		say("onlink")
	}
}

func (m *Metric) words(say func(string, ...any)) {
	lock := ""
	if m.Lock {
		lock = "lock "
	}
	switch k := metrics[m.Name]; {
	case m.Name == "congctl":
		say("congctl %s%s", lock, m.Text)
	case m.Name == "features":
		say("features ecn")
	case k.time:
		say("%s %s%dms", m.Name, lock, m.Value)
	default:
		say("%s %s%d", m.Name, lock, m.Value)
	}
}
