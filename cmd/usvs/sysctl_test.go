package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

func TestInitialSysctls(t *testing.T) {
	s, err := initialSysctls([]string{"sloppy_tcp=1", "net.ipv4.vs.sync_threshold=5 20", "net/ipv4/vs/drop_entry=3", "sloppy_tcp=2"})
	require.NoError(t, err)
	want := ipvs.DefaultSysctls()
	want.SloppyTCP, want.SyncThreshold, want.SyncPeriod, want.DropEntry = 2, 5, 20, 3
	require.Equal(t, want, s)

	for word, text := range map[string]string{
		"sloppy_tcp": "want KEY=VALUE", "nosuch=1": "there is no setting", "drop_entry=4": "it takes 0 to 3", "net.ipv4.ip_forward=1": "there is no setting",
	} {
		_, err := initialSysctls([]string{word})
		require.ErrorContains(t, err, text)
		require.ErrorContains(t, err, word)
	}
}
