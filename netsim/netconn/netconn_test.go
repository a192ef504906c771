package netconn

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"usvs/netsim"
)

// pair is two hosts on one link.
type pair struct {
	*Net
	a, b *Host
	link *netsim.Link
}

func newPair(t Cleaner, seed uint64, o netsim.LinkOptions) *pair {
	sim := netsim.New(seed)
	a, b := sim.Host("a"), sim.Host("b")
	link := sim.Link(a.NIC("eth0", "10.0.0.1/24", "2001:db8::1/64"), b.NIC("eth0", "10.0.0.2/24", "2001:db8::2/64"), o)
	n := New(t, sim)
	return &pair{n, n.Host(a), n.Host(b), link}
}

// connect opens one connection from a to b.
func (p *pair) connect(t testing.TB) (client, server *Conn) {
	t.Helper()
	ln, err := p.b.Listen("tcp", ":7")
	require.NoError(t, err)
	defer ln.Close()
	c, err := p.a.Dial("tcp", "10.0.0.2:7")
	require.NoError(t, err)
	s, err := ln.Accept()
	require.NoError(t, err)
	return c.(*Conn), s.(*Conn)
}

func inBubble(t *testing.T, o netsim.LinkOptions, f func(t *testing.T, p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newPair(t, 1, o)) })
}

var lan = netsim.LinkOptions{Delay: time.Millisecond}

func TestStreamsBothWays(t *testing.T) {
	inBubble(t, netsim.LinkOptions{Delay: time.Millisecond, Loss: 0.05, Jitter: time.Millisecond}, func(t *testing.T, p *pair) {
		c, s := p.connect(t)
		require.Equal(t, "10.0.0.2:7", c.RemoteAddr().String())
		require.Equal(t, c.LocalAddr().String(), s.RemoteAddr().String())
		text := bytes.Repeat([]byte("what goes in comes out. "), 50_000)
		var wg sync.WaitGroup
		for _, conn := range []*Conn{c, s} {
			wg.Go(func() {
				n, err := conn.Write(text)
				require.NoError(t, err)
				require.Equal(t, len(text), n)
				require.NoError(t, conn.CloseWrite())
			})
			wg.Go(func() {
				got, err := io.ReadAll(conn)
				require.NoError(t, err)
				require.True(t, bytes.Equal(text, got))
			})
		}
		wg.Wait()
		require.NoError(t, c.Close())
		require.ErrorIs(t, c.Close(), net.ErrClosed)
		require.NoError(t, s.Close())
	})
}

func TestRealTimeDoesNotPass(t *testing.T) {
	inBubble(t, netsim.LinkOptions{Delay: time.Hour / 10}, func(t *testing.T, p *pair) {
		start := time.Now()
		_, err := p.a.Dial("tcp", "10.0.0.2:7")
		require.ErrorIs(t, err, syscall.EHOSTUNREACH, "ARP gives up long before the answer")
		require.Less(t, time.Since(start), time.Minute)
	})
}

func TestDialErrors(t *testing.T) {
	inBubble(t, lan, func(t *testing.T, p *pair) {
		for _, tc := range []struct {
			network, address string
			want             error
		}{
			{"tcp", "10.0.0.2:9", syscall.ECONNREFUSED},
			{"tcp6", "[2001:db8::2]:9", syscall.ECONNREFUSED},
			{"tcp", "10.0.0.3:9", syscall.EHOSTUNREACH},
			{"tcp", "192.0.2.1:9", syscall.EHOSTUNREACH},
		} {
			_, err := p.a.Dial(tc.network, tc.address)
			require.ErrorIs(t, err, tc.want, tc.address)
			var op *net.OpError
			require.ErrorAs(t, err, &op)
			require.Equal(t, tc.address, op.Addr.String())
		}
		for _, tc := range [][2]string{{"udp", "10.0.0.2:9"}, {"tcp", "host:80"}, {"tcp4", "[2001:db8::2]:9"}, {"tcp6", "10.0.0.2:9"}, {"tcp", ":80"}} {
			_, err := p.a.Dial(tc[0], tc[1])
			require.Error(t, err, tc)
		}
	})
}

