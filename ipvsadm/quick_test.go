package ipvsadm

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDottedIsAton: what is read in the usual form is what inet_aton(3) reads.
func TestDottedIsAton(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	parts := []string{"0", "1", "9", "10", "99", "100", "255", "256", "00", "01", "0x1", "1000", "", "a", "1 ", "-1", "/", ":"}
	read := 0
	for range 200_000 {
		words := make([]string, 3+rng.IntN(3))
		for i := range words {
			words[i] = parts[rng.IntN(7)]
			if rng.IntN(8) == 0 {
				words[i] = parts[rng.IntN(len(parts))]
			}
		}
		s := strings.Join(words, ".")
		quick, ok := parseDotted(s)
		if !ok {
			continue
		}
		read++
		slow, ok := parseAnyAton(s)
		require.True(t, ok, s)
		require.Equal(t, slow, quick, s)
	}
	require.Greater(t, read, 10_000)
	for _, s := range []string{"10.0.0.1", "0.0.0.0", "255.255.255.255"} {
		_, ok := parseDotted(s)
		require.True(t, ok, s)
	}
}

// TestAllowsIsCheck: allows knows the sets of options that check accepts.
func TestAllowsIsCheck(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	for i, r := range append(commandRules[:], tunnelRules[:]...) {
		for range 20_000 {
			given := optionSet(rng.Uint64()&rng.Uint64()) & (1<<optCount - 1) // a quarter of them
			if rng.IntN(2) == 0 {
				given = r.required | given&(r.optional|r.exclusive)
			}
			require.Equal(t, r.check(given, 0, optCount, "") == nil, r.allows(given), "rule %d, options %b", i, given)
		}
	}
}

// TestWordsByName: every word is found by its names.
func TestWordsByName(t *testing.T) {
	for i := range words {
		if w := &words[i]; w.long != "" {
			require.Same(t, w, longWord(w.long))
		}
		if w := &words[i]; w.short != 0 {
			require.Same(t, w, shortWord(w.short))
		}
	}
	require.Nil(t, longWord(""))
	require.Nil(t, shortWord(0))
	require.Nil(t, longWord("nosuch"))
}
