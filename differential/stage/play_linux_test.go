package stage

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBatch(t *testing.T) {
	program, lines, ok := batch("ip addr add 10.0.0.1/8 dev eth0; ip -6 route add default via fd00::1")
	require.True(t, ok)
	require.Equal(t, "ip", program)
	require.Equal(t, "addr add 10.0.0.1/8 dev eth0\nroute add default via fd00::1\n", lines)
	program, lines, ok = batch("ipvsadm -A -f 1")
	require.True(t, ok)
	require.Equal(t, "ipvsadm", program)
	require.Equal(t, "-A -f 1\n", lines)
	for _, text := range []string{"", "true", "ip link; true", "ip link; ipvsadm -C", "ip -6 rule add fwmark 1 lookup 2"} {
		_, _, ok = batch(text)
		require.False(t, ok, text)
	}
}

func TestMerge(t *testing.T) {
	steps := []Step{{Kind: Setup, Text: "ip a"}, {Kind: Setup, Text: "ip b"}, {Kind: Setup, Text: "ipvsadm -C"}, {Kind: Setup, Text: "ipvsadm -C"},
		{Kind: Wait}, {Kind: Setup, Text: "ip c"}, {Kind: Setup, Text: "sysctl x"}}
	texts := []string{}
	for _, s := range merge(steps) {
		texts = append(texts, s.Text)
	}
	require.Equal(t, []string{"ip a; ip b", "", "ipvsadm -C; ipvsadm -C", "", "", "ip c", "sysctl x"}, texts)
	require.Equal(t, "ip a", steps[0].Text, "the job stays as it is")
}

func TestPlain(t *testing.T) {
	require.True(t, plain("ipvsadm -A -t [fd00::1]:80 --persistent=5"))
	require.False(t, plain("ipvsadm -Ln | head"))
	require.False(t, plain("echo [a]"))
}
