package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// DefaultRounds is how often a figure is measured if nobody says.
const DefaultRounds = 5

// Suite measures a group of figures. What the machine does not allow becomes a
// figure that says so; an error means that something went wrong. The figures
// measured until then are returned with it.
type Suite func(ctx context.Context, o *Options) ([]Figure, error)

// Options are what a suite is given.
type Options struct {
	Rounds   int            // how often each figure is measured; 0: DefaultRounds
	Only     *regexp.Regexp // measure only figures whose "group/name" matches; nil: all
	Quick    bool           // small and short: whether it works, not how fast it is
	Full     bool           // also what takes minutes
	Binary   string         // the usvs program, for what has to be a process of its own
	Rival    string         // another usvs program to measure beside it; empty: none
	Progress io.Writer      // hears how far it is; nil: nobody

	// Pin keeps the kernel's thread of a name on a core; nil: nobody can.
	Pin func(thread string, core int) error
}

// ErrSkip is wrapped by a round's error if the machine does not allow the
// measurement: the figure is listed with the rest of the error as the reason.
var ErrSkip = errors.New("not possible here")

// Skip is an error that wraps ErrSkip and gives the reason.
func Skip(format string, args ...any) error { return &skip{fmt.Sprintf(format, args...)} }

type skip struct{ reason string }

func (s *skip) Error() string { return s.reason }
func (s *skip) Unwrap() error { return ErrSkip }

// Reason is an error as the reason why a figure was not measured: one line. An
// error of nil means that it was not its turn yet.
func Reason(err error) string {
	if err == nil {
		return "interrupted before its first round"
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > maxReason {
		text = text[:maxReason] + "..."
	}
	return text
}

// maxReason is how long a reason may be, in bytes.
const maxReason = 300

// RoundCount is how often each figure is to be measured.
func (o *Options) RoundCount() int {
	switch {
	case o.Quick:
		return 1
	case o.Rounds <= 0:
		return DefaultRounds
	}
	return o.Rounds
}

// Wants reports whether a figure is to be measured.
func (o *Options) Wants(group, name string) bool {
	return o.Only == nil || o.Only.MatchString(group+"/"+name)
}

// Logf tells how far it is.
func (o *Options) Logf(format string, args ...any) {
	if o.Progress != nil {
		fmt.Fprintf(o.Progress, format+"\n", args...)
	}
}

// Case is a figure to measure and how one round of it is taken.
type Case struct {
	Figure
	Round func(context.Context) (Round, error)
}

// Measure takes the rounds of all wanted cases in turn, one of each and then
// the next of each, so that a disturbance of some seconds meets one round of
// many figures and not all rounds of one. A case whose round is skipped is not
// tried again; any other error ends the measurement.
func Measure(ctx context.Context, o *Options, cases []Case) ([]Figure, error) {
	var wanted []*Case
	for i := range cases {
		if c := &cases[i]; o.Wants(c.Group, c.Name) {
			wanted = append(wanted, c)
		}
	}
	var err error
	for n := 0; n < o.RoundCount() && err == nil; n++ {
		for _, c := range wanted {
			if err = c.take(ctx, o, n); err != nil {
				break
			}
		}
	}
	figures := make([]Figure, 0, len(wanted))
	for _, c := range wanted {
		if len(c.Rounds) > 0 || c.Skipped != "" {
			figures = append(figures, c.Figure)
		}
	}
	return figures, err
}

// take takes one round.
func (c *Case) take(ctx context.Context, o *Options, n int) error {
	if c.Skipped != "" {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := c.Round(ctx)
	switch {
	case errors.Is(err, ErrSkip):
		c.Rounds, c.Skipped = nil, err.Error()
		o.Logf("%s: %s: %s", c.Key(), NotMeasured, c.Skipped)
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", c.Key(), err)
	}
	if err := c.checkRound(r); err != nil {
		return err
	}
	c.Rounds = append(c.Rounds, r)
	o.Logf("%s: round %d of %d: %s", c.Key(), n+1, o.RoundCount(), c.describe(r))
	return nil
}

// describe says what a round gave.
func (f *Figure) describe(r Round) string {
	if f.Of == "" {
		return Number(r.Value) + " " + f.Unit
	}
	return fmt.Sprintf("%s %s, %s of %s's %s", Number(r.Value), f.Unit, Number(r.ratio()), f.Of, Number(r.Peer))
}
