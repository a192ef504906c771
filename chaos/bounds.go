package chaos

import (
	"fmt"
	"strings"
	"time"

	"usvs/keepalived"
)

// Bounds are what the timers of the configurations promise.
type Bounds struct {
	// Elect is how long a BACKUP waits for adverts before it takes over.
	Elect time.Duration
	// Together is how long two directors that hear each other may both be master.
	Together time.Duration
	// Preempt is how long a director that may take over waits before it does.
	Preempt time.Duration
	// Announce is how long neighbours may believe in the director that was
	// master before, if nothing was announced when two of them met.
	Announce time.Duration
	// Ready is how long it takes until all is up after the start.
	Ready time.Duration
	// Servers are the bounds of the real servers, by name.
	Servers map[string]ServerBounds
}

// ServerBounds are the times of a real server's checks; zero if there is none.
type ServerBounds struct {
	Stop    time.Duration // until a service that stopped is taken out
	Dead    time.Duration // until a machine that died is taken out
	Restore time.Duration // until it is back in
}

const (
	// margin is what things take that no timer says: frames on their way,
	// a frame that waits for ARP, clients that try again.
	margin = 2 * time.Second
	// neighbours is how long a neighbour's entry that has become wrong is
	// believed: reachable for 30 s, 5 s of delay, three probes (RFC 4861, 10).
	neighbours = 40 * time.Second
)

// NewBounds works them out.
func NewBounds(l *Lab) Bounds {
	b := Bounds{Together: margin, Ready: margin, Servers: map[string]ServerBounds{}}
	for _, r := range l.Routers {
		b.router(r)
	}
	for _, d := range l.Directors {
		b.Elect = max(b.Elect, b.Elect+d.Config.Global.StartupDelay.V)
	}
	b.Ready += b.Elect
	for _, s := range l.Services {
		for _, on := range s.On {
			if on != nil {
				b.service(l, on)
			}
		}
	}
	return b
}

// router takes a virtual router's timers into account.
func (b *Bounds) router(r *VirtualRouter) {
	interval := time.Duration(0)
	for _, m := range r.Members {
		if m != nil {
			interval = max(interval, m.AdvertInterval.V)
		}
	}
	refresh := true
	for _, m := range r.Members {
		if m == nil {
			continue
		}
		b.Elect = max(b.Elect, masterDown(m, interval))
		b.Together = max(b.Together, interval+margin)
		b.Preempt = max(b.Preempt, m.PreemptDelay.V)
		refresh = refresh && m.GARP.Refresh.V > 0
		b.Announce = max(b.Announce, m.GARP.Refresh.V)
	}
	if r.pair() && !refresh {
		b.Announce = neighbours
	}
}

// masterDown is how long a BACKUP waits: adverts, and a part of one that
// depends on the priority (RFC 3768, 6.1; RFC 5798, 6.1).
func masterDown(i *keepalived.Instance, interval time.Duration) time.Duration {
	unit := time.Second
	if i.Version.V == 3 {
		unit = interval
	}
	adverts := i.DownTimerAdverts.V
	if adverts == 0 {
		adverts = 3
	}
	return time.Duration(adverts)*interval + unit*time.Duration(256-i.Priority.V)/256
}

// service takes the checks of a service's servers into account.
func (b *Bounds) service(l *Lab, on *Backing) {
	for _, rs := range on.Config.RealServers {
		for _, s := range l.Servers {
			if s.Addr.Addr() == rs.RIP {
				b.Servers[s.Name] = b.Servers[s.Name].with(checkBounds(rs))
			}
		}
		for _, c := range rs.Checkers {
			if c.Alpha.V {
				b.Ready = max(b.Ready, margin+c.Warmup.V+c.ConnectTimeout.V)
			}
		}
	}
}

// with is what holds for two sets of checks: the later of each. None at all is
// later than any.
func (s ServerBounds) with(o ServerBounds) ServerBounds {
	if s == (ServerBounds{}) {
		return o
	}
	later := func(a, b time.Duration) time.Duration {
		if a == 0 || b == 0 {
			return 0
		}
		return max(a, b)
	}
	return ServerBounds{later(s.Stop, o.Stop), later(s.Dead, o.Dead), later(s.Restore, o.Restore)}
}

