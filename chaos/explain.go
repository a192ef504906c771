package chaos

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"usvs/keepalived"
)

// explain says why a rule broke, as far as it can be known, and which lines of
// the configurations have to do with it.
func (j *judge) explain(v *Violation) {
	switch v.Rule {
	case OneMaster:
		j.explainMasters(v)
	case Reachable:
		j.explainUnreachable(v)
	case Bystander:
		j.explainBystander(v)
	case DeadServer:
		j.explainDeadServer(v)
	case Flapping:
		v.Because = "the log around that time tells what it saw: " + j.lastWords(v.At)
	case Kept:
		j.explainLost(v)
	}
	var seen []keepalived.Pos
	for _, at := range v.Where {
		if at.Line > 0 && !slices.Contains(seen, at) {
			seen = append(seen, at)
		}
	}
	v.Where = seen
}

// explainLost says why a connection was not known to who took over.
func (j *judge) explainLost(v *Violation) {
	s := j.lab.Services[v.service]
	master := j.master(s, v.At)
	for _, f := range j.h.Schedule {
		if master < 0 || f.Kind != Crash || f.Node != j.lab.Directors[master].Name || f.End() > v.At {
			continue
		}
		v.Cause = "preempt"
		v.Because = fmt.Sprintf("%s started anew at %s and became MASTER again before the other had told it of the connection: that is done every so many packets. preempt_delay gives it time, nopreempt leaves the other MASTER", f.Node, seconds(f.End()))
		m := s.router().Members[master]
		v.Where = []keepalived.Pos{m.Priority.At, j.lab.Directors[master].Config.Global.LVSSyncDaemon.At}
		return
	}
	v.Because = "the director that took over did not know the connection, or sent it elsewhere; compare the two lvs_sync_daemon lines, and the real servers of both files"
	for _, d := range j.lab.Directors {
		v.Where = append(v.Where, d.Config.Global.LVSSyncDaemon.At)
	}
}

// complaint is what a director logs about adverts that it drops, and which
// keyword is to blame.
type complaint struct {
	logged  []string
	keyword string
	secret  bool // the value is nobody's business
	where   func(*keepalived.Instance) (value string, at keepalived.Pos)
}

var complaints = []complaint{
	{[]string{"advertisement interval mismatch"}, "advert_int", false, func(i *keepalived.Instance) (string, keepalived.Pos) {
		return i.AdvertInterval.V.String(), i.AdvertInterval.At
	}},
	{[]string{"wrong version", "vrrp packet too"}, "version", false, func(i *keepalived.Instance) (string, keepalived.Pos) {
		return fmt.Sprint(i.Version.V), i.Version.At
	}},
	{[]string{"invalid passwd", "invalid IPSEC HMAC"}, "auth_pass", true, func(i *keepalived.Instance) (string, keepalived.Pos) {
		return i.AuthPass.V, i.AuthPass.At
	}},
	{[]string{" auth, expecting", "No AH header", "AH header but auth type"}, "auth_type", false, func(i *keepalived.Instance) (string, keepalived.Pos) {
		if i.AuthType.V == "" {
			return "none", i.At
		}
		return i.AuthType.V, i.AuthType.At
	}},
	{[]string{"unexpected ip number count", "not present in MASTER advert", "vrrp packet too"}, "virtual_ipaddress", false, func(i *keepalived.Instance) (string, keepalived.Pos) {
		var list []string
		at := i.At
		for _, a := range i.VirtualAddresses {
			list, at = append(list, a.Prefix.Addr().String()), a.At
		}
		return strings.Join(list, " "), at
	}},
	{[]string{"unicast packet but received multicast", "multicast packet on unicast", "not a unicast peer"}, "unicast_peer", false, func(i *keepalived.Instance) (string, keepalived.Pos) {
		if len(i.UnicastPeers) == 0 {
			return "none", i.At
		}
		return i.UnicastPeers[0].Addr.String(), i.UnicastPeers[0].At
	}},
}

