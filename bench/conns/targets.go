package conns

import "usvs/bench"

// group is the suite's, in reports.
const group = "tcp"

// The contenders, as reports call them.
const (
	noDirector = "no director"
	dnat       = "nft DNAT"
	haproxy    = "HAProxy"
	nginx      = "nginx stream"
	dr         = "DR"
	nat        = "NAT"
	tun        = "TUN"
	dr2        = "DR with 2 workers" // as many threads as the proxies have
)

// The things that are measured of each of them.
const (
	oneStream    = "bulk TCP, 1 stream"
	eightStreams = "bulk TCP, 8 streams"
	requests     = "requests"
	connections  = "connections"
	roundTrip    = "round trip"
	median       = "delay at half load, p50"
	p99          = "delay at half load, p99"
	p999         = "delay at half load, p99.9"
	idle         = "processor without traffic"
)

// row is a figure: a thing, a contender, and its peer.
type row struct {
	thing, who, of string
	floor, aim     float64 // 0: none
	note           string

	rounds []bench.Round
	err    error
}

const tunNote = "the servers' kernels unpack by a BPF program, or usvs does if they cannot; " +
	"super-frames cross the links whole where usvs may use BPF, as with every other contender"

// rows lists them in the order of reports.
func rows() []*row {
	list := []*row{
		{thing: oneStream, who: dr, of: dnat, floor: 0.45, aim: 0.6},
		{thing: oneStream, who: dr, of: haproxy, floor: 1.2, aim: 1.6},
		{thing: oneStream, who: nat, of: dnat, floor: 0.35, aim: 0.5},
		{thing: oneStream, who: nat, of: haproxy, floor: 1.0, aim: 1.3},
		{thing: oneStream, who: tun, of: dnat, floor: 0.25, aim: 0.4, note: tunNote},
		{thing: eightStreams, who: dr, of: dnat, floor: 0.45, aim: 0.6},
		{thing: eightStreams, who: dr, of: haproxy, floor: 1.2, aim: 1.6},
		{thing: eightStreams, who: nat, of: dnat, floor: 0.35, aim: 0.5},
		{thing: eightStreams, who: nat, of: haproxy, floor: 1.0, aim: 1.3},
		{thing: requests, who: dr, of: dnat, floor: 1.0, aim: 1.1},
		{thing: requests, who: dr, of: haproxy, floor: 1.2, aim: 1.5},
		{thing: requests, who: nat, of: dnat},
		{thing: requests, who: nat, of: haproxy},
		{thing: connections, who: dr, of: dnat, floor: 0.9, aim: 1.1},
		{thing: connections, who: dr, of: haproxy, floor: 1.2, aim: 1.5},
		{thing: connections, who: nat, of: dnat},
		{thing: connections, who: nat, of: haproxy},
		{thing: eightStreams, who: dr2, of: dnat},
		{thing: eightStreams, who: dr2, of: haproxy},
		{thing: requests, who: dr2, of: haproxy},
		{thing: connections, who: dr2, of: haproxy},
		{thing: roundTrip, who: dr, of: dnat, floor: 1.4, aim: 1.2},
		{thing: roundTrip, who: nat, of: dnat},
		{thing: idle, who: dr, floor: 1, aim: 0.2},
	}
	for _, thing := range []string{median, p99, p999} {
		list = append(list, &row{thing: thing, who: dr, of: dnat}, &row{thing: thing, who: dr, of: haproxy})
	}
	for _, thing := range []string{oneStream, eightStreams, requests, connections, roundTrip} {
		for _, who := range []string{noDirector, haproxy, nginx} {
			list = append(list, &row{thing: thing, who: who, of: dnat})
		}
	}
	return list
}

// units are those of the things, and which way they improve.
var units = map[string]struct {
	unit   string
	better bench.Better
}{
	oneStream: {"Gbit/s", bench.Higher}, eightStreams: {"Gbit/s", bench.Higher},
	requests: {"requests/s", bench.Higher}, connections: {"connections/s", bench.Higher},
	roundTrip: {"us", bench.Lower}, median: {"us", bench.Lower}, p99: {"us", bench.Lower}, p999: {"us", bench.Lower},
	idle: {"% of a core", bench.Lower},
}

// figure is what is reported of a row.
func (r *row) figure() bench.Figure {
	u := units[r.thing]
	f := bench.Figure{
		Group: group, Name: r.thing + ", " + r.who, Unit: u.unit, Better: u.better, Of: r.of,
		Floor: target(r.floor), Aim: target(r.aim), Rounds: r.rounds, Note: r.note,
	}
	if r.of != "" && r.of != dnat {
		f.Name += " beside " + r.of
	}
	return f
}

func target(v float64) *float64 {
	if v == 0 {
		return nil
	}
	return &v
}
