package keepalived

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// contexts are blocks with a place for one statement, by the letters of
// testdata/*.values.
var contexts = map[string]string{
	"T": "%\n",
	"G": "global_defs {\n%\n}\n",
	"I": "vrrp_instance V {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n1.2.3.4\n}\n%\n}\n",
	"S": "vrrp_script c {\nscript \"</etc/passwd\"\n%\n}\nvrrp_instance V {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n1.2.3.4\n}\ntrack_script {\nc\n}\n}\n",
	"V": "virtual_server 1.2.3.4 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\n%\nreal_server 1.2.3.5 80 {\n}\n}\n",
	"R": "virtual_server 1.2.3.4 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\nreal_server 1.2.3.5 80 {\n%\n}\n}\n",
	"C": "virtual_server 1.2.3.4 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\nreal_server 1.2.3.5 80 {\nTCP_CHECK {\n%\n}\n}\n}\n",
}

// TestValues: a line of the recordings is a block, a keyword, the values that
// keepalived takes, those that it rejects, and its status without a value.
func TestValues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.values")
	require.NoError(t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(data)) {
			tryValues(t, line)
		}
	}
}

func tryValues(t *testing.T, line string) {
	t.Helper()
	parts := strings.Split(line, "||")
	require.Len(t, parts, 3)
	head := strings.Fields(parts[0])
	try := func(status int, values ...string) {
		for _, v := range values {
			_, report := parseText(strings.Replace(contexts[head[0]], "%", head[1]+" "+v, 1))
			require.Equal(t, status, report.Status(), "%s %s %s\n%s", head[0], head[1], v, explainReport(report))
		}
	}
	missing, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(parts[2]), "!"))
	require.NoError(t, err)
	try(0, head[2:]...)
	try(5, strings.Fields(parts[1])...)
	try(missing, "")
}
