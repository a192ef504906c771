package oracle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

// Difference says where usvs first differs from a recording.
type Difference struct {
	Trace string
	Line  int
	Step  string
	What  string
}

func (d *Difference) Error() string {
	return fmt.Sprintf("%s:%d: %s\n%s", d.Trace, d.Line, d.Step, d.What)
}

// Play plays a recording and returns the first difference, a *Difference, or
// nil; any other error is a step that could not be understood.
func Play(t *Trace) error {
	w := newWorld()
	for i := range t.Steps {
		s := &t.Steps[i]
		what, err := w.play(s, t.Brief[i])
		if err != nil {
			return fmt.Errorf("%s:%d: %w", t.Name, s.Line, err)
		}
		if what != "" {
			return &Difference{t.Name, s.Line, string(s.Kind) + " " + s.Text, what}
		}
	}
	if what := w.messages.compare(w.mask(), true); what != "" {
		return &Difference{t.Name, t.Steps[len(t.Steps)-1].Line, "synchronisation messages", what}
	}
	return nil
}

func (w *world) play(s *Step, brief bool) (what string, err error) {
	w.emitted = w.emitted[:0]
	switch s.Kind {
	case '%', '&':
		_, _, _, err := w.shell(s.Text)
		return "", err
	case '$':
		return w.command(s)
	case '@':
		secs, err := strconv.ParseFloat(s.Text, 64)
		if err != nil {
			return "", err
		}
		w.settle(w.now.Add(time.Duration(secs * float64(time.Second))))
		return w.compareStep(s), nil
	case 'u':
		return "", w.setMTU(s.Text)
	case '>':
		w.inject(s.Link, s.Data)
		return w.compareStep(s), nil
	}
	for range s.Repeat {
		w.inject(s.Link, s.Data)
	}
	if s.Counted {
		if len(w.emitted) != s.Repeated {
			return fmt.Sprintf("recorded %d frames, here %d", s.Repeated, len(w.emitted)), nil
		}
		return "", nil
	}
	if what := compareVerdict(s.Verdict, w.emitted); what != "" || brief {
		return what, nil
	}
	return w.compareStep(s), nil
}

func (w *world) compareStep(s *Step) string {
	recorded, here := w.messages.setAside(s.Frames, w.emitted)
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
	if _, err := fmt.Sscanf(text, "%s %d", &name, &mtu); err != nil {
		return err
	}
	w.net.Interfaces[links[name].port].MTU = mtu
	w.reroute()
	return nil
}

// command runs a recorded command and compares what it printed.
func (w *world) command(s *Step) (string, error) {
	w.settle(w.now)
	out, errOut, code, err := w.shell(s.Text)
	if err != nil {
		return "", err
	}
	if code != s.Exit {
		return fmt.Sprintf("recorded exit status %d, here %d\n%s%s", s.Exit, code, out, errOut), nil
	}
	if what := compareText("output", s.Out, out); what != "" {
		return what, nil
	}
	return compareText("errors", s.Err, errOut), nil
}

// shell carries out the commands of a line, separated by semicolons.
func (w *world) shell(line string) (stdout, stderr string, code int, err error) {
	var out, errOut bytes.Buffer
	for _, part := range strings.Split(line, ";") {
		words := strings.Fields(part)
		if len(words) == 0 {
			continue
		}
		code, err = w.run(words, &out, &errOut)
		if err != nil {
			return "", "", 0, err
		}
	}
	return out.String(), errOut.String(), code, nil
}

// recordedRelease is the kernel the recordings were made on.
const recordedRelease = "6.1.176"

var errUnknownCommand = errors.New("a command the player does not know")

func (w *world) run(words []string, stdout, stderr io.Writer) (int, error) {
	switch words[0] {
	case "ip":
		return 0, w.ip(words[1:])
	case "sysctl":
		return 0, w.sysctl(words[1:], stdout)
	case "modprobe":
		return 0, nil // everything is built in
	case "uname":
		fmt.Fprintln(stdout, recordedRelease)
		return 0, nil
	case "ipvsadm":
		return ipvsadm.Run(words, w.ctl, noNames{}, strings.NewReader(""), stdout, stderr), nil
	case "iptables-legacy", "ip6tables-legacy":
		out, err := w.ctl.Iptables(words[0] == "ip6tables-legacy", words[1:])
		fmt.Fprint(stdout, out)
		return 0, err
	}
	return 0, fmt.Errorf("%w: %q", errUnknownCommand, words[0])
}

// noNames resolves nothing: recordings of this kind list with -n.
type noNames struct{}

func (noNames) LookupAddr(netip.Addr) (string, bool)             { return "", false }
func (noNames) LookupHost(string) (netip.Addr, bool)             { return netip.Addr{}, false }
func (noNames) ServiceName(uint16, ipvs.Protocol) (string, bool) { return "", false }
func (noNames) ServicePort(string, ipvs.Protocol) (uint16, bool) { return 0, false }
