package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

// fake is a backend that notes how it was called and answers as told.
type fake struct {
	mu    sync.Mutex
	calls []string
	err   error
	conns []ipvs.ConnEntry
}

func (f *fake) called(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fake) Info() (ipvs.Info, error) { return theInfo, f.called("info") }
func (f *fake) AddService(id ipvs.ServiceID, s ipvs.ServiceSpec) error {
	return f.called("add %+v %+v", id, s)
}
func (f *fake) EditService(id ipvs.ServiceID, s ipvs.ServiceSpec) error {
	return f.called("edit %+v %+v", id, s)
}
func (f *fake) DeleteService(id ipvs.ServiceID) error { return f.called("delete %+v", id) }
func (f *fake) Flush() error                          { return f.called("flush") }
func (f *fake) AddServer(svc ipvs.ServiceID, id ipvs.ServerID, s ipvs.ServerSpec) error {
	return f.called("add server %+v %+v %+v", svc, id, s)
}
func (f *fake) EditServer(svc ipvs.ServiceID, id ipvs.ServerID, s ipvs.ServerSpec) error {
	return f.called("edit server %+v %+v %+v", svc, id, s)
}
func (f *fake) DeleteServer(svc ipvs.ServiceID, id ipvs.ServerID) error {
	return f.called("delete server %+v %+v", svc, id)
}
func (f *fake) Zero(svc *ipvs.ServiceID) error {
	if svc == nil {
		return f.called("zero all")
	}
	return f.called("zero %+v", *svc)
}
func (f *fake) Services() ([]ipvs.ServiceEntry, error) {
	return []ipvs.ServiceEntry{theService, {ID: theMark}}, f.called("services")
}
func (f *fake) Service(id ipvs.ServiceID) (ipvs.ServiceEntry, error) {
	return theService, f.called("service %+v", id)
}
func (f *fake) Connections(yield func(*ipvs.ConnEntry) bool) error {
	for i := range f.conns {
		if !yield(&f.conns[i]) {
			return nil
		}
	}
	return f.called("connections")
}
func (f *fake) Timeouts() (ipvs.Timeouts, error)  { return theTimeouts, f.called("timeouts") }
func (f *fake) SetTimeouts(t ipvs.Timeouts) error { return f.called("set %+v", t) }
func (f *fake) Daemons() ([]ipvs.Daemon, error) {
	return []ipvs.Daemon{theDaemon}, f.called("daemons")
}
func (f *fake) StartDaemon(d ipvs.Daemon) error     { return f.called("start %+v", d) }
func (f *fake) StopDaemon(s ipvs.DaemonState) error { return f.called("stop %v", s) }

// One of everything, with no field left zero.
var (
	theInfo    = ipvs.Info{Version: [3]int{1, 2, 1}, ConnTableSize: 4096}
	theVIP     = ipvs.ServiceID{Family: ipvs.IPv6, Protocol: ipvs.SCTP, Addr: netip.MustParseAddr("fd00::1"), Port: 80, Mark: math.MaxUint32}
	theMark    = ipvs.ServiceID{Family: ipvs.IPv4, Mark: 7}
	theSpec    = ipvs.ServiceSpec{Scheduler: "sh", Flags: math.MaxUint32, Timeout: 360, Netmask: netip.MustParseAddr("255.0.255.0"), PrefixLen: 64, PE: "sip"}
	theRIP     = ipvs.ServerID{Addr: netip.MustParseAddr("10.1.0.11"), Port: 8080}
	theServer  = ipvs.ServerSpec{Method: ipvs.Tunnel, Weight: math.MaxInt32, UpperThreshold: 10, LowerThreshold: 5, Tunnel: ipvs.TunnelParams{Type: ipvs.GUE, Port: 6080, Flags: ipvs.TunnelRemCsum}}
	theStats   = ipvs.Stats{Conns: 1, InPkts: 2, OutPkts: 3, InBytes: math.MaxUint64, OutBytes: 5, CPS: 6, InPPS: 7, OutPPS: 8, InBPS: 9, OutBPS: 10}
	theService = ipvs.ServiceEntry{ID: theVIP, Spec: theSpec, Stats: theStats, Servers: []ipvs.ServerEntry{
		{ID: theRIP, Spec: theServer, Active: 1, Inactive: 2, Persistent: 3, Stats: theStats},
	}}
	theTimeouts = ipvs.Timeouts{TCP: 900, TCPFin: 120, UDP: 300}
	theDaemon   = ipvs.Daemon{State: ipvs.DaemonBackup, Interface: "eth0", SyncID: 5, MaxLen: 1400, Group: netip.MustParseAddr("224.0.0.81"), Port: 8848, TTL: 1}
	theConn     = ipvs.ConnEntry{
		Protocol: ipvs.TCP, Client: netip.MustParseAddrPort("198.51.100.1:4000"), Virtual: netip.MustParseAddrPort("[fd00::1]:80"),
		Real: netip.MustParseAddrPort("10.1.0.11:80"), State: "ESTABLISHED", Expires: 899, PEName: "sip", PEData: "call", Template: true,
		Synced: true, Method: ipvs.DirectRoute, InPackets: math.MaxUint64,
	}
)

