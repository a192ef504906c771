package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// listening is what a web server prints once it takes connections.
const listening = "listening"

// Serve is a real server: a web server on port 80 that answers every request
// with its name and the client's address as it sees it.
func Serve(ctx context.Context, name, addr string, ready io.Writer) error {
	ln, err := net.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			client, _, _ := net.SplitHostPort(r.RemoteAddr)
			fmt.Fprintf(w, "%s %s\n", name, client)
		}),
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	fmt.Fprintln(ready, listening)
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// answer is what a real server said.
type answer struct {
	server string // its name
	client string // the client's address as the server saw it
}

// requestTimeout covers several retransmissions of a lost packet.
const requestTimeout = 15 * time.Second

// firstPort is the client's port for the first request.
const firstPort = 20_000

// browser makes HTTP requests, each over a connection of its own from a port of
// its own. A director that does not see the answers, as with DR, keeps a closed
// connection in FIN_WAIT for two minutes, and a port used again in that time
// goes to the same real server without being scheduled (IPVS, conn_reuse_mode).
type browser struct {
	dial func(network, addr string, fromPort int) (net.Conn, error)
	made int
	hold bool // connections stay open until close
	held []*http.Transport
}

// get asks for url and reads the answer.
func (b *browser) get(url string) (answer, error) {
	tr := &http.Transport{
		DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			b.made++
			return b.dial(network, addr, firstPort+b.made-1)
		},
		DisableKeepAlives: !b.hold,
	}
	if b.hold {
		b.held = append(b.held, tr)
	}
	resp, err := (&http.Client{Transport: tr, Timeout: requestTimeout}).Get(url)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err != nil {
		return answer{}, err
	}
	words := strings.Fields(string(body))
	if resp.StatusCode != http.StatusOK || len(words) != 2 {
		return answer{}, fmt.Errorf("%s answered %s: %q", url, resp.Status, body)
	}
	return answer{server: words[0], client: words[1]}, nil
}

// close ends the connections that were kept open.
func (b *browser) close() {
	for _, tr := range b.held {
		tr.CloseIdleConnections()
	}
	b.held = nil
}
