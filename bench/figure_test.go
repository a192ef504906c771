package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}},
		{[]float64{7}, Spread{7, 7, 7}},
		{[]float64{3, 1, 2}, Spread{2, 1, 3}},
		{[]float64{4, 1, 2, 10}, Spread{3, 1, 10}},
	} {
		before := slices.Clone(c.values)
		require.Equal(t, c.want, SpreadOf(c.values))
		require.Equal(t, before, c.values, "the rounds keep their order")
	}
}

// TestMedianHalves: half of the values are on either side.
func TestMedianHalves(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		values := make([]float64, 1+rng.IntN(9))
		for i := range values {
			values[i] = float64(rng.IntN(5))
		}
		s, below, above := SpreadOf(values), 0, 0
		for _, v := range values {
			if v <= s.Median {
				below++
			}
			if v >= s.Median {
				above++
			}
		}
		require.GreaterOrEqual(t, 2*below, len(values), "%v", values)
		require.GreaterOrEqual(t, 2*above, len(values), "%v", values)
		require.Equal(t, slices.Min(values), s.Min)
		require.Equal(t, slices.Max(values), s.Max)
	}
}

// TestResultIsMedianOfRatios, not the ratio of medians.
func TestResultIsMedianOfRatios(t *testing.T) {
	f := Figure{Of: "nft DNAT", Rounds: []Round{{100, 100}, {50, 200}, {30, 20}}}
	require.Equal(t, Spread{1, 0.25, 1.5}, f.Result())
	require.Equal(t, 50.0, f.Values().Median)
	require.Equal(t, 100.0, f.Peers().Median)
	f.Of = ""
	require.Equal(t, Spread{50, 30, 100}, f.Result())
}

func TestVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		better     Better
		floor, aim *float64
		value      float64
		want       Verdict
	}{
		"lower, at the floor":       {Lower, new(60.0), new(40.0), 60, FloorMet},
		"lower, above the floor":    {Lower, new(60.0), new(40.0), 60.1, BelowFloor},
		"lower, at the aim":         {Lower, new(60.0), new(40.0), 40, AimMet},
		"higher, at the floor":      {Higher, new(0.5), new(0.7), 0.5, FloorMet},
		"higher, below the floor":   {Higher, new(0.5), new(0.7), 0.49, BelowFloor},
		"higher, above the aim":     {Higher, new(0.5), new(0.7), 0.8, AimMet},
		"no target":                 {Higher, nil, nil, 0.8, NoTarget},
		"floor only, met":           {Higher, new(0.5), nil, 0.8, FloorMet},
		"floor only, missed":        {Higher, new(0.5), nil, 0.4, BelowFloor},
		"aim only, not reached yet": {Higher, nil, new(0.9), 0.4, BelowAim},
		"none allowed, none":        {Lower, new(0.0), nil, 0, FloorMet},
		"none allowed, some":        {Lower, new(0.0), nil, 0.01, BelowFloor},
	} {
		f := Figure{Better: c.better, Floor: c.floor, Aim: c.aim, Rounds: []Round{{Value: c.value}}}
		require.Equal(t, c.want, f.Verdict(), name)
	}
	require.Equal(t, NotMeasured, (&Figure{Floor: new(1.0), Better: Lower}).Verdict())
}

func TestCheck(t *testing.T) {
	good := Figure{Group: "table", Name: "lookup", Unit: "ns", Better: Lower, Floor: new(60.0), Aim: new(40.0), Rounds: []Round{{Value: 1}}}
	require.NoError(t, good.check())
	for want, spoil := range map[string]func(*Figure){
		"no group, name or unit":       func(f *Figure) { f.Unit = "" },
		`better is "more"`:             func(f *Figure) { f.Better = "more" },
		"aim 80 does not reach":        func(f *Figure) { f.Aim = new(80.0) },
		"neither measured nor skipped": func(f *Figure) { f.Rounds = nil },
		"nft reached 0":                func(f *Figure) { f.Of = "nft" },
		"measured NaN":                 func(f *Figure) { f.Rounds[0].Value = math.NaN() },
		"measured -1":                  func(f *Figure) { f.Rounds[0].Value = -1 },
	} {
		f := good
		f.Rounds = slices.Clone(good.Rounds)
		spoil(&f)
		require.ErrorContains(t, f.check(), want)
	}
}