func TestDialIsGivenUp(t *testing.T) {
	inBubble(t, lan, func(t *testing.T, p *pair) {
		p.Do(func() { p.link.SetUp(false) })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := p.a.DialContext(ctx, "tcp", "10.0.0.2:7")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Less(t, time.Since(start), 6*time.Millisecond)
		_, err = p.a.DialContext(ctx, "tcp", "10.0.0.2:7")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		p.Do(func() { require.Zero(t, p.a.sim.TCP().Len()) })
	})
}

func TestLocalAddr(t *testing.T) {
	inBubble(t, lan, func(t *testing.T, p *pair) {
		ln, err := p.b.Listen("tcp", "10.0.0.2:7")
		require.NoError(t, err)
		_, err = p.b.Listen("tcp", "10.0.0.2:7")
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		ctx := WithLocalAddr(t.Context(), netip.MustParseAddrPort("0.0.0.0:4711"))
		c, err := p.a.DialContext(ctx, "tcp", ln.Addr().String())
		require.NoError(t, err)
		require.Equal(t, "10.0.0.1:4711", c.LocalAddr().String())
		_, err = p.a.DialContext(ctx, "tcp", ln.Addr().String())
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		free, err := p.b.Listen("tcp", "10.0.0.2:0")
		require.NoError(t, err)
		require.Equal(t, "10.0.0.2:32768", free.Addr().String())
	})
}

func TestDeadlines(t *testing.T) {
	inBubble(t, netsim.LinkOptions{}, func(t *testing.T, p *pair) {
		c, s := p.connect(t)
		start := time.Now()
		require.NoError(t, c.SetReadDeadline(start.Add(time.Second)))
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
		var timeout net.Error
		require.True(t, errors.As(err, &timeout) && timeout.Timeout())

		// A deadline that another goroutine moves into the past ends a read.
		require.NoError(t, c.SetDeadline(time.Time{}))
		time.AfterFunc(time.Minute, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)

		// The peer does not read: a write runs into its deadline half way.
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Second)))
		n, err := c.Write(make([]byte, 10<<20))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Greater(t, n, 100_000)
		require.Less(t, n, 1<<20)
		require.NoError(t, s.Close())
	})
}

func TestCloseSemantics(t *testing.T) {
	inBubble(t, lan, func(t *testing.T, p *pair) {
		c, s := p.connect(t)
		_, err := c.Write([]byte("unread"))
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.NoError(t, s.Close()) // resets: the server did not read
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		_, err = s.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = s.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, s.CloseWrite(), net.ErrClosed)
		require.ErrorIs(t, s.SetDeadline(time.Now()), net.ErrClosed)

		c, s = p.connect(t)
		require.NoError(t, c.CloseWrite()) // half close
		_, err = s.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		_, err = s.Write([]byte("still"))
		require.NoError(t, err)
		require.NoError(t, s.Close())
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, "still", string(got))
		_, err = c.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestCloseWakesReadersAndAcceptors(t *testing.T) {
	inBubble(t, lan, func(t *testing.T, p *pair) {
		ln, err := p.b.Listen("tcp", ":7")
		require.NoError(t, err)
		c, err := p.a.Dial("tcp", "10.0.0.2:7")
		require.NoError(t, err)
		time.AfterFunc(time.Second, func() { _ = c.Close() })
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = ln.Accept()
		require.NoError(t, err)
		waiting, err := p.a.Dial("tcp", "10.0.0.2:7")
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.NoError(t, ln.Close())
		require.ErrorIs(t, ln.Close(), net.ErrClosed)
		_, err = ln.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = waiting.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET, "nobody accepted it")
	})
}

func TestTheEndOfTheNetwork(t *testing.T) {
	inBubble(t, lan, func(t *testing.T, p *pair) {
		c, _ := p.connect(t)
		ln, err := p.b.Listen("tcp", ":8")
		require.NoError(t, err)
		time.AfterFunc(time.Second, p.Net.Close)
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = ln.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = p.a.Dial("tcp", "10.0.0.2:7")
		require.ErrorIs(t, err, net.ErrClosed)
		called := false
		p.Do(func() { called = true })
		require.True(t, called)
	})
}

// pipe is what nettest wants: two ends of one connection.
func pipe(t *testing.T) nettest.MakePipe {
	return func() (net.Conn, net.Conn, func(), error) {
		var cleanups cleanups
		p := newPair(&cleanups, 1, netsim.LinkOptions{})
		c, s := p.connect(t)
		return c, s, func() { _ = c.Close(); _ = s.Close(); p.Net.Close() }, nil
	}
}

