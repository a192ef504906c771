package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever types something wrong is told what is, and what there is instead.
func TestUsageErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"rnu"}, `there is no command "rnu"; did you mean usvs run?`},
		{[]string{"realserver", "show"}, `there is no command "show"; usvs realserver --help lists them`},
		{[]string{"realserver", "stats"}, `there is no command "stats"; did you mean usvs realserver status?`},
		{[]string{"realserver", "up", "10.0.0.1"}, `usvs realserver up takes no words besides its options, but here is "10.0.0.1"; addresses are named with --vip`},
		{[]string{"run", "eth0"}, `usvs run takes no words besides its options, but here is "eth0"; interfaces are named with -i`},
		{[]string{"status", "eth0"}, `usvs status takes no words besides its options, but here is "eth0"`},
		{[]string{"sim"}, `which scenarios? usvs sim FILE|DIR... [flags]`},
		{[]string{"bench", "report"}, `which results? usvs bench report DIR... [flags]`},
		{[]string{"exec"}, `which program? usvs exec [flags] [--] COMMAND [ARGUMENT]...`},
	} {
		root := newRoot()
		root.SetArgs(c.args)
		root.SetOut(new(bytes.Buffer))
		require.EqualError(t, root.Execute(), c.want)
	}
}

func TestOptionsTogether(t *testing.T) {
	newRoot() // sets what options without a word are
	for want, f := range map[string]runFlags{
		"--rules and --keepalived: want one of them; both say what the whole table is": {rules: "a", keepalived: "b", maxConns: 1},
		"--tun-addr and --tun-route are of the device that --tun NAME makes":           {tunRoutes: []string{"10.0.0.0/8"}, maxConns: 1},
		"--max-conns -5: want at least 1":                                              {maxConns: -5},
	} {
		require.EqualError(t, f.together(), want)
	}
	require.NoError(t, (&runFlags{tun: "lvs0", tunAddrs: []string{"10.0.0.1/8"}, rules: "a", maxConns: 1}).together())
}
