package scenario

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// glance is how often what is expected within a time is looked at.
const glance = 10 * time.Millisecond

// await asks until there is nothing to complain of, or time is up.
func (r *run) await(within time.Duration, ask func() error) error {
	for end := r.world.Now() + within; ; {
		err := ask()
		left := end - r.world.Now()
		if err == nil || left <= 0 {
			return err
		}
		if err := r.world.Wait(min(glance, left)); err != nil {
			return err
		}
	}
}

func (r *run) judgeState(x *ExpectState) error {
	s, err := r.world.State(x.Node)
	if err != nil {
		return err
	}
	got, ok := s.Instances[x.Instance]
	if !ok {
		return unmetf("%s has no instance %s", x.Node, x.Instance)
	}
	if got != x.State {
		return unmetf("%s of %s is %s, not %s%s", x.Instance, x.Node, got, x.State, r.logOf(x.Node))
	}
	return nil
}

func (r *run) judgeVIP(x *ExpectVIP) error {
	at, err := r.world.Holders(x.Addr)
	if err != nil {
		return err
	}
	if !slices.Equal(at, x.At) {
		return unmetf("%v is at %s, not at %s", x.Addr, listed(at), listed(x.At))
	}
	return nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, " and ")
}

func (r *run) judgeHealth(x *ExpectHealth) error {
	s, err := r.world.State(x.Node)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(s.Services, func(v ServiceState) bool { return x.isService(v.Name) })
	if i < 0 {
		return unmetf("%s has no virtual server %v%s", x.Node, x.Service, wrote(s.describe()))
	}
	if x.Who == "" {
		return x.compare(x.Service.String(), s.Services[i].Up, s, r.logOf(x.Node))
	}
	for _, rs := range s.Services[i].Servers {
		if slices.ContainsFunc(x.Server, func(a netip.Addr) bool { return strings.HasPrefix(rs.Name, "["+a.String()+"]:") }) {
			return x.compare(rs.Name, rs.Up, s, r.logOf(x.Node))
		}
	}
	return unmetf("%v has no server %s%s", x.Service, x.Who, wrote(s.describe()))
}

// isService compares with the name of a virtual server, as in [10.0.0.100]:tcp:80.
func (x *ExpectHealth) isService(name string) bool {
	return strings.HasPrefix(name, "["+x.Service.Addr().String()+"]:") && strings.HasSuffix(name, fmt.Sprintf(":%d", x.Service.Port()))
}

func (x *ExpectHealth) compare(name string, up bool, s *NodeState, log string) error {
	if up == x.Up {
		return nil
	}
	return unmetf("%s is %s on %s%s%s", name, upDown(up), x.Node, wrote(s.describe()), log)
}

func upDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

// describe lists virtual and real servers.
func (s *NodeState) describe() string {
	var b strings.Builder
	for _, vs := range s.Services {
		fmt.Fprintf(&b, "%s %s\n", vs.Name, upDown(vs.Up))
		for _, rs := range vs.Servers {
			fmt.Fprintf(&b, "  %s %s %s\n", rs.Name, upDown(rs.Up), rs.Why)
		}
	}
	return b.String()
}

// logOf is the end of what a director has logged.
func (r *run) logOf(node string) string {
	const most = 12
	text, err := r.world.Log(node)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return wrote(strings.Join(lines[max(0, len(lines)-most):], "\n"))
}