type cleanups struct{}

func (*cleanups) Cleanup(func()) {}

// The x/net conformance test cannot run in a bubble; the network then runs in
// real time.
func TestNetTest(t *testing.T) { nettest.TestConn(t, pipe(t)) }

// requests runs HTTP clients and servers on either side of a director, with many
// goroutines, and returns a hash of every frame.
func requests(t *testing.T, seed uint64) string {
	var hash string
	synctest.Test(t, func(t *testing.T) {
		sim := netsim.New(seed)
		sum := sha256.New()
		sim.Observe(func(r *netsim.Record) {
			fmt.Fprintln(sum, r.Sent, r.From, r.Fate)
			sum.Write(r.Data)
		})
		lvs, sw := sim.Director("lvs"), sim.Switch("sw")
		o := netsim.LinkOptions{Delay: time.Millisecond, Loss: 0.03}
		sim.Link(lvs.NIC("eth0", "10.0.0.1/24"), sw.NextPort(), o)
		lvs.MustExec("ipvsadm -A -t 10.0.0.100:80 -s wlc")
		var servers []*netsim.Host
		for _, rip := range []string{"10.0.0.21", "10.0.0.22"} {
			h := sim.Host("rs" + rip)
			sim.Link(h.NIC("eth0", rip+"/24"), sw.NextPort(), o)
			h.MustExec("usvs realserver up --vip 10.0.0.100")
			lvs.MustExec("ipvsadm -a -t 10.0.0.100:80 -g -r " + rip)
			servers = append(servers, h)
		}
		var hosts []*netsim.Host
		for i := range 4 {
			h := sim.Host(fmt.Sprint("client", i))
			sim.Link(h.NIC("eth0", fmt.Sprintf("10.0.0.1%d/24", i)), sw.NextPort(), o)
			hosts = append(hosts, h)
		}
		n := New(t, sim)
		for _, h := range servers {
			go http.Serve(n.MustListen(h, ":80"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				fmt.Fprintf(w, "%s %d %s", r.URL.Path, len(body), strings.Repeat("z", 5000))
			}))
		}
		var wg sync.WaitGroup
		for i, h := range hosts {
			wg.Go(func() {
				client := http.Client{Transport: &http.Transport{DialContext: n.Host(h).DialContext}, Timeout: time.Minute}
				for k := range 5 {
					busy(k + i)
					answer, err := client.Post(fmt.Sprintf("http://10.0.0.100/%d/%d", i, k), "text/plain", strings.NewReader(strings.Repeat("b", 3000*k)))
					require.NoError(t, err)
					text, err := io.ReadAll(answer.Body)
					require.NoError(t, err)
					require.Equal(t, fmt.Sprintf("/%d/%d %d ", i, k, 3000*k), string(text[:len(text)-5000]))
					answer.Body.Close()
				}
				client.CloseIdleConnections()
			})
		}
		wg.Wait()
		n.Close()
		hash = fmt.Sprintf("%x", sum.Sum(nil))
	})
	return hash
}

// busy makes goroutines overtake each other in real time.
func busy(k int) {
	for range rand.IntN(20 * (k + 1)) {
		runtime.Gosched()
	}
}

func TestUnmodifiedHTTPIsDeterministic(t *testing.T) {
	want := requests(t, 1)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, procs := range []int{1, 2, 8} {
		runtime.GOMAXPROCS(procs)
		for range 3 {
			require.Equal(t, want, requests(t, 1), "GOMAXPROCS %d", procs)
		}
	}
	require.NotEqual(t, want, requests(t, 2))
}

func TestCallsOfOneInstantAreSorted(t *testing.T) {
	at := time.Unix(100, 0)
	low, high := netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.1:2")
	want := []*call{
		{host: "z", at: at.Add(-1)},
		{host: "a", local: low, kind: kindDeadline, at: at},
		{host: "a", local: low, kind: kindRead, at: at},
		{host: "a", local: low, kind: kindClose, at: at},
		{host: "a", local: high, remote: low, at: at},
		{host: "a", local: high, remote: high, at: at},
		{host: "b", local: low, at: at, arrival: 1},
		{host: "b", local: low, at: at, arrival: 2},
	}
	for seed := range uint64(50) {
		got := append([]*call(nil), want...)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		sortCalls(got)
		require.Equal(t, want, got)
	}
}
