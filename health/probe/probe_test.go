package probe

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/health"
	"usvs/ipvs"
)

var success = health.Result{Outcome: health.Success}

// short is a timeout for attempts that are to run into it.
const short = 60 * time.Millisecond

// attempt makes one attempt and returns its result.
func attempt(t *testing.T, c Config, p *health.Probe) health.Result {
	t.Helper()
	if p.Timeout == 0 {
		p.Timeout = 10 * time.Second
	}
	results := make(chan health.Result, 1)
	r := New(c, func(_ health.CheckID, res health.Result) { results <- res })
	defer r.Close()
	r.Start(1, p)
	select {
	case res := <-results:
		return res
	case <-time.After(30 * time.Second):
		t.Fatal("no result")
		return health.Result{}
	}
}

// serve accepts connections on loopback and hands them to handle, which need
// not close them.
func serve(t *testing.T, handle func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// closedPort is a port that nobody listens on.
func closedPort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// silence is a listener whose queue is full: who connects waits.
func silence(t *testing.T) netip.AddrPort {
	t.Helper()
	addr := listenFull(t)
	for range 4 {
		c, err := net.DialTimeout("tcp", addr.String(), short)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this kernel's queues do not fill")
	return addr
}

// hang keeps a connection until the other side closes it.
func hang(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func failed(reason string) health.Result {
	return health.Result{Outcome: health.Failure, Reason: reason}
}

func TestTCP(t *testing.T) {
	open := serve(t, hang)
	assert.Equal(t, success, attempt(t, Config{}, &health.Probe{Target: open}))
	got := attempt(t, Config{}, &health.Probe{Target: closedPort(t)})
	assert.Equal(t, failed("failed").Reason, got.Reason)
	assert.Contains(t, got.Cause, "refused")
	assert.Equal(t, failed("timeout"), attempt(t, Config{}, &health.Probe{Target: silence(t), Timeout: short}))
}

func TestTCPv6(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	defer l.Close()
	assert.Equal(t, success, attempt(t, Config{}, &health.Probe{Target: l.Addr().(*net.TCPAddr).AddrPort()}))
}

func TestSourceOfConnections(t *testing.T) {
	from := make(chan string, 1)
	target := serve(t, func(c net.Conn) { from <- c.RemoteAddr().String() })
	free := closedPort(t)
	bind := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.77"), free.Port())
	require.Equal(t, success, attempt(t, Config{}, &health.Probe{Target: target, Bind: bind}))
	assert.Equal(t, bind.String(), <-from)
	require.Equal(t, success, attempt(t, Config{}, &health.Probe{Target: target, Bind: netip.AddrPortFrom(netip.Addr{}, 0)}))
	assert.Contains(t, <-from, "127.0.0.1:")
	got := attempt(t, Config{}, &health.Probe{Target: target, Bind: netip.MustParseAddrPort("192.0.2.1:0")})
	assert.Equal(t, health.LocalError, got.Outcome, "not our address: the server is not to blame")
	assert.Contains(t, got.Reason, "assign requested address")
}

func TestMarkAndInterface(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	target := serve(t, hang)
	assert.Equal(t, success, attempt(t, Config{}, &health.Probe{Target: target, Mark: 7, Interface: "lo"}))
	got := attempt(t, Config{}, &health.Probe{Target: target, Interface: "no-such-if"})
	assert.Equal(t, health.LocalError, got.Outcome)
}

func TestProbesWithoutAWay(t *testing.T) {
	for _, p := range []*health.Probe{
		{},
		{Kind: health.BFD, Target: netip.MustParseAddrPort("127.0.0.1:1")},
		{Kind: health.HTTP, Target: netip.MustParseAddrPort("127.0.0.1:1")},
		{Path: health.ViaVIP},
		{Kind: health.Misc},
		{Kind: health.HTTP, Target: netip.MustParseAddrPort("127.0.0.1:1"), HTTP: &health.HTTPRequest{URL: health.URL{Path: "/", Regex: "(?=perl)"}}},
		{Kind: health.DNS, Target: netip.MustParseAddrPort("127.0.0.1:1"), DNS: &health.DNSQuestion{Type: "ANY"}},
	} {
		got := attempt(t, Config{}, p)
		assert.Equal(t, health.LocalError, got.Outcome, p.Kind)
		assert.NotEmpty(t, got.Reason)
	}
}

// byVIP is a probe of a server by way of the VIP.
func byVIP(server netip.AddrPort, method ipvs.ForwardMethod) *health.Probe {
	return &health.Probe{Path: health.ViaVIP, Via: health.Via{
		Service: ipvs.ServiceID{Addr: netip.MustParseAddr("192.0.2.99"), Port: server.Port()},
		Server:  ipvs.ServerID{Addr: server.Addr(), Port: server.Port()},
		Spec:    ipvs.ServerSpec{Method: method},
	}}
}

func TestViaVIP(t *testing.T) {
	target := serve(t, func(c net.Conn) {
		line, _ := bufio.NewReader(c).ReadString('\n')
		_, _ = io.WriteString(c, "HTTP/1.0 200 "+line+"\r\n\r\n")
	})
	elsewhere := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), target.Port())
	via := func(ctx context.Context, network string, p *health.Probe) (net.Conn, error) {
		assert.Equal(t, elsewhere, p.Target)
		return (&net.Dialer{}).DialContext(ctx, network, target.String())
	}
	p := byVIP(elsewhere, ipvs.DirectRoute)
	p.Kind, p.HTTP = health.HTTP, &health.HTTPRequest{URL: health.URL{Path: "/"}}
	assert.Equal(t, health.Result{Status: 200}, attempt(t, Config{Via: via}, p))
	for err, want := range map[error]health.Outcome{ErrLocal: health.LocalError, os.ErrDeadlineExceeded: health.Failure, errors.New("x"): health.Failure} {
		via := func(context.Context, string, *health.Probe) (net.Conn, error) { return nil, err }
		assert.Equal(t, want, attempt(t, Config{Via: via}, byVIP(elsewhere, ipvs.Tunnel)).Outcome)
	}
}

// Without a way by the VIP the server's own address has to do, which is the
// same for masquerading, and otherwise is told.
func TestNoWayByTheVIP(t *testing.T) {
	target := serve(t, hang)
	noWay := func(context.Context, string, *health.Probe) (net.Conn, error) { return nil, ErrLocal }
	assert.Equal(t, success, attempt(t, Config{Via: noWay}, byVIP(target, ipvs.Masquerade)))
	p := byVIP(target, ipvs.Masquerade)
	p.Via.Server.Port = 0 // the service's
	assert.Equal(t, success, attempt(t, Config{}, p))
	warned := 0
	c := Config{Warn: func(string) { warned++ }}
	assert.Equal(t, success, attempt(t, c, byVIP(target, ipvs.DirectRoute)))
	assert.Equal(t, 1, warned)
	assert.Equal(t, success, attempt(t, c, byVIP(target, ipvs.Masquerade)))
	assert.Equal(t, 1, warned)
}

// No more attempts run at once than there are slots, and all have their turn.
func TestSlots(t *testing.T) {
	const slots, attempts = 5, 200
	var now, most atomic.Int64
	via := func(context.Context, string, *health.Probe) (net.Conn, error) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(time.Microsecond)
		now.Add(-1)
		return nil, ErrLocal
	}
	done := make(chan health.CheckID, attempts)
	r := New(Config{Via: via, Sockets: slots}, func(id health.CheckID, _ health.Result) { done <- id })
	defer r.Close()
	for id := range health.CheckID(attempts) {
		r.Start(id+1, byVIP(netip.MustParseAddrPort("192.0.2.1:80"), ipvs.DirectRoute))
	}
	seen := map[health.CheckID]bool{}
	for range attempts {
		seen[<-done] = true
	}
	assert.Len(t, seen, attempts)
	assert.LessOrEqual(t, most.Load(), int64(slots))
	running, waiting := r.Load()
	assert.Zero(t, running+waiting)
}

