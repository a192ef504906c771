package bench

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// counted is a case that notes its rounds.
func counted(name string, log *[]string, err error) Case {
	return Case{
		Figure: Figure{Group: "g", Name: name, Unit: "ns", Better: Lower},
		Round: func(context.Context) (Round, error) {
			*log = append(*log, name)
			return Round{Value: float64(len(*log))}, err
		},
	}
}

func TestMeasureTakesRoundsInTurn(t *testing.T) {
	var log []string
	var progress strings.Builder
	figures, err := Measure(t.Context(), &Options{Rounds: 2, Progress: &progress}, []Case{counted("a", &log, nil), counted("b", &log, nil)})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "a", "b"}, log)
	require.Len(t, figures, 2)
	require.Equal(t, []Round{{Value: 2}, {Value: 4}}, figures[1].Rounds)
	require.Contains(t, progress.String(), "g/b: round 2 of 2: 4 ns\n")
}

func TestMeasureOnlyWhatIsWanted(t *testing.T) {
	var log []string
	o := &Options{Rounds: 3, Quick: true, Only: regexp.MustCompile("^g/b$")}
	cases := []Case{counted("a", &log, nil), counted("b", &log, nil)}
	figures, err := Measure(t.Context(), o, cases)
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, log, "quick: one round")
	require.Len(t, figures, 1)
}

func TestMeasureSkips(t *testing.T) {
	var log []string
	figures, err := Measure(t.Context(), &Options{Rounds: 3}, []Case{counted("a", &log, Skip("no %s", "kernel"))})
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, log, "and is not tried again")
	require.Equal(t, "no kernel", figures[0].Skipped)
	require.Equal(t, NotMeasured, figures[0].Verdict())
	require.NoError(t, figures[0].check())
}

func TestMeasureKeepsWhatItHas(t *testing.T) {
	var log []string
	broken := errors.New("broken")
	figures, err := Measure(t.Context(), &Options{Rounds: 3}, []Case{counted("a", &log, nil), counted("b", &log, broken)})
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "g/b")
	require.Len(t, figures, 1, "b has no round")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	figures, err = Measure(ctx, &Options{}, []Case{counted("a", &log, nil)})
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, figures)
}

func TestMeasureRefusesAPeerThatDidNothing(t *testing.T) {
	c := Case{Figure: Figure{Group: "g", Name: "a", Unit: "x", Better: Higher, Of: "nft"},
		Round: func(context.Context) (Round, error) { return Round{Value: 1}, nil }}
	_, err := Measure(t.Context(), &Options{}, []Case{c})
	require.ErrorContains(t, err, "nft reached 0")
}

func TestRoundCount(t *testing.T) {
	require.Equal(t, DefaultRounds, (&Options{}).RoundCount())
	require.Equal(t, 9, (&Options{Rounds: 9}).RoundCount())
	require.Equal(t, 1, (&Options{Rounds: 9, Quick: true}).RoundCount())
}
