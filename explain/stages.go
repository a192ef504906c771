package explain

import (
	"fmt"
	"net/netip"
	"time"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/director"
	"usvs/dissect"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/marks"
	"usvs/route"
	"usvs/wire"
)

// recorder puts into words what a worker decides.
type recorder struct {
	b       *Bench
	port    int // where the frame came in
	stages  []Stage
	asked   bool // the scheduler is being asked
	servers []*ipvs.RealServer
}

func (r *recorder) begin(port int) { r.port, r.stages, r.asked = port, nil, false }

func (r *recorder) say(stage, format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if n := len(r.stages); n > 0 && r.stages[n-1].Name == stage {
		r.stages[n-1].Lines = append(r.stages[n-1].Lines, line)
		return
	}
	r.stages = append(r.stages, Stage{stage, []string{line}})
}

// Record hears of a decision.
func (r *recorder) Record(s director.Step) {
	switch s.Stage {
	case director.StageMark:
		r.mark(&s)
	case director.StageFragment:
		r.fragment(&s)
	case director.StageInput, director.StageOutput:
		r.address(&s)
	case director.StageConnection:
		r.connection(&s)
	case director.StageReuse:
		r.reuse(&s)
	case director.StageService:
		r.service(&s)
	case director.StageTemplate, director.StageStale:
		r.template(&s)
	case director.StageSchedule:
		r.schedule(&s)
	case director.StageScheduled:
		r.scheduled(&s)
	case director.StageOpen:
		r.open(&s)
	case director.StageBypass:
		r.bypass(&s)
	case director.StageDefence:
		r.defence(&s)
	case director.StageEngine:
		r.engine(&s)
	case director.StageExpect:
		r.expect(&s)
	case director.StageHelper:
		r.helper(&s)
	case director.StageRoute:
		r.route(&s)
	case director.StageMTU:
		r.mtu(&s)
	}
}

// maxRules bounds how many mark rules are tried one by one.
const maxRules = 1000

// mark tells which rule gave the packet its mark: the one from which on the
// rules together give another.
func (r *recorder) mark(s *director.Step) {
	snap := r.b.d.Snapshot()
	rules := snap.Marks4
	if s.Packet.Version == 6 {
		rules = snap.Marks6
	}
	if rules == nil {
		if s.Mark != 0 {
			r.say("mark", "%d, which it arrived with; there are no mark rules", s.Mark)
		}
		return
	}
	if s.Mark == 0 {
		r.say("mark", "none: none of the %d mark rules matches", rules.Len())
		return
	}
	r.say("mark", "%d%s", s.Mark, r.rule(rules, s))
}

func (r *recorder) rule(rules *marks.Ruleset, s *director.Step) string {
	if rules.Len() > maxRules {
		return ""
	}
	text, before := "", uint32(0)
	for n, command := range rules.Commands() {
		mark := rules.First(n+1).Mark(r.b.name(r.port), s.Packet, 0)
		if mark != before {
			text, before = fmt.Sprintf(", by rule %d: %s %s", n+1, rules.Family().Program(), command), mark
		}
	}
	return text
}

func (r *recorder) fragment(s *director.Step) {
	switch s.Fragment {
	case forward.Complete:
		r.say("fragment", "the last one that was missing: the datagram is whole")
	case forward.Kept:
		r.say("fragment", "kept until the rest of its datagram arrives")
	case forward.Alone:
		r.say("fragment", "no datagram can come of it: it is handled as it is")
	default:
		r.say("fragment", "dropped: it repeats or contradicts another, or exceeds a limit")
	}
}

func (r *recorder) address(s *director.Step) {
	switch p := s.Packet; {
	case s.Stage == director.StageOutput:
		r.say("address", "%v is not ours: perhaps a real server's answer to a client", p.Dst)
	case s.OK:
		r.say("address", "%v is taken because a service has mark %d", p.Dst, s.Mark)
	default:
		r.say("address", "%v is ours: a packet from a client", p.Dst)
	}
}

func (r *recorder) connection(s *director.Step) {
	p := s.Packet
	if s.Quoted != nil {
		r.say("quotes", "%s", dissect.Packet(s.Quoted))
		p = s.Quoted
	}
	if s.OK {
		r.say("connection", "%s", r.conn(s.Conn))
		return
	}
	r.say("connection", "none for %v %s > %s", ipvs.Protocol(p.Proto), netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort))
}

// conn is a connection or template with its ends, state and time.
func (r *recorder) conn(c *conntrack.Conn) string {
	s := fmt.Sprintf("%s, %s, %s", ends(c), c.StateName(), remaining(c, r.b.now))
	if c.Flags&conntrack.FlagOnePacket != 0 {
		return ends(c) + ", for this packet only (one-packet scheduling)"
	}
	if !c.Control.IsZero() {
		s += ", opened by a template"
	}
	return s
}