// What hangs does not keep what is cancelled or closed, and is not reported.
func TestCancelAndClose(t *testing.T) {
	target := serve(t, hang)
	page := &health.Probe{Kind: health.HTTP, Target: target, Timeout: time.Hour, HTTP: &health.HTTPRequest{URL: health.URL{Path: "/"}}}
	done := make(chan health.CheckID, 10)
	r := New(Config{Sockets: 2}, func(id health.CheckID, _ health.Result) { done <- id })
	for id := range health.CheckID(6) {
		r.Start(id+1, page)
	}
	running, waiting := r.Load()
	assert.Equal(t, [2]int{2, 4}, [2]int{running, waiting})
	for id := range health.CheckID(5) { // of those that run and of those that wait
		r.Cancel(id + 1)
	}
	r.Start(7, &health.Probe{Target: target, Timeout: time.Minute})
	assert.Equal(t, health.CheckID(7), <-done, "the slots of what was cancelled are free")
	r.Close()
	r.Start(8, page)
	assert.Empty(t, done)
}

func TestLane(t *testing.T) {
	var l lane
	next, taken := health.CheckID(0), health.CheckID(0)
	for round := range 1000 {
		for range round % 7 {
			l.add(&job{id: next})
			next++
		}
		for range round % 6 {
			if j := l.take(); j != nil {
				require.Equal(t, taken, j.id)
				taken++
			}
		}
		require.Equal(t, int(next-taken), l.waiting())
	}
	for l.take() != nil {
		taken++
	}
	assert.Equal(t, next, taken)
	assert.Less(t, cap(l.queue), 2048)
}

// An attempt leaves nothing behind, however it ends.
func TestNothingIsLeft(t *testing.T) {
	var targets []netip.AddrPort
	for _, handle := range []func(net.Conn){hang, func(net.Conn) {}, func(c net.Conn) { _, _ = io.WriteString(c, "x\n") }} {
		targets = append(targets, serve(t, handle))
	}
	attempt(t, Config{}, &health.Probe{Target: targets[1]}) // package net opens what it keeps
	files, goroutines := openCount(t), runtime.NumGoroutine()
	for _, target := range targets {
		for _, kind := range []health.Kind{health.TCP, health.HTTP, health.SSL, health.SMTP, health.DNS, health.UDP, health.Ping} {
			attempt(t, Config{}, &health.Probe{Kind: kind, Target: target, Timeout: short, HTTP: &health.HTTPRequest{URL: health.URL{Path: "/"}}})
		}
	}
	require.Eventually(t, func() bool {
		return openCount(t) <= files && runtime.NumGoroutine() <= goroutines+1 // this one
	}, 10*time.Second, time.Millisecond)
}

func openCount(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}