// explainMasters asks the directors' logs: keepalived says why it drops an advert.
func (j *judge) explainMasters(v *Violation) {
	r := j.lab.Routers[v.router]
	if !r.pair() {
		v.Cause = "virtual_router_id"
		v.Because = "they are not one virtual router: virtual_router_id differs, but a virtual address is the same"
		for _, other := range j.lab.Routers {
			v.Where = append(v.Where, vridLines(other)...)
		}
		return
	}
	for _, c := range complaints {
		if line, ok := j.logged(c.logged, v.At+v.For); ok && c.differs(r) {
			v.Cause = c.keyword
			v.Because = fmt.Sprintf("each drops the other's adverts, because %s differs:%s; the log says: %s", c.keyword, j.values(v, r, c), line)
			return
		}
	}
	for _, f := range j.h.Schedule {
		if f.Kind == NoMulticast && f.during(v.At, v.At+v.For) {
			v.Cause = "multicast"
			v.Because = "the network carries no multicast, so that neither heard the other's adverts to 224.0.0.18, though they reach each other: name the other in unicast_peer"
			if r.V6 {
				v.Because = strings.Replace(v.Because, "224.0.0.18", "ff02::12", 1)
			}
			v.Where = instanceLines(r)
			return
		}
	}
	if at := j.strayPeers(r); len(at) > 0 {
		v.Cause = "unicast_peer"
		v.Because = "unicast_peer does not name the other director's address, so that adverts go to nobody"
		v.Where = at
		return
	}
	v.Because = "the log around that time: " + j.lastWords(v.At+v.For)
	v.Where = instanceLines(r)
}

// differs reports whether the members have not the same value.
func (c complaint) differs(r *VirtualRouter) bool {
	first, _ := c.where(r.Members[0])
	second, _ := c.where(r.Members[1])
	return first != second
}

// logged finds the first line of a director's log with one of several texts.
func (j *judge) logged(texts []string, until time.Duration) (string, bool) {
	for _, line := range j.h.Log {
		if line.At > until || j.lab.Director(line.Who) == nil {
			continue
		}
		if slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(line.Text, t) }) {
			return fmt.Sprintf("%s: %s", line.Who, line.Text), true
		}
	}
	return "", false
}

// values tells what the members have for a keyword.
func (j *judge) values(v *Violation, r *VirtualRouter, c complaint) string {
	text := ""
	for i, m := range r.Members {
		if m == nil {
			continue
		}
		value, at := c.where(m)
		if at.Line == 0 {
			at = m.At
		}
		if c.secret {
			value = "its own"
		}
		text += fmt.Sprintf(" %s has %s (%v)", j.lab.Directors[i].Name, value, at)
		v.Where = append(v.Where, at)
	}
	return text
}

func instanceLines(r *VirtualRouter) []keepalived.Pos {
	var list []keepalived.Pos
	for _, m := range r.Members {
		if m != nil {
			list = append(list, m.At)
		}
	}
	return list
}

func vridLines(r *VirtualRouter) []keepalived.Pos {
	var list []keepalived.Pos
	for _, m := range r.Members {
		if m != nil {
			list = append(list, m.VirtualRouterID.At)
		}
	}
	return list
}

// strayPeers are the unicast peers that are not the other director.
func (j *judge) strayPeers(r *VirtualRouter) []keepalived.Pos {
	var list []keepalived.Pos
	for i, m := range r.Members {
		if m == nil {
			continue
		}
		for _, p := range m.UnicastPeers {
			other := j.lab.Directors[1-i].nicIn(r.Network)
			if !slices.ContainsFunc(other.Addrs, func(a netip.Prefix) bool { return a.Addr() == p.Addr }) {
				list = append(list, p.At)
			}
		}
	}
	return list
}

// lastWords is the last that a director said before a moment.
func (j *judge) lastWords(at time.Duration) string {
	text := "nothing"
	for _, line := range j.h.Log {
		if line.At <= at && j.lab.Director(line.Who) != nil && !line.announces() {
			text = fmt.Sprintf("%s %s: %s", seconds(line.At), line.Who, line.Text)
		}
	}
	return text
}

// explainUnreachable looks at who was master, and whom the neighbours believed.
func (j *judge) explainUnreachable(v *Violation) {
	s, at := j.lab.Services[v.service], v.request.At
	for _, explanation := range []func(*Violation, *Service, time.Duration) bool{
		j.notCarried, j.noMaster, j.twoMasters, j.staleNeighbour, j.splitMasters, j.notServed, j.wrongGateway,
	} {
		if explanation(v, s, at) {
			return
		}
	}
	v.Because = "the log around that time: " + j.lastWords(v.At)
	v.Where = append(v.Where, s.at)
}