func ends(c *conntrack.Conn) string {
	if c.Method == ipvs.Bypass {
		return fmt.Sprintf("%v %s -> %s (Bypass)", c.Protocol, c.Client, virtual(c))
	}
	return fmt.Sprintf("%v %s -> %s -> %s (%v)", c.Protocol, c.Client, virtual(c), c.Real, c.Method)
}

// virtual is a connection's virtual end; a mark's template has the mark there.
func virtual(c *conntrack.Conn) string {
	if c.Template() && c.Protocol == ipvs.ProtoIP {
		return fmt.Sprintf("mark %d", c.Mark)
	}
	return c.Virtual.String()
}

func remaining(c *conntrack.Conn, now clock.Instant) string {
	return fmt.Sprintf("%v left", c.Expires.Sub(now).Round(time.Second))
}

func (r *recorder) reuse(s *director.Step) {
	why := fmt.Sprintf("it is in %s and the client begins anew (conn_reuse_mode %d)", s.Conn.StateName(), r.b.d.Snapshot().Sysctls.ConnReuseMode)
	if rs := s.Conn.Server; rs != nil && !rs.Available() {
		why = "its server was deleted (expire_nodest_conn 1)"
	} else if rs != nil && rs.Weight() == 0 && r.b.d.Snapshot().Sysctls.ExpireNodestConn != 0 {
		why = "its server has weight 0 (expire_nodest_conn 1)"
	}
	r.say("connection", "makes way for a new one: %s", why)
}

func (r *recorder) service(s *director.Step) {
	p := s.Packet
	if s.Quoted != nil {
		r.say("schedule", "an ICMP error about an unknown connection opens one (schedule_icmp 1)")
	}
	if s.Service == nil && s.Quoted != nil {
		r.say("service", "none for %v %s", ipvs.Protocol(s.Quoted.Proto), netip.AddrPortFrom(s.Quoted.Src, s.Quoted.SrcPort))
		return
	}
	if s.Service == nil {
		r.say("service", "none for %v %s", ipvs.Protocol(p.Proto), netip.AddrPortFrom(p.Dst, p.DstPort))
		return
	}
	spec := &s.Service.Spec
	text := fmt.Sprintf("%s, scheduler %s, %s", serviceName(s.Service.VS.ID), spec.Scheduler, servers(len(s.Service.Servers)))
	if spec.Flags&ipvs.FlagPersistent != 0 {
		text += fmt.Sprintf(", persistent for %d s", spec.Timeout)
	}
	if spec.Flags&ipvs.FlagOnePacket != 0 {
		text += ", one-packet scheduling"
	}
	r.say("service", "%s", text)
	if !s.OK {
		r.say("service", "but this packet opens no connection: %s", opener(p.Proto))
	}
}

func servers(n int) string {
	if n == 1 {
		return "1 server"
	}
	return fmt.Sprintf("%d servers", n)
}

func opener(proto uint8) string {
	if proto == wire.ProtoSCTP {
		return "only an INIT does (sloppy_sctp 0)"
	}
	return "only a SYN does (sloppy_tcp 0)"
}

func (r *recorder) template(s *director.Step) {
	switch {
	case s.Stage == director.StageStale && s.Conn.Server != nil && s.Conn.Server.Available():
		r.say("template", "not used any more: its server has weight 0 (expire_quiescent_template 1)")
	case s.Stage == director.StageStale:
		r.say("template", "not used any more: its server was deleted")
	case s.OK:
		r.say("template", "%s", r.conn(s.Conn))
	case s.Mark != 0 && s.Virtual.Port() == 0 && s.Virtual.Addr() != s.Packet.Dst:
		r.say("template", "none for %v to mark %d", s.Client.Addr(), s.Mark)
	default:
		r.say("template", "none for %v to %s", s.Client.Addr(), s.Virtual)
	}
}

// schedule shows the scheduler's arithmetic. The lines of the servers come
// after a mark that scheduled sets before the one that was chosen.
func (r *recorder) schedule(s *director.Step) {
	x, ok := s.Service.Picker.Explain(s.Request)
	if !ok {
		r.say("scheduler", "the service has none")
		return
	}
	r.say("scheduler", "%s: %s", s.Service.Spec.Scheduler, x.Rule)
	if x.State != "" {
		r.say("scheduler", "%s", x.State)
	}
	width := 0
	for _, f := range x.Figures {
		width = max(width, len(f.Server.ID.String()))
	}
	r.asked, r.servers = true, nil
	for _, f := range x.Figures {
		r.say("scheduler", "  %-*s  %s", width, f.Server.ID, f.Text)
		r.servers = append(r.servers, f.Server)
	}
}

func (r *recorder) scheduled(s *director.Step) {
	if !r.asked {
		return
	}
	r.asked = false
	lines := r.stages[len(r.stages)-1].Lines
	first := len(lines) - len(r.servers)
	for i, rs := range r.servers {
		if rs == s.Server {
			lines[first+i] = ">" + lines[first+i][1:]
		}
	}
	if s.Server == nil {
		r.say("scheduler", "nobody")
	} else {
		r.say("scheduler", "chosen: %v", s.Server.ID)
	}
}

