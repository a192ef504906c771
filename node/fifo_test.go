package node

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A FIFO belongs to whom its own line names, and not to script_user; keepalived
// 2.2.7 was seen to do so.
func TestOwnersOfFIFOs(t *testing.T) {
	p, err := newPlan(parsed(t, `
global_defs {
	script_user nobody
	notify_fifo /run/a root nogroup
	vrrp_notify_fifo /run/b
	lvs_notify_fifo /run/c nobody
	lvs_notify_fifo_script /bin/cat
}`), "host", nil)
	require.NoError(t, err)
	require.Equal(t, []FIFO{
		{Path: "/run/a", User: "root", Group: "nogroup"},
		{Path: "/run/b"},
		{Path: "/run/c", User: "nobody", Reader: &Script{Args: []string{"/bin/cat"}}},
	}, p.setup.FIFOs)
}