// why says what kept an outage from ending, whether or not that is allowed; ""
// if there is nothing special about it.
func (j *judge) why(o Outage) string {
	v := &Violation{At: o.To, service: o.Service, request: j.failedIn(o)}
	if j.serverAtFault(v.request) {
		return fmt.Sprintf("%s had a fault, and was still given requests", v.request.Server)
	}
	at := v.request.At + v.request.Took
	for _, explanation := range []func(*Violation, *Service, time.Duration) bool{
		j.noMaster, j.twoMasters, j.staleNeighbour, j.splitMasters, j.notServed, j.wrongGateway, j.halfDeaf,
	} {
		if explanation(v, j.lab.Services[o.Service], at) {
			return v.Because
		}
	}
	return ""
}

// halfDeaf: the master is heard, but hears nothing, or the other way round.
func (j *judge) halfDeaf(v *Violation, s *Service, at time.Duration) bool {
	master := j.master(s, at)
	for _, f := range j.h.Schedule {
		if master < 0 || f.Node != j.lab.Directors[master].Name || !f.during(at, at) || f.Kind != CutIn && f.Kind != CutOut && f.Kind != Loss {
			continue
		}
		v.Because = fmt.Sprintf("%s was MASTER while it had that fault, and the other director heard its adverts: VRRP knows no way out of this; a track_script that asks the gateway would", f.Node)
		return true
	}
	return false
}

// master is the director that has a service's address at a moment, or -1.
func (j *judge) master(s *Service, at time.Duration) int {
	for i, on := range s.On {
		if on == nil || on.Router == nil {
			continue
		}
		if j.stateAt(i, j.router(on.Router), at) == Master {
			return i
		}
	}
	return -1
}

// stateAt is a director's state at a moment; one that stands still is in none.
func (j *judge) stateAt(director, router int, at time.Duration) State {
	still := j.when(func(f Fault) bool { return f.Kind == Pause && f.Node == j.lab.Directors[director].Name })
	if still.has(at) {
		return Off
	}
	return j.h.stateAt(director, router, at)
}

func (j *judge) router(r *VirtualRouter) int { return slices.Index(j.lab.Routers, r) }

// notCarried: every director has the address all the time, whoever is master.
func (j *judge) notCarried(v *Violation, s *Service, _ time.Duration) bool {
	if s.router() != nil || len(j.lab.Routers) == 0 {
		return false
	}
	v.Cause = "virtual_ipaddress"
	v.Because = fmt.Sprintf("no vrrp_instance has %v in its virtual_ipaddress, so that every director answers for it all the time, and nothing is announced when one of them fails", s.VIP.Addr())
	v.Where = []keepalived.Pos{s.at}
	return true
}

func (j *judge) noMaster(v *Violation, s *Service, at time.Duration) bool {
	r := s.router()
	if r == nil || j.master(s, at) >= 0 {
		return false
	}
	var states []string
	for i, d := range j.lab.Directors {
		states = append(states, fmt.Sprintf("%s was %s", d.Name, j.stateAt(i, j.router(r), at)))
	}
	v.Cause = "no master"
	v.Because = fmt.Sprintf("no director was MASTER of %s: %s", r.Name(), strings.Join(states, ", "))
	if line, ok := j.logged([]string{"FAULT"}, at); ok {
		v.Because += "; the log says: " + line
	}
	v.Where = instanceLines(r)
	return true
}

// router is the virtual router that carries a service's address, or nil.
func (s *Service) router() *VirtualRouter {
	for _, on := range s.On {
		if on != nil && on.Router != nil {
			return on.Router
		}
	}
	return nil
}

// twoMasters: connections move from one director to the other and back.
func (j *judge) twoMasters(v *Violation, s *Service, at time.Duration) bool {
	r := s.router()
	for i := range j.lab.Directors {
		if r == nil || j.stateAt(i, j.router(r), at) != Master {
			return false
		}
	}
	if len(j.lab.Directors) < 2 {
		return false
	}
	v.Cause = "two masters"
	v.Because = fmt.Sprintf("both directors were MASTER of %s, so that packets of one connection came now to one, now to the other", r.Name())
	v.Where = instanceLines(r)
	return true
}

