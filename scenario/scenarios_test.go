package scenario

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestScenarios plays every scenario of the product in the simulation.
func TestScenarios(t *testing.T) {
	files, err := Load("../scenarios")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 30)
	for _, f := range files {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			if reason, ok := f.For("sim"); !ok {
				t.Skip(reason)
			}
			require.NotEmpty(t, f.Title, "a scenario begins with a comment that says what it is")
			w := NewSim(1)
			if err := Run(f, w, Options{World: "sim"}); err != nil {
				t.Error(err)
			}
		})
	}
}
