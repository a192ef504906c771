package frames

import "math"

// probe is what came of offering a rate.
type probe struct {
	offered   float64 // frames a second
	delivered float64
	cpu       float64 // seconds of the director's core per frame
}

// maxLoss is what a rate may lose and still count as sustained: less happens
// whenever something else runs for a moment.
const maxLoss = 0.01

func (p probe) sustained() bool { return p.delivered >= (1-maxLoss)*p.offered }

// short: the load's core could not offer what it was asked to.
func (p probe) short(asked float64) bool { return p.offered < 0.97*asked }

// ladder is what a search found.
type ladder struct {
	best      float64 // the highest rate delivered, whatever was lost
	sustained probe   // the highest without loss worth the name
	short     bool    // the load was the limit
}

// The search's steps: the first rates are growth apart, then the gap between
// what passed and what did not is halved until it is less than precision.
const (
	precision = 1.04
	maxProbes = 12

	// maxShort is how often the load may fall short before it is the limit: now
	// and then something else has its core for a moment.
	maxShort = 3
)

// climb looks for the highest rate that passes, starting at a guess.
func climb(guess, growth float64, try func(rate float64) (probe, error)) (ladder, error) {
	var found ladder
	low, high, short := 0.0, math.Inf(1), 0
	for rate, n := guess, 0; n < maxProbes && high > precision*low; n++ {
		p, err := try(rate)
		if err != nil {
			return found, err
		}
		found.best = max(found.best, p.delivered)
		if p.sustained() && p.offered > found.sustained.offered {
			found.sustained = p
		}
		if p.sustained() && p.short(rate) {
			if short++; short == maxShort {
				found.short = true
				return found, nil
			}
			continue
		}
		switch {
		case p.sustained():
			low = rate
		case n == 0: // a program that has just been started may stumble
			continue
		default:
			high = rate
		}
		rate = between(low, high, growth)
	}
	return found, nil
}

// between is the rate to try next.
func between(low, high, growth float64) float64 {
	switch {
	case math.IsInf(high, 1):
		return low * growth
	case low == 0:
		return high / growth
	}
	return math.Sqrt(low * high)
}
