package chaos

import (
	"fmt"
	"slices"
	"time"

	"usvs/keepalived"
)

// Rule is what must hold.
type Rule string

// The rules.
const (
	// OneMaster: directors that hear each other, and that the network joins but
	// for multicast, are not both master longer than Bounds.Together.
	OneMaster Rule = "one master"
	// Reachable: a service answers, once the last fault began or ended longer
	// ago than the timers need, while a director and a server are sound.
	Reachable Rule = "reachable"
	// Bystander: what happens to a director that is backup and at rest takes
	// the service from nobody.
	Bystander Rule = "bystander"
	// DeadServer: no request goes to a server that is dead longer than its
	// checks need to find out.
	DeadServer Rule = "dead server"
	// Flapping: no director changes its state without a cause.
	Flapping Rule = "no flapping"
	// Kept: with lvs_sync_daemon, connections outlive a failover.
	Kept Rule = "connections kept"
)

// Rules lists all.
func Rules() []Rule { return []Rule{OneMaster, Reachable, Bystander, DeadServer, Flapping, Kept} }

// Violation is a rule that did not hold.
type Violation struct {
	Rule    Rule             `json:"rule"`
	At      time.Duration    `json:"at"`
	For     time.Duration    `json:"for"`
	Text    string           `json:"text"`
	Cause   string           `json:"cause"`           // the same for what is the same mistake
	Because string           `json:"because"`         // why, as far as it can be known
	Where   []keepalived.Pos `json:"where,omitempty"` // the lines to look at

	service int // index of Lab.Services, or -1
	router  int // index of Lab.Routers, or -1
	server  string
	request Request // that failed
}

// Judge holds a history against the bounds. It returns the first violation of
// each rule, in the order of Rules, explained.
func Judge(l *Lab, b Bounds, h *History) []Violation {
	j := &judge{l, b, h}
	var list []Violation
	for _, rule := range []func() *Violation{j.oneMaster, j.reachable, j.bystander, j.deadServer, j.flapping, j.kept} {
		if v := rule(); v != nil {
			j.explain(v)
			list = append(list, *v)
		}
	}
	return list
}

type judge struct {
	lab    *Lab
	bounds Bounds
	h      *History
}

// oneMaster looks for two masters that might know better: of one virtual router,
// or of two that have an address in common.
func (j *judge) oneMaster() *Violation {
	for i, r := range j.lab.Routers {
		for k, o := range j.lab.Routers {
			if len(j.lab.Directors) < 2 || !contend(r.Members[0], o.Members[1]) {
				continue
			}
			both := j.h.states(0, i, Master).and(j.h.states(1, k, Master))
			both = both.without(j.apart(r).longer(j.skewed(j.bounds.Together)))
			for _, s := range both {
				if s.length() > j.skewed(j.bounds.Together) {
					return &Violation{Rule: OneMaster, At: s.from, For: s.length(), service: -1, router: i,
						Text: fmt.Sprintf("%s and %s were both MASTER of %s for %s, though the network joined them", j.lab.Directors[0].Name, j.lab.Directors[1].Name, r.Name(), seconds(s.length()))}
				}
			}
		}
	}
	return nil
}

// contend reports whether only one of two instances may be master.
func contend(a, b *keepalived.Instance) bool {
	return a != nil && b != nil && (sameRouter(a, b) ||
		slices.ContainsFunc(a.VirtualAddresses, func(x keepalived.Address) bool { return carries(b, x.Prefix.Addr()) }))
}

// skewed allows for clocks that run wrong.
func (j *judge) skewed(d time.Duration) time.Duration { return d + d/8 }

// apart is when two directors cannot hear each other, because one does not run
// or by a fault of the network. One that carries all but multicast joins them.
func (j *judge) apart(r *VirtualRouter) spans {
	return j.when(func(f Fault) bool {
		switch f.Kind {
		case Pause, Crash:
			return true
		case Cut, CutIn, CutOut, Down, Loss:
			d := j.lab.Director(f.Node)
			return d.NIC(f.NIC).Network == r.Network
		}
		return false
	})
}