// checkBounds are those of one server in one service: it is out as soon as one
// check fails, and back when all succeed.
func checkBounds(rs *keepalived.RealServer) ServerBounds {
	s := ServerBounds{Restore: margin}
	for _, c := range rs.Checkers {
		detect := detection(c)
		if !unasked(c) && (s.Dead == 0 || detect < s.Dead) {
			s.Dead = detect
		}
		if !unasked(c) && c.Type != "PING_CHECK" && (s.Stop == 0 || detect < s.Stop) {
			s.Stop = detect
		}
		s.Restore = max(s.Restore, restoration(c))
	}
	return s
}

// attempt is what a check takes at most: HTTP waits that long for each of the
// connection, the request and the answer, and a check by the clients' way that
// failed is followed by a direct one.
func attempt(c *keepalived.Checker) time.Duration {
	d := c.ConnectTimeout.V
	switch {
	case c.Misc != nil:
		d = c.Misc.Timeout.V
	case c.HTTP != nil, c.Type == "SMTP_CHECK":
		d *= 3
	}
	if c.CheckPath.V == "vip" {
		d *= 2
	}
	return d
}

// detection is the longest time until a check has failed often enough. Files are
// told of at once.
func detection(c *keepalived.Checker) time.Duration {
	if c.Type == "FILE_CHECK" {
		return margin
	}
	retries := time.Duration(c.Retry.V)
	return c.DelayLoop.V + attempt(c) + retries*(c.DelayBeforeRetry.V+attempt(c)) + margin
}

// restoration is the longest time until a check has succeeded again: each url of
// HTTP in turn, an attempt under way before, and TCP's cycle of retries.
func restoration(c *keepalived.Checker) time.Duration {
	if c.Type == "FILE_CHECK" {
		return margin
	}
	times := time.Duration(1)
	if c.HTTP != nil {
		times = time.Duration(max(1, len(c.HTTP.URLs)))
	}
	return attempt(c) + times*(max(c.DelayLoop.V, c.DelayBeforeRetry.V)+attempt(c)) + margin
}

// Describe tells the bounds, a line for each.
func (b Bounds) Describe(l *Lab) string {
	var t strings.Builder
	if len(l.Routers) > 0 {
		fmt.Fprintf(&t, "  a backup takes over within   %v\n", b.Elect.Round(time.Millisecond))
		fmt.Fprintf(&t, "  two masters that meet agree within  %v\n", b.Together)
		if b.Announce == neighbours {
			fmt.Fprintf(&t, "  neighbours learn of it within  %v (without garp_master_refresh, when their entries expire)\n", b.Announce)
		} else if b.Announce > 0 {
			fmt.Fprintf(&t, "  neighbours learn of it within  %v\n", b.Announce)
		}
	}
	for _, s := range l.Servers {
		t.WriteString(b.Servers[s.Name].describe(s))
	}
	return t.String()
}

func (s ServerBounds) describe(rs *Server) string {
	if s.Dead == 0 {
		return fmt.Sprintf("  %-5s %v is not checked\n", rs.Name, rs.Addr.Addr())
	}
	return fmt.Sprintf("  %-5s %v is out within %v of its death, in again within %v\n", rs.Name, rs.Addr.Addr(), s.Dead, s.Restore)
}

// detect is how long a fault of a server may go unnoticed; 0: for ever.
func (b Bounds) detect(f Fault) time.Duration {
	s := b.Servers[f.Node]
	if f.Kind == ServerStop {
		return s.Stop
	}
	return s.Dead
}

// settle is how long after a change everything is as it should be.
func (b Bounds) settle(l *Lab) time.Duration {
	d := b.Elect + b.Together + b.Preempt + b.Announce
	for _, s := range l.Servers {
		d = max(d, b.Servers[s.Name].Dead, b.Servers[s.Name].Restore)
	}
	return d
}
