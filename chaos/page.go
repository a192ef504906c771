package chaos

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

//go:embed page.html
var pageHTML string

// pageMark is where the page's data belongs.
const pageMark = "/*DATA*/null"

// page is the data of the page. Times are in seconds.
type page struct {
	Title     string        `json:"title"`
	Lab       string        `json:"lab"`
	Bounds    string        `json:"bounds"`
	Figures   string        `json:"figures"`
	Outages   []pageOutages `json:"outages"`
	Directors []string      `json:"directors"`
	Stories   []pageStory   `json:"stories"`
	Held      bool          `json:"held"`
}

type pageOutages struct {
	Name   string  `json:"name"`
	Count  int     `json:"count"`
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
}

// pageStory is one run: the worst outage, or a violation.
type pageStory struct {
	Title   string     `json:"title"`
	Bad     bool       `json:"bad"`
	Text    string     `json:"text"`
	Because string     `json:"because"`
	Where   []string   `json:"where"`
	Seed    uint64     `json:"seed"`
	Faults  []string   `json:"faults"`
	From    float64    `json:"from"`
	To      float64    `json:"to"`
	Lanes   []pageLane `json:"lanes"`
	Lines   []pageLine `json:"lines"`
}

// pageLane is a row of the drawing: what one thing was, when.
type pageLane struct {
	Name  string    `json:"name"`
	Bars  []pageBar `json:"bars"`
	Ticks bool      `json:"ticks"` // the bars are moments
}

type pageBar struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
	Kind string  `json:"kind"` // fault, MASTER, BACKUP, FAULT, OFF, ok, failed
	Text string  `json:"text"`
}

type pageLine struct {
	At   float64 `json:"at"`
	Who  string  `json:"who"`
	Text string  `json:"text"`
}

// WritePage writes one self-contained HTML page with the timelines of the worst
// outage and of every finding.
func (r *Report) WritePage(w io.Writer) error {
	data, err := json.Marshal(r.page()) // which leaves no "<" in it
	if err != nil {
		return err
	}
	before, after, ok := strings.Cut(pageHTML, pageMark)
	if !ok {
		panic("chaos: page.html has no place for data")
	}
	for _, part := range []string{before, string(data), after} {
		if _, err := io.WriteString(w, part); err != nil {
			return err
		}
	}
	return nil
}

func (r *Report) page() *page {
	p := &page{Lab: r.Lab.Describe(), Bounds: r.Bounds.Describe(r.Lab), Held: r.Held(), Outages: []pageOutages{}, Stories: []pageStory{}}
	var files []string
	for _, d := range r.Lab.Directors {
		p.Directors = append(p.Directors, d.Name)
		files = append(files, d.File)
	}
	p.Title = strings.Join(files, " and ")
	var b strings.Builder
	r.summary(&b)
	p.Figures = b.String()
	for _, k := range r.Outages {
		p.Outages = append(p.Outages, pageOutages{k.name(), k.Count, k.Median.Seconds(), k.P99.Seconds(), k.Max.Seconds()})
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		s := r.story(f.Episode)
		s.Title, s.Bad = fmt.Sprintf("%s, in %d of %d seeds", f.Rule, f.Seeds, r.Seeds), true
		s.Text, s.Because = f.Text, f.Because
		for _, at := range f.Where {
			s.Where = append(s.Where, at.String())
		}
		p.Stories = append(p.Stories, s)
	}
	if r.Worst != nil {
		s := r.story(r.Worst)
		s.Title = fmt.Sprintf("the worst outage: %.2f s", r.Worst.Outage.Length().Seconds())
		s.Because = r.Worst.Because
		p.Stories = append(p.Stories, s)
	}
	return p
}

// story draws an episode: faults, the directors' states, requests.
func (r *Report) story(e *Episode) pageStory {
	h := e.history
	s := pageStory{Seed: e.Seed, From: h.End.Seconds(), Faults: []string{}, Where: []string{}, Lines: []pageLine{}}
	s.From = max(0, (e.Outage.From - around).Seconds())
	s.To = min(h.End, e.Outage.To+around).Seconds()
	for _, f := range e.Schedule {
		s.From, s.To = min(s.From, max(0, (f.At-around/2).Seconds())), max(s.To, (f.End()+around/2).Seconds())
		s.Faults = append(s.Faults, f.Describe())
		bar := pageBar{f.At.Seconds(), f.End().Seconds(), "fault", f.Describe()}
		s.Lanes = append(s.Lanes, pageLane{Name: string(f.Kind) + " " + f.target(), Bars: []pageBar{bar}})
	}
	for i, d := range r.Lab.Directors {
		for k, router := range r.Lab.Routers {
			if router.Members[i] != nil {
				s.Lanes = append(s.Lanes, pageLane{Name: d.Name + " " + router.Name(), Bars: stateBars(h, i, k)})
			}
		}
	}
	for i, service := range r.Lab.Services {
		s.Lanes = append(s.Lanes, pageLane{Name: service.String(), Bars: requestBars(h, i), Ticks: true})
	}
	for _, line := range e.Timeline {
		s.Lines = append(s.Lines, pageLine{line.At.Seconds(), line.Who, line.Text})
	}
	return s
}

func stateBars(h *History, director, router int) []pageBar {
	bars := []pageBar{}
	for _, state := range []State{Master, Backup, InFault, Off} {
		for _, x := range h.states(director, router, state) {
			bars = append(bars, pageBar{x.from.Seconds(), x.to.Seconds(), string(state), fmt.Sprintf("%s, %s - %s", state, seconds(x.from), seconds(x.to))})
		}
	}
	return bars
}

func requestBars(h *History, service int) []pageBar {
	bars := []pageBar{}
	for _, q := range h.Requests {
		if q.Service != service {
			continue
		}
		kind, text := "ok", fmt.Sprintf("%s %s", seconds(q.At), q.Server)
		if q.Outcome != OK {
			kind, text = "failed", fmt.Sprintf("%s %s; server %s, by %s; the router sends to %s", seconds(q.At), q.Outcome, orUnknown(q.Server), orUnknown(q.Via), orUnknown(q.To))
		}
		bars = append(bars, pageBar{q.At.Seconds(), (q.At + q.Took).Seconds(), kind, text})
	}
	return bars
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
