package engine

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/bench"
	"usvs/bench/testbed"
)

func TestQuick(t *testing.T) {
	figures, err := Suite(t.Context(), &bench.Options{Quick: true})
	require.NoError(t, err)
	require.NoError(t, (&bench.Report{Runs: []bench.Run{{Figures: figures}}}).Check())
	require.Len(t, figures, 27)
	for _, f := range figures {
		switch f.Unit {
		case "allocations", "frames":
			require.Zero(t, f.Result().Median, f.Name)
		default:
			require.Positive(t, f.Result().Median, f.Name)
		}
	}
}

// TestTargets: the usual sizes have the targets they should have.
func TestTargets(t *testing.T) {
	floors := map[string]float64{}
	o := &bench.Options{}
	for _, cases := range [][]bench.Case{established(o, usual), opening(o, usual), services(o, usual)} {
		for _, c := range cases {
			if c.Floor != nil {
				floors[c.Name] = *c.Floor
			}
		}
	}
	require.Equal(t, map[string]float64{
		"DR, 100,000 flows": 60, "DR, 1 M flows": 150, "NAT, 100,000 flows": 80, "NAT, 1 M flows": 180,
		"allocations per batch, DR, 100,000 flows": 0, "allocations per batch, NAT, 100,000 flows": 0, "allocations per batch, TUN, 100,000 flows": 0,
		"new connection, wlc, 10 servers":                       400,
		"DR, 100,000 flows among 10,000 services":               1.1,
		"new connection among 10,000 services":                  1.1,
		"rules of 10,000 services with 10 servers each, loaded": 1000,
		"longest of 300 edits among 10,000 services":            5,
		"frames lost by edits among 10,000 services":            0,
	}, floors)
}

// TestLostNoticesLostFrames: frames to a service that is gone are lost.
func TestLostNoticesLostFrames(t *testing.T) {
	e := &editor{crowd: newOpener(testbed.Rules(1, perService, "wlc", routed), 0, quick), o: &bench.Options{Quick: true}, s: quick}
	require.NoError(t, e.crowd.ready())
	require.NoError(t, e.crowd.Control.Flush())
	e.s.services = 1 // edits of a service that is gone fail
	lost, err := e.lost()
	require.Error(t, err)
	require.Positive(t, lost)
	_, err = e.longest()
	require.Error(t, err)
}

func TestOpenEndsWhatItOpened(t *testing.T) {
	x := newOpener(testbed.Rules(1, 3, "wlc", routed), 0, quick)
	for range 12 { // longer than an established connection lasts without frames
		ns, err := x.open()
		require.NoError(t, err)
		require.Positive(t, ns)
		require.Equal(t, quick.few, x.Table.Len())
	}
}

func TestExercise(t *testing.T) {
	require.NoError(t, Exercise(t.Context(), routed, 100, time.Millisecond))
	require.ErrorContains(t, Exercise(t.Context(), "-z", 100, time.Millisecond), `method "-z"`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Exercise(ctx, routed, 100, time.Hour), context.Canceled)
}

func TestWorkout(t *testing.T) {
	require.NoError(t, Workout(t.Context(), 100, time.Millisecond))
	for i, work := range workout(100) {
		require.NoError(t, work(), i)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Workout(ctx, 100, time.Hour), context.Canceled)
}

func TestPerFrame(t *testing.T) {
	calls := 0
	ns, err := perFrame(&bench.Options{}, func() (time.Duration, int, error) { calls++; return 100 * time.Millisecond, 1000, nil })
	require.NoError(t, err)
	require.Equal(t, 3, calls, "until it took long enough")
	require.InDelta(t, 100_000, ns, 0.1)
}

// TestPerFrameMedian: what takes longer for less than half of the time does not
// show.
func TestPerFrameMedian(t *testing.T) {
	calls := 0
	ns, err := perFrame(&bench.Options{}, func() (time.Duration, int, error) {
		if calls++; calls%5 < 2 {
			return 9 * time.Millisecond, 1000, nil
		}
		return 6 * time.Millisecond, 1000, nil
	})
	require.NoError(t, err)
	require.InDelta(t, 6000, ns, 0.1)
}

func TestBadRules(t *testing.T) {
	b := &bed{rules: "-A -t nowhere", flows: 1}
	_, err := b.forward(&bench.Options{Quick: true})
	require.ErrorContains(t, err, "rules:1")
	_, err = load("-A -t nowhere")
	require.Error(t, err)
}
