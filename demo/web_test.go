package demo

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// freeAddr is an address of the loopback on which nobody listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return ln.Addr().String()
}

func TestServeAndBrowse(t *testing.T) {
	addr := freeAddr(t)
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, "rs7", addr, in) }()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, listening+"\n", line)

	for _, hold := range []bool{false, true} {
		var ports []int
		b := &browser{hold: hold, dial: func(network, addr string, port int) (net.Conn, error) {
			ports = append(ports, port)
			return net.Dial(network, addr)
		}}
		for range 3 {
			a, err := b.get("http://" + addr + "/")
			assert.NoError(t, err)
			assert.Equal(t, answer{"rs7", "127.0.0.1"}, a)
		}
		assert.Equal(t, []int{20_000, 20_001, 20_002}, ports, "every request has its own connection")
		b.close()
	}
	cancel()
	assert.NoError(t, <-served)
	assert.Error(t, Serve(t.Context(), "rs7", "192.0.2.1:80", io.Discard), "not our address")
}

func dialAny(network, addr string, _ int) (net.Conn, error) { return net.Dial(network, addr) }

func TestBrowserRefusesOtherAnswers(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"status": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "a b")
		},
		"words": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "one") },
		"cut answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "a b")
		},
	} {
		server := httptest.NewServer(handler)
		b := &browser{dial: dialAny}
		_, err := b.get(server.URL)
		assert.Error(t, err, name)
		server.Close()
	}
	_, err := (&browser{dial: dialAny}).get("http://" + freeAddr(t) + "/")
	assert.Error(t, err)
}