func (r *recorder) open(s *director.Step) {
	switch {
	case s.OK && s.Conn.Flags&conntrack.FlagOnePacket != 0:
		r.say("connection", "%s", r.conn(s.Conn))
	case s.OK:
		r.say("connection", "new: %s", ends(s.Conn))
	default:
		r.say("connection", "cannot be opened to %v", s.Server.ID)
	}
}

// bypass tells of a connection past all servers.
func (r *recorder) bypass(s *director.Step) {
	if !s.OK {
		r.say("connection", "cannot be opened past the servers")
		return
	}
	r.say("connection", "new, past all servers (cache_bypass 1): %s", ends(s.Conn))
}

// defence tells of drop_packet.
func (r *recorder) defence(s *director.Step) {
	snap := r.b.d.Snapshot()
	said := "it is not this one's turn"
	if !s.OK {
		said = "it is this one's turn"
	}
	r.say("defence", "drop_packet %d drops one of %d packets that would open a connection: %s", snap.Sysctls.DropPacket, snap.DropRate, said)
}

func (r *recorder) route(s *director.Step) {
	to := s.Conn.Real.Addr()
	if s.Conn.Method == ipvs.Bypass {
		to = s.Packet.Dst
	}
	if s.Dir == conntrack.DirOut {
		to = s.Conn.Client.Addr()
	}
	hop := &s.Hop
	switch hop.Kind {
	case route.None:
		r.say("route", "none to %v", to)
	case route.Local:
		r.say("route", "%v is this host", to)
	case route.Foreign:
		r.say("route", "to %v by an interface the director does not run on", to)
	default:
		if r.b.source == nil {
			r.b.know(hop)
		}
		way := "directly"
		if hop.Via != to {
			way = fmt.Sprintf("by gateway %v", hop.Via)
		}
		r.say("route", "to %v on %s, %s%s", to, r.b.name(hop.Port), way, r.mac(hop))
	}
}

func (r *recorder) mac(hop *route.Hop) string {
	if ifs := r.b.d.Snapshot().Routes.Interfaces; hop.Port >= len(ifs) || ifs[hop.Port].Medium != wire.Ethernet {
		return ""
	}
	if mac, ok := r.b.d.Neighbours.Lookup(r.b.now, hop.Port, hop.Via); ok {
		return fmt.Sprintf(", MAC %v", mac)
	}
	return ", MAC not known yet"
}

func (r *recorder) mtu(s *director.Step) {
	n := forward.Length(&link.Frame{}, s.Packet)
	left := ""
	if s.Dir == conntrack.DirIn && s.Conn.Method == ipvs.Tunnel {
		left = ", which is what the outer header leaves"
	}
	switch {
	case n <= s.MTU:
		r.say("mtu", "%d bytes fit %d%s", n, s.MTU, left)
	case s.OK:
		r.say("mtu", "%d bytes exceed %d%s: it is cut into fragments", n, s.MTU, left)
	case s.Packet.Version == 6:
		r.say("mtu", "%d bytes exceed %d%s, and IPv6 packets are not cut on the way", n, s.MTU, left)
	default:
		r.say("mtu", "%d bytes exceed %d%s, and they must not be cut", n, s.MTU, left)
	}
}

// left says what left because of the frame: how its headers changed, and what
// else was sent.
func (b *Bench) left(medium wire.Medium) []Stage {
	var r recorder
	changed := 0
	if isFragment(b.ev.Before, medium) {
		changed = len(b.ev.After) - 1 // the last one arrived last
	}
	for i, e := range b.ev.After {
		m := b.medium(e.Port)
		where := "on " + b.name(e.Port)
		if e.Host {
			where = "to the host"
		}
		switch {
		case !b.onward():
			r.say("answer", "%s: %s", where, dissect.Line(e.Data, m))
			continue
		case i == changed:
			for _, c := range dissect.Diff(dissect.Fields(b.ev.Before, medium), dissect.Fields(e.Data, m)) {
				r.say("rewrite", "%s", change(&c))
			}
		}
		r.say("sent", "%s: %s", where, dissect.Line(e.Data, m))
	}
	return r.stages
}

func isFragment(frame []byte, m wire.Medium) bool {
	var p wire.Packet
	return p.Parse(frame, m) == wire.None && p.Fragment
}

// onward reports whether what left is the frame itself.
func (b *Bench) onward() bool {
	return b.ev.Reason == director.Forwarded || b.ev.Reason == director.Handed
}

func change(c *dissect.Change) string {
	name := c.Layer + " " + c.Name
	switch {
	case c.Before == "":
		return fmt.Sprintf("%-20s added: %s", name, c.After)
	case c.After == "":
		return fmt.Sprintf("%-20s gone, was %s", name, c.Before)
	}
	return fmt.Sprintf("%-20s %s -> %s", name, c.Before, c.After)
}
