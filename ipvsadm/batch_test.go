package ipvsadm

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// batching is a model that takes many changes at once.
type batching struct {
	*model
	sizes []int
}

func (b *batching) Batch(changes []Change) []error {
	b.sizes = append(b.sizes, len(changes))
	errs := make([]error, len(changes))
	for i := range changes {
		errs[i] = changes[i].Apply(b.model)
	}
	return errs
}

// pipelining makes them meanwhile.
type pipelining struct {
	batching
	t    *testing.T
	busy bool
}

func (p *pipelining) Begin(changes []Change) (wait func() []error) {
	require.False(p.t, p.busy, "the batch before has ended")
	p.busy = true
	done := make(chan []error)
	go func() { done <- p.Batch(changes) }()
	return func() []error {
		p.busy = false
		return <-done
	}
}

var restoreLines = []string{
	"-A -t 10.0.0.%d:80 -s rr", "-A -t 10.0.0.%d:80", "-E -t 10.0.0.%d:80 -s wlc", "-D -t 10.0.0.%d:80",
	"-a -t 10.0.0.%d:80 -r 10.1.0.1 -m", "-a -t 10.0.0.%d:80 -r 10.1.0.2", "-e -t 10.0.0.%d:80 -r 10.1.0.1 -w 5", "-d -t 10.0.0.%d:80 -r 10.1.0.2",
	"", "ipvsadm -A -t 10.0.0.%d:80", "-A -t 10.0.0.%d:80 -w nonsense", "-Z", "--set 1 2 3", "-L -n -t 10.0.0.%d:80",
}

// TestRestoreInBatches: what a restore does, says and ends with is the same in
// batches, whatever lines it has.
func TestRestoreInBatches(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var input strings.Builder
		for range rng.IntN(40) {
			line := restoreLines[rng.IntN(len(restoreLines))]
			if rng.IntN(3) > 0 {
				line = restoreLines[rng.IntN(8)]
			}
			if strings.Contains(line, "%d") {
				line = fmt.Sprintf(line, rng.IntN(3))
			}
			fmt.Fprintln(&input, line)
		}
		alone, together := newModel(), &batching{model: newModel()}
		out, errs, status := play(alone, input.String(), "-R")
		gotOut, gotErrs, gotStatus := play(together, input.String(), "-R")
		require.Equal(t, []any{out, errs, status}, []any{gotOut, gotErrs, gotStatus}, "seed %d:\n%s", seed, input.String())
		require.Equal(t, alone.calls, together.calls, "seed %d:\n%s", seed, input.String())
		meanwhile := &pipelining{batching: batching{model: newModel()}, t: t}
		gotOut, gotErrs, gotStatus = play(meanwhile, input.String(), "-R")
		require.Equal(t, []any{out, errs, status}, []any{gotOut, gotErrs, gotStatus}, "seed %d:\n%s", seed, input.String())
		require.Equal(t, alone.calls, meanwhile.calls, "seed %d:\n%s", seed, input.String())
	}
}

// TestBatchesAreBounded, and hold what was read at once.
func TestBatchesAreBounded(t *testing.T) {
	b := &batching{model: newModel()}
	line := "-a -t 1.2.3.4:80 -r 1.1.1.1\n"
	_, errs, status := play(b, strings.Repeat(line, 2*maxBatch+1), "-R")
	require.Equal(t, strings.Repeat("Service not defined\n", 2*maxBatch+1), errs)
	require.Equal(t, statusWrite, status)
	require.Equal(t, []int{maxBatch, maxBatch, 1}, b.sizes)
}

// TestBatchesOverlap: what is read goes on while a batch is being made, and is
// told of in its order.
func TestBatchesOverlap(t *testing.T) {
	p := &pipelining{batching: batching{model: newModel()}, t: t}
	lines := strings.Repeat("-A -t 1.2.3.4:80\n", 2*maxBatch+3) + "-D -t 1.2.3.5:80\n-Z\n-A -t 1.2.3.4:0\n-C\n"
	_, errs, status := play(p, lines, "-R")
	require.Equal(t, strings.Repeat("Service already exists\n", 2*maxBatch+2)+"No such service\nZero port specified for non-persistent service\n", errs)
	require.Equal(t, statusUsage, status)
	require.Equal(t, []int{maxBatch, maxBatch, 4}, p.sizes)
	p.fail = fmt.Errorf("%w: gone", ErrUnreachable)
	_, errs, status = play(p, lines, "-R")
	require.Equal(t, 1, strings.Count(errs, "Can't initialize ipvs"))
	require.Equal(t, statusUsage, status)
}

// lineByLine is an input that is typed: the next line comes when the effect of
// the last one was seen.
type lineByLine struct {
	t     *testing.T
	b     *batching
	lines int
}

func (l *lineByLine) Read(p []byte) (int, error) {
	require.Len(l.t, l.b.services, l.lines, "what was typed before has taken effect")
	if l.lines == 5 {
		return 0, io.EOF
	}
	l.lines++
	return copy(p, fmt.Sprintf("-A -t 10.0.0.%d:80\n", l.lines)), nil
}

func TestTypedLinesTakeEffectAtOnce(t *testing.T) {
	b := &batching{model: newModel()}
	var out, errs bytes.Buffer
	require.Zero(t, Run([]string{"ipvsadm", "-R"}, b, nil, &lineByLine{t: t, b: b}, &out, &errs))
	require.Empty(t, errs.String())
}

// TestBatchUnreachable: without a director the rest of the lines is not tried.
func TestBatchUnreachable(t *testing.T) {
	m := newModel()
	m.fail = fmt.Errorf("%w: gone", ErrUnreachable)
	want, wantErrs, wantStatus := play(m, "-C\n-C\n", "-R")
	b := &batching{model: newModel()}
	b.fail = m.fail
	out, errs, status := play(b, "-A -t 1.2.3.4:80\n-A -t 1.2.3.4:80\n", "-R")
	require.Equal(t, []any{want, wantErrs, wantStatus}, []any{out, errs, status})
}

func TestChangeOfNothing(t *testing.T) {
	c := Change{Action: 99}
	require.Error(t, c.Apply(newModel()))
	require.Equal(t, "change 99", c.String())
}