// staleNeighbour: whoever gave the address up is still believed to have it.
func (j *judge) staleNeighbour(v *Violation, s *Service, at time.Duration) bool {
	master, to := j.master(s, at), v.request.To
	for i, d := range j.lab.Directors {
		if master < 0 || to == "" || d.Name == to && j.stateAt(i, j.router(s.router()), at) == Master {
			return false
		}
	}
	v.Cause = "garp_master_refresh"
	v.Because = fmt.Sprintf("the router still sent to %s, which is not MASTER; %s was MASTER all the time, so it announced nothing when the two met again: garp_master_refresh would have", to, j.lab.Directors[master].Name)
	for _, m := range s.router().Members {
		if m != nil && m.GARP.Refresh.V == 0 {
			v.Where = append(v.Where, m.At)
		}
	}
	return true
}

// splitMasters: the address of the clients' side is at one director, that of the
// servers' side at the other.
func (j *judge) splitMasters(v *Violation, s *Service, at time.Duration) bool {
	master := j.master(s, at)
	if master < 0 {
		return false
	}
	for i, r := range j.lab.Routers {
		if r == s.router() || r.Members[master] == nil || j.stateAt(master, i, at) == Master {
			continue
		}
		v.Cause = "vrrp_sync_group"
		v.Because = fmt.Sprintf("%s was MASTER of %s, but not of %s", j.lab.Directors[master].Name, s.router().Name(), r.Name())
		v.Where = append(instanceLines(s.router()), instanceLines(r)...)
		if r.Members[master].SyncGroup == nil || r.Members[master].SyncGroup != s.router().Members[master].SyncGroup {
			v.Because += ": a vrrp_sync_group would keep them together"
		}
		return true
	}
	return false
}

// notServed: the director that is master does not have the service.
func (j *judge) notServed(v *Violation, s *Service, at time.Duration) bool {
	r := s.router()
	if r == nil {
		return false
	}
	for i, d := range j.lab.Directors {
		if s.On[i] == nil && r.Members[i] != nil && j.stateAt(i, j.router(r), at) == Master {
			v.Cause = "virtual_server"
			v.Because = fmt.Sprintf("%s was MASTER, but %s has no virtual_server %v", d.Name, d.File, s.VIP)
			v.Where = []keepalived.Pos{s.at, r.Members[i].At}
			return true
		}
	}
	return false
}

// wrongGateway: answers through NAT go to a director that is not master.
func (j *judge) wrongGateway(v *Violation, s *Service, at time.Duration) bool {
	rs := j.lab.Server(v.request.Server)
	if rs == nil || !rs.nat || len(j.lab.Directors) < 2 {
		return false
	}
	for i, d := range j.lab.Directors {
		own := slices.ContainsFunc(d.nicIn(rs.Network).Addrs, func(a netip.Prefix) bool { return a.Addr() == rs.Gateway })
		if own && i != j.master(s, at) {
			v.Cause = "gateway"
			v.Because = fmt.Sprintf("the answers of %s go to %v, an address of %s, which was not MASTER: give the servers' side a virtual address, in one vrrp_sync_group with the clients'", rs.Name, rs.Gateway, d.Name)
			v.Where = instanceLines(s.router())
			return true
		}
	}
	return false
}

