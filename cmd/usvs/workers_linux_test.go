package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/host"
)

func TestPlanWorkers(t *testing.T) {
	for _, tc := range []struct {
		count int
		cpus  string
		want  workers
		fails string
	}{
		{0, "", workers{count: 4, auto: true, among: []int{0, 2, 3, 4}}, ""},
		{4, "", workers{count: 4}, ""},
		{0, "2", workers{count: 1, cpus: []int{2}}, ""},
		{0, "2-3", workers{count: 2, cpus: []int{2, 3}, auto: true, among: []int{2, 3}}, ""},
		{2, "0,2-3", workers{count: 2, cpus: []int{0, 2, 3}}, ""},
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
	w := workers{count: 3}
	assert.Nil(t, w.pin(0), "anywhere")
	w.cpus = []int{host.MaxCPUs - 1, host.MaxCPUs - 2}
	for worker, cpu := range []string{"CPU 1023", "CPU 1022", "CPU 1023"} {
		done := make(chan error)
		go func() { done <- w.pin(worker)() }()
		assert.ErrorContains(t, <-done, cpu)
	}
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
