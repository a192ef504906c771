package conntrack

import "usvs/ipvs"

// rules say at once what a packet does to a connection: by its event, its
// direction, and what a transition depends on of the control word. They follow
// from the state machines and the timeouts as these are set.
type rules [allEvents][dirs][1 << ruleBits]rule

const (
	dirs     = 2
	ruleBits = 6 // state 4, inactive 1, no output 1
)

// rule is the timeout that a packet gives a connection, as it stands beside an
// expiry, if it changes nothing else.
type rule uint16

const (
	ruleOdd   = rule(oddTimeout)
	ruleKeeps = 1<<16 - 2 // not even the timeout changes
	ruleMoves = 1<<16 - 1 // the state or a flag does
)

// of is the rule for a packet of a connection that is ctl. The event is one of the
// connection's protocol.
func (r *rules) of(ev Event, dir Dir, ctl control) rule {
	return r[ev%allEvents][dir%dirs][(ctl>>2<<4&0x30|ctl>>stateShift&15)%(1<<ruleBits)]
}

// renewRules makes the rules those of the present settings. Of several who change
// some at the same time the last one's see them all.
func (t *Table) renewRules() {
	for {
		old, is := t.rules.Load(), t.makeRules()
		step("rules: renew")
		if t.rules.CompareAndSwap(old, is) {
			return
		}
	}
}

func (t *Table) makeRules() *rules {
	r := new(rules)
	for ev := range Event(allEvents) {
		for _, dir := range []Dir{DirIn, DirOut} {
			for bits := range control(1 << ruleBits) {
				r[ev][dir][bits] = t.rule(ev, dir, bits>>4<<2|bits<<stateShift&stateMask)
			}
		}
	}
	return r
}

func (t *Table) rule(ev Event, dir Dir, ctl control) rule {
	proto := ev.protocol()
	switch {
	case ctl.transition(proto, dir, ev, t.secure.Load()) != ctl:
		return ruleMoves
	case ev == EventNone:
		return ruleKeeps
	}
	code, short := shortTimeout(t.timeout(proto, ctl.state(), 0))
	if !short {
		return ruleOdd
	}
	return rule(code)
}

// protocol is whose event it is. None of any is like one of TCP, which is the
// strictest: from a server it changes a flag.
func (ev Event) protocol() ipvs.Protocol {
	switch {
	case ev == EventUDP:
		return ipvs.UDP
	case ev >= firstSCTP:
		return ipvs.SCTP
	}
	return ipvs.TCP
}

// lasts reports whether a packet that follows the rule leaves entry i, which is
// ctl, and its timeout, which is beside x, as they are.
func (t *Table) lasts(r rule, i uint32, ev Event, ctl control, x expiry) bool {
	if r != ruleOdd {
		return r == ruleKeeps || r == rule(x&expiryTimeout)
	}
	return t.timeoutOf(i, x) == t.timeout(ev.protocol(), ctl.state(), 0)
}
