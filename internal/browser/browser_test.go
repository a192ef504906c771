package browser

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	dom := Run(t, []byte("<body><script>document.body.append(6 * 7)</script></body>"), "--dump-dom")
	require.Contains(t, dom, "42</body>")
}
