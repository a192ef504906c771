package plan

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteTo writes the plan as text.
func (p *Plan) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	if p.Same() {
		b.WriteString("Nothing changes.\n")
	}
	for i := range p.Services {
		p.Services[i].write(&b)
	}
	for i := range p.Instances {
		p.Instances[i].write(&b)
	}
	p.writeRoutes(&b)
	if p.Unchanged > 0 && !p.Same() {
		fmt.Fprintf(&b, "%s unchanged\n\n", plural(p.Unchanged, "service"))
	}
	p.writeLive(&b)
	p.writeFlows(&b)
	for i, text := range p.Warnings {
		if i == 0 {
			b.WriteString("Warnings\n")
		}
		fmt.Fprintf(&b, "  %s\n", text)
	}
	n, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return int64(n), err
}

// marks begin the lines of what comes, goes and changes.
var marks = map[Kind]string{Added: "+", Removed: "-", Changed: "~", Unchanged: " "}

func (s *Service) write(b *strings.Builder) {
	fmt.Fprintf(b, "%s %s", marks[s.Kind], s.Name)
	if s.Kind == Added {
		fmt.Fprintf(b, "  %s", describe(s.new))
	}
	b.WriteString("\n")
	for _, f := range s.Fields {
		fmt.Fprintf(b, "    %s: %s -> %s\n", f.Name, f.From, f.To)
	}
	s.writeServers(b)
	if s.Moved != nil && *s.Moved > 0 {
		fmt.Fprintf(b, "    %s of the clients get another server\n", percent(s.Moved))
	}
	b.WriteString("\n")
}

// describe is a service that is new, in a few words.
func describe(s *ServiceState) string {
	text := s.Spec.Scheduler
	if p := persistence(&s.Spec); p != "none" {
		text += " persistent " + p
	}
	return text
}

func (s *Service) writeServers(b *strings.Builder) {
	var table strings.Builder
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for i := range s.Servers {
		rs := &s.Servers[i]
		fmt.Fprintf(tw, "    %s %s\t%s\t%s\t%s\n", marks[rs.Kind], rs.Name, rs.load(), rs.details(s), rs.live())
	}
	_ = tw.Flush() // to memory
	for line := range strings.Lines(table.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
}

// load is a server's share of new connections, before and after.
func (rs *Server) load() string {
	switch {
	case rs.Before == nil && rs.After == nil:
		return ""
	case rs.Before == nil:
		return percent(rs.After)
	case rs.After == nil:
		return percent(rs.Before) + " -> gone"
	}
	return percent(rs.Before) + " -> " + percent(rs.After)
}

func (rs *Server) details(s *Service) string {
	if is := lookup(s.new, rs.ID); rs.Kind == Added && is != nil {
		return fmt.Sprintf("%s weight %d", forwarding(&is.Spec), is.Spec.Weight)
	}
	var words []string
	for _, f := range rs.Fields {
		words = append(words, fmt.Sprintf("%s %s -> %s", f.Name, f.From, f.To))
	}
	return strings.Join(words, ", ")
}

func (rs *Server) live() string {
	if rs.Live == nil {
		return ""
	}
	return rs.Live.String()
}

// String says what becomes of the connections.
func (c *Connections) String() string {
	var words []string
	for _, part := range []struct {
		n    int
		what string
	}{{c.Cut, "cut"}, {c.Stay, "stay"}, {c.Forgotten, "templates forgotten"}, {c.Followed, "templates kept"}} {
		if part.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	return strings.Join(words, ", ")
}

func (i *Instance) write(b *strings.Builder) {
	fmt.Fprintf(b, "%s vrrp_instance %s\n", marks[i.Kind], i.Name)
	for _, f := range i.Fields {
		fmt.Fprintf(b, "    %s: %s -> %s\n", f.Name, f.From, f.To)
	}
	b.WriteString("\n")
}

// writeRoutes writes them below the names of their owners.
func (p *Plan) writeRoutes(b *strings.Builder) {
	for i, r := range p.Routes {
		if i == 0 || p.Routes[i-1].Owner != r.Owner {
			fmt.Fprintf(b, "  routes of %s\n", r.Owner)
		}
		fmt.Fprintf(b, "    %s %s\n", marks[r.Kind], r.Words)
		if i == len(p.Routes)-1 || p.Routes[i+1].Owner != r.Owner {
			b.WriteString("\n")
		}
	}
}

func (p *Plan) writeLive(b *strings.Builder) {
	if p.Live == nil {
		return
	}
	text := p.Live.String()
	if text == "" {
		text = "none of the services above"
	}
	fmt.Fprintf(b, "Connections now: %s; %d of other services\n\n", text, p.Live.Elsewhere)
}

func (p *Plan) writeFlows(b *strings.Builder) {
	f := p.Flows
	if f == nil {
		return
	}
	fmt.Fprintf(b, "Clients of the capture: %d the same server, %d another, %d not served any more, %d newly served, %d by neither\n",
		f.Same, f.Moved, f.Lost, f.Gained, f.Unserved)
	for _, x := range f.Examples {
		fmt.Fprintf(b, "    %s\n", x)
	}
	if f.Truncated {
		fmt.Fprintf(b, "    only the first %d were tried\n", maxFlows)
	}
	b.WriteString("\n")
}

func percent(f *float64) string {
	v := 100 * *f
	if v > 0 && v < 0.1 {
		return "<0.1%"
	}
	return fmt.Sprintf("%.1f%%", v)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
