package chaos

import (
	"fmt"
	"net/netip"
	"strings"
)

// Describe draws the lab in text: who is in which network, what is served, and
// what was assumed.
func (l *Lab) Describe() string {
	var b strings.Builder
	for _, n := range l.Networks {
		fmt.Fprintf(&b, "network %s  %s\n", n.Name, joined(n.Prefixes))
		for _, d := range l.Directors {
			if nic := d.nicIn(n); nic.Network != nil {
				fmt.Fprintf(&b, "  director %-12s %-6s %s  (%s)\n", d.Name, nic.Name, joined(nic.Addrs), d.File)
			}
		}
		for _, s := range l.Servers {
			if s.Network == n {
				fmt.Fprintf(&b, "  server   %-12s %s%s\n", s.Name, s.Addr, s.describe())
			}
		}
		if n.Router != nil {
			fmt.Fprintf(&b, "  router   %s\n", joined(n.Router))
		}
		if n.Name == "clients" {
			fmt.Fprintf(&b, "  client   %d addresses\n", len(l.Clients))
		}
	}
	for _, r := range l.Routers {
		b.WriteString(r.describe(l))
	}
	for _, s := range l.Services {
		b.WriteString(s.describe())
	}
	for _, a := range l.Assumed {
		fmt.Fprintf(&b, "assumed: %s\n", a)
	}
	return b.String()
}

func joined[T fmt.Stringer](list []T) string {
	var words []string
	for _, x := range list {
		words = append(words, x.String())
	}
	return strings.Join(words, " ")
}

func (s *Server) describe() string {
	text := ""
	for _, p := range s.Ports {
		text += fmt.Sprintf("  %s %d", p.Talk, p.Number)
	}
	if len(s.VIPs) > 0 {
		text += "  lo " + joined(s.VIPs)
	}
	if s.Gateway.IsValid() {
		text += "  via " + s.Gateway.String()
	}
	return text
}

func (r *VirtualRouter) describe(l *Lab) string {
	text := fmt.Sprintf("virtual router %d in %s:", r.ID, r.Network.Name)
	for i, m := range r.Members {
		if m == nil {
			continue
		}
		text += fmt.Sprintf("  %s %s priority %d every %v", l.Directors[i].Name, m.State.V, m.Priority.V, m.AdvertInterval.V)
		if m.NoPreempt.V {
			text += " nopreempt"
		}
	}
	var vips []netip.Addr
	for _, m := range r.Members {
		if m == nil {
			continue
		}
		for _, a := range m.VirtualAddresses {
			vips = append(vips, a.Prefix.Addr())
		}
		break
	}
	return text + "  has " + joined(vips) + "\n"
}

func (s *Service) describe() string {
	text := fmt.Sprintf("service %v:", s)
	for _, rs := range s.Servers {
		text += " " + rs.Name
	}
	for _, on := range s.On {
		if on == nil {
			continue
		}
		method := on.Config.Forwarding.V.Method
		if rs := on.Config.RealServers; len(rs) > 0 {
			method = rs[0].Forwarding.V.Method
		}
		text += fmt.Sprintf("  %s %s", method, on.Config.Scheduler.V)
		if on.Config.Persistence.V > 0 {
			text += fmt.Sprintf(" persistent %v", on.Config.Persistence.V)
		}
		break
	}
	return text + "\n"
}
