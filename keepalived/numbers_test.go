package keepalived

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// contexts are blocks with a place for one statement, by the letters of
// testdata/numbers.values.
var contexts = map[string]string{
	"G": "global_defs {\n%\n}\n",
	"I": "vrrp_instance V {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n1.2.3.4\n}\n%\n}\n",
	"S": "vrrp_script c {\nscript \"</etc/passwd\"\n%\n}\nvrrp_instance V {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n1.2.3.4\n}\ntrack_script {\nc\n}\n}\n",
	"V": "virtual_server 1.2.3.4 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\n%\nreal_server 1.2.3.5 80 {\n}\n}\n",
	"R": "virtual_server 1.2.3.4 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\nreal_server 1.2.3.5 80 {\n%\n}\n}\n",
	"C": "virtual_server 1.2.3.4 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\nreal_server 1.2.3.5 80 {\nTCP_CHECK {\n%\n}\n}\n}\n",
}

// TestNumbers: a line of the recording is a block, a keyword, the values that
// keepalived takes and those that it rejects.
func TestNumbers(t *testing.T) {
	data, err := os.ReadFile("testdata/numbers.values")
	require.NoError(t, err)
	for line := range strings.Lines(string(data)) {
		parts := strings.Split(line, "||")
		head := strings.Fields(parts[0])
		try := func(values []string, status int) {
			for _, v := range values {
				_, report := parseText(strings.Replace(contexts[head[0]], "%", head[1]+" "+v, 1))
				require.Equal(t, status, report.Status(), "%s %s %s\n%s", head[0], head[1], v, explainReport(report))
			}
		}
		try(head[2:], 0)
		try(strings.Fields(parts[1]), 5)
		if head[1] != "persistence_timeout" {
			try([]string{""}, 2)
		}
	}
}
