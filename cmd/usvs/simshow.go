package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"usvs/link/pcap"
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
	if !ok {
		return inspectReal(f, v, w)
	}
	if sim.Recorder() == nil {
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

// writeCapture writes a simulation's capture, with an interface for each link.
func writeCapture(dir string, v *scenario.Verdict, sim *scenario.Sim) error {
	file, err := createCapture(dir, v)
	if err != nil {
		return err
	}
	return errors.Join(sim.Net().WritePcapng(file, sim.Recorder().Records), file.Close())
}

// createCapture creates DIR/scenario-seed.pcapng.
func createCapture(dir string, v *scenario.Verdict) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d.pcapng", shortName(v.File), v.Seed)))
}

// inspectReal writes the capture of a run in real time, with an interface for
// each machine's, counted from its start.
func inspectReal(f *simFlags, v *scenario.Verdict, w scenario.World) error {
	if f.pcap == "" || v.Outcome == scenario.Skipped {
		return nil
	}
	var names []string
	var frames []pcap.Seen
	for _, node := range v.File.Topology.Nodes {
		for _, nic := range node.NICs {
			seen, err := w.Frames(scenario.Interface{Node: node.Name, NIC: nic.Name})
			if err != nil {
				return err
			}
			for _, s := range seen {
				frames = append(frames, pcap.Seen{Interface: len(names), At: time.Unix(0, 0).Add(s.At), Data: s.Data, Len: s.Len})
			}
			names = append(names, node.Name+":"+nic.Name)
		}
	}
	slices.SortStableFunc(frames, func(a, b pcap.Seen) int { return a.At.Compare(b.At) })
	file, err := createCapture(f.pcap, v)
	if err != nil {
		return err
	}
	return errors.Join(pcap.Write(file, names, frames), file.Close())
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