// address is an address of a control socket nobody else uses.
func address(t *testing.T) string {
	return filepath.Join(t.TempDir(), "s")
}

// serve starts a server and returns a client of it.
func serve(t *testing.T, b ipvsadm.Backend, h Handlers) *Client {
	t.Helper()
	addr := address(t)
	ln, err := Listen(addr)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, b, h) }()
	c := Dial(addr)
	t.Cleanup(func() {
		c.Close()
		cancel()
		require.NoError(t, <-done)
	})
	return c
}

func TestSamplesAreFull(t *testing.T) {
	var full func(v reflect.Value, path string)
	full = func(v reflect.Value, path string) {
		if v.Type().PkgPath() == "net/netip" {
			require.False(t, v.IsZero(), path)
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				full(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
		case reflect.Slice:
			require.NotZero(t, v.Len(), path)
			full(v.Index(0), path+"[0]")
		default:
			require.False(t, v.IsZero(), path)
		}
	}
	for _, v := range []any{theInfo, theService, theTimeouts, theDaemon, theConn} {
		full(reflect.ValueOf(v), reflect.TypeOf(v).String())
	}
}

// Every call arrives with all it was given, and brings back all it gets.
func TestRoundTrip(t *testing.T) {
	f := &fake{conns: []ipvs.ConnEntry{theConn, {}}}
	c := serve(t, f, Handlers{})
	type result struct {
		v   any
		err error
	}
	get := func(v any, err error) result { return result{v, err} }
	var conns []ipvs.ConnEntry
	tests := []struct {
		name string
		do   func() result
		want any
		call string
	}{
		{"info", func() result { return get(c.Info()) }, theInfo, "info"},
		{"add service", func() result { return get(nil, c.AddService(theVIP, theSpec)) }, nil, fmt.Sprintf("add %+v %+v", theVIP, theSpec)},
		{"empty spec", func() result { return get(nil, c.AddService(theMark, ipvs.ServiceSpec{})) }, nil, fmt.Sprintf("add %+v %+v", theMark, ipvs.ServiceSpec{})},
		{"edit service", func() result { return get(nil, c.EditService(theVIP, theSpec)) }, nil, fmt.Sprintf("edit %+v %+v", theVIP, theSpec)},
		{"delete service", func() result { return get(nil, c.DeleteService(theMark)) }, nil, fmt.Sprintf("delete %+v", theMark)},
		{"flush", func() result { return get(nil, c.Flush()) }, nil, "flush"},
		{"add server", func() result { return get(nil, c.AddServer(theVIP, theRIP, theServer)) }, nil, fmt.Sprintf("add server %+v %+v %+v", theVIP, theRIP, theServer)},
		{"edit server", func() result { return get(nil, c.EditServer(theVIP, theRIP, ipvs.ServerSpec{Weight: -1})) }, nil, fmt.Sprintf("edit server %+v %+v %+v", theVIP, theRIP, ipvs.ServerSpec{Weight: -1})},
		{"delete server", func() result { return get(nil, c.DeleteServer(theVIP, theRIP)) }, nil, fmt.Sprintf("delete server %+v %+v", theVIP, theRIP)},
		{"zero", func() result { return get(nil, c.Zero(&theVIP)) }, nil, fmt.Sprintf("zero %+v", theVIP)},
		{"zero all", func() result { return get(nil, c.Zero(nil)) }, nil, "zero all"},
		{"services", func() result { return get(c.Services()) }, []ipvs.ServiceEntry{theService, {ID: theMark}}, "services"},
		{"service", func() result { return get(c.Service(theVIP)) }, theService, fmt.Sprintf("service %+v", theVIP)},
		{"connections", func() result {
			err := c.Connections(func(e *ipvs.ConnEntry) bool { conns = append(conns, *e); return true })
			return get(conns, err)
		}, f.conns, "connections"},
		{"timeouts", func() result { return get(c.Timeouts()) }, theTimeouts, "timeouts"},
		{"set timeouts", func() result { return get(nil, c.SetTimeouts(theTimeouts)) }, nil, fmt.Sprintf("set %+v", theTimeouts)},
		{"daemons", func() result { return get(c.Daemons()) }, []ipvs.Daemon{theDaemon}, "daemons"},
		{"start", func() result { return get(nil, c.StartDaemon(theDaemon)) }, nil, fmt.Sprintf("start %+v", theDaemon)},
		{"stop", func() result { return get(nil, c.StopDaemon(ipvs.DaemonMaster)) }, nil, "stop 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f.calls = nil
			got := tt.do()
			require.NoError(t, got.err)
			require.Equal(t, tt.want, got.v)
			require.Equal(t, []string{tt.call}, f.calls)
		})
	}
}