// when is the time of the faults that fit.
func (j *judge) when(fits func(Fault) bool) spans {
	var list []span
	for _, f := range j.h.Schedule {
		if fits(f) {
			list = append(list, span{f.At, f.End()})
		}
	}
	return joinedSpans(list)
}

// reachable looks for requests that failed though nothing was wrong any more.
func (j *judge) reachable() *Violation {
	for i, s := range j.lab.Services {
		promised := j.promised(i, s)
		for _, r := range j.h.Requests {
			if r.Service != i || r.Outcome == OK || j.serverAtFault(r) || !within(promised, r.At, r.At+r.Took) {
				continue
			}
			o := j.outageAt(i, r.At)
			return &Violation{Rule: Reachable, At: r.At, For: o.Length(), service: i, router: -1, request: r,
				Text: fmt.Sprintf("%v did not answer at %s (%s), though every timer had run out; the outage was from %s to %s", s, seconds(r.At), r.Outcome, seconds(o.From), seconds(o.To))}
		}
	}
	return nil
}

func within(list spans, from, to time.Duration) bool {
	return slices.ContainsFunc(list, func(s span) bool { return s.from <= from && to <= s.to })
}

func (j *judge) outageAt(service int, at time.Duration) Outage {
	for _, o := range j.h.Outages() {
		if o.Service == service && o.From <= at && at <= o.To {
			return o
		}
	}
	return Outage{Service: service, From: at, To: at}
}

// promised is when a service has to answer.
func (j *judge) promised(service int, s *Service) spans {
	all := spans{{j.bounds.Ready, j.h.End}}
	return all.without(j.unsettled()).without(j.unpromising()).without(j.noDirector(service)).without(j.noServer(s))
}

// unsettled is the time that the timers need after each change at a director or
// a network.
func (j *judge) unsettled() spans {
	var list []span
	for _, f := range j.h.Schedule {
		if f.Kind.info().at == atServer {
			continue
		}
		begin := j.skewed(j.bounds.Elect + j.bounds.Together)
		list = append(list, span{f.At, f.At + begin})
		end := begin + j.bounds.Announce
		if f.Kind == Crash || f.Kind == Pause {
			end += j.skewed(j.restarted())
		}
		list = append(list, span{f.End(), f.End() + end})
	}
	return joinedSpans(list)
}

// restarted is how long a director that started does not know its servers:
// until their checks have asked them once.
func (j *judge) restarted() time.Duration {
	d := time.Duration(0)
	for _, s := range j.bounds.Servers {
		d = max(d, s.Dead)
	}
	return d
}

// unpromising is when VRRP promises nothing: while a director hears and is not
// heard, or the other way round, or by chance; or while one of its networks is
// cut and another is not.
func (j *judge) unpromising() spans {
	return j.when(func(f Fault) bool {
		switch f.Kind {
		case CutIn, CutOut, Loss, NoMulticast:
			return true
		case Cut:
			return len(j.lab.Director(f.Node).NICs) > 1
		}
		return false
	})
}

// noDirector is when no director that has the service is sound.
func (j *judge) noDirector(service int) spans {
	unsound := spans{{0, j.h.End}}
	for i, d := range j.lab.Directors {
		if j.lab.Services[service].On[i] == nil {
			continue
		}
		unsound = unsound.and(j.when(func(f Fault) bool { return f.Node == d.Name && j.disables(f) }))
	}
	return unsound.longer(j.skewed(j.bounds.Elect + j.bounds.Together + j.bounds.Announce + j.restarted()))
}

// disables reports whether a director with such a fault cannot serve.
func (j *judge) disables(f Fault) bool {
	switch f.Kind {
	case Cut, CutIn, CutOut, Down, Pause, Crash:
		return true
	}
	return false
}

// noServer is when all servers of a service have a fault, or had one so lately
// that their checks may not have found them well again.
func (j *judge) noServer(s *Service) spans {
	out := spans{{0, j.h.End}}
	for _, rs := range s.Servers {
		b := j.bounds.Servers[rs.Name]
		out = out.and(j.when(func(f Fault) bool { return f.Node == rs.Name }).longer(j.skewed(b.Restore)))
	}
	return out
}

