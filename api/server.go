package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"usvs/ipvs"
	"usvs/ipvsadm"
	"usvs/sysctl"
)

const (
	maxBody     = 1 << 20          // bytes of a request
	readTimeout = 10 * time.Second // for a whole request
	idleTimeout = time.Minute      // between requests
	callTimeout = time.Minute      // for an answer that is not a stream
	maxHeader   = 16 << 10
)

// Handlers are the calls that are not ipvsadm's. One that is nil answers that
// it is not available.
type Handlers struct {
	Iptables func(v6 bool, words []string) (output string, err error)
	Status   func() any                             // anything that json.Marshal takes
	Reload   func() error                           // reads the rules file, or the keepalived.conf, again
	Node     func(ctx context.Context) (any, error) // what VRRP and the health checks are doing; anything that json.Marshal takes
	Settings sysctl.Settings
	Proc     func(w io.Writer, name string) error // writes a file of /proc/net
	// Explain answers what would happen to packets; the question and its answer
	// are the director's and its client's affair.
	Explain func(question json.RawMessage) (any, error)
	// Trace emits up to max events, each something that json.Marshal takes,
	// until ctx is done or emit fails.
	Trace func(ctx context.Context, max int, emit func(any) error) error
	Log   *slog.Logger // nil: silent
}