// An error is the same sentinel with the same text on the other side, for
// every call.
func TestErrorIdentity(t *testing.T) {
	f := &fake{}
	c := serve(t, f, Handlers{})
	first := func(_ any, err error) error { return err }
	calls := map[string]func() error{
		"info":          func() error { return first(c.Info()) },
		"add":           func() error { return c.AddService(theVIP, theSpec) },
		"edit":          func() error { return c.EditService(theVIP, theSpec) },
		"delete":        func() error { return c.DeleteService(theVIP) },
		"flush":         func() error { return c.Flush() },
		"add server":    func() error { return c.AddServer(theVIP, theRIP, theServer) },
		"edit server":   func() error { return c.EditServer(theVIP, theRIP, theServer) },
		"delete server": func() error { return c.DeleteServer(theVIP, theRIP) },
		"zero":          func() error { return c.Zero(nil) },
		"services":      func() error { return first(c.Services()) },
		"service":       func() error { return first(c.Service(theVIP)) },
		"connections":   func() error { return c.Connections(func(*ipvs.ConnEntry) bool { return true }) },
		"timeouts":      func() error { return first(c.Timeouts()) },
		"set":           func() error { return c.SetTimeouts(theTimeouts) },
		"daemons":       func() error { return first(c.Daemons()) },
		"start":         func() error { return c.StartDaemon(theDaemon) },
		"stop":          func() error { return c.StopDaemon(ipvs.DaemonMaster) },
	}
	sentinels := []error{ipvs.ErrExists, ipvs.ErrNotFound, ipvs.ErrNoEntry, ipvs.ErrInvalid, ipvs.ErrRange,
		ipvs.ErrPermission, ipvs.ErrFamily, ipvs.ErrNoDevice, ipvs.ErrNotReady, errors.New("no sentinel")}
	for name, do := range calls {
		for _, sentinel := range sentinels {
			f.err = fmt.Errorf("server 10.1.0.11: %w", sentinel)
			err := do()
			require.EqualError(t, err, f.err.Error(), name)
			for _, other := range sentinels[:len(sentinels)-1] {
				require.Equal(t, other == sentinel, errors.Is(err, other), "%s: %v", name, other)
			}
			require.NotErrorIs(t, err, ipvsadm.ErrUnreachable)
		}
	}
}

