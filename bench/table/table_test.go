package table

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/bench"
	"usvs/bench/testbed"
)

// TestMain makes the test binary a process that does the part, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "bench" && os.Args[2] == "part" {
		if err := bench.ServePart(context.Background(), map[string]bench.Part{Part: Flood}, os.Args[3:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func options(t *testing.T) *bench.Options {
	binary, err := os.Executable()
	require.NoError(t, err)
	return &bench.Options{Quick: true, Binary: binary}
}

func TestQuick(t *testing.T) {
	figures, err := Suite(t.Context(), options(t))
	require.NoError(t, err)
	require.NoError(t, (&bench.Report{Runs: []bench.Run{{Figures: figures}}}).Check())
	require.Len(t, figures, 29)
	for _, f := range figures {
		if f.Skipped == "" && f.Of == "" {
			require.Positive(t, f.Result().Median, f.Name)
		}
	}
}

func TestOnlyBuildsWhatIsWanted(t *testing.T) {
	o := options(t)
	o.Only = regexp.MustCompile("memory, .*IPv4")
	figures, err := Suite(t.Context(), o)
	require.NoError(t, err)
	require.Len(t, figures, 1)
	require.Equal(t, "memory, 20,000 connections, IPv4", figures[0].Name)
}

// TestTargets: the usual sizes have the targets they should have.
func TestTargets(t *testing.T) {
	floors := map[string]float64{}
	for _, s := range usual.lookup {
		for _, c := range lookups(&bench.Options{}, s) {
			if c.Floor != nil {
				floors[c.Name] = *c.Floor
			}
		}
	}
	for _, c := range append(writing(&bench.Options{}, usual.churn), floods(&bench.Options{}, usual.flood)...) {
		if c.Floor != nil {
			floors[c.Name] = *c.Floor
		}
	}
	for name, floor := range map[string]float64{
		"lookup, client to server, 100,000 flows":   60,
		"lookup, server to client, 1 M flows":       100,
		"lookup, client to server, 10 M flows":      160,
		"insert and remove":                         2,
		"insert in batches of 64, and end by timer": 2,
		"two writers at once":                       1.7,
		"memory, 10 M connections, IPv4":            1,
		"garbage collection, 10 M connections":      1.5,
	} {
		require.Equal(t, floor, floors[name], name)
	}
}

// TestTake: every flow in its turn, over and over.
func TestTake(t *testing.T) {
	w := &world{flows: 100}
	w.prepare()
	var got []uint32
	require.NoError(t, w.each(250, func(flows []uint32) error { got = append(got, flows...); return nil }))
	require.NoError(t, w.each(50, func(flows []uint32) error { got = append(got, flows...); return nil }))
	require.Equal(t, slices.Concat(w.order, w.order, w.order), got)
}

func TestFloodRefuses(t *testing.T) {
	_, err := Flood(t.Context(), []byte("{"))
	require.Error(t, err)
	o := options(t)
	o.Binary = "/nonexistent"
	_, err = bench.Measure(t.Context(), o, floods(o, 100))
	require.ErrorContains(t, err, "bench part flood")
}

func TestLookupsNoticeLostConnections(t *testing.T) {
	w := &world{flows: 100}
	f, err := w.in()
	require.NoError(t, err)
	require.NoError(t, f(100))
	require.True(t, w.table.LookupIn(t0, 6, testbed.Client(w.order[5]), virtual, &w.table.conn))
	require.True(t, w.table.Expire(t0, w.table.conn.Ref))
	require.ErrorContains(t, f(100), "is lost")
}
