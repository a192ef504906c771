package netsim

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/director"
	"usvs/netsim/http"
	"usvs/netsim/tcp"
)

// get asks for a page and returns what came of it within d.
func get(t testing.TB, from *Host, to string, d time.Duration) string {
	t.Helper()
	var in http.Message
	result := "nothing"
	c, err := from.DialTCP(addrPort("0.0.0.0:0"), addrPort(to), tcp.Events{
		Connected: func(now clock.Instant, c *tcp.Conn) {
			_, err := c.Write(now, []byte("GET /x HTTP/1.0\r\n\r\n"))
			require.NoError(t, err)
		},
		Readable: func(now clock.Instant, c *tcp.Conn) {
			_ = in.Feed(now, c)
			if _, body, ok := in.Take(); ok {
				result = string(body)
			}
		},
		Closed: func(_ clock.Instant, _ *tcp.Conn, err error) {
			if err != nil {
				result = err.Error()
			}
		},
	})
	require.NoError(t, err)
	from.Net().Run(d)
	c.Abort(from.Net().Now())
	return result
}

func page(h *Host) func(string) http.Answer {
	return func(path string) http.Answer { return http.Answer{Body: []byte(h.Name() + path)} }
}

func TestServicesStopAndAreSlow(t *testing.T) {
	p := newPair(t, LinkOptions{})
	s, err := p.b.Serve(80, http.Serve(page(p.b)))
	require.NoError(t, err)
	require.Same(t, s, p.b.Service(80))
	require.Nil(t, p.b.Service(81))
	_, err = p.b.Serve(80, http.Serve(page(p.b)))
	require.ErrorIs(t, err, tcp.ErrInUse)
	require.Equal(t, "b/x", get(t, p.a, "192.0.2.2:80", time.Second))

	s.SetUp(false)
	s.SetUp(false)
	require.False(t, s.Up())
	require.Equal(t, tcp.ErrRefused.Error(), get(t, p.a, "192.0.2.2:80", time.Second))
	s.SetUp(true)
	require.Equal(t, "b/x", get(t, p.a, "192.0.2.2:80", time.Second))

	s.SetDelay(3 * time.Second)
	require.Equal(t, "nothing", get(t, p.a, "192.0.2.2:80", 2900*time.Millisecond))
	require.Equal(t, "b/x", get(t, p.a, "192.0.2.2:80", 3100*time.Millisecond))
	s.SetDelay(0)
	require.Equal(t, "b/x", get(t, p.a, "192.0.2.2:80", time.Second))
	require.Contains(t, p.LogText(), "b: the service on port 80 is down")
	p.Run(time.Hour)
	require.Empty(t, s.conns, "no connection is kept in mind for ever")
}

// TestAServerThatStopsClosesItsConnections, as a process does that ends.
func TestAServerThatStopsClosesItsConnections(t *testing.T) {
	p := newPair(t, LinkOptions{})
	s, err := p.b.Serve(80, http.Serve(page(p.b)))
	require.NoError(t, err)
	var ended error = fmt.Errorf("not yet")
	_, err = p.a.DialTCP(addrPort("0.0.0.0:0"), addrPort("192.0.2.2:80"), tcp.Events{
		Readable: func(now clock.Instant, c *tcp.Conn) { _, ended = c.Read(now, make([]byte, 1)) },
	})
	require.NoError(t, err)
	p.Run(time.Second)
	require.Len(t, s.conns, 1)
	s.SetUp(false)
	p.Run(time.Second)
	require.EqualError(t, ended, "EOF")
}