// Serve answers on ln until ctx is done, and closes ln. It returns nil when ctx
// ended it.
func Serve(ctx context.Context, ln net.Listener, b ipvsadm.Backend, h Handlers) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := h.Log
	if log == nil {
		log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	srv := &http.Server{
		Handler:           newHandler(b, h),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      callTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	err := srv.Serve(guard{ln, os.Geteuid()})
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// newHandler routes requests to b and h.
func newHandler(b ipvsadm.Backend, h Handlers) http.Handler {
	mux := http.NewServeMux()
	serveBackend(mux, b)
	serveBatch(mux, b)
	serveSysctl(mux, h.Settings)
	serveProc(mux, h.Proc)
	mux.Handle("GET /v1/connections", streamed(func(r *http.Request, w io.Writer) error {
		return listConnections(b, w)
	}))
	mux.Handle("POST /v1/iptables", call(func(q iptablesRequest) (iptablesReply, error) {
		if h.Iptables == nil {
			return iptablesReply{}, unavailable("mark rules")
		}
		out, err := h.Iptables(q.IPv6, q.Words)
		return iptablesReply{out}, err
	}))
	mux.Handle("GET /v1/status", call(func(nothing) (any, error) {
		if h.Status == nil {
			return nil, unavailable("status")
		}
		return h.Status(), nil
	}))
	mux.HandleFunc("GET /v1/node", func(w http.ResponseWriter, r *http.Request) {
		if h.Node == nil {
			answerError(w, unavailable("node"))
			return
		}
		a, err := h.Node(r.Context())
		if err != nil {
			answerError(w, err)
			return
		}
		answer(w, http.StatusOK, a)
	})
	mux.Handle("POST /v1/reload", call(func(nothing) (nothing, error) {
		if h.Reload == nil {
			return nothing{}, unavailable("reload")
		}
		return nothing{}, h.Reload()
	}))
	mux.Handle("POST /v1/explain", call(func(question json.RawMessage) (any, error) {
		if h.Explain == nil {
			return nil, unavailable("explain")
		}
		return h.Explain(question)
	}))
	mux.Handle("GET /v1/trace", streamed(func(r *http.Request, w io.Writer) error {
		return trace(r, h.Trace, w)
	}))
	return mux
}

// serveBackend routes the calls of ipvsadm.Backend.
func serveBackend(mux *http.ServeMux, b ipvsadm.Backend) {
	mux.Handle("GET /v1/info", call(func(nothing) (info, error) {
		i, err := b.Info()
		return info(i), err
	}))
	mux.Handle("POST /v1/service/add", change(func(q serviceRequest) error {
		return b.AddService(ipvs.ServiceID(q.Service), ipvs.ServiceSpec(q.Spec))
	}))
	mux.Handle("POST /v1/service/edit", change(func(q serviceRequest) error {
		return b.EditService(ipvs.ServiceID(q.Service), ipvs.ServiceSpec(q.Spec))
	}))
	mux.Handle("POST /v1/service/delete", change(func(q serviceRequest) error {
		return b.DeleteService(ipvs.ServiceID(q.Service))
	}))
	mux.Handle("POST /v1/service/get", call(func(q serviceRequest) (serviceEntry, error) {
		e, err := b.Service(ipvs.ServiceID(q.Service))
		return toServiceEntry(e), err
	}))
	mux.Handle("GET /v1/services", call(func(nothing) (servicesReply, error) {
		return listServices(b)
	}))
	mux.Handle("POST /v1/flush", change(func(nothing) error { return b.Flush() }))
	mux.Handle("POST /v1/server/add", change(func(q serverRequest) error {
		return b.AddServer(ipvs.ServiceID(q.Service), ipvs.ServerID(q.Server), q.Spec.spec())
	}))
	mux.Handle("POST /v1/server/edit", change(func(q serverRequest) error {
		return b.EditServer(ipvs.ServiceID(q.Service), ipvs.ServerID(q.Server), q.Spec.spec())
	}))
	mux.Handle("POST /v1/server/delete", change(func(q serverRequest) error {
		return b.DeleteServer(ipvs.ServiceID(q.Service), ipvs.ServerID(q.Server))
	}))
	mux.Handle("POST /v1/zero", change(func(q zeroRequest) error {
		return b.Zero((*ipvs.ServiceID)(q.Service))
	}))
	mux.Handle("GET /v1/timeouts", call(func(nothing) (timeouts, error) {
		t, err := b.Timeouts()
		return timeouts(t), err
	}))
	mux.Handle("POST /v1/timeouts", change(func(q timeouts) error {
		return b.SetTimeouts(ipvs.Timeouts(q))
	}))
	mux.Handle("GET /v1/daemons", call(func(nothing) (daemonsReply, error) {
		return listDaemons(b)
	}))
	mux.Handle("POST /v1/daemon/start", change(func(q daemon) error {
		return b.StartDaemon(ipvs.Daemon(q))
	}))
	mux.Handle("POST /v1/daemon/stop", change(func(q daemon) error {
		return b.StopDaemon(q.State)
	}))
}

func listServices(b ipvsadm.Backend) (servicesReply, error) {
	all, err := b.Services()
	out := servicesReply{Services: make([]serviceEntry, len(all))}
	for i, e := range all {
		out.Services[i] = toServiceEntry(e)
	}
	return out, err
}

func listDaemons(b ipvsadm.Backend) (daemonsReply, error) {
	all, err := b.Daemons()
	out := daemonsReply{Daemons: make([]daemon, len(all))}
	for i, d := range all {
		out.Daemons[i] = daemon(d)
	}
	return out, err
}

func unavailable(what string) error {
	return fmt.Errorf("%s: %w", what, ipvs.ErrNotReady)
}

// change makes a handler of a function that only succeeds or fails.
func change[Q any](f func(Q) error) http.Handler {
	return call(func(q Q) (nothing, error) { return nothing{}, f(q) })
}

// call makes a handler of a function from a request's body to an answer's.
func call[Q, A any](f func(Q) (A, error)) http.Handler { return callRead(decode[Q], f) }

// callRead is call with a function that reads the body.
func callRead[Q, A any](read func(http.ResponseWriter, *http.Request) (Q, error), f func(Q) (A, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, err := read(w, r)
		if err != nil {
			answerError(w, err)
			return
		}
		a, err := f(q)
		if err != nil {
			answerError(w, err)
			return
		}
		answer(w, http.StatusOK, a)
	})
}

// decode reads the one JSON value of a body; no body at all is an empty one.
func decode[Q any](w http.ResponseWriter, r *http.Request) (q Q, err error) {
	return q, decodeText(http.MaxBytesReader(w, r.Body, maxBody), &q)
}

func decodeText(text io.Reader, into any) error {
	d := json.NewDecoder(text)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil && d.More() {
		err = errors.New("more than one value")
	}
	if err != nil {
		return badBody(err)
	}
	return nil
}

func badBody(err error) error { return fmt.Errorf("request body: %v: %w", err, ipvs.ErrInvalid) }

func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		status = http.StatusInternalServerError
		text, _ = json.Marshal(failure{&Error{Code: codeFailed, Message: err.Error()}})
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(text, '\n'))
}

func answerError(w http.ResponseWriter, err error) {
	e, status := toError(err)
	answer(w, status, failure{e})
}
