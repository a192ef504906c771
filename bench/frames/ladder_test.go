package frames

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// machine forwards up to its capacity, and less the more is offered beyond it.
func machine(capacity, load float64, tries *int) func(float64) (probe, error) {
	return func(rate float64) (probe, error) {
		*tries++
		p := probe{offered: min(rate, load)}
		p.delivered = p.offered
		if over := p.offered - capacity; over > 0 {
			p.delivered = max(capacity-over, 0)
		}
		return p, nil
	}
}

func TestClimb(t *testing.T) {
	const load = 2e6
	for _, capacity := range []float64{30e3, 200e3, 400e3, 655e3, 1.9e6} {
		tries := 0
		found, err := climb(firstGuess, 1.5, machine(capacity, load, &tries))
		require.NoError(t, err)
		require.InEpsilon(t, capacity, found.sustained.delivered, 0.06, "%v", capacity)
		require.InEpsilon(t, capacity, found.best, 0.06, "%v", capacity)
		require.False(t, found.short)
		require.LessOrEqual(t, tries, maxProbes)

		tries = 0
		again, err := climb(found.sustained.offered, 1.12, machine(capacity, load, &tries))
		require.NoError(t, err)
		require.InEpsilon(t, capacity, again.sustained.delivered, 0.06)
		require.LessOrEqual(t, tries, 6, "with a good guess it is quick")
	}
}

func TestClimbBeyondTheLoad(t *testing.T) {
	tries := 0
	found, err := climb(firstGuess, 1.5, machine(3e6, 1.4e6, &tries))
	require.NoError(t, err)
	require.True(t, found.short)
	require.InEpsilon(t, 1.4e6, found.best, 0.01)
}

// TestClimbDisturbed: the load is kept from its rate once or twice.
func TestClimbDisturbed(t *testing.T) {
	tries := 0
	steady := machine(900e3, 2e6, &tries)
	found, err := climb(firstGuess, 1.5, func(rate float64) (probe, error) {
		p, err := steady(rate)
		if tries <= 2 {
			p.offered, p.delivered = rate/2, rate/2
		}
		return p, err
	})
	require.NoError(t, err)
	require.False(t, found.short)
	require.InEpsilon(t, 900e3, found.sustained.delivered, 0.06)
}

// TestClimbStumble: the first rate is lost by what has nothing to do with it.
func TestClimbStumble(t *testing.T) {
	tries := 0
	steady := machine(900e3, 2e6, &tries)
	found, err := climb(firstGuess, 1.5, func(rate float64) (probe, error) {
		p, err := steady(rate)
		if tries == 1 {
			p.delivered /= 2
		}
		return p, err
	})
	require.NoError(t, err)
	require.InEpsilon(t, 900e3, found.sustained.delivered, 0.06)
}

func TestClimbDeadMachine(t *testing.T) {
	tries := 0
	found, err := climb(firstGuess, 1.5, machine(0, 2e6, &tries))
	require.NoError(t, err)
	require.Zero(t, found.sustained)
	require.Equal(t, maxProbes, tries)

	broken := errors.New("broken")
	_, err = climb(firstGuess, 1.5, func(float64) (probe, error) { return probe{}, broken })
	require.ErrorIs(t, err, broken)
}
