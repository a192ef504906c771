package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"usvs/scenario"
)

// browser is an HTTP client with one connection.
type browser struct {
	m    *machine
	t    *scenario.Traffic
	http http.Client

	dialed atomic.Bool

	mu   sync.Mutex
	conn net.Conn // guarded by mu
}

func newBrowser(m *machine, t *scenario.Traffic) *browser {
	b := &browser{m: m, t: t}
	b.http.Transport = &http.Transport{DialContext: b.dial, DisableCompression: true}
	return b
}

// errGone is the end of a connection that is not made a second time.
var errGone = errors.New("the connection has ended")

func (b *browser) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if b.dialed.Swap(true) {
		return nil, errGone
	}
	// The transport would go on dialing after the request's time is over.
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(local(b.t)), KeepAlive: -1, Timeout: b.t.Timeout}
	var conn net.Conn
	if err := b.m.ns.Do(func() (err error) {
		conn, err = d.DialContext(ctx, network, addr)
		return err
	}); err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.conn = conn
	b.mu.Unlock()
	return conn, nil
}

// close ends the connection as a client does that has what it wanted.
func (b *browser) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		_ = b.conn.Close()
	}
}

// request makes a request on the connection, which is made by the first.
func (b *browser) request(timeout time.Duration) scenario.Reply {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	server, err := b.post(ctx)
	reply := scenario.Reply{Server: server}
	b.mu.Lock()
	if b.conn != nil {
		reply.Local = b.conn.LocalAddr().(*net.TCPAddr).AddrPort()
	}
	b.mu.Unlock()
	switch {
	case errors.Is(err, errGarbled):
		reply.Fail = scenario.Garbled
	case ctx.Err() != nil && err != nil:
		reply.Fail = scenario.Timeout
	case err != nil:
		reply.Fail = failure(err)
	}
	return reply
}

// errGarbled is an answer that is not what was asked for.
var errGarbled = errors.New("not the answer")

func (b *browser) post(ctx context.Context) (server string, err error) {
	url := fmt.Sprintf("http://%v/%d", b.t.To, b.t.Size)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(pad("", b.t.Upload)))
	if err != nil {
		return "", err
	}
	req.GetBody = nil // one attempt
	resp, err := b.http.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return "", err
	case resp.StatusCode != http.StatusOK || len(body) < b.t.Size:
		return firstLine(body), errGarbled
	}
	return firstLine(body), nil
}

// browse makes HTTP requests, each on a connection of its own.
func (w *World) browse(m *machine, t *scenario.Traffic) []scenario.Reply {
	all := make([]*browser, t.Count)
	for i := range all {
		all[i] = newBrowser(m, t)
	}
	if t.Hold {
		w.mu.Lock()
		w.held[t.As] = append(w.held[t.As], all...)
		w.mu.Unlock()
	}
	return w.run(t, func(i int) scenario.Reply {
		r := all[i].request(t.Timeout)
		if !t.Hold {
			all[i].close()
		}
		return r
	})
}

// Again makes a request on each held connection, one after another.
func (w *World) Again(a *scenario.Again) ([]scenario.Reply, error) {
	w.mu.Lock()
	all := w.held[a.Name]
	w.mu.Unlock()
	t := &scenario.Traffic{Count: len(all), Concurrency: 1}
	return w.run(t, func(i int) scenario.Reply { return all[i].request(a.Timeout) }), nil
}

// Hangup closes held connections.
func (w *World) Hangup(name string) error {
	w.mu.Lock()
	for _, b := range w.held[name] {
		b.close()
	}
	delete(w.held, name)
	w.mu.Unlock()
	w.settle()
	return nil
}