// serverAtFault reports whether a request failed because of its server: one
// that has or lately had a fault. A request that nobody knows the server of is
// none's.
func (j *judge) serverAtFault(r Request) bool {
	if r.Server == "" {
		return false
	}
	faulty := j.when(func(f Fault) bool { return f.Node == r.Server }).longer(margin)
	return faulty.touches(r.At, r.At+r.Took)
}

// bystander looks for outages while the only thing wrong is with a backup.
func (j *judge) bystander() *Violation {
	for _, f := range j.h.Schedule {
		master, ok := j.besides(f)
		if !ok {
			continue
		}
		from := f.At + j.skewed(j.bounds.Elect+j.bounds.Together)
		for _, o := range j.h.Outages() {
			s := spans{{o.From, o.To}}.and(spans{{from, f.End()}}).without(j.noServer(j.lab.Services[o.Service]))
			if len(s) == 0 || s[0].length() <= j.stolen() || j.onlyServers(o) {
				continue
			}
			return &Violation{Rule: Bystander, At: s[0].from, For: s[0].length(), service: o.Service, router: -1, request: j.failedIn(Outage{Service: o.Service, From: o.From, To: s[0].from + seldom}),
				Text: fmt.Sprintf("%v did not answer for %s: %s was backup, and all that was wrong; %s was master, and sound", j.lab.Services[o.Service], seconds(s[0].length()), f.Node, j.lab.Directors[master].Name)}
		}
	}
	return nil
}

// stolen is how long neighbours may believe a second master: until the first one
// hears it or, at the latest, refreshes its announcements.
func (j *judge) stolen() time.Duration {
	if j.bounds.Announce == neighbours {
		return j.bounds.Together
	}
	return max(j.bounds.Together, j.bounds.Announce+margin)
}

// besides reports whether a fault is at a director that is backup everywhere
// and at rest, while the other is master and nothing else is wrong.
func (j *judge) besides(f Fault) (master int, ok bool) {
	place := f.Kind.info().at
	if place != atInterface && place != atDirector || f.Kind == Loss || len(j.lab.Directors) < 2 {
		return 0, false
	}
	for _, o := range j.h.Schedule {
		if o == f || o.Kind.info().at == atServer {
			continue
		}
		if o.during(f.At-j.skewed(j.bounds.Elect+j.bounds.Together), f.End()) {
			return 0, false
		}
	}
	at := 0
	if j.lab.Directors[1].Name == f.Node {
		at = 1
	}
	for i, r := range j.lab.Routers {
		if !r.pair() || j.h.stateAt(at, i, f.At) != Backup || j.h.stateAt(1-at, i, f.At) != Master {
			return 0, false
		}
	}
	return 1 - at, len(j.lab.Routers) > 0
}

// onlyServers reports whether servers are to blame for every request of an outage.
func (j *judge) onlyServers(o Outage) bool {
	for _, r := range j.h.Requests {
		if r.Service == o.Service && r.Outcome != OK && r.At >= o.From && r.At < o.To && !j.serverAtFault(r) {
			return false
		}
	}
	return true
}

// failedIn is the last request that failed in an outage.
func (j *judge) failedIn(o Outage) (last Request) {
	for _, r := range j.h.Requests {
		if r.Service == o.Service && r.Outcome != OK && r.At >= o.From && r.At < o.To {
			last = r
		}
	}
	return last
}

// deadServer looks for requests to servers that were known to be dead, or ought
// to have been.
func (j *judge) deadServer() *Violation {
	for _, r := range j.h.Requests {
		if r.Outcome == OK || r.Server == "" || j.lab.Server(r.Server).unasked {
			continue
		}
		for _, f := range j.h.Schedule {
			if f.Node != r.Server || f.Kind == ServerSlow || !f.during(r.At, r.At+r.Took) {
				continue
			}
			allowed := j.allowed(f, r)
			if r.At < allowed {
				continue
			}
			dead := r.At - f.At
			return &Violation{Rule: DeadServer, At: r.At, For: dead, service: r.Service, router: -1, server: r.Server, request: r,
				Text: fmt.Sprintf("a request to %v at %s was given to %s, which was out of order for %s", j.lab.Services[r.Service], seconds(r.At), r.Server, seconds(dead))}
		}
	}
	return nil
}

