package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"usvs/scenario"
)

// Traffic makes requests in real time.
func (w *World) Traffic(t *scenario.Traffic) ([]scenario.Reply, error) {
	m := w.machines[t.Node]
	switch t.Kind {
	case scenario.HTTP:
		return w.browse(m, t), nil
	case scenario.UDP:
		return w.run(t, func(int) scenario.Reply { return m.ask(t) }), nil
	case scenario.Ping:
		if _, err := exec.LookPath("ping"); err != nil {
			return nil, fmt.Errorf("ping is not installed: %w", scenario.ErrUnsupported)
		}
		return w.run(t, func(int) scenario.Reply { return m.ping(t) }), nil
	}
	return nil, fmt.Errorf("no way to send %s", t.Kind)
}

// run makes requests, so many at a time, and waits until all has arrived.
func (w *World) run(t *scenario.Traffic, request func(i int) scenario.Reply) []scenario.Reply {
	replies := make([]scenario.Reply, t.Count)
	slots := make(chan struct{}, max(1, t.Concurrency))
	var all sync.WaitGroup
	begin := time.Now()
	for i := range replies {
		slots <- struct{}{}
		time.Sleep(time.Until(begin.Add(time.Duration(i) * t.Every)))
		all.Go(func() {
			began := time.Now()
			replies[i] = request(i)
			replies[i].Took = time.Since(began)
			<-slots
		})
	}
	all.Wait()
	w.settle()
	return replies
}

// local is the address that a request is sent from.
func local(t *scenario.Traffic) netip.AddrPort {
	from := t.From
	if !from.IsValid() {
		from = netip.IPv4Unspecified()
		if t.To.Addr().Is6() {
			from = netip.IPv6Unspecified()
		}
	}
	return netip.AddrPortFrom(from, t.Port)
}

// ask sends a datagram and waits for its answer.
func (m *machine) ask(t *scenario.Traffic) scenario.Reply {
	deadline := time.Now().Add(t.Timeout)
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(local(t))}
	var conn net.Conn
	if err := m.ns.Do(func() (err error) {
		conn, err = d.Dial("udp", t.To.String())
		return err
	}); err != nil {
		return scenario.Reply{Fail: failure(err)}
	}
	defer conn.Close()
	reply := scenario.Reply{Local: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	_ = conn.SetDeadline(deadline)
	answer := make([]byte, 1<<16)
	_, err := conn.Write(pad("?\n", t.Size))
	n := 0
	if err == nil {
		n, err = conn.Read(answer)
	}
	switch {
	case err != nil:
		reply.Fail = failure(err)
	case n < t.Size:
		reply.Fail = scenario.Garbled
	}
	if err == nil {
		reply.Server = firstLine(answer[:n])
	}
	return reply
}

// ping sends an echo request by the system's ping.
func (m *machine) ping(t *scenario.Traffic) scenario.Reply {
	args := []string{"-n", "-c", "1", "-W", strconv.FormatFloat(t.Timeout.Seconds(), 'f', 3, 64)}
	if t.Size > 0 {
		args = append(args, "-s", strconv.Itoa(t.Size))
	}
	if t.From.IsValid() {
		args = append(args, "-I", t.From.String())
	}
	p, err := m.ns.Start(exec.Command("ping", append(args, t.To.Addr().String())...))
	if err != nil {
		return scenario.Reply{Fail: scenario.Unreachable}
	}
	select {
	case <-p.Done():
	case <-time.After(t.Timeout + startPatience):
		p.Stop()
	}
	text := p.Output()
	switch {
	case p.Err() == nil:
		return scenario.Reply{}
	case strings.Contains(text, "nreachable") || strings.Contains(text, "exceeded"):
		return scenario.Reply{Fail: scenario.Unreachable}
	}
	return scenario.Reply{Fail: scenario.Timeout}
}

// failure is what an application makes of an error.
func failure(err error) scenario.Failure {
	var netErr net.Error
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return scenario.Refused
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.ETIMEDOUT),
		errors.As(err, &netErr) && netErr.Timeout():
		return scenario.Timeout
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EACCES),
		errors.Is(err, unix.ENOPROTOOPT), errors.Is(err, unix.EPROTO):
		return scenario.Unreachable
	}
	return scenario.Reset
}
