package main

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFreePages(t *testing.T) {
	kb := os.Getpagesize() / 1024
	require.Equal(t, 110/kb, freePagesIn(strings.NewReader("MemTotal: 1000 kB\nMemFree:     100 kB\nMemAvailable: 500 kB\nBuffers: 10 kB\n")))
	require.Equal(t, math.MaxInt, freePagesIn(strings.NewReader("nonsense\nMemFree: many\n")))
	require.Positive(t, freePages())
}
