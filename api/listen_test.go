package api

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

func TestAddress(t *testing.T) {
	t.Setenv(Environment, "")
	require.Equal(t, "@usvs", Address(""))
	t.Setenv(Environment, "/run/x")
	require.Equal(t, "/run/x", Address(""))
	require.Equal(t, "@other", Address("@other"))
}

func TestListenPath(t *testing.T) {
	addr := address(t)
	ln, err := Listen(addr)
	require.NoError(t, err)
	st, err := os.Stat(addr)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())

	_, err = Listen(addr)
	require.ErrorIs(t, err, ErrRunning)
	require.ErrorContains(t, err, addr)

	// A server that was killed leaves its socket behind.
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, ln.Close())
	require.FileExists(t, addr)
	ln, err = Listen(addr)
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	require.NoFileExists(t, addr)
}

func TestListenErrors(t *testing.T) {
	file := address(t)
	require.NoError(t, os.WriteFile(file, []byte("precious"), 0o600))
	_, err := Listen(file)
	require.ErrorContains(t, err, "no socket")
	require.FileExists(t, file)
	_, err = Listen(filepath.Join(t.TempDir(), "missing", "s"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestTrust(t *testing.T) {
	for _, tt := range []struct {
		self, peer int
		want       bool
	}{
		{0, 0, true}, {0, 1000, false}, {1000, 0, true}, {1000, 1000, true}, {1000, 1001, false},
		{nobody, nobody, false}, {nobody, 0, true}, {0, nobody, false},
	} {
		require.Equal(t, tt.want, trusts(tt.self, tt.peer), "%d trusts %d", tt.self, tt.peer)
	}
}

// Nobody there, in ipvsadm's words.
func TestUnreachable(t *testing.T) {
	_, err := Dial(address(t)).Info()
	require.ErrorIs(t, err, ipvsadm.ErrUnreachable)
	require.EqualError(t, err, "director unreachable: Protocol not available")

	addr := address(t)
	ln, err := Listen(addr)
	require.NoError(t, err)
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	err = Dial(addr).Flush()
	require.EqualError(t, err, "director unreachable: Protocol not available")
	err = Dial(addr).Connections(func(*ipvs.ConnEntry) bool { return true })
	require.ErrorIs(t, err, ipvsadm.ErrUnreachable)
}

// Who is turned away is told so; no request of his is read.
func TestGuardRefuses(t *testing.T) {
	addr := address(t)
	raw, err := Listen(addr)
	require.NoError(t, err)
	f := &fake{}
	srv := &http.Server{Handler: newHandler(f, Handlers{})}
	go srv.Serve(strangers{raw})
	defer srv.Close()

	c, err := net.Dial("unix", addr)
	require.NoError(t, err)
	defer c.Close()
	text, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, refusal, string(text))
	require.Empty(t, f.calls)
}

// strangers takes everybody for a stranger.
type strangers struct{ net.Listener }

func (s strangers) Accept() (net.Conn, error) {
	for {
		c, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		refuse(c)
	}
}

// uniqueName is an abstract socket name nobody else uses.
func uniqueName() string { return fmt.Sprintf("@usvs-test-%x", rand.Uint64()) }

// serveAt runs a server until the test ends.
func serveAt(t *testing.T, addr string, f *fake) {
	ln, err := Listen(addr)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, f, Handlers{}) }()
	t.Cleanup(func() { cancel(); <-done })
}
