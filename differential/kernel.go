package differential

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"usvs/differential/stage"
)

// Kernel plays jobs: a machine of differential/uml.
type Kernel interface {
	Run(job []byte) (answer []byte, err error)
}

// ErrRefused says that the kernel could not play a scenario as written.
var ErrRefused = errors.New("the scenario cannot be played")

// Record has the kernel play a scenario and returns the recording.
func Record(k Kernel, s Scenario) (trace string, err error) {
	job, steps, err := s.job()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrRefused, err)
	}
	in, err := json.Marshal(job)
	if err != nil {
		return "", err
	}
	out, err := k.Run(in)
	if err != nil {
		return "", err
	}
	var a stage.Answer
	if err := json.Unmarshal(out, &a); err != nil {
		return "", err
	}
	if a.Failure != "" {
		return "", fmt.Errorf("%w: %s", ErrRefused, a.Failure)
	}
	if stalled(job.Steps, a.Results) {
		return "", fmt.Errorf("%w: the machine stood still", ErrUnclear)
	}
	return s.record(steps, a), nil
}

// stalled reports whether a frame or a listing took so long, as on a busy
// machine, that nobody knows at what time within it the kernel answered: more
// than connections have left at least when it begins. What follows the set-up
// includes the time to settle.
func stalled(steps []stage.Step, results []stage.Result) bool {
	const most = time.Second
	for i := 1; i < len(results); i++ {
		timed := steps[i].Kind == stage.Frame || strings.HasPrefix(steps[i].Text, "ipvsadm -L")
		if timed && steps[i-1].Kind != stage.Setup && results[i].End-results[i].Waited-results[i-1].End > most {
			return true
		}
	}
	return false
}
