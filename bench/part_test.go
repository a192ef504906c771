package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var parts = map[string]Part{
	"double": func(_ context.Context, in []byte) (any, error) {
		var n int
		err := json.Unmarshal(in, &n)
		return 2 * n, err
	},
	"fail": func(context.Context, []byte) (any, error) { return nil, errors.New("it failed") },
}

// TestMain makes the test binary the other end of CallPart, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "bench" && os.Args[2] == "part" {
		if err := ServePart(context.Background(), parts, os.Args[3:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestPart(t *testing.T) {
	binary, err := os.Executable()
	require.NoError(t, err)
	o := &Options{Binary: binary}
	var n int
	require.NoError(t, o.CallPart(t.Context(), "double", 21, &n))
	require.Equal(t, 42, n)
	require.ErrorContains(t, o.CallPart(t.Context(), "fail", 1, &n), "it failed")
	require.ErrorContains(t, o.CallPart(t.Context(), "double", "x", &n), "exit status 1")
	o.Binary = "/nonexistent"
	require.Error(t, o.CallPart(t.Context(), "double", 21, &n))
}

func TestServePartRefuses(t *testing.T) {
	require.ErrorContains(t, ServePart(t.Context(), parts, []string{"mars", "1"}, io.Discard), `no part "mars"`)
	require.ErrorContains(t, ServePart(t.Context(), parts, nil, io.Discard), "want a part")
	var out strings.Builder
	require.NoError(t, ServePart(t.Context(), parts, []string{"double", "4"}, &out))
	require.Equal(t, "8\n", out.String())
}

func TestPerOperation(t *testing.T) {
	calls, last := 0, 0
	ns, err := (&Options{Quick: true}).PerOperation(func(n int) error {
		calls++
		require.Greater(t, n, last, "more each time")
		last = n
		for i := range n { // some work, so that it ends soon
			calls += i & 1 & calls >> 40
		}
		return nil
	})
	require.NoError(t, err)
	require.Positive(t, ns)
	_, err = (&Options{}).PerOperation(func(int) error { return io.EOF })
	require.ErrorIs(t, err, io.EOF)
}
