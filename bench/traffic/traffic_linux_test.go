package traffic

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const long = 30 * time.Millisecond

// serve starts a server on two free ports of the loopback interface.
func serve(t *testing.T) (s *Server, answers, streams netip.AddrPort) {
	t.Helper()
	s, err := NewServer()
	require.NoError(t, err)
	answers, streams = freePort(t), freePort(t)
	require.NoError(t, s.Listen(answers, Answer))
	require.NoError(t, s.Listen(streams, Swallow))
	s.Serve(func() error { return nil })
	t.Cleanup(s.Close)
	return s, answers, streams
}

func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

func TestRequests(t *testing.T) {
	_, answers, _ := serve(t)
	c := Client{To: answers, CC: "reno"}
	perSecond, took, err := c.Requests(t.Context(), 8, long)
	require.NoError(t, err)
	require.Positive(t, perSecond)
	require.Positive(t, took.Quantile(0.5))
}

func TestPaced(t *testing.T) {
	_, answers, _ := serve(t)
	c := Client{To: answers}
	took, err := c.Paced(t.Context(), 8, 2000, 10*long)
	require.NoError(t, err)
	require.LessOrEqual(t, took.Count(), uint64(2000*10*long.Seconds())+1, "never faster than the pace")
	require.Positive(t, took.Count())
}

func TestConnections(t *testing.T) {
	_, answers, _ := serve(t)
	local := netip.MustParseAddr("127.0.0.1")
	c := Client{To: answers, From: []netip.Addr{local, local.Next()}}
	perSecond, err := c.Connections(t.Context(), 8, long)
	require.NoError(t, err)
	require.Positive(t, perSecond)
	require.Greater(t, c.opened, 8)
}

func TestStreams(t *testing.T) {
	s, _, streams := serve(t)
	for _, n := range []int{1, 8} {
		c := Client{To: streams}
		perSecond, err := c.Streams(t.Context(), s, n, long)
		require.NoError(t, err)
		require.Positive(t, perSecond)
	}
}

func TestNobodyThere(t *testing.T) {
	c := Client{To: freePort(t)}
	_, _, err := c.Requests(t.Context(), 1, long)
	require.ErrorIs(t, err, unix.ECONNREFUSED)
	_, err = c.Connections(t.Context(), 1, long)
	require.ErrorIs(t, err, unix.ECONNREFUSED)
	_, err = c.Paced(t.Context(), 1, 1000, long)
	require.ErrorIs(t, err, unix.ECONNREFUSED)
	_, err = c.Streams(t.Context(), nil, 1, long)
	require.ErrorIs(t, err, unix.ECONNREFUSED)
	bad := Client{To: freePort(t), CC: "no such"}
	_, _, err = bad.Requests(t.Context(), 1, long)
	require.ErrorContains(t, err, "congestion control")
}

func TestInterrupted(t *testing.T) {
	s, answers, streams := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	_, _, err := (&Client{To: answers}).Requests(ctx, 1, time.Hour)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = (&Client{To: streams}).Streams(ctx, s, 1, time.Hour)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = (&Client{To: answers}).Connections(ctx, 1, time.Hour)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestListenTwice(t *testing.T) {
	s, answers, _ := serve(t)
	other, err := NewServer()
	require.NoError(t, err)
	other.Serve(func() error { return nil })
	other.Close()
	require.Error(t, s.Listen(answers, Answer), "the port is taken")
}