// exitError says how a command should end.
type exitError int

func (e exitError) Error() string   { return "bad argument" }
func (e exitError) ExitStatus() int { return int(e) }

func TestExtraCalls(t *testing.T) {
	var words []string
	var reloaded int
	c := serve(t, &fake{}, Handlers{
		Iptables: func(v6 bool, w []string) (string, error) {
			if words = w; v6 {
				return "", fmt.Errorf("ip6tables: %w", exitError(2))
			}
			return "-P PREROUTING ACCEPT\n", nil
		},
		Status: func() any { return map[string]uint64{"forwarded": math.MaxUint64} },
		Reload: func() error { reloaded++; return fmt.Errorf("rules:3: unknown") },
	})
	out, err := c.Iptables(false, []string{"-t", "mangle", "-S"})
	require.NoError(t, err)
	require.Equal(t, "-P PREROUTING ACCEPT\n", out)
	require.Equal(t, []string{"-t", "mangle", "-S"}, words)
	_, err = c.Iptables(true, nil)
	var exit interface{ ExitStatus() int }
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 2, exit.ExitStatus())
	require.EqualError(t, err, "ip6tables: bad argument")

	status, err := c.Status()
	require.NoError(t, err)
	require.JSONEq(t, `{"forwarded":18446744073709551615}`, string(status))
	require.EqualError(t, c.Reload(), "rules:3: unknown")
	require.Equal(t, 1, reloaded)
}

// The question goes to the director as it is, and its answer back.
func TestExplain(t *testing.T) {
	type question struct{ Packets []string }
	c := serve(t, &fake{}, Handlers{Explain: func(raw json.RawMessage) (any, error) {
		var q question
		if err := json.Unmarshal(raw, &q); err != nil || len(q.Packets) == 0 {
			return nil, fmt.Errorf("which packet?: %w", ipvs.ErrInvalid)
		}
		return map[string]int{"asked": len(q.Packets)}, nil
	}})
	var answer map[string]int
	require.NoError(t, c.Explain(question{[]string{"a", "b"}}, &answer))
	require.Equal(t, map[string]int{"asked": 2}, answer)
	require.ErrorIs(t, c.Explain(question{}, &answer), ipvs.ErrInvalid)
}

func TestExtraCallsUnavailable(t *testing.T) {
	c := serve(t, &fake{}, Handlers{})
	_, err := c.Iptables(false, nil)
	require.ErrorIs(t, err, ipvs.ErrNotReady)
	_, err = c.Status()
	require.ErrorIs(t, err, ipvs.ErrNotReady)
	require.ErrorIs(t, c.Reload(), ipvs.ErrNotReady)
	require.ErrorIs(t, c.Explain(nil, nil), ipvs.ErrNotReady)
	require.ErrorIs(t, c.Trace(context.Background(), 1, nil), ipvs.ErrNotReady)
}

func TestStatusThatDoesNotMarshal(t *testing.T) {
	c := serve(t, &fake{}, Handlers{Status: func() any { return func() {} }})
	_, err := c.Status()
	require.ErrorContains(t, err, "unsupported type")
}

func TestManyConnections(t *testing.T) {
	f := &fake{conns: make([]ipvs.ConnEntry, 50_000)}
	for i := range f.conns {
		f.conns[i] = theConn
		f.conns[i].Expires = int64(i)
	}
	c := serve(t, f, Handlers{})
	seen := int64(0)
	require.NoError(t, c.Connections(func(e *ipvs.ConnEntry) bool {
		require.Equal(t, seen, e.Expires)
		seen++
		return true
	}))
	require.Equal(t, int64(len(f.conns)), seen)

	seen = 0
	require.NoError(t, c.Connections(func(*ipvs.ConnEntry) bool { seen++; return seen < 10 }))
	require.Equal(t, int64(10), seen)
	require.Len(t, f.calls, 1, "the server stopped as well, before the end of the table")
}

