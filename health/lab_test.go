package health

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"usvs/clock"
	"usvs/ipvs"
)

// lab is a Monitor in virtual time among servers that do as they are told.
type lab struct {
	*world
	m    *Monitor
	now  clock.Instant
	does map[string]string // by what is looked at
	plan []planned

	probes []probeRun // every attempt that began
}

// planned is something that happens.
type planned struct {
	at clock.Instant
	id CheckID // the result of an attempt, or
	r  Result
	do func()
}

type probeRun struct {
	at clock.Instant
	p  *Probe
}

func newLab(t testing.TB, cfg *Config) *lab {
	l := &lab{world: newWorld(t), does: map[string]string{}}
	l.world.now = &l.now
	l.m = New(cfg, l, rand.New(rand.NewPCG(1, 2)))
	return l
}

// at plans something for a number of seconds after the start.
func (l *lab) at(seconds float64, do func()) {
	l.plan = append(l.plan, planned{at: clock.Instant(seconds * float64(time.Second)), do: do})
}

// set has something do otherwise from then on.
func (l *lab) set(seconds float64, what, does string) {
	l.at(seconds, func() {
		l.does[what] = does
		for id, p := range l.running {
			if p.Kind.Watch() && p.Name == what {
				l.m.Result(l.now, id, outcome(p, does))
			}
		}
	})
}

// run lets a number of seconds pass since the start.
func (l *lab) run(seconds float64) {
	end := clock.Instant(seconds * float64(time.Second))
	for {
		next := l.m.Tick(l.now)
		slices.SortStableFunc(l.plan, func(a, b planned) int { return cmp.Compare(a.at, b.at) })
		if len(l.plan) > 0 && !l.plan[0].at.After(next) {
			e := l.plan[0]
			if e.at.After(end) {
				break
			}
			l.plan, l.now = l.plan[1:], max(l.now, e.at)
			l.happen(e)
			continue
		}
		if next.After(end) {
			break
		}
		l.now = next
	}
	l.now = end
}

func (l *lab) happen(e planned) {
	if e.do != nil {
		e.do()
		return
	}
	if p := l.running[e.id]; p != nil {
		if !p.Kind.Watch() {
			delete(l.running, e.id)
		}
		l.m.Result(l.now, e.id, e.r)
	}
}

// Probe implements Effects: what is looked at answers as it was told.
func (l *lab) Probe(id CheckID, p *Probe) {
	l.running[id] = p
	l.probes = append(l.probes, probeRun{l.now, p})
	does := l.does[subject(p)]
	took := time.Millisecond
	if strings.Contains(does, "imeout") {
		took = p.Timeout
	}
	l.plan = append(l.plan, planned{at: l.now.Add(took), id: id, r: outcome(p, does)})
}

// subject is what an attempt looks at.
func subject(p *Probe) string {
	switch {
	case p.Path == ViaVIP:
		return "vip " + p.Via.Server.String()
	case p.Kind == Misc:
		return p.Script.Args[1]
	case p.Kind.Watch():
		return p.Name
	case p.HTTP != nil:
		return p.Target.String() + p.HTTP.URL.Path
	}
	return p.Target.String()
}

// outcome is what comes of it.
func outcome(p *Probe, does string) Result {
	word, number, _ := strings.Cut(does, " ")
	n, _ := strconv.Atoi(number)
	switch word {
	case "value":
		return Result{Status: n}
	case "exit":
		if n == 0 {
			return Result{}
		}
		return Result{Outcome: Failure, Status: n, Reason: "exited with status " + number}
	case "signal":
		return Result{Outcome: Failure, Signal: n}
	case "", "ok":
		return Result{}
	case "timeout":
		return Result{Outcome: Failure, Reason: map[Kind]string{
			SMTP: "Read timeout from server", DNS: "read timeout from socket", Misc: timedOut, HTTP: "Timeout WEB read",
		}[p.Kind]}.orReason("timeout")
	}
	return Result{Outcome: Failure, Reason: does}
}

func (r Result) orReason(reason string) Result {
	if r.Reason == "" {
		r.Reason = reason
	}
	return r
}

// Short forms of configurations.

func serviceOf(p ipvs.Protocol, addr string, port uint16) Service {
	return Service{ID: ipvs.ServiceID{Family: ipvs.IPv4, Protocol: p, Addr: netip.MustParseAddr(addr), Port: port}}
}

func markOf(mark uint32) Service {
	return Service{ID: ipvs.ServiceID{Family: ipvs.IPv4, Mark: mark}}
}

func virtual(services []Service, quorum int, servers ...*Server) *VirtualServer {
	return &VirtualServer{Protocol: services[0].ID.Protocol, Services: services, Quorum: quorum, Servers: servers}
}

func group(name string, vs *VirtualServer) *VirtualServer {
	vs.Group = name
	return vs
}

func sorryAt(at string) *SorryServer {
	a := netip.MustParseAddrPort(at)
	return &SorryServer{ID: ipvs.ServerID{Addr: a.Addr(), Port: a.Port()}, Spec: ipvs.ServerSpec{Weight: 1}}
}

// realAt is a real server; its checks without a target look at it.
func realAt(at string, weight int32, checks ...*Check) *Server {
	a := netip.MustParseAddrPort(at)
	for _, c := range checks {
		if !c.Probe.Target.IsValid() {
			c.Probe.Target = a
		}
	}
	return &Server{ID: ipvs.ServerID{Addr: a.Addr(), Port: a.Port()}, Spec: ipvs.ServerSpec{Weight: weight}, SMTPAlert: true, Checks: checks}
}

func inhibited(rs *Server) *Server {
	rs.Inhibit = true
	return rs
}

// checkOf is a check every 2 s, whose attempts may take 1 s.
func checkOf(k Kind, retry int, beforeRetry time.Duration) *Check {
	return &Check{
		Probe: Probe{Kind: k, Timeout: time.Second}, Retry: retry,
		DelayLoop: 2 * time.Second, DelayBeforeRetry: beforeRetry,
	}
}

func (c *Check) logsAll() *Check {
	c.LogAllFailures = true
	return c
}

func (c *Check) to(target string) *Check {
	c.Probe.Target = netip.MustParseAddrPort(target)
	return c
}

func (c *Check) pages(urls ...URL) *Check {
	c.Probe.HTTP = &HTTPRequest{Protocol: "1.0"}
	c.URLs = urls
	return c
}

func (c *Check) runs(args ...string) *Check {
	c.Probe.Script = &Script{Args: args}
	return c
}

func (c *Check) follows(track, file string, weight int) *Check {
	c.Track, c.Probe.Name, c.Weight = track, file, weight
	return c
}

func (c *Check) dynamic() *Check {
	c.Dynamic = true
	return c
}

// alpha sets alpha mode for a virtual server's checks.
func alpha(vs *VirtualServer) *VirtualServer {
	vs.Alpha = true
	for _, rs := range vs.Servers {
		for _, c := range rs.Checks {
			c.Alpha = true
		}
	}
	return vs
}