// explainBystander says how a backup took a service away.
func (j *judge) explainBystander(v *Violation) {
	s := j.lab.Services[v.service]
	r := s.router()
	if r == nil {
		v.Because = "the log around that time: " + j.lastWords(v.At)
		return
	}
	for i, m := range r.Members {
		other := j.stateAt(1-i, j.router(r), v.At)
		if m == nil || j.stateAt(i, j.router(r), v.At) != Master || other == Master {
			continue
		}
		d, o := j.lab.Directors[i].Name, j.lab.Directors[1-i].Name
		v.Cause = "deaf"
		v.Because = fmt.Sprintf("%s heard no adverts and became MASTER; %s heard it, with its higher priority %d, and gave way", d, o, m.Priority.V)
		v.Where = []keepalived.Pos{m.Priority.At}
		if m.PreemptDelay.V > 0 {
			v.Cause = "preempt_delay"
			v.Because += fmt.Sprintf(". preempt_delay makes %s wait only while it hears a master; with a track_script that asks the gateway it would be in FAULT instead", d)
			v.Where = append(v.Where, m.PreemptDelay.At)
		}
		if m.NoPreempt.V {
			v.Cause = "nopreempt"
			v.Because += fmt.Sprintf(". nopreempt keeps %s from taking over only from a master that it hears; with a track_script that asks the gateway it would be in FAULT instead", d)
			v.Where = append(v.Where, m.NoPreempt.At)
		}
		return
	}
	if line, ok := j.logged([]string{"already processed"}, v.At); ok {
		bystander := j.bystanderName(v.At)
		v.Cause = "auth_type AH"
		v.Because = fmt.Sprintf("%s, which heard nothing, was MASTER, too, and announced the addresses; the other dropped its adverts as repeated ones and so did not announce them again: what auth_type AH counts differs between the two; the log says: %s", bystander, line)
		v.Where = []keepalived.Pos{r.Members[0].AuthType.At, r.Members[1].AuthType.At}
		return
	}
	v.Cause = "two masters"
	v.Because = fmt.Sprintf("both were MASTER, and the router sent to %s", v.request.To)
	v.Where = instanceLines(r)
	if slices.ContainsFunc(r.Members, func(m *keepalived.Instance) bool { return m != nil && len(m.UnicastPeers) > 0 }) {
		v.Cause = "unicast_peer"
		v.Because += ", which announced the addresses but heard nothing, not even answers to ARP, and so could send the other no advert; garp_master_refresh would take them back"
	}
}

// bystanderName is the director that has a fault at a moment.
func (j *judge) bystanderName(at time.Duration) string {
	for _, f := range j.h.Schedule {
		if j.lab.Director(f.Node) != nil && f.during(at, at) {
			return f.Node
		}
	}
	return "the other one"
}

// explainDeadServer says why a server that is dead was given requests.
func (j *judge) explainDeadServer(v *Violation) {
	s := j.lab.Services[v.service]
	rs := j.configured(s, v)
	if rs == nil {
		v.Because = "the log around that time: " + j.lastWords(v.At)
		return
	}
	v.Where = []keepalived.Pos{rs.At}
	missing := slices.ContainsFunc(j.h.Schedule, func(f Fault) bool {
		return f.Kind == VIPMissing && f.Node == v.server && f.during(v.At, v.At)
	})
	persistent := slices.ContainsFunc(s.On, func(on *Backing) bool { return on != nil && on.Config.Persistence.V > 0 })
	switch {
	case len(rs.Checkers) == 0:
		v.Cause = "no check"
		v.Because = fmt.Sprintf("real_server %v has no check: it is given requests for ever", rs.RIP)
	case missing:
		v.Cause = "VIP on lo"
		v.Because = fmt.Sprintf("%s does not have %v on its lo; %s asks %v, which answers: check_path vip would go the way of the clients' packets", v.server, s.VIP.Addr(), rs.Checkers[0].Type, rs.Checkers[0].ConnectIP.V)
		v.Where = append(v.Where, rs.Checkers[0].At)
	case rs.Checkers[0].Type == "PING_CHECK":
		v.Cause = "PING_CHECK"
		v.Because = "PING_CHECK asks the machine, not the service"
		v.Where = append(v.Where, rs.Checkers[0].At)
	case rs.InhibitOnFailure.V && persistent:
		v.Cause = "inhibit_on_failure"
		v.Because = "inhibit_on_failure leaves the server in the table with weight 0, where persistence_timeout holds its clients: set net.ipv4.vs.expire_quiescent_template"
		v.Where = append(v.Where, rs.InhibitOnFailure.At)
	default:
		v.Because = "the log around that time: " + j.lastWords(v.At)
	}
}

// configured is the real_server of a violation, as the director that gave it the
// request has it.
func (j *judge) configured(s *Service, v *Violation) *keepalived.RealServer {
	machine := j.lab.Server(v.server)
	for i, on := range s.On {
		if on == nil || machine == nil || v.request.Via != "" && v.request.Via != j.lab.Directors[i].Name {
			continue
		}
		for _, rs := range on.Config.RealServers {
			if rs.RIP == machine.Addr.Addr() {
				return rs
			}
		}
	}
	return nil
}
