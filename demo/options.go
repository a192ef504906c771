package demo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Options are what the demo is to show.
type Options struct {
	Modes    []string // of Modes, in the order to be played
	Requests int      // for each, rounded up to whole rounds of the schedulers
	Keep     bool     // leave the networks running
	Color    bool
}

// DefaultRequests is one round of every scheduler.
const DefaultRequests = rounds

// maxRequests bounds the time a demo may take, and the ports it uses.
const maxRequests = 10_000

// ParseModes reads the value of --mode: a name, several with commas, or all.
func ParseModes(text string) ([]string, error) {
	if text == "all" {
		return Modes, nil
	}
	modes := strings.Split(text, ",")
	for _, m := range modes {
		if !slices.Contains(Modes, m) {
			return nil, fmt.Errorf("--mode %q: want all, or some of %s", text, strings.Join(Modes, ","))
		}
	}
	return modes, nil
}

// Validate reports an option that makes no sense.
func (o Options) Validate() error {
	if o.Requests < 1 || o.Requests > maxRequests {
		return fmt.Errorf("--requests %d: want 1 to %d", o.Requests, maxRequests)
	}
	return nil
}

// flags are the options as the command line has them.
func (o Options) flags() []string {
	return []string{
		"--mode", strings.Join(o.Modes, ","), "--requests", strconv.Itoa(o.Requests),
		"--keep=" + strconv.FormatBool(o.Keep), "--color=" + strconv.FormatBool(o.Color),
	}
}
