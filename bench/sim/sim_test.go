package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/bench"
)

func TestQuick(t *testing.T) {
	figures, err := Suite(t.Context(), &bench.Options{Quick: true})
	require.NoError(t, err)
	require.Len(t, figures, 5)
	require.NoError(t, (&bench.Report{Runs: []bench.Run{{Figures: figures}}}).Check())
	for _, f := range figures {
		require.Positive(t, f.Result().Median, f.Name)
	}
}

func TestErrors(t *testing.T) {
	_, err := newLAN("ipvsadm -A -t nowhere")
	require.ErrorContains(t, err, "nowhere")
	_, err = forward("-z", 1)
	require.Error(t, err)
}
