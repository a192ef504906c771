package differential

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"usvs/differential/stage"
	"usvs/oracle"
)

// Scenario is a recording without answers.
type Scenario struct {
	Area  string
	Seed  uint64
	Lines []string
}

// Name is what the scenario's recording is called.
func (s Scenario) Name() string { return fmt.Sprintf("%s-%d", s.Area, s.Seed) }

func (s Scenario) String() string { return strings.Join(s.Lines, "\n") + "\n" }

// job makes the job of a scenario; steps says which line each step is.
func (s Scenario) job() (job stage.Job, steps []int, err error) {
	job.MTU = map[string]int{}
	for i, line := range s.Lines {
		step, ok, err := compile(line, job.MTU)
		if err != nil {
			return job, nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if ok {
			job.Steps = append(job.Steps, step)
			steps = append(steps, i)
		}
	}
	return job, steps, nil
}

// compile makes a step of a line; ok is false for lines that are none.
func compile(line string, mtu map[string]int) (step stage.Step, ok bool, err error) {
	if line == "" || line[0] == '#' || line == "brief" || line == "full" {
		return step, false, nil
	}
	if rest, ok := strings.CutPrefix(line, "mtu "); ok {
		link, size, _ := strings.Cut(rest, " ")
		mtu[link], err = strconv.Atoi(size)
		return step, false, err
	}
	switch text := strings.TrimSpace(line[1:]); line[0] {
	case '%':
		return stage.Step{Kind: stage.Setup, Text: text}, true, nil
	case '$':
		return stage.Step{Kind: stage.Command, Text: text}, true, nil
	case '@':
		secs, err := strconv.ParseFloat(text, 64)
		return stage.Step{Kind: stage.Wait, For: time.Duration(secs * float64(time.Second))}, true, err
	}
	return frame(line)
}

// frame makes the step of a frame or a macro; the player of the recordings says
// what frame a macro means.
func frame(line string) (step stage.Step, ok bool, err error) {
	asRecorded := line
	switch {
	case strings.HasPrefix(line, "rep "):
		asRecorded += " -> 0 frames"
	case line[0] != '>':
		asRecorded += " -> none"
	}
	t, err := oracle.ParseTrace("scenario", strings.NewReader(asRecorded+"\n"))
	if err != nil {
		return step, false, err
	}
	if len(t.Steps) != 1 {
		return step, false, fmt.Errorf("not a step: %q", line)
	}
	got := t.Steps[0]
	return stage.Step{Kind: stage.Frame, Link: got.Link, Data: got.Data, Count: got.Repeat}, true, nil
}
