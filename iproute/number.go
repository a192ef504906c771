package iproute

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// names are words for numbers, as iproute2 comes with them.
var names = map[string]map[string]uint64{
	"table":    {"default": 253, "main": 254, "local": 255},
	"scope":    {"global": 0, "universe": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255},
	"protocol": {"redirect": 1, "kernel": 2, "boot": 3, "static": 4, "ra": 9, "zebra": 11, "bird": 12, "dhcp": 16, "keepalived": Keepalived, "babel": 42, "bgp": 186, "isis": 187, "ospf": 188, "rip": 189, "eigrp": 192},
}

// number reads a number or a name for one.
func (p *parser) number(w string) bool {
	if p.at < len(p.words) {
		if n, ok := names[w][p.words[p.at]]; ok {
			p.at++
			p.set(w, n)
			return true
		}
	}
	least, most := uint64(0), uint64(math.MaxUint8)
	switch w {
	case "table":
		least, most = 1, math.MaxUint32
	case "metric", "priority", "preference":
		most = math.MaxUint32
	}
	n, ok := p.inRange(w, least, most)
	if ok {
		p.set(w, n)
	}
	return ok
}

func (p *parser) set(w string, n uint64) {
	switch w {
	case "table":
		p.e.Table = uint32(n)
	case "scope":
		p.e.Scope = uint8(n)
	case "tos", "dsfield":
		p.e.TOS = uint8(n)
	case "protocol":
		p.e.Protocol = uint8(n)
	default:
		p.e.Metric = uint32(n)
	}
}

// metrics are the properties of paths that the kernel is told.
var metrics = map[string]struct {
	most uint64
	lock bool // it can be locked
	time bool
}{
	"mtu": {most: math.MaxUint32, lock: true}, "advmss": {most: math.MaxUint32}, "hoplimit": {most: 255},
	"window": {most: math.MaxUint32}, "cwnd": {most: math.MaxUint32}, "initcwnd": {most: math.MaxUint32},
	"initrwnd": {most: math.MaxUint32}, "ssthresh": {most: math.MaxUint32}, "reordering": {most: math.MaxUint32},
	"quickack": {most: 1}, "fastopen_no_cookie": {most: 1}, "rto_min": {lock: true, time: true},
	"features": {}, "congctl": {},
}

// metric reads one; of two with one name the last counts.
func (p *parser) metric(w string) bool {
	m, k := Metric{Name: w}, metrics[w]
	if p.at < len(p.words) && p.words[p.at] == "lock" {
		p.at++
		if m.Lock = true; !k.lock {
			return p.problem(Unsupported, "%s lock: usvs cannot make such a route, and leaves it out", w)
		}
	}
	ok := true
	switch {
	case w == "congctl":
		ok = p.text(w, &m.Text)
	case w == "features":
		ok = p.features()
	case k.time:
		m.Value, ok = p.milliseconds(w)
	default:
		var n uint64
		n, ok = p.inRange(w, 0, k.most)
		m.Value = uint32(n)
	}
	same := func(o Metric) bool { return o.Name == w }
	p.e.Metrics = append(slices.DeleteFunc(p.e.Metrics, same), m)
	return ok
}

// features are words; ecn is the only one.
func (p *parser) features() bool {
	v, ok := p.value("features")
	if ok && v != "ecn" {
		return p.wrong("features %.40q; valid is ecn", v)
	}
	return ok
}

// milliseconds reads a time in ms, or in s with that unit; a bare number is in
// milliseconds.
func (p *parser) milliseconds(w string) (uint32, bool) {
	v, ok := p.value(w)
	if !ok {
		return 0, false
	}
	digits, unit := strings.TrimSuffix(v, "ms"), uint64(1)
	if s, is := strings.CutSuffix(digits, "s"); is && digits == v {
		digits, unit = s, 1000
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n*unit > math.MaxUint32 {
		return 0, p.wrong("%s %.40q; valid is a time in ms or s", w, v)
	}
	return uint32(n * unit), true
}