// allowed is until when requests may go to a server with a fault: its checks
// need their time, and anew after whatever happened to a director.
func (j *judge) allowed(f Fault, r Request) time.Duration {
	detect := j.skewed(j.bounds.detect(f))
	since := f.At + detect
	for _, o := range j.h.Schedule {
		if o.Kind.info().at != atServer && o.At <= r.At {
			since = max(since, min(o.End(), r.At)+detect)
		}
	}
	return since
}

// flapping looks for changes of state that nothing explains.
func (j *judge) flapping() *Violation {
	for _, t := range j.h.Transitions {
		r := j.lab.Routers[t.Router]
		if t.At <= j.skewed(j.bounds.Ready+j.bounds.Preempt) || j.caused(t.At) {
			continue
		}
		d := j.lab.Directors[t.Director].Name
		return &Violation{Rule: Flapping, At: t.At, service: -1, router: t.Router,
			Text: fmt.Sprintf("%s entered %s of %s at %s, though nothing had happened for longer than the timers last", d, t.State, r.Name(), seconds(t.At))}
	}
	return nil
}

// caused reports whether something happened, so lately that a change of state
// may come of it.
func (j *judge) caused(at time.Duration) bool {
	window := j.skewed(j.bounds.Elect + j.bounds.Together + j.bounds.Preempt)
	return j.when(func(f Fault) bool { return f.Kind.info().at != atServer }).longer(window).has(at)
}

// kept looks for connections that did not outlive what a failover should be
// outlived by. Half a cable, loss and what happens to servers is not among it.
func (j *judge) kept() *Violation {
	if !j.synced() {
		return nil
	}
	hopeless := j.unpromising().longer(j.bounds.Elect + j.bounds.Together + j.bounds.Announce)
	for _, s := range j.h.Sessions {
		if s.Ended == 0 || s.Ended-s.Opened < syncTime || hopeless.touches(s.Opened, s.Ended) || j.noDirector(s.Service).touches(s.Opened, s.Ended) {
			continue
		}
		if j.when(func(f Fault) bool { return f.Node == s.Server }).longer(margin).touches(s.Opened, s.Ended) || j.changedBefore(s.Opened) || j.troubles(s.Opened, s.Ended) > 1 {
			continue
		}
		return &Violation{Rule: Kept, At: s.Ended, service: s.Service, router: -1, server: s.Server,
			Text: fmt.Sprintf("a connection to %v, open since %s, ended at %s (%s), though both directors run lvs_sync_daemon", j.lab.Services[s.Service], seconds(s.Opened), seconds(s.Ended), s.Outcome)}
	}
	return nil
}

// syncTime is how old a connection has to be for the other director to know of it.
const syncTime = 5 * time.Second

// changedBefore reports whether a director had a fault so shortly before that
// it may not have heard of a connection.
func (j *judge) changedBefore(opened time.Duration) bool {
	return j.when(func(f Fault) bool { return f.Kind.info().at != atServer }).longer(j.bounds.Elect+j.bounds.Together).touches(opened, opened+syncTime)
}

// troubles counts the faults of directors and networks in a stretch of time: that
// connections outlive one after the other is not promised.
func (j *judge) troubles(from, to time.Duration) int {
	n := 0
	for _, f := range j.h.Schedule {
		if f.Kind.info().at != atServer && f.during(from, to) {
			n++
		}
	}
	return n
}

// synced reports whether all directors synchronise connections.
func (j *judge) synced() bool {
	return len(j.lab.Directors) > 1 && !slices.ContainsFunc(j.lab.Directors, func(d *Director) bool { return !d.Config.Global.LVSSyncDaemon.Set() })
}
