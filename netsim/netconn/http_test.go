package netconn

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/netsim"
)

// farm is a client, a director with direct routing, and real servers that
// answer HTTP with their names.
type farm struct {
	*Net
	client *netsim.Host
	lvs    *netsim.Director
	web    http.Client
}

func newFarm(t *testing.T, seed uint64, o netsim.LinkOptions, servers int) *farm {
	sim := netsim.New(seed)
	sw := sim.Switch("sw")
	f := &farm{client: sim.Host("client"), lvs: sim.Director("lvs")}
	sim.Link(f.client.NIC("eth0", "10.0.0.9/24"), sw.NextPort(), o)
	sim.Link(f.lvs.NIC("eth0", "10.0.0.1/24"), sw.NextPort(), o)
	f.lvs.MustExec("ipvsadm -A -t 10.0.0.100:80 -s rr")
	var hosts []*netsim.Host
	for i := range servers {
		h := sim.Host(fmt.Sprint("rs", i+1))
		sim.Link(h.NIC("eth0", fmt.Sprintf("10.0.0.1%d/24", i+1)), sw.NextPort(), o)
		h.MustExec("usvs realserver up --vip 10.0.0.100")
		f.lvs.MustExec(fmt.Sprintf("ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.1%d -g", i+1))
		hosts = append(hosts, h)
	}
	f.Net = New(t, sim)
	for _, h := range hosts {
		go http.Serve(f.MustListen(h, ":80"), f.handler(h.Name()))
	}
	f.web = http.Client{Transport: &http.Transport{DialContext: f.Host(f.client).DialContext, DisableKeepAlives: true}}
	return f
}

func (f *farm) handler(name string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(time.Hour):
			fmt.Fprint(w, name)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	return mux
}

func (f *farm) get(path string) (string, error) {
	answer, err := f.web.Get("http://10.0.0.100" + path)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

func TestHTTPDateIsTheBubbles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm(t, 1, lan, 1)
		answer, err := f.web.Get("http://10.0.0.100/")
		require.NoError(t, err)
		require.Equal(t, "Sat, 01 Jan 2000 00:00:00 GMT", answer.Header.Get("Date"))
		require.NoError(t, answer.Body.Close())
	})
}

func TestDirectorIsChangedBetweenRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm(t, 1, lan, 3)
		var got []string
		for i := range 6 {
			if i == 3 {
				f.Do(func() { f.lvs.MustExec("ipvsadm -d -t 10.0.0.100:80 -r 10.0.0.12") })
			}
			who, err := f.get("/")
			require.NoError(t, err)
			got = append(got, who)
		}
		require.ElementsMatch(t, []string{"rs1", "rs2", "rs3"}, got[:3])
		require.NotContains(t, got[3:], "rs2")
		var listing string
		f.Do(func() { listing = f.lvs.MustExec("ipvsadm -Ln") })
		require.NotContains(t, listing, "10.0.0.12")
	})
}

func TestClientTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm(t, 1, lan, 1)
		f.web.Timeout = time.Minute
		start := time.Now()
		_, err := f.get("/slow")
		require.Error(t, err)
		require.Equal(t, time.Minute, time.Since(start).Round(time.Millisecond))
		f.web.Timeout = 2 * time.Hour
		who, err := f.get("/slow")
		require.NoError(t, err)
		require.Equal(t, "rs1", who)
	})
}

func TestKeepAliveUsesOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm(t, 1, lan, 2)
		f.web.Transport.(*http.Transport).DisableKeepAlives = false
		first, err := f.get("/")
		require.NoError(t, err)
		for range 5 {
			who, err := f.get("/")
			require.NoError(t, err)
			require.Equal(t, first, who, "one connection, one real server")
		}
		f.Do(func() { require.Equal(t, 1, f.client.TCP().Len()) })
	})
}

func TestLargeBodiesBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm(t, 3, netsim.LinkOptions{Delay: time.Millisecond, Loss: 0.02, Reorder: 0.05}, 2)
		body := make([]byte, 1<<20)
		for i := range body {
			body[i] = byte(i * i >> 3)
		}
		answer, err := f.web.Post("http://10.0.0.100/echo", "application/octet-stream", &reader{body})
		require.NoError(t, err)
		got, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.True(t, slices.Equal(body, got))
	})
}

// reader hides the length, so that the body is sent in chunks.
type reader struct{ rest []byte }

func (r *reader) Read(p []byte) (int, error) {
	n := copy(p, r.rest)
	if r.rest = r.rest[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Dials of one instant get their servers by their ports, not by who was first.
func TestDialsOfOneInstant(t *testing.T) {
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			f := newFarm(t, 1, lan, 2)
			who := make([]string, 8)
			var wg sync.WaitGroup
			for i := range who {
				wg.Go(func() {
					busy(i)
					local := netip.AddrPortFrom(netip.Addr{}, uint16(5000+i))
					c, err := f.Host(f.client).DialContext(WithLocalAddr(t.Context(), local), "tcp", "10.0.0.100:80")
					require.NoError(t, err)
					defer c.Close()
					_, err = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
					require.NoError(t, err)
					text, err := io.ReadAll(c)
					require.NoError(t, err)
					who[i] = string(text[len(text)-3:])
				})
			}
			wg.Wait()
			require.Equal(t, []string{"rs2", "rs1", "rs2", "rs1", "rs2", "rs1", "rs2", "rs1"}, who)
		})
	}
}

// The test that Do is called in may fail within it.
func TestDoSurvivesAFailingCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFarm(t, 1, lan, 1)
		require.Panics(t, func() { f.Do(func() { panic("in the caller's goroutine") }) })
		who, err := f.get("/")
		require.NoError(t, err)
		require.Equal(t, "rs1", who)
	})
}
