package frames

import (
	"fmt"
	"slices"

	"usvs/bench/lab"
)

// group is the suite's, in reports.
const group = "io"

// kind is what a contender is.
type kind int

const (
	kernelDNAT kind = iota
	kernelForward
	usvs
	bestUsvs // whichever of usvs's ways is the best in a round
)

// contender stands between the sender and the servers.
type contender struct {
	name   string
	kind   kind
	io     string     // usvs run --io
	method lab.Method // of usvs
	rival  bool       // the other program

	// threaded: a kernel thread receives where the scene pins receiving to a core.
	// Native XDP comes before receive packet steering.
	threaded bool

	napi string // usvs run --napi: it has the thread receive itself
}

// The peers.
var (
	dnat    = contender{name: "nft DNAT", kind: kernelDNAT}
	forward = contender{name: "ip_forward", kind: kernelForward}

	threadedDNAT = contender{name: "nft DNAT, threaded NAPI", kind: kernelDNAT, threaded: true}
)

// best is the best of ways.
var (
	best = contender{name: "best of auto, ring and xdp", kind: bestUsvs}
	ways = []contender{direct("auto"), direct("ring"), threaded("xdp", "xdp")}
)

func direct(io string) contender {
	return contender{name: io, kind: usvs, io: io, method: lab.DirectRoute}
}

// threaded is direct with another name.
func threaded(name, io string) contender {
	c := direct(io)
	c.name, c.threaded = name, true
	return c
}

// entry is a contender in a scene, and what it has to reach there.
type entry struct {
	contender
	of         contender // the peer
	floor, aim float64   // 0: none
	flood      [2]float64
}

// scene is one kind of load.
type scene struct {
	name    string
	plan    *lab.Plan
	pinned  bool
	flows   int
	size    int // of a frame, without its frame check sequence
	entries []entry
	full    bool // takes minutes
}

// receiving is who handles what a director receives.
func (sc *scene) receiving(c contender) lab.Receiving {
	if sc.pinned {
		return lab.Receiving{Core: lab.DirectorCore, Threaded: c.threaded, Own: c.napi != ""}
	}
	return lab.Receiving{Core: lab.AnyCore} // the sender's
}

// minFrame is the shortest Ethernet frame without its frame check sequence.
const minFrame = 60

// scenes lists them in the order of reports.
func scenes() []scene {
	list := []scene{
		directScene(1, true, [2]float64{}, [2]float64{}),
		directScene(1<<10, true, [2]float64{0.5, 0.7}, [2]float64{0.75, 0.95}),
		directScene(1<<15, true, [2]float64{0.85, 1.1}, [2]float64{1.15, 1.5}),
		directScene(1<<10, false, [2]float64{}, [2]float64{}),
		directScene(1<<15, false, [2]float64{}, [2]float64{}),
		otherMethods(),
		{
			name: "DR 64 B IPv6, 1k flows, pinned", plan: &lab.Plan6, pinned: true, flows: 1 << 10, size: 64,
			entries: []entry{{contender: direct("auto"), of: dnat}},
		},
		{
			name: "DR 1400 B, 1k flows, pinned", plan: &lab.Plan4, pinned: true, flows: 1 << 10, size: 1400,
			entries: []entry{{contender: direct("auto"), of: dnat}, {contender: ways[2], of: dnat}},
		},
	}
	million := directScene(1<<20, true, [2]float64{}, [2]float64{})
	million.full = true
	for i := range million.entries {
		million.entries[i].of = forward // conntrack's table is full long before
	}
	return append(list, million)
}

// directScene is DR of the smallest frames.
func directScene(flows int, pinned bool, auto, xdp [2]float64) scene {
	sc := scene{
		name: fmt.Sprintf("DR 64 B, %s, %s", count(flows), placement(pinned)),
		plan: &lab.Plan4, pinned: pinned, flows: flows, size: minFrame,
		entries: []entry{
			{contender: ways[0], of: dnat, floor: auto[0], aim: auto[1]},
			{contender: ways[1], of: dnat},
			{contender: ways[2], of: dnat, floor: xdp[0], aim: xdp[1], flood: [2]float64{0.8, 0.9}},
			{contender: forward, of: dnat},
		},
	}
	sc.entries[0].flood = [2]float64{0, 0.6}
	if pinned {
		own := entry{contender: threaded("auto, threaded NAPI", "auto"), of: dnat, flood: [2]float64{0, 0.6}}
		own.napi = "auto" // of the interfaces only one queues
		sc.entries = slices.Insert(sc.entries, 1, own)
		sc.entries = append(sc.entries, entry{contender: threadedDNAT, of: dnat})
	} else {
		sc.entries = append(sc.entries, entry{contender: best, of: dnat, floor: 1.1, aim: 1.5})
	}
	return sc
}

// otherMethods compares NAT and tunnelling with direct routing.
func otherMethods() scene {
	nat := contender{name: "NAT", kind: usvs, io: "auto", method: lab.Masquerade}
	tun := contender{name: "TUN", kind: usvs, io: "auto", method: lab.Tunnel}
	dr := contender{name: "DR", kind: usvs, io: "auto", method: lab.DirectRoute}
	return scene{
		name: "64 B, 1k flows, pinned", plan: &lab.Plan4, pinned: true, flows: 1 << 10, size: minFrame,
		entries: []entry{
			{contender: nat, of: dr, floor: 0.9, aim: 0.95},
			{contender: tun, of: dr, floor: 0.85, aim: 0.95},
		},
	}
}

func count(flows int) string {
	switch {
	case flows == 1:
		return "1 flow"
	case flows >= 1<<20:
		return fmt.Sprintf("%dM flows", flows>>20)
	case flows >= 1<<10:
		return fmt.Sprintf("%dk flows", flows>>10)
	}
	return fmt.Sprintf("%d flows", flows)
}

func placement(pinned bool) string {
	if pinned {
		return "pinned"
	}
	return "free"
}
