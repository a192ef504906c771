package chaos

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseSchedule(t *testing.T) {
	for _, c := range []struct{ text, wrong string }{
		{"at 1s for 2s cut a:eth0", ""},
		{"# nothing\n\n  at 3.5s for 200ms pause a # as a VM does\nat 1s for 10s loss b:eth1 0.3\n", ""},
		{"at 1s for 2s skew a 1.05\nat 1s for 2s server-slow rs1 0.5\nat 0s for 100s multicast net-eth0", ""},
		{"at 1s for 2s cut a", "at an interface"},
		{"at 1s for 2s melt a:eth0", "no such kind"},
		{"at 1s cut a:eth0", "want: at TIME"},
		{"after 1s for 2s cut a:eth0", "want: at TIME"},
		{"at soon for 2s cut a:eth0", "no time"},
		{"at 1s for 2000h cut a:eth0", "no time"},
		{"at -1s for 2s cut a:eth0", "no time"},
		{"at 1s for 2s loss a:eth0", "has it an amount? true"},
		{"at 1s for 2s cut a:eth0 3", "has it an amount? false"},
		{"at 1s for 2s loss a:eth0 1.5", "at most 1"},
		{"at 1s for 2s loss a:eth0 NaN", "at most 1"},
	} {
		s, err := ParseSchedule(c.text)
		if c.wrong != "" {
			require.ErrorContains(t, err, c.wrong, c.text)
			continue
		}
		require.NoError(t, err, c.text)
		again, err := ParseSchedule(s.String())
		require.NoError(t, err)
		require.Equal(t, s, again)
		require.True(t, slices.IsSortedFunc(s, func(a, b Fault) int { return int(a.At - b.At) }))
	}
}

func FuzzParseSchedule(f *testing.F) {
	f.Add("at 1s for 2s cut a:eth0\n")
	f.Add("at 1.5s for 2m skew a 0.97 # x\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSchedule(text)
		if err != nil {
			return
		}
		again, err := ParseSchedule(s.String())
		require.NoError(t, err)
		require.Equal(t, s, again)
		for _, x := range s {
			require.NotEmpty(t, x.Describe())
		}
	})
}

func TestSchedulesOfSeeds(t *testing.T) {
	l := newLab(t, tutorial(t)...)
	b := NewBounds(l)
	faults, mistakes := Kinds()
	seen := map[Kind]int{}
	for seed := range uint64(2000) {
		s := Generate(l, b, seed, slices.Concat(faults, mistakes))
		require.Equal(t, s, Generate(l, b, seed, slices.Concat(faults, mistakes)), "the same seed, the same faults")
		require.NotEmpty(t, s)
		require.LessOrEqual(t, len(s), maxPerSeed)
		require.NoError(t, l.Check(s))
		again, err := ParseSchedule(s.String())
		require.NoError(t, err)
		require.Equal(t, s, again)
		for i, f := range s {
			seen[f.Kind]++
			require.False(t, slices.Delete(slices.Clone(s), i, i+1).clashes(f), "%v", s)
			require.GreaterOrEqual(t, f.At, b.Ready.Truncate(100*time.Millisecond))
			require.Positive(t, f.For)
		}
	}
	for _, k := range slices.Concat(faults, mistakes) {
		require.Greater(t, seen[k], 50, "%s is rare", k)
	}
	for seed := range uint64(50) {
		for _, f := range Generate(l, b, seed, []Kind{Pause, Crash}) {
			require.Contains(t, []Kind{Pause, Crash}, f.Kind)
		}
	}
	require.Empty(t, Generate(newLab(t, parsed(t, "x", instance())), b, 1, []Kind{NoMulticast}), "one node needs no multicast")
	require.ErrorContains(t, l.Check(Schedule{{Kind: Pause, Node: "c"}}), "there is no c here")
}

func TestDescribeFault(t *testing.T) {
	for _, c := range []struct {
		fault Fault
		want  string
	}{
		{Fault{Kind: Cut, Node: "a", NIC: "eth0", At: time.Second, For: 2500 * time.Millisecond}, "1.00s - 3.50s  a:eth0 is cut off, both ways"},
		{Fault{Kind: Skew, Node: "a", At: time.Second, For: time.Second, Amount: 1.05}, "1.00s - 2.00s  the clock of a runs wrong (1.05 times as fast)"},
		{Fault{Kind: Loss, Node: "a", NIC: "eth0", For: time.Second, Amount: 0.3}, "0.00s - 1.00s  a:eth0 loses frames (30 %)"},
		{Fault{Kind: ServerSlow, Node: "rs1", For: time.Second, Amount: 0.5}, "0.00s - 1.00s  rs1 is slow (500ms)"},
	} {
		require.Equal(t, c.want, c.fault.Describe())
	}
}

// TestShrink: what is left is what is needed, and as simple as it gets.
func TestShrink(t *testing.T) {
	l := newLab(t, tutorial(t)...)
	b := NewBounds(l)
	faults, _ := Kinds()
	found := 0
	for seed := range uint64(1000) {
		s := Generate(l, b, seed, faults)
		breaks := func(s Schedule) bool { // two faults, one of them long enough
			crash, cut := false, false
			for _, f := range s {
				crash = crash || f.Kind == Crash
				cut = cut || f.Kind == Cut && f.For >= 2*time.Second
			}
			return crash && cut
		}
		if !breaks(s) {
			continue
		}
		found++
		least := Shrink(s, 1000, breaks)
		require.Len(t, least, 2)
		require.True(t, breaks(least))
		for _, f := range least {
			require.Equal(t, f.At.Truncate(time.Second), f.At, "%v", least)
			require.Less(t, f.For, 4*time.Second, "%v", least)
		}
	}
	require.Greater(t, found, 3)
	require.Empty(t, Shrink(Generate(l, b, 1, faults), 1000, func(Schedule) bool { return true }), "no fault is needed")
	tries := 0
	Shrink(Generate(l, b, 3, faults), 7, func(Schedule) bool { tries++; return true })
	require.LessOrEqual(t, tries, 7)
}