func TestPause(t *testing.T) {
	p := newPair(t, LinkOptions{})
	_, err := p.b.Serve(80, http.Serve(page(p.b)))
	require.NoError(t, err)
	echo(t, p.b, "192.0.2.2:7")
	fired := 0
	timer := p.b.newTimer(func() { fired++ })
	timer.Set(p.Now().Add(time.Second))

	p.b.Pause(2 * time.Second)
	require.False(t, p.b.Running())
	require.ErrorContains(t, p.b.Exec("ip addr").Err(), "b does not respond")
	require.Equal(t, "nothing", get(t, p.a, "192.0.2.2:80", 1900*time.Millisecond))
	require.Zero(t, fired)
	p.Run(time.Second)
	require.Equal(t, 1, fired, "timers come late")
	require.True(t, p.b.Running())
	require.Contains(t, p.LogText(), "b: goes on, ")
	require.Equal(t, "b/x", get(t, p.a, "192.0.2.2:80", time.Second))

	p.b.Pause(time.Second)
	p.b.Pause(time.Hour) // replaces it
	p.Run(2 * time.Second)
	require.False(t, p.b.Running())
	p.b.Resume() // what else was under way has come
	p.Run(time.Second)
	p.b.Pause(time.Hour)
	for range maxLate + 10 {
		require.NoError(t, p.out.Send(addrPort("192.0.2.2:9"), []byte("x")))
	}
	before := len(p.got)
	p.Run(time.Second)
	p.b.Resume()
	p.b.Resume()
	p.Run(time.Second)
	require.Equal(t, before+maxLate, len(p.got), "the queue is bounded")
	require.EqualValues(t, 10, p.b.Counters()["lost during a pause"])
	p.Run(2 * time.Hour)
	require.True(t, p.b.Running())
}

func TestCrashAndRestart(t *testing.T) {
	p := newPair(t, LinkOptions{})
	_, err := p.b.Serve(80, http.Serve(page(p.b)))
	require.NoError(t, err)
	p.b.newTimer(func() { t.Error("the dead have no timers") }).Set(p.Now().Add(time.Second))
	p.b.Pause(time.Minute)
	require.NoError(t, p.out.Send(addrPort("192.0.2.2:9"), []byte("x")))
	p.Run(500 * time.Millisecond)
	p.b.Crash()
	p.b.Crash()
	p.b.Pause(time.Second)
	require.True(t, p.b.Crashed())
	require.Equal(t, "nothing", get(t, p.a, "192.0.2.2:80", 2*time.Second))
	p.b.Port("eth0").Announce(addrPort("192.0.2.2:0").Addr())
	require.NotZero(t, p.b.Port("eth0").Stats().TxDropped, "its interfaces are dead")

	p.b.Restart()
	require.Equal(t, "b/x", get(t, p.a, "192.0.2.2:80", 5*time.Second), "services start again")
	require.NoError(t, p.out.Send(addrPort("192.0.2.2:9"), []byte("x")))
	p.Run(time.Second)
	require.Empty(t, p.got, "its sockets are gone")
	p.b.Restart()
	require.Contains(t, p.LogText(), "b: has crashed\n")
	p.Run(2 * time.Minute)
}

// TestADirectorsCrash: it comes back without services, and is explained as before.
func TestADirectorsCrash(t *testing.T) {
	l := newLab(1, LinkOptions{})
	for _, h := range l.servers {
		h.MustExec("usvs realserver up --vip 10.0.0.100")
		echo(t, h, "0.0.0.0:53")
	}
	steps := 0
	l.lvs.Listen(recorderFunc(func(director.Step) { steps++ }))
	l.service("10.0.0.100:53", "-g", "10.0.0.11", "10.0.0.12")
	require.Equal(t, []string{"rs2 x"}, l.ask(t, l.client, "10.0.0.100:53", "x"))
	core := l.lvs.Core()
	l.lvs.Crash()
	require.ErrorContains(t, l.lvs.Exec("ipvsadm -Ln").Err(), "lvs does not respond")
	require.Empty(t, l.ask(t, l.client, "10.0.0.100:53", "x"))
	l.lvs.NIC("eth1", "10.9.0.1/24") // nobody hears of it
	l.lvs.Restart()
	require.NotSame(t, core, l.lvs.Core())
	require.NotContains(t, l.lvs.MustExec("ipvsadm -Ln"), "10.0.0.100")
	steps = 0
	l.service("10.0.0.100:53", "-g", "10.0.0.11", "10.0.0.12")
	require.Equal(t, []string{"rs2 x"}, l.ask(t, l.client, "10.0.0.100:53", "x"))
	require.NotZero(t, steps)
	l.lvs.Restart()
	require.NotContains(t, l.lvs.MustExec("ipvsadm -Ln"), "10.0.0.100")
}

type recorderFunc func(director.Step)

func (f recorderFunc) Record(s director.Step) { f(s) }
