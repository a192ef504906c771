package chaos

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/internal/browser"
)

func TestPage(t *testing.T) {
	r := run(t, pairOf(t, "priority 100\nadvert_int 1", "priority 100\nadvert_int 2"), Options{First: 1, Seeds: 3})
	var b bytes.Buffer
	require.NoError(t, r.WritePage(&b))
	_, data, ok := strings.Cut(b.String(), "const D = ")
	require.True(t, ok)
	data, _, _ = strings.Cut(data, ";\n")
	var p page
	require.NoError(t, json.Unmarshal([]byte(data), &p))
	require.Equal(t, []string{"a", "b"}, p.Directors)
	require.False(t, p.Held)
	require.True(t, p.Stories[0].Bad)
	require.Equal(t, []string{"a.conf:8", "b.conf:8"}, p.Stories[0].Where)
	require.Equal(t, "a VI_1", p.Stories[0].Lanes[0].Name)
	require.Contains(t, p.Stories[len(p.Stories)-1].Title, "the worst outage")
	inBrowser(t, b.Bytes(), "Violation: one master", "advertisement interval mismatch", "the worst outage")
}

// inBrowser looks at the page as a browser shows it.
func inBrowser(t *testing.T, html []byte, want ...string) {
	_, body, _ := strings.Cut(browser.Run(t, html, "--dump-dom"), "<body>")
	body, _, _ = strings.Cut(body, "<script>")
	for _, w := range want {
		require.Contains(t, body, w)
	}
	require.Contains(t, body, "<svg")
}
