package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

// maxAnswer bounds an answer that is not a stream.
const maxAnswer = 1 << 30

// Client talks to a director. It connects when first asked for something, and
// may be used by several goroutines.
type Client struct {
	http *http.Client
}

var _ ipvsadm.Backend = (*Client)(nil)

// Dial returns a client of the director at address. Whether there is one shows
// with the first call: its error wraps ipvsadm.ErrUnreachable if not.
func Dial(address string) *Client {
	return newClient(func(ctx context.Context) (net.Conn, error) { return dial(ctx, address) })
}

func newClient(connect func(context.Context) (net.Conn, error)) *Client {
	return &Client{&http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return connect(ctx) },
		DisableCompression: true,
	}}}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Info describes the director.
func (c *Client) Info() (ipvs.Info, error) {
	var a info
	err := c.get("info", &a)
	return ipvs.Info(a), err
}

// AddService adds a virtual service.
func (c *Client) AddService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	return c.post("service/add", serviceRequest{serviceID(id), serviceSpec(spec)}, nil)
}

// EditService replaces a virtual service's spec.
func (c *Client) EditService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	return c.post("service/edit", serviceRequest{serviceID(id), serviceSpec(spec)}, nil)
}

// DeleteService deletes a virtual service.
func (c *Client) DeleteService(id ipvs.ServiceID) error {
	return c.post("service/delete", serviceRequest{Service: serviceID(id)}, nil)
}

// Flush deletes all virtual services.
func (c *Client) Flush() error { return c.post("flush", nothing{}, nil) }

// AddServer adds a real server.
func (c *Client) AddServer(svc ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	return c.post("server/add", serverRequest{serviceID(svc), serverID(id), toServerSpec(spec)}, nil)
}

// EditServer replaces a real server's spec.
func (c *Client) EditServer(svc ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	return c.post("server/edit", serverRequest{serviceID(svc), serverID(id), toServerSpec(spec)}, nil)
}

// DeleteServer deletes a real server.
func (c *Client) DeleteServer(svc ipvs.ServiceID, id ipvs.ServerID) error {
	return c.post("server/delete", serverRequest{Service: serviceID(svc), Server: serverID(id)}, nil)
}

// Zero clears the counters of one service, or of all when svc is nil.
func (c *Client) Zero(svc *ipvs.ServiceID) error {
	return c.post("zero", zeroRequest{(*serviceID)(svc)}, nil)
}

// Services lists all virtual services.
func (c *Client) Services() ([]ipvs.ServiceEntry, error) {
	var a servicesReply
	if err := c.get("services", &a); err != nil {
		return nil, err
	}
	var out []ipvs.ServiceEntry
	for _, e := range a.Services {
		out = append(out, e.entry())
	}
	return out, nil
}

// Service lists one virtual service.
func (c *Client) Service(id ipvs.ServiceID) (ipvs.ServiceEntry, error) {
	var a serviceEntry
	if err := c.post("service/get", serviceRequest{Service: serviceID(id)}, &a); err != nil {
		return ipvs.ServiceEntry{}, err
	}
	return a.entry(), nil
}

// Timeouts are the connection timeouts.
func (c *Client) Timeouts() (ipvs.Timeouts, error) {
	var a timeouts
	err := c.get("timeouts", &a)
	return ipvs.Timeouts(a), err
}

// SetTimeouts changes the connection timeouts; a 0 leaves one as it is.
func (c *Client) SetTimeouts(t ipvs.Timeouts) error { return c.post("timeouts", timeouts(t), nil) }

// Daemons lists the synchronisation daemons.
func (c *Client) Daemons() ([]ipvs.Daemon, error) {
	var a daemonsReply
	if err := c.get("daemons", &a); err != nil {
		return nil, err
	}
	var out []ipvs.Daemon
	for _, d := range a.Daemons {
		out = append(out, ipvs.Daemon(d))
	}
	return out, nil
}

// StartDaemon starts a synchronisation daemon.
func (c *Client) StartDaemon(d ipvs.Daemon) error { return c.post("daemon/start", daemon(d), nil) }

// StopDaemon stops a synchronisation daemon.
func (c *Client) StopDaemon(s ipvs.DaemonState) error {
	return c.post("daemon/stop", daemon{State: s}, nil)
}

// Iptables executes an iptables command, or an ip6tables command with v6, and
// returns what it prints. words is the command line without its name.
func (c *Client) Iptables(v6 bool, words []string) (string, error) {
	var a iptablesReply
	err := c.post("iptables", iptablesRequest{v6, words}, &a)
	return a.Output, err
}

// Explain asks what would happen to packets. The question is anything that
// json.Marshal takes, and so is the answer.
func (c *Client) Explain(question, answer any) error {
	return c.post("explain", question, answer)
}

// Status returns the director's counters as the server words them.
func (c *Client) Status() (json.RawMessage, error) {
	var a json.RawMessage
	err := c.get("status", &a)
	return a, err
}

// Node returns what VRRP and the health checks are doing, as the server words it.
func (c *Client) Node() (json.RawMessage, error) {
	var a json.RawMessage
	err := c.get("node", &a)
	return a, err
}

// Reload has the director read its rules file, or its keepalived.conf, again.
func (c *Client) Reload() error { return c.post("reload", nothing{}, nil) }

// Trace calls emit for each event, up to max (0: no limit), until ctx is done
// or emit returns an error.
func (c *Client) Trace(ctx context.Context, max int, emit func(json.RawMessage) error) error {
	return c.stream(ctx, "trace?max="+strconv.Itoa(max), emit)
}

func (c *Client) get(call string, into any) error {
	return c.exchange(http.MethodGet, call, nil, into)
}

func (c *Client) post(call string, body, into any) error {
	return c.tell(http.MethodPost, call, body, into)
}

func (c *Client) put(call string, body any) error { return c.tell(http.MethodPut, call, body, nil) }

func (c *Client) tell(method, call string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.exchange(method, call, bytes.NewReader(text), into)
}

// exchange makes a call whose answer is one JSON value.
func (c *Client) exchange(method, call string, body io.Reader, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	resp, err := c.send(ctx, method, call, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: answer was cut short: %w", call, err)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", call, err)
	}
	return nil
}

// stream makes a call whose answer is any number of JSON values.
func (c *Client) stream(ctx context.Context, call string, yield func(json.RawMessage) error) error {
	return c.answer(ctx, call, func(r io.Reader) error { return readStream(r, yield) })
}

// answer makes a call whose answer is for read to read.
func (c *Client) answer(ctx context.Context, call string, read func(io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, call, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return read(resp.Body)
}

// send sends a request and returns its answer if that is a success.
func (c *Client) send(ctx context.Context, method, call string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://usvs/v1/"+call, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, transportError(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, failureOf(call, resp)
}

// transportError is the cause of a request without an answer.
func transportError(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, ipvsadm.ErrUnreachable) {
		return err
	}
	return unreachable(err)
}

// failureOf reads the error out of an answer.
func failureOf(call string, resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	var f failure
	if err != nil || json.Unmarshal(text, &f) != nil || f.Error == nil {
		return fmt.Errorf("%s: %s", call, resp.Status)
	}
	return f.Error
}
