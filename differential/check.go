package differential

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"usvs/dissect"
	"usvs/oracle"
	"usvs/wire"
)

// Check has the kernel play a scenario and usvs play what came of it. The
// difference is nil if there is none.
func Check(k Kernel, s Scenario) (trace string, d *oracle.Difference, err error) {
	if trace, err = Record(k, s); err != nil {
		return "", nil, err
	}
	d, err = compareWithSlack(s.Name(), trace)
	return trace, d, err
}

// ErrUnclear says that the kernel's timers were too inexact for a comparison.
var ErrUnclear = errors.New("nothing can be said: two timers ended too close to each other")

// compareWithSlack compares and looks over what the kernel's timers explain.
func compareWithSlack(name, trace string) (*oracle.Difference, error) {
	for {
		d, err := compare(name, trace)
		if d == nil {
			return nil, err
		}
		adjusted, unclear := slack(trace, d)
		if unclear {
			return nil, fmt.Errorf("%w: %s", ErrUnclear, Describe(d))
		}
		if adjusted == "" || adjusted == trace {
			return d, nil
		}
		trace = adjusted
	}
}

// ignoreRefusal drops the error of a scenario that cannot be played or judged:
// while a scenario is made shorter, many cannot.
func ignoreRefusal(err error) error {
	if errors.Is(err, ErrRefused) || errors.Is(err, ErrUnclear) {
		return nil
	}
	return err
}

var frameDigits = regexp.MustCompile(`\b[0-9a-f]{68,}\b`)

// Describe says what a difference is, frames taken apart.
func Describe(d *oracle.Difference) string {
	text := frameDigits.ReplaceAllStringFunc(d.Error(), func(digits string) string {
		frame, err := hex.DecodeString(digits)
		if err != nil {
			return digits
		}
		return digits + "\n           = " + dissect.Line(frame, wire.Ethernet)
	})
	recorded, here := twoFrames(d.What)
	if recorded == nil || here == nil {
		return text
	}
	var b strings.Builder
	b.WriteString(text)
	for _, c := range dissect.Diff(dissect.Fields(recorded, wire.Ethernet), dissect.Fields(here, wire.Ethernet)) {
		b.WriteString("\n    " + c.Layer + " " + c.Name + ": recorded " + c.Before + ", here " + c.After)
	}
	return b.String()
}

// twoFrames are the two frames that a difference shows, if it shows two.
func twoFrames(what string) (recorded, here []byte) {
	all := frameDigits.FindAllString(what, -1)
	if len(all) != 2 {
		return nil, nil
	}
	recorded, _ = hex.DecodeString(all[0])
	here, _ = hex.DecodeString(all[1])
	return recorded, here
}
