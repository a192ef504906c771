package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Run is figures that were measured together.
type Run struct {
	Machine Machine   `json:"machine"`
	Commit  string    `json:"commit"` // of usvs
	Command string    `json:"command"`
	Date    time.Time `json:"date"`
	Figures []Figure  `json:"figures"`
}

// Report is what was measured, at once or in several runs.
type Report struct {
	Runs []Run `json:"runs"`
}

// Figures lists those of all runs, groups in the order in which they were
// first measured.
func (r *Report) Figures() []Figure {
	var all []Figure
	for i := range r.Runs {
		all = append(all, r.Runs[i].Figures...)
	}
	rank := map[string]int{}
	for i := range all {
		if _, known := rank[all[i].Group]; !known {
			rank[all[i].Group] = len(rank)
		}
	}
	slices.SortStableFunc(all, func(a, b Figure) int { return rank[a.Group] - rank[b.Group] })
	return all
}

// Groups lists the groups, each with its figures.
func (r *Report) Groups() [][]Figure {
	var groups [][]Figure
	for all := r.Figures(); len(all) > 0; {
		n := 1
		for n < len(all) && all[n].Group == all[0].Group {
			n++
		}
		groups, all = append(groups, all[:n]), all[n:]
	}
	return groups
}

// Count is how many figures got a verdict.
func (r *Report) Count(v Verdict) int {
	n := 0
	for _, f := range r.Figures() {
		if f.Verdict() == v {
			n++
		}
	}
	return n
}

// Add adds a run. Figures of earlier runs that it measured again are dropped
// there, and so is a run that has none left.
func (r *Report) Add(run Run) {
	again := map[string]bool{}
	for i := range run.Figures {
		again[run.Figures[i].Key()] = true
	}
	for i := range r.Runs {
		old := &r.Runs[i]
		old.Figures = slices.DeleteFunc(slices.Clone(old.Figures), func(f Figure) bool { return again[f.Key()] })
	}
	r.Runs = append(r.Runs, run)
	r.Runs = slices.DeleteFunc(r.Runs, func(old Run) bool { return len(old.Figures) == 0 })
}

// Check reports the first figure that makes no sense.
func (r *Report) Check() error {
	seen := map[string]bool{}
	for _, f := range r.Figures() {
		if err := f.check(); err != nil {
			return err
		}
		if seen[f.Key()] {
			return fmt.Errorf("figure %q occurs twice", f.Key())
		}
		seen[f.Key()] = true
	}
	return nil
}

// WriteJSON writes what ReadJSON reads.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// ReadJSON reads a report and checks it.
func ReadJSON(rd io.Reader) (*Report, error) {
	var r Report
	if err := json.NewDecoder(rd).Decode(&r); err != nil {
		return nil, err
	}
	return &r, r.Check()
}

// The files of a directory of results.
const (
	JSONFile     = "results.json"
	MarkdownFile = "RESULTS.md"
	SVGFile      = "results.svg"
)

// Load reads a directory's results; without any the report is empty.
func Load(dir string) (*Report, error) {
	f, err := os.Open(filepath.Join(dir, JSONFile))
	if errors.Is(err, fs.ErrNotExist) {
		return &Report{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := ReadJSON(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return r, nil
}

// Save writes the three files of a directory, which is made if need be.
func (r *Report) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, write := range map[string]func(io.Writer) error{
		JSONFile: r.WriteJSON, MarkdownFile: r.WriteMarkdown, SVGFile: r.WriteSVG,
	} {
		if err := writeFile(filepath.Join(dir, name), write); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
