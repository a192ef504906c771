package plan

import (
	"fmt"
	"net/netip"

	"usvs/explain"
	"usvs/wire"
)

// maxFlows bounds what is remembered of a capture, and examples are shown.
const (
	maxFlows = 100_000
	examples = 5
)

// Flows are the clients of a capture, each with its first packet tried on both
// configurations in the order of the capture.
type Flows struct {
	Same      int      `json:"same"`      // the same server
	Moved     int      `json:"moved"`     // another one
	Lost      int      `json:"lost"`      // were served, and are not any more
	Gained    int      `json:"gained"`    // the reverse
	Unserved  int      `json:"unserved"`  // by neither
	Truncated bool     `json:"truncated"` // there were more
	Examples  []string `json:"examples"`  // of those that moved or are lost
}

// Player tries the clients of a capture on two directors.
type Player struct {
	flows         Flows
	before, after *explain.Bench
	seen          map[flow]bool
	packet        wire.Packet
}

// flow is a client's connection.
type flow struct {
	proto    uint8
	src, dst netip.AddrPort
}

// NewPlayer returns a Player for two directors, whose rules are the two
// configurations.
func NewPlayer(before, after *explain.Bench) *Player {
	return &Player{before: before, after: after, seen: map[flow]bool{}, flows: Flows{Examples: []string{}}}
}

// Frame takes a frame of the capture. All but the first packets of flows are
// passed over.
func (p *Player) Frame(data []byte, m wire.Medium) error {
	f, ok := p.first(data, m)
	if !ok {
		return nil
	}
	if len(p.seen) == maxFlows {
		p.flows.Truncated = true
		return nil
	}
	p.seen[f] = true
	before, err := p.before.ExplainFrame(append([]byte(nil), data...), m, "")
	if err != nil {
		return err
	}
	after, err := p.after.ExplainFrame(data, m, "")
	if err != nil {
		return err
	}
	p.count(f, before.Server, after.Server)
	return nil
}

// first reports whether a frame begins a flow that was not seen before.
func (p *Player) first(data []byte, m wire.Medium) (f flow, ok bool) {
	pk := &p.packet
	if pk.Parse(data, m) != wire.None || pk.Version == 0 || pk.Fragment || !pk.Ports {
		return f, false
	}
	if pk.Proto == wire.ProtoTCP && pk.TCPFlags&(wire.FlagSYN|wire.FlagACK) != wire.FlagSYN {
		return f, false
	}
	f = flow{pk.Proto, netip.AddrPortFrom(pk.Src, pk.SrcPort), netip.AddrPortFrom(pk.Dst, pk.DstPort)}
	return f, !p.seen[f]
}

func (p *Player) count(f flow, before, after string) {
	switch {
	case before == "" && after == "":
		p.flows.Unserved++
		return
	case before == "":
		p.flows.Gained++
		return
	case before == after:
		p.flows.Same++
		return
	case after == "":
		p.flows.Lost++
		after = "nobody"
	default:
		p.flows.Moved++
	}
	if len(p.flows.Examples) < examples {
		p.flows.Examples = append(p.flows.Examples, fmt.Sprintf("%v > %v: %s, then %s", f.src, f.dst, before, after))
	}
}

// Played adds what the player saw to the plan.
func (p *Plan) Played(from *Player) { p.Flows = &from.flows }
