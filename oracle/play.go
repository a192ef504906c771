package oracle

import (
	"bytes"
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"usvs/ipvs"
	"usvs/oracle/shell"
	"usvs/wire"
)

// Difference says where usvs first differs from a recording.
type Difference struct {
	Trace string `json:"trace"`
	Line  int    `json:"line"`
	Step  string `json:"step"`
	What  string `json:"what"` // for people, several lines
}

// Error writes the difference as FILE:LINE: STEP and then what differs.
func (d *Difference) Error() string {
	return fmt.Sprintf("%s:%d: %s\n%s", d.Trace, d.Line, d.Step, d.What)
}

//go:embed topology.txt
var topology string

// Play plays a recording and returns the first difference, a *Difference, or
// nil; any other error is a step that could not be understood.
func Play(t *Trace) error {
	w := newWorld(t.resolver())
	if !t.configured() {
		if err := w.setUp(); err != nil {
			return err
		}
	}
	if err := w.linkUp(t); err != nil {
		return fmt.Errorf("%s: %w", t.Name, err)
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		what, err := w.play(s, t.Brief[i])
		if err != nil {
			return fmt.Errorf("%s:%d: %s: %w", t.Name, s.Line, s.title(), err)
		}
		if what != "" {
			return &Difference{t.Name, s.Line, s.title(), what}
		}
	}
	if what := w.messages.compare(w.mask(), true); what != "" {
		return &Difference{t.Name, t.Steps[len(t.Steps)-1].Line, "synchronisation messages", what}
	}
	return nil
}

// title is the step as it stands in the recording, frames cut short.
func (s *Step) title() string {
	switch s.Kind {
	case 'm':
		return s.Text
	case 'u':
		return "mtu " + s.Text
	}
	text := string(s.Kind) + " " + s.Text
	const long = 160
	if len(text) > long {
		text = text[:long] + "..."
	}
	return text
}

// configured reports whether the recording sets the machine's network up.
func (t *Trace) configured() bool {
	for i := range t.Steps {
		if s := &t.Steps[i]; s.Kind == '%' && strings.HasPrefix(s.Text, "ip ") && strings.Contains(s.Text, "addr") {
			return true
		}
	}
	return false
}

// setUp makes the machine the one that all recordings were made on.
func (w *world) setUp() error {
	for line := range strings.Lines(topology) {
		if command, ok := strings.CutPrefix(strings.TrimSpace(line), "% "); ok {
			if what := w.setting(command); what != "" {
				return fmt.Errorf("%s: %s", command, what)
			}
		}
	}
	return nil
}

// linkUp gives links their MTU, wherever the recording says so, else the one it
// must have been made with: frames that are longer than their link's never get
// in, so what was answered was not.
func (w *world) linkUp(t *Trace) error {
	for i := range t.Steps {
		if s := &t.Steps[i]; s.Kind == 'u' {
			if err := w.setMTU(s.Text); err != nil {
				return err
			}
		}
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		l := linkNamed(s.Link)
		answered := len(s.Frames) > 0 || s.Repeated > 0 || len(s.Verdict) > 0 && s.Verdict[0] != "none"
		if l == nil || !answered || t.hasMTU(l.name) {
			continue
		}
		ifc := &w.net.Interfaces[l.port]
		if len(s.Data) > ifc.MTU+tolerated {
			ifc.MTU = len(s.Data) - wire.EthernetLen
		}
	}
	w.reroute()
	return nil
}

// hasMTU reports whether a line says what MTU a link has.
func (t *Trace) hasMTU(name string) bool {
	for i := range t.Steps {
		if s := &t.Steps[i]; s.Kind == 'u' && strings.HasPrefix(s.Text, name+" ") {
			return true
		}
	}
	return false
}

func (w *world) play(s *Step, brief bool) (what string, err error) {
	switch s.Kind {
	case '%':
		return w.setting(s.Text), nil
	case '&':
		args, err := shell.Words(s.Text)
		if err != nil {
			return "", err
		}
		return "", w.background(args)
	case '$':
		return w.command(s), nil
	case '@':
		secs, err := strconv.ParseFloat(s.Text, 64)
		if err != nil || secs < 0 || secs > maxPause {
			return "", fmt.Errorf("bad pause %q", s.Text)
		}
		w.settle(w.now.Add(seconds(secs)))
		return w.compareStep(s), nil
	case 'u':
		return "", nil // linkUp has seen to it
	case '>':
		w.inject(linkNamed(s.Link), s.Data)
		return w.compareStep(s), nil
	}
	return w.macro(s, brief), nil
}

// setting runs a set-up command, all of which succeeded when recorded.
func (w *world) setting(line string) string {
	var out, errs bytes.Buffer
	if status := w.shell.Run(line, &out, &errs); status != 0 {
		return fmt.Sprintf("the set-up command ended with status %d here:\n%s", status, errs.String())
	}
	return ""
}

func (w *world) macro(s *Step, brief bool) string {
	for range s.Repeat {
		w.inject(linkNamed(s.Link), s.Data)
	}
	if s.Counted {
		if n := len(w.take()); n != s.Repeated {
			return fmt.Sprintf("recorded %d frames, here %d", s.Repeated, n)
		}
		return ""
	}
	if what := w.messages.compareVerdict(s.Verdict, byLink(w.emitted)); what != "" {
		return what
	}
	if brief {
		w.emitted = nil
		return ""
	}
	return w.compareStep(s)
}

func (w *world) compareStep(s *Step) string {
	recorded, here := w.messages.setAside(byLink(s.Frames), w.take())
	m := w.mask()
	if what := m.compareFrames(recorded, here); what != "" {
		return what
	}
	return w.messages.compare(m, false)
}

// mask is what does not repeat under the present configuration.
func (w *world) mask() mask {
	var m mask
	for _, svc := range w.dir.Snapshot().Services {
		for _, rs := range svc.Servers {
			if t := rs.Tunnel(); t.Type == ipvs.GUE {
				m.guePorts = append(m.guePorts, t.Port)
			}
		}
	}
	return m
}

func (w *world) setMTU(text string) error {
	var name string
	var mtu int
	_, err := fmt.Sscanf(text, "%s %d", &name, &mtu)
	l := linkNamed(name)
	if err != nil || l == nil {
		return fmt.Errorf("mtu wants a link and a number, not %q", text)
	}
	w.net.Interfaces[l.port].MTU = mtu
	return nil
}

// command runs a recorded command and compares what it printed.
func (w *world) command(s *Step) string {
	w.settle(w.now)
	var out, errs bytes.Buffer
	status := w.shell.Run(s.Text, &out, &errs)
	return s.Compare(out.String(), errs.String(), status, 0)
}
