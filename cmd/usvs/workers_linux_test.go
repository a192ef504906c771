package main

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestPlanWorkers(t *testing.T) {
	for _, tc := range []struct {
		count int
		cpus  string
		want  workers
		fails string
	}{
		{0, "", workers{1, nil}, ""},
		{4, "", workers{4, nil}, ""},
		{0, "2", workers{1, []int{2}}, ""},
		{2, "0,2-3", workers{2, []int{0, 2, 3}}, ""},
		{5, "", workers{}, "--workers 5: want 1 to 4"},
		{-1, "", workers{}, "--workers -1: want 1 to 4"},
		{1, "7", workers{}, "cannot run on CPU 7; it can on [0 2 3 4]"},
		{1, "0-2", workers{}, "cannot run on CPU 1"},
		{1, "3-2", workers{}, "like 0,2-3"},
		{1, "a", workers{}, "like 0,2-3"},
		{1, "0,", workers{}, "like 0,2-3"},
		{1, "0-60000", workers{}, "like 0,2-3"},
		{1, "-1", workers{}, "like 0,2-3"},
	} {
		got, err := planWorkers(tc.count, tc.cpus, []int{0, 2, 3, 4})
		if tc.fails != "" {
			assert.ErrorContains(t, err, tc.fails)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, tc.want, got)
	}
}

func TestPin(t *testing.T) {
	allowed, err := allowedCPUs()
	require.NoError(t, err)
	require.NotEmpty(t, allowed)
	w := workers{count: 3}
	assert.Nil(t, w.pin(0), "anywhere")
	w.cpus = []int{allowed[0], allowed[len(allowed)-1]}
	for worker, cpu := range []int{w.cpus[0], w.cpus[1], w.cpus[0]} {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // for good: the thread ends with the goroutine
			err := w.pin(worker)()
			var set unix.CPUSet
			assert.NoError(t, unix.SchedGetaffinity(0, &set))
			assert.Equal(t, 1, set.Count())
			assert.True(t, set.IsSet(cpu))
			done <- err
		}()
		assert.NoError(t, <-done)
	}
	w.cpus = []int{maxCPUs - 1}
	done := make(chan error)
	go func() { done <- w.pin(0)() }()
	assert.ErrorContains(t, <-done, "run on CPU 1023")
}

func FuzzParseCPUs(f *testing.F) {
	for _, s := range []string{"", "0", "0,2-3", "1-", "-", "9999999999999999999", "0-1023"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		cpus, err := parseCPUs(list)
		if err == nil && list != "" && len(cpus) == 0 {
			t.Errorf("%q: no CPU and no error", list)
		}
	})
}
