package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProfilesAreForThisHost(t *testing.T) {
	for addr, reason := range map[string]string{
		"6060":           "want an address and a port",
		":6060":          "--pprof-public",
		"0.0.0.0:6060":   "--pprof-public",
		"[::]:6060":      "--pprof-public",
		"192.0.2.1:6060": "--pprof-public",
		"localhost:6060": "--pprof-public", // whatever that is here
	} {
		_, err := listenProfiles(addr, false)
		assert.ErrorContains(t, err, reason, addr)
	}
	_, err := listenProfiles("nonsense", true)
	assert.Error(t, err)
	ln, err := listenProfiles(":0", true)
	require.NoError(t, err)
	require.NoError(t, ln.Close())
}

func TestProfiles(t *testing.T) {
	ln, err := listenProfiles("127.0.0.1:0", false)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- serveProfiles(ctx, ln, slog.New(slog.DiscardHandler)) }()
	for path, status := range map[string]int{"/debug/pprof/": 200, "/debug/pprof/goroutine?debug=1": 200, "/debug/vars": 404, "/": 404} {
		reply, err := http.Get("http://" + ln.Addr().String() + path)
		require.NoError(t, err)
		text, _ := io.ReadAll(reply.Body)
		reply.Body.Close()
		assert.Equal(t, status, reply.StatusCode, path)
		assert.NotEmpty(t, text)
	}
	cancel()
	assert.NoError(t, <-done)
}
