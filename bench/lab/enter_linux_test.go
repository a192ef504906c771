package lab

import (
	"encoding/json"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPinRefusals: only kernel threads that receive are pinned, and only if
// there is such a one.
func TestPinRefusals(t *testing.T) {
	own, err := os.ReadFile("/proc/self/comm")
	require.NoError(t, err)
	require.ErrorContains(t, (&pin{Thread: string(own)}).do(), "not a kernel thread that receives")
	require.ErrorContains(t, (&pin{Thread: "napi/none-0"}).do(), "kernel thread napi/none-0: ")
}

// TestConverse: the process outside does what it is asked to until it is told
// the answer.
func TestConverse(t *testing.T) {
	outHear, inTell := io.Pipe()
	inHear, outTell := io.Pipe()
	inside := make(chan error, 2)
	go func() {
		hear, tell := json.NewDecoder(inHear), json.NewEncoder(inTell)
		var w order
		inside <- hear.Decode(&w)
		inside <- askToPin(tell, hear, pin{Thread: "napi/none-0"})
		_ = tell.Encode(answer{Error: "done"})
	}()
	a, err := converse(json.NewEncoder(outTell), json.NewDecoder(outHear), order{Rounds: 3})
	require.NoError(t, err)
	require.Equal(t, answer{Error: "done"}, a)
	require.NoError(t, <-inside)
	require.ErrorContains(t, <-inside, "kernel thread napi/none-0")
}
