package oracle

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Step is one action of a trace with what the recorded kernel did.
type Step struct {
	Line int
	Kind byte // one of % & $ @ > m(acro) and 'u' for "mtu"
	Text string
	Link string // of a frame or macro
	Data []byte // of a frame

	Out, Err string // recorded output of a $ command
	Exit     int
	Frames   []Emission // recorded frames; nil for a macro in a brief trace
	Verdict  []string   // recorded verdict words of a macro
	Counted  bool       // "rep N MACRO": of Repeat frames, the Repeated answers were only counted
	Repeat   int
	Repeated int
	Printed  bool // the macro's frame stands in the recording, too
}

// Trace is a recording.
type Trace struct {
	Name  string
	Hosts string // what the machine's /etc/hosts had; "" if the recording must tell
	Steps []Step
	Brief map[int]bool // steps whose frames were not recorded
}

// ParseTrace reads a recording.
func ParseTrace(name string, r io.Reader) (*Trace, error) {
	t := &Trace{Name: name, Brief: map[int]bool{}}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	brief := false
	for line := 1; sc.Scan(); line++ {
		text := sc.Text()
		switch {
		case text == "brief":
			brief = true
			continue
		case text == "full":
			brief = false
			continue
		}
		if err := t.addLine(line, text, brief); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
	}
	return t, sc.Err()
}

func (t *Trace) addLine(line int, text string, brief bool) error {
	if text == "" || text[0] == '#' {
		return nil
	}
	if strings.IndexByte("|!=<", text[0]) >= 0 {
		if len(t.Steps) == 0 {
			return fmt.Errorf("an answer before any step: %q", text)
		}
		return t.Steps[len(t.Steps)-1].answer(text)
	}
	s := Step{Line: line, Kind: text[0], Text: strings.TrimSpace(text[1:])}
	switch {
	case strings.HasPrefix(text, "mtu "):
		s.Kind, s.Text = 'u', text[4:]
	case text[0] == '>':
		f := strings.Fields(s.Text)
		if len(f) != 2 {
			return fmt.Errorf("a frame wants a link and hex digits: %q", text)
		}
		data, err := hex.DecodeString(f[1])
		if err != nil {
			return err
		}
		if linkNamed(f[0]) == nil {
			return fmt.Errorf("no link %q", f[0])
		}
		s.Link, s.Data = f[0], data
		if printed, err := t.printed(&s, brief); printed || err != nil {
			return err
		}
	case strings.IndexByte("%&$@", text[0]) >= 0:
	default:
		if err := s.macro(text); err != nil {
			return err
		}
		t.Brief[len(t.Steps)] = brief
	}
	t.Steps = append(t.Steps, s)
	return nil
}

// printed reports whether s is no frame of its own but the one that the macro
// before it stands for, which recordings print unless they are brief.
func (t *Trace) printed(s *Step, brief bool) (bool, error) {
	if brief || len(t.Steps) == 0 {
		return false, nil
	}
	m := &t.Steps[len(t.Steps)-1]
	if m.Kind != 'm' || m.Counted || m.Printed || len(m.Frames) > 0 {
		return false, nil
	}
	if m.Link != s.Link || !bytes.Equal(m.Data, s.Data) {
		return false, fmt.Errorf("not the frame of the line before:\n  printed %s\n  meant   %s",
			hex.EncodeToString(s.Data), hex.EncodeToString(m.Data))
	}
	m.Printed = true
	return true, nil
}

// answer adds a line of recorded behaviour to the step.
func (s *Step) answer(text string) error {
	switch text[0] {
	case '|':
		s.Out = output(s.Out, text[1:])
	case '!':
		s.Err = output(s.Err, text[1:])
	case '=':
		n, err := strconv.Atoi(strings.TrimSpace(text[1:]))
		s.Exit = n
		return err
	case '<':
		f := strings.Fields(text[1:])
		if len(f) != 2 {
			return fmt.Errorf("a frame wants a link and hex digits: %q", text)
		}
		data, err := hex.DecodeString(f[1])
		if linkNamed(f[0]) == nil {
			return fmt.Errorf("no link %q", f[0])
		}
		s.Frames = append(s.Frames, Emission{Link: f[0], Data: data})
		return err
	}
	return nil
}

// output adds a recorded line. The line \ says that the one before it had no
// newline at its end.
func output(text, line string) string {
	if line == `\` {
		return strings.TrimSuffix(text, "\n")
	}
	return text + line + "\n"
}

// maxRepeat bounds "rep N".
const maxRepeat = 1_000_000

// macro reads "tcp [LINK] FLAGS SRC DST [k=v ...] -> VERDICT" and its kin.
func (s *Step) macro(text string) error {
	s.Kind, s.Repeat = 'm', 1
	action, verdict, ok := strings.Cut(text, " -> ")
	if !ok {
		return fmt.Errorf("neither a step nor an answer: %q", text)
	}
	if rest, ok := strings.CutPrefix(action, "rep "); ok {
		count, inner, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(count)
		if err != nil {
			return err
		}
		if n < 0 || n > maxRepeat {
			return fmt.Errorf("%d times is not sensible", n)
		}
		if _, err := fmt.Sscanf(verdict, "%d frames", &s.Repeated); err != nil {
			return err
		}
		s.Counted, s.Repeat, action, verdict = true, n, inner, ""
	}
	s.Verdict = strings.Fields(verdict)
	data, link, err := buildMacro(strings.Fields(action))
	s.Text, s.Data, s.Link = action, data, link
	return err
}
