package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"usvs/netsim/show"
	"usvs/scenario"
)

// watched is a simulation with what --html wants to know of it.
type watched struct {
	*scenario.Sim
	seen *show.Recording // nil without --html
}

// newWatched opens a simulation. Only the page needs to be watched for: it
// shows what every machine knew at each moment.
func newWatched(f *simFlags, seed uint64) *watched {
	w := &watched{Sim: scenario.NewSim(seed)}
	if f.html != "" {
		w.seen = show.Watch(w.Net())
	}
	return w
}

// inspectSim writes what was asked for of a run that is over.
func inspectSim(f *simFlags, v *scenario.Verdict, w scenario.World) error {
	sim, ok := w.(*watched)
	if !ok || sim.Recorder() == nil {
		return nil
	}
	var errs []error
	if f.pcap != "" {
		errs = append(errs, writeCapture(f.pcap, v, sim.Sim))
	}
	if f.ladder {
		var b strings.Builder
		errs = append(errs, show.Of(sim.Net(), sim.Recorder().Records).WriteLadder(&b))
		v.Drawing = b.String()
	}
	if f.html != "" {
		errs = append(errs, writePage(f.html, v, sim))
	}
	return errors.Join(errs...)
}

// writeCapture writes DIR/scenario-seed.pcapng.
func writeCapture(dir string, v *scenario.Verdict, sim *scenario.Sim) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d.pcapng", shortName(v.File), v.Seed)))
	if err != nil {
		return err
	}
	return errors.Join(sim.Net().WritePcapng(file, sim.Recorder().Records), file.Close())
}

// writePage writes the page of one run.
func writePage(path string, v *scenario.Verdict, sim *watched) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	title := fmt.Sprintf("%s (%s, seed %d)", v.File.Title, shortName(v.File), v.Seed)
	return errors.Join(sim.seen.WritePage(file, title), file.Close())
}

// shortName is a scenario's file without folder and ending; a lab's is its
// folder's.
func shortName(f *scenario.File) string {
	name := strings.TrimSuffix(filepath.Base(f.Name), ".txt")
	if name != "scenario" {
		return name
	}
	if abs, err := filepath.Abs(f.Name); err == nil {
		return filepath.Base(filepath.Dir(abs))
	}
	return name
}
