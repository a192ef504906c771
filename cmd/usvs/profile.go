package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"
)

// profileTimeout bounds how long a client may take to say what it wants.
const profileTimeout = 10 * time.Second

// listenProfiles opens the address of --pprof. Profiles tell much about a
// process and cost time, so others than this host are let in only on request.
func listenProfiles(addr string, public bool) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("--pprof %q: want an address and a port, like 127.0.0.1:6060: %w", addr, err)
	}
	if !public && !isLoopback(host) {
		return nil, fmt.Errorf("--pprof %s: anybody could read the profiles; use 127.0.0.1 or [::1], or give --pprof-public, too", addr)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--pprof: %w", err)
	}
	return ln, nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// serveProfiles answers until ctx is done. Only what is asked for is measured;
// the profiles of mutexes and of blocking stay off.
func serveProfiles(ctx context.Context, ln net.Listener, log *slog.Logger) error {
	server := &http.Server{
		Handler: profileHandler(), ReadHeaderTimeout: profileTimeout, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	log.Info("profiles", "url", fmt.Sprintf("http://%s/debug/pprof/", ln.Addr()))
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func profileHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
