package differential

import (
	"encoding/json"
	"errors"
	"fmt"

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
	return s.record(steps, a), nil
}
