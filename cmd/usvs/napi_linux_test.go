package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseNAPI(t *testing.T) {
	for _, word := range []string{"keep", "auto", "threads"} {
		m, err := parseNAPI(word)
		require.NoError(t, err)
		assert.EqualValues(t, word, m)
	}
	for _, word := range []string{"", "on", "Threads"} {
		_, err := parseNAPI(word)
		assert.ErrorContains(t, err, "want keep, auto or threads")
	}
}
