package demo

import (
	"fmt"
	"io"
	"strings"
)

// Colours, as the terminal's escape sequences.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// page is where the demo prints.
type page struct {
	w     io.Writer
	color bool
}

const (
	width    = 84 // of a scene's rule
	barWidth = 24 // of a bar that stands for all requests
)

func (p *page) line(format string, args ...any) {
	fmt.Fprintln(p.w, strings.TrimRight(fmt.Sprintf(format, args...), " "))
}

// paint colours text where there are colours.
func (p *page) paint(color, text string) string {
	if !p.color {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// title begins a scene.
func (p *page) title(text string) {
	text = "== " + text + " "
	p.line("%s", p.paint(bold, text+strings.Repeat("=", max(0, width-len(text)))))
}

// command shows a command as it is typed on a machine.
func (p *page) command(machine string, words []string) {
	p.line("   %s %s", p.paint(dim, machine+"#"), strings.Join(words, " "))
}

// quote shows what a command printed.
func (p *page) quote(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		p.line("   %s", strings.TrimRight(line, " \n"))
	}
}

// shares shows who answered, and reports whether it was as expected.
func (p *page) shares(s *scene, answered map[string]int, n int) (good bool) {
	expected := s.expected(n)
	p.line("   %s", p.paint(dim, "real server               weight  expected  answered"))
	good = true
	for _, rs := range s.servers {
		want, got := expected[rs.name], answered[rs.name]
		mark, color := "ok", green
		if got != want {
			mark, color, good = "WRONG", red, false
		}
		bar := strings.Repeat("#", got*barWidth/n)
		p.line("   %-8s %-16v %7d %9d %9d  %s %s", rs.name, rs.addr(), rs.weight, want, got, p.paint(color, mark), bar)
	}
	return good
}

// passage shows what the director changed in a packet.
func (p *page) passage(came, left string, pass passage, o owners) {
	p.line("   %s", p.paint(dim, strings.TrimRight(fmt.Sprintf("%-11s %-33s %s", "", came, left), " ")))
	for _, c := range sideBySide(decode(pass.before, o), decode(pass.after, o)) {
		if !c.changed() {
			p.line("   %-11s %-33s %s", c.label, c.before, c.after)
			continue
		}
		p.line("   %-11s %-33s %s", c.label, orDash(c.before), p.paint(yellow, fmt.Sprintf("%-31s <-", orDash(c.after))))
	}
}

// What of a long output is shown with an error.
const (
	tailLines = 10
	tailWidth = 160
)

// tail is the end of an output, indented.
func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	for i, line := range lines {
		if len(line) > tailWidth {
			line = line[:tailWidth] + "..."
		}
		lines[i] = "  " + line
	}
	return strings.Join(lines, "\n")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// roll shows names as they are called out, several in a line, and only the
// first of very many.
type roll struct {
	page  *page
	count int
	ended bool
}

const (
	rollWidth = 18 // names in a line
	rollMax   = 3 * rollWidth
)

func (r *roll) add(name string) {
	switch {
	case r.count > rollMax:
		return
	case r.count == rollMax:
		fmt.Fprint(r.page.w, " ...")
	case r.count%rollWidth == 0 && r.count > 0:
		fmt.Fprint(r.page.w, "\n   "+name)
	case r.count == 0:
		fmt.Fprint(r.page.w, "   "+name)
	default:
		fmt.Fprint(r.page.w, " "+name)
	}
	r.count++
}

// end ends the line, once.
func (r *roll) end() {
	if !r.ended && r.count > 0 {
		fmt.Fprintln(r.page.w)
	}
	r.ended = true
}
