package bench

import (
	"fmt"
	"math"
	"slices"
)

// Better says which way a figure improves.
type Better string

// Lower is better for a duration, higher for a rate.
const (
	Lower  Better = "lower"
	Higher Better = "higher"
)

// Round is one measurement, and what the peer reached beside it.
type Round struct {
	Value float64 `json:"value"`
	Peer  float64 `json:"peer,omitempty"`
}

// Figure is something that was measured a few times over.
type Figure struct {
	Group  string `json:"group"` // the suite, or a part of it
	Name   string `json:"name"`
	Unit   string `json:"unit"` // of the rounds' values
	Better Better `json:"better"`
	// Floor is what must be reached and Aim what is wanted, in Unit, or as a
	// ratio to the peer if there is one; nil: no target.
	Floor *float64 `json:"floor,omitempty"`
	Aim   *float64 `json:"aim,omitempty"`
	// Of names the peer. With one, the figure is the ratio of Value to Peer.
	Of      string  `json:"of,omitempty"`
	Rounds  []Round `json:"rounds"`
	Skipped string  `json:"skipped,omitempty"` // why there are no rounds
	Note    string  `json:"note,omitempty"`    // what a reader must know
}

// Spread is a middle value and how far others were from it.
type Spread struct{ Median, Min, Max float64 }

// SpreadOf returns the spread of values; without any it is zero. The median of
// an even number is the mean of the middle two.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	s := slices.Sorted(slices.Values(values))
	k := len(s) / 2
	median := s[k]
	if len(s)%2 == 0 {
		median = (s[k-1] + s[k]) / 2
	}
	return Spread{Median: median, Min: s[0], Max: s[len(s)-1]}
}

// Values is the spread of what was measured itself, in Unit.
func (f *Figure) Values() Spread {
	return f.spread(func(r Round) float64 { return r.Value })
}

// Peers is the spread of what the peer reached, in Unit.
func (f *Figure) Peers() Spread {
	return f.spread(func(r Round) float64 { return r.Peer })
}

// Result is the spread of what is judged: of the rounds' ratios to the peer,
// or of their values if there is no peer.
func (f *Figure) Result() Spread {
	if f.Of == "" {
		return f.Values()
	}
	return f.spread(Round.ratio)
}

func (f *Figure) spread(of func(Round) float64) Spread {
	values := make([]float64, len(f.Rounds))
	for i, r := range f.Rounds {
		values[i] = of(r)
	}
	return SpreadOf(values)
}

// ratio is 0 if the peer did nothing, which check refuses.
func (r Round) ratio() float64 {
	if r.Peer == 0 {
		return 0
	}
	return r.Value / r.Peer
}

// Key names the figure among all.
func (f *Figure) Key() string { return f.Group + "/" + f.Name }

// Verdict is how a figure stands to its targets.
type Verdict string

// The verdicts.
const (
	NotMeasured Verdict = "not measured"
	NoTarget    Verdict = "no target"
	BelowFloor  Verdict = "below floor"
	BelowAim    Verdict = "below aim" // it has no floor
	FloorMet    Verdict = "floor met"
	AimMet      Verdict = "aim met"
)

// Verdict judges the median.
func (f *Figure) Verdict() Verdict {
	switch r := f.Result().Median; {
	case len(f.Rounds) == 0:
		return NotMeasured
	case f.Floor == nil && f.Aim == nil:
		return NoTarget
	case f.reaches(r, f.Aim):
		return AimMet
	case f.Floor == nil:
		return BelowAim
	case f.reaches(r, f.Floor):
		return FloorMet
	}
	return BelowFloor
}

// reaches reports whether there is that target and r is no worse.
func (f *Figure) reaches(r float64, target *float64) bool {
	switch {
	case target == nil:
		return false
	case f.Better == Lower:
		return r <= *target
	}
	return r >= *target
}

// check says what is wrong with a figure's description.
func (f *Figure) check() error {
	switch {
	case f.Group == "" || f.Name == "" || f.Unit == "":
		return fmt.Errorf("figure %q: no group, name or unit", f.Key())
	case f.Better != Lower && f.Better != Higher:
		return fmt.Errorf("figure %q: better is %q", f.Key(), f.Better)
	case f.Floor != nil && f.Aim != nil && !f.reaches(*f.Aim, f.Floor):
		return fmt.Errorf("figure %q: its aim %g does not reach its floor %g", f.Key(), *f.Aim, *f.Floor)
	case len(f.Rounds) == 0 && f.Skipped == "":
		return fmt.Errorf("figure %q: neither measured nor skipped", f.Key())
	}
	for _, r := range f.Rounds {
		if err := f.checkRound(r); err != nil {
			return err
		}
	}
	return nil
}

// checkRound says what is wrong with a round: ratios need a peer that did
// something.
func (f *Figure) checkRound(r Round) error {
	if f.Of != "" && r.Peer <= 0 {
		return fmt.Errorf("figure %q: %s reached %g", f.Key(), f.Of, r.Peer)
	}
	if r.Value < 0 || math.IsNaN(r.Value) || math.IsInf(r.Value, 0) {
		return fmt.Errorf("figure %q: measured %g", f.Key(), r.Value)
	}
	return nil
}
