package scenario

import (
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// word draws a short word of few letters, so that coincidences happen.
func word(r *rand.Rand, letters string, most int) string {
	var b strings.Builder
	for range r.IntN(most + 1) {
		b.WriteByte(letters[r.IntN(len(letters))])
	}
	return b.String()
}

// TestGlobIsARegexp: the slow way to the same answer.
func TestGlobIsARegexp(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		pattern, w := word(r, "ab**", 6), word(r, "ab", 7)
		model := regexp.MustCompile("^" + strings.ReplaceAll(pattern, "*", ".*") + "$")
		require.Equal(t, model.MatchString(w), glob(pattern, w), "%q %q", pattern, w)
	}
}

// slowLines is Exec.compare without its haste: is there a choice of lines, in
// order, that fits the wanted ones?
func slowLines(want []OutputLine, lines []string) bool {
	if len(want) == 0 {
		return true
	}
	for i, line := range lines {
		if sameWords(want[0].Words, strings.Fields(line)) && slowLines(want[1:], lines[i+1:]) {
			return true
		}
	}
	return false
}

func TestCompareIsASearchForASubsequence(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 5000 {
		var lines []string
		for range r.IntN(6) {
			lines = append(lines, word(r, "ab ", 4))
		}
		x := &Exec{}
		for range 1 + r.IntN(3) {
			if w := strings.Fields(word(r, "ab *", 4)); len(w) > 0 {
				x.Output = append(x.Output, OutputLine{Words: w})
			}
		}
		err := x.compare(strings.Join(lines, "\n"), "sim")
		require.Equal(t, slowLines(x.Output, strings.Split(strings.Join(lines, "\n"), "\n")), err == nil, "%q %v", lines, x.Output)
	}
}

// TestTallyAgreesWithCounting judges random answers by counting them one by one.
func TestTallyAgreesWithCounting(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	names := []string{"rs1", "rs2", "!timeout", "!reset"}
	for range 2000 {
		var got []string
		for range 1 + r.IntN(6) {
			got = append(got, names[r.IntN(len(names))])
		}
		replies := answers(strings.Join(got, " "))
		n := map[string]int{}
		for _, name := range got {
			n[name]++
		}
		exactly := func(k int) Range { return Range{k, k} }
		ok := func(err error) bool { return err == nil }
		a, b := r.IntN(4), r.IntN(4)
		shares := &ExpectAnswered{Shares: []Share{{"rs1", exactly(a)}, {"rs2", exactly(b)}}}
		require.Equal(t, n["rs1"] == a && n["rs2"] == b, ok(shares.judge(replies)))
		total := &ExpectAnswered{Total: &Range{a, a + 1}}
		sum := n["rs1"] + n["rs2"]
		require.Equal(t, sum == a || sum == a+1, ok(total.judge(replies)))
		failed := &ExpectFailed{N: exactly(a), By: Timeout}
		require.Equal(t, n["!timeout"] == a, ok(failed.judge(replies)))
		one := &ExpectOneServer{}
		require.Equal(t, n["rs1"] == len(got) || n["rs2"] == len(got), ok(one.judge(replies, nil)))
	}
}

func TestRanges(t *testing.T) {
	for text, want := range map[string]*Range{
		"0": {0, 0}, "15": {15, 15}, "1..2": {1, 2}, "3..": {3, unbounded}, "..4": {0, 4},
		"": nil, "..": nil, "-1": nil, "2..1": nil, "1...2": nil, "a": nil, "99999999999": nil,
	} {
		r, ok := parseRange(text)
		require.Equal(t, want != nil, ok, text)
		if ok {
			require.Equal(t, *want, r, text)
		}
	}
	require.Equal(t, []string{"3", "1 to 2", strconv.Itoa(7) + " or more"},
		[]string{Range{3, 3}.String(), Range{1, 2}.String(), Range{7, unbounded}.String()})
}

func TestFlags(t *testing.T) {
	for bits := range uint8(64) {
		require.Equal(t, bits, flagBits(flagText(bits)))
	}
	require.Equal(t, "SA", flagText(0x12))
	require.True(t, isFlags("PA"))
	require.False(t, isFlags("ttl=3"))
	require.False(t, isFlags(""))
}
