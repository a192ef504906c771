package node

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWarningsOfCheckPath: a check that has no packets of the service is warned of
// if it says check_path itself, not if it inherits that, wherever that stands.
func TestWarningsOfCheckPath(t *testing.T) {
	const server = "virtual_server 10.0.0.1 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\nreal_server 10.0.0.2 80 {\nPING_CHECK {\n%s\n}\n%s\n}\n%s\n}\n"
	const vip = "check_path vip"
	for _, tt := range []struct {
		name, text string
		warnings   int
	}{
		{"nobody", fmt.Sprintf(server, "", "", ""), 0},
		{"the check", fmt.Sprintf(server, vip, "", ""), 1},
		{"the check and all others", "global_defs {\n" + vip + "\n}\n" + fmt.Sprintf(server, vip, vip, vip), 1},
		{"the server", fmt.Sprintf(server, "", vip, ""), 0},
		{"the virtual server", fmt.Sprintf(server, "", "", vip), 0},
		{"all, before", "global_defs {\n" + vip + "\n}\n" + fmt.Sprintf(server, "", "", ""), 0},
		{"all, behind", fmt.Sprintf(server, "", "", "") + "global_defs {\n" + vip + "\n}\n", 0},
	} {
		conf, _ := newFile(tt.text).Reader.Read()
		p, err := newPlan(conf, "host", nil)
		require.NoError(t, err)
		require.Len(t, p.warnings, tt.warnings, tt.name)
	}
}
