package chaos

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Report is what came of a Run.
type Report struct {
	Lab    *Lab
	Bounds Bounds
	First  uint64
	Seeds  int

	Faults   []KindCount // by kind
	Requests int
	Failed   int // of the requests
	Sessions int
	Ended    int // of the sessions
	// Outage is each seed's longest, seeds without one included.
	Outage Distribution
	// Outages are those of all seeds, by what came before them.
	Outages []KindOutages

	Worst    *Episode // nil: no request failed
	Findings []Finding
}

// KindCount is how often there was a fault of a kind.
type KindCount struct {
	Kind  Kind `json:"kind"`
	Count int  `json:"count"`
}

// KindOutages are the outages that began within a fault of a kind, or after it.
type KindOutages struct {
	Kind  Kind `json:"kind"`
	After bool `json:"after"`
	Distribution
}

// Distribution tells how long something was.
type Distribution struct {
	Count  int           `json:"count"`
	Median time.Duration `json:"median"`
	P99    time.Duration `json:"p99"`
	Max    time.Duration `json:"max"`
}

func distribution(list []time.Duration) Distribution {
	slices.Sort(list)
	n := len(list)
	if n == 0 {
		return Distribution{}
	}
	return Distribution{n, list[(n-1)/2], list[(n-1)*99/100], list[n-1]}
}

// Episode is one run, told as a story.
type Episode struct {
	Seed     uint64   `json:"seed"`
	Schedule Schedule `json:"schedule"`
	Outage   Outage   `json:"outage"`
	Because  string   `json:"because,omitempty"` // of the worst outage: why it was so long
	Timeline []Line   `json:"timeline"`

	history *History
}

// Finding is a violation with the fewest and simplest faults that cause it.
type Finding struct {
	Violation
	Seeds   int      `json:"seeds"` // that had it
	Episode *Episode `json:"episode"`
}

// count adds up what is kept of the seeds.
func (r *Report) count(seeds []played) {
	faults := map[Kind]int{}
	type cause struct {
		kind Kind
		over bool
	}
	lengths := map[cause][]time.Duration{}
	var worst []time.Duration
	for _, p := range seeds {
		r.Requests += p.requests
		r.Failed += p.failed
		r.Sessions += p.sessions
		r.Ended += p.ended
		worst = append(worst, p.worst)
		for _, f := range p.schedule {
			faults[f.Kind]++
		}
		for _, o := range p.outages {
			c := cause{o.kind, o.over}
			lengths[c] = append(lengths[c], o.length)
		}
	}
	r.Outage = distribution(worst)
	for _, k := range append([]kindInfo{{}}, kinds...) {
		if n := faults[k.kind]; n > 0 {
			r.Faults = append(r.Faults, KindCount{k.kind, n})
		}
		for _, over := range []bool{false, true} {
			if list := lengths[cause{k.kind, over}]; len(list) > 0 {
				r.Outages = append(r.Outages, KindOutages{k.kind, over, distribution(list)})
			}
		}
	}
}

// Held reports whether every rule held in every run.
func (r *Report) Held() bool { return len(r.Findings) == 0 }

// Write writes the report as text.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	b.WriteString(r.Lab.Describe())
	fmt.Fprintf(&b, "\nwhat the timers promise:\n%s\n", r.Bounds.Describe(r.Lab))
	r.figures(&b)
	if r.Worst != nil {
		fmt.Fprintf(&b, "\nthe worst outage: %v, seed %d\n", short(r.Worst.Outage.Length()), r.Worst.Seed)
		if r.Worst.Because != "" {
			fmt.Fprintf(&b, "  because %s\n", r.Worst.Because)
		}
		r.Worst.write(&b)
	}
	for i := range r.Findings {
		r.Findings[i].write(&b, i+1)
	}
	if r.Held() {
		fmt.Fprintf(&b, "\nall rules held: %s\n", strings.Join(ruleNames(), ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func ruleNames() []string {
	var list []string
	for _, r := range Rules() {
		list = append(list, string(r))
	}
	return list
}

// summary is the figures of all seeds together.
func (r *Report) summary(b *strings.Builder) {
	n := 0
	for _, k := range r.Faults {
		n += k.Count
	}
	fmt.Fprintf(b, "%d seeds from %d: %d faults; %d requests, %d failed; %d connections, %d ended early\n",
		r.Seeds, r.First, n, r.Requests, r.Failed, r.Sessions, r.Ended)
	fmt.Fprintf(b, "the longest outage of a seed: median %v, p99 %v, max %v\n", short(r.Outage.Median), short(r.Outage.P99), short(r.Outage.Max))
}

// short rounds to what people want to know.
func short(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

func (r *Report) figures(b *strings.Builder) {
	r.summary(b)
	if len(r.Outages) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%-22s %8s %8s %8s %8s\n", "outages", "number", "median", "p99", "max")
	for _, k := range r.Outages {
		fmt.Fprintf(b, "%-22s %8d %8v %8v %8v\n", k.name(), k.Count, short(k.Median), short(k.P99), short(k.Max))
	}
}

// name is what came before the outages.
func (k KindOutages) name() string {
	switch {
	case k.Kind == "":
		return "without a fault"
	case k.After:
		return "after " + string(k.Kind)
	}
	return string(k.Kind)
}

func (e *Episode) write(b *strings.Builder) {
	if len(e.Schedule) == 0 {
		fmt.Fprintln(b, "  it takes no fault")
	}
	for _, f := range e.Schedule {
		fmt.Fprintf(b, "  fault: %s\n", f.Describe())
	}
	for _, line := range e.Timeline {
		fmt.Fprintf(b, "    %9s  %-10s %s\n", seconds(line.At), line.Who, line.Text)
	}
}

func (f *Finding) write(b *strings.Builder, n int) {
	fmt.Fprintf(b, "\nVIOLATION %d: %s, in %d seeds, first %d\n", n, f.Rule, f.Seeds, f.Episode.Seed)
	fmt.Fprintf(b, "  %s\n  because %s\n", f.Text, f.Because)
	for _, at := range f.Where {
		fmt.Fprintf(b, "  see %v\n", at)
	}
	f.Episode.write(b)
}

// jsonReport is a Report for programs. Times are in nanoseconds.
type jsonReport struct {
	Lab        string        `json:"lab"`
	First      uint64        `json:"first"`
	Seeds      int           `json:"seeds"`
	Held       bool          `json:"held"`
	Faults     []KindCount   `json:"faults"`
	Requests   int           `json:"requests"`
	Failed     int           `json:"failed"`
	Sessions   int           `json:"sessions"`
	Ended      int           `json:"sessions_ended"`
	Outage     Distribution  `json:"outage"`
	Outages    []KindOutages `json:"outages"`
	Worst      *Episode      `json:"worst,omitempty"`
	Violations []Finding     `json:"violations"`
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	j := jsonReport{
		Lab: r.Lab.Describe(), First: r.First, Seeds: r.Seeds, Held: r.Held(), Faults: r.Faults, Requests: r.Requests, Failed: r.Failed,
		Sessions: r.Sessions, Ended: r.Ended, Outage: r.Outage, Outages: r.Outages, Worst: r.Worst, Violations: r.Findings,
	}
	if j.Violations == nil {
		j.Violations = []Finding{}
	}
	return e.Encode(j)
}