func TestTrace(t *testing.T) {
	c := serve(t, &fake{}, Handlers{Trace: func(ctx context.Context, max int, emit func(any) error) error {
		for i := range max {
			if err := emit(map[string]int{"frame": i}); err != nil {
				return err
			}
		}
		if max == 3 {
			return ipvs.ErrRange
		}
		return nil
	}})
	var got []string
	keep := func(m json.RawMessage) error { got = append(got, string(m)); return nil }
	require.NoError(t, c.Trace(context.Background(), 2, keep))
	require.Equal(t, []string{`{"frame":0}`, `{"frame":1}`}, got)
	require.ErrorIs(t, c.Trace(context.Background(), 3, keep), ipvs.ErrRange, "an error behind the values")
	require.ErrorIs(t, c.Trace(context.Background(), -1, keep), ipvs.ErrInvalid)
	enough := errors.New("enough of it")
	require.ErrorIs(t, c.Trace(context.Background(), 1000, func(json.RawMessage) error { return enough }), enough)
}

// Events arrive as they happen; the server hears of a client that leaves, and
// the client of a server that ends.
func TestTraceLive(t *testing.T) {
	events, left := make(chan int), make(chan struct{}, 2)
	h := Handlers{Trace: func(ctx context.Context, max int, emit func(any) error) error {
		defer func() { left <- struct{}{} }()
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case e := <-events:
				if err := emit(e); err != nil {
					return err
				}
			}
		}
	}}
	addr := address(t)
	ln, err := Listen(addr)
	require.NoError(t, err)
	serveCtx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(serveCtx, ln, &fake{}, h) }()
	c := Dial(addr)
	follow := func(ctx context.Context) (chan string, chan error) {
		got, ended := make(chan string), make(chan error, 1)
		go func() {
			ended <- c.Trace(ctx, 0, func(m json.RawMessage) error { got <- string(m); return nil })
		}()
		return got, ended
	}

	ctx, cancel := context.WithCancel(context.Background())
	got, ended := follow(ctx)
	for i := range 3 {
		events <- i
		require.Equal(t, fmt.Sprint(i), <-got)
	}
	cancel()
	require.Error(t, <-ended)
	<-left

	got, ended = follow(context.Background())
	events <- 7
	require.Equal(t, "7", <-got)
	stop()
	require.NoError(t, <-served)
	require.Error(t, <-ended, "a stream without its end mark is an error")
	<-left
	_, err = os.Stat(addr)
	require.ErrorIs(t, err, os.ErrNotExist, "the socket goes with its server")
}

// An answer that breaks off, or is none of ours, is an error and no panic.
func TestStrangeServers(t *testing.T) {
	for name, answer := range map[string]string{
		"no HTTP":         "hello\n",
		"nothing":         "",
		"cut value":       "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"version\":",
		"no JSON":         "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"error, no JSON":  "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nhello",
		"error, other":    "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}",
		"page not found":  "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		"stream cut":      "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"value\":{}}\n",
		"stream nonsense": "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n[1,2]\n",
	} {
		t.Run(name, func(t *testing.T) {
			addr := address(t)
			ln, err := net.Listen("unix", addr)
			require.NoError(t, err)
			defer ln.Close()
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					c.Read(make([]byte, 4096))
					c.Write([]byte(answer))
					c.Close()
				}
			}()
			c := Dial(addr)
			if _, err := c.Info(); name != "stream cut" {
				require.Error(t, err)
			}
			require.Error(t, c.Connections(func(*ipvs.ConnEntry) bool { return true }))
		})
	}
}
