package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseIO(t *testing.T) {
	for word, method := range map[string]ioMethod{"auto": ioMmsg, "mmsg": ioMmsg, "ring": ioRing} {
		m, err := parseIO(word)
		require.NoError(t, err)
		got, why := m.resolve()
		assert.Equal(t, method, got)
		assert.NotEmpty(t, why)
	}
	for _, word := range []string{"", "dpdk", "MMSG"} {
		_, err := parseIO(word)
		assert.ErrorContains(t, err, "want auto, mmsg")
	}
}
