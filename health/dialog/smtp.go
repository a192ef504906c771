package dialog

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"

	"usvs/health"
)

// Limits of an SMTP server's answer: RFC 5321 section 4.5.3.1.5 has 512 bytes
// a line.
const (
	smtpLine  = 512
	smtpLines = 64
)

// defaultHelo is whom keepalived says it is.
const defaultHelo = "smtpchecker.keepalived.org"

var (
	errLong   = errors.New("the answer is too long")
	mailWords = wording{
		Connecting: {"Connection timeout to server", "Could not connect to server"},
		Writing:    {"Write timeout to server", "Error connecting to server"},
		Reading:    {"Read timeout from server", "Read failure from server"},
	}
)

// mail is SMTP_CHECK: a greeting, HELO, QUIT.
type mail struct {
	*wording
	steps []smtpStep // that are left
	line  []byte     // as far as it has come
	lines int        // of an answer, before this one
}

// smtpStep is an answer that begins with a code, and what is said to it.
type smtpStep struct{ code, complaint, say string }

func newMail(p *health.Probe) Dialog {
	return &mail{wording: &mailWords, steps: []smtpStep{
		{"220", "Bad greeting banner from server", "HELO " + cmp.Or(p.Helo, defaultHelo) + "\r\n"},
		{"250", "Bad HELO response from server", "QUIT\r\n"},
		{},
	}}
}

// Begin leaves the first word to the server.
func (m *mail) Begin() Move { return Move{} }

// Take collects lines and heeds the last one of each answer: the one without a
// - after its code, RFC 5321 section 4.2.1.
func (m *mail) Take(b []byte) (next Move) {
	for len(b) > 0 && !next.Done {
		line, rest, complete := bytes.Cut(b, []byte("\n"))
		if len(m.line)+len(line) >= smtpLine || m.lines == smtpLines {
			next.Done, next.Result = true, m.Fail(Reading, errLong)
			break
		}
		m.line, b = append(m.line, line...), rest
		switch {
		case !complete:
		case len(m.line) >= 4 && m.line[3] == '-':
			m.line, m.lines = m.line[:0], m.lines+1
		default:
			m.answered(strings.TrimRight(string(m.line), "\r"), &next)
			m.line, m.lines = m.line[:0], 0
		}
	}
	return next
}

func (m *mail) answered(line string, next *Move) {
	step := m.steps[0]
	m.steps = m.steps[1:]
	switch {
	case !strings.HasPrefix(line, step.code):
		next.Done, next.Result = true, failure(step.complaint, fmt.Errorf("it says %q", line))
	case len(m.steps) == 0:
		next.Done, next.Result = true, success
	default:
		next.Say = append(next.Say, step.say...)
	}
}
