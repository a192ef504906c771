package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"usvs/wire"
)

// traced is how many frames a scene's trace covers: a few connections.
const traced = 100

// event is what the director's trace says of one frame: how it came, and every
// frame that left because of it.
type event struct {
	Before []byte
	After  []struct {
		Host bool // handed to the director's own machine
		Data []byte
	}
}

// passage is one packet as it came to the director and as it left.
type passage struct {
	before, after []byte
}

// parseTrace reads the director's trace, one JSON object per line. A last line
// that is not finished yet is left out.
func parseTrace(text string) ([]event, error) {
	var events []event
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") || !strings.HasPrefix(line, "{") {
			continue
		}
		var ev event
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			return nil, fmt.Errorf("trace: %w", err)
		}
		events = append(events, ev)
	}
	return events, nil
}

// tcpSegment parses the TCP segment a frame carries, if need be inside a tunnel.
func tcpSegment(frame []byte) (p wire.Packet, ok bool) {
	if p.Parse(frame, wire.Ethernet) != wire.None {
		return p, false
	}
	if inner, is := unwrap(&p); is {
		p = inner
	}
	return p, p.Proto == wire.ProtoTCP && p.Full
}

// firstSYN finds the first packet a client sent to the VIP, and what became of
// it. It may have left later than it came, when the next hop's MAC was unknown.
func firstSYN(events []event, vip netip.AddrPort) (passage, bool) {
	for i, ev := range events {
		p, ok := tcpSegment(ev.Before)
		if !ok || p.TCPFlags&(wire.FlagSYN|wire.FlagACK) != wire.FlagSYN ||
			netip.AddrPortFrom(p.Dst, p.DstPort) != vip {
			continue
		}
		after, ok := emitted(events[i:], func(q *wire.Packet) bool {
			return q.TCPFlags&(wire.FlagSYN|wire.FlagACK) == wire.FlagSYN && q.Src == p.Src && q.SrcPort == p.SrcPort
		})
		return passage{ev.Before, after}, ok
	}
	return passage{}, false
}

// firstAnswer finds the real server's answer to syn, and what became of it.
func firstAnswer(events []event, syn passage) (passage, bool) {
	asked, ok := tcpSegment(syn.after)
	if !ok {
		return passage{}, false
	}
	answers := func(q *wire.Packet) bool {
		return q.TCPFlags&(wire.FlagSYN|wire.FlagACK) == wire.FlagSYN|wire.FlagACK &&
			q.Dst == asked.Src && q.DstPort == asked.SrcPort
	}
	for i, ev := range events {
		if p, ok := tcpSegment(ev.Before); ok && answers(&p) {
			after, ok := emitted(events[i:], answers)
			return passage{ev.Before, after}, ok
		}
	}
	return passage{}, false
}

// emitted finds the first frame sent that carries a segment accepted by want.
func emitted(events []event, want func(*wire.Packet) bool) ([]byte, bool) {
	for _, ev := range events {
		for _, out := range ev.After {
			if p, ok := tcpSegment(out.Data); ok && !out.Host && want(&p) {
				return out.Data, true
			}
		}
	}
	return nil, false
}

// answersSeen counts the TCP segments the director saw from port 80 of anybody.
func answersSeen(events []event, port uint16) (segments, answers int) {
	for _, ev := range events {
		if p, ok := tcpSegment(ev.Before); ok {
			segments++
			if p.SrcPort == port {
				answers++
			}
		}
	}
	return segments, answers
}

// checkForwarded verifies that syn was changed as the scene's forwarding method
// changes a packet, and in nothing else.
func (s *scene) checkForwarded(syn passage) error {
	came, ok1 := tcpSegment(syn.before)
	left, ok2 := tcpSegment(syn.after)
	if !ok1 || !ok2 {
		return errors.New("the traced packet is no TCP segment")
	}
	to := netip.AddrPortFrom(left.Dst, left.DstPort)
	tunnelled := isTunnelled(syn.after)
	switch {
	case left.Src != came.Src || left.SrcPort != came.SrcPort:
		return fmt.Errorf("the packet left with another source, %v:%d", left.Src, left.SrcPort)
	case tunnelled != (s.flag == "-i"):
		return fmt.Errorf("the packet left tunnelled: %v", tunnelled)
	case s.flag == "-m" && !s.isServer(to):
		return fmt.Errorf("the packet left for %v, which is no real server", to)
	case s.flag != "-m" && to != s.vip:
		return fmt.Errorf("the packet left for %v instead of the VIP", to)
	case bytes.Equal(syn.before[:wire.EthernetLen], syn.after[:wire.EthernetLen]):
		return errors.New("the packet left with the MAC addresses it came with")
	}
	return nil
}

// checkAnswer verifies that a real server's answer left in the VIP's name.
func (s *scene) checkAnswer(answer passage) error {
	came, ok1 := tcpSegment(answer.before)
	left, ok2 := tcpSegment(answer.after)
	if !ok1 || !ok2 {
		return errors.New("the traced answer is no TCP segment")
	}
	if from := netip.AddrPortFrom(came.Src, came.SrcPort); !s.isServer(from) {
		return fmt.Errorf("the answer came from %v, which is no real server", from)
	}
	if from := netip.AddrPortFrom(left.Src, left.SrcPort); from != s.vip {
		return fmt.Errorf("the answer left from %v instead of the VIP", from)
	}
	return nil
}

func (s *scene) isServer(a netip.AddrPort) bool {
	for _, rs := range s.servers {
		if rs.addr() == a.Addr() && a.Port() == s.vip.Port() {
			return true
		}
	}
	return false
}

func isTunnelled(frame []byte) bool {
	var p wire.Packet
	if p.Parse(frame, wire.Ethernet) != wire.None {
		return false
	}
	_, ok := unwrap(&p)
	return ok
}
