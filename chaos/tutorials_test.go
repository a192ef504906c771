package chaos

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/keepalived"
)

// everywhereThere are files of one text, on a host that has every script.
type everywhereThere struct{ keepalived.Text }

func (everywhereThere) Executable(string) bool { return true }

// TestEveryTutorial: the configurations that people write, accepted or not,
// make labs that can be played, alone and as a pair, whatever is odd about them.
func TestEveryTutorial(t *testing.T) {
	played := 0
	for _, file := range []string{"tutorials.txt", "more.txt"} {
		data, err := os.ReadFile("../keepalived/testdata/" + file)
		require.NoError(t, err)
		for _, part := range strings.Split(string(data), "=== ")[1:] {
			name, text, _ := strings.Cut(part, "\n")
			text, _, _ = strings.Cut(text, "\n--- ")
			config, report := keepalived.Parse("x", keepalived.Options{Files: everywhereThere{keepalived.Text{"x": text}}})
			if errors, _ := report.Count(); errors > 0 {
				continue
			}
			t.Run(file+"/"+name, func(t *testing.T) { played += playsTutorial(t, Input{name, config}) })
		}
	}
	require.Greater(t, played, 20)
}

// playsTutorial plays a seed of a configuration, if there is anything in it to play.
func playsTutorial(t *testing.T, in Input) int {
	inputs := []Input{in}
	if peer, err := Pair(in); err == nil {
		inputs = append(inputs, peer)
	}
	for n := range inputs {
		l, err := NewLab(inputs[:n+1])
		if err != nil {
			return 0
		}
		r, err := Run(l, Options{First: 1, Seeds: 2, Shrink: 1})
		require.NoError(t, err, l.Describe())
		require.NotEmpty(t, text(t, r))
	}
	return 1
}
