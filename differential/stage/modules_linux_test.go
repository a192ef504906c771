package stage

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAsksForModules(t *testing.T) {
	require.True(t, asksForModules(Job{Steps: []Step{{Kind: Frame}, {Kind: Setup, Text: "modprobe ip_vs_ftp"}}}))
	require.False(t, asksForModules(Job{Steps: []Step{{Kind: Command, Text: "ipvsadm -Ln"}}}))
}
