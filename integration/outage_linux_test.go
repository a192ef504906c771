package integration

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"usvs/link/netnstest"
)

// TestOutage measures what clients notice of a failover: `make outage`. The
// pair is the one of examples/keepalived without persistence, run by usvs, and
// by keepalived with usvs exec.
func TestOutage(t *testing.T) {
	if os.Getenv("USVS_OUTAGE") == "" {
		return // it is a measurement, there is nothing to pass
	}
	netnstest.NeedCommands(t, "keepalived", "nginx", "ip")
	for _, by := range []string{"usvs", "keepalived"} {
		t.Run(by, func(t *testing.T) {
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) { measureOutages(t, lab, by) })
		})
	}
}

// member is one of a pair, by whatever it is run.
type member interface {
	stop() // in order
	kill() // as nobody should
	start()
}

// nodeMember is a usvs run --keepalived.
type nodeMember struct {
	t    *testing.T
	ns   *netnstest.Namespace
	conf string
	n    *lvsNode
}

func (m *nodeMember) start() { m.n = startNode(m.t, m.ns, m.conf) }
func (m *nodeMember) stop()  { m.n.stop() }
func (m *nodeMember) kill()  { m.n.kill() }

// keepalivedMember is keepalived beside a director.
type keepalivedMember struct{ k *keepalived }

func (m *keepalivedMember) start() { m.k.start() }
func (m *keepalivedMember) stop()  { _ = m.k.proc.Stop() }
func (m *keepalivedMember) kill()  { m.k.kill() }

func startMember(t *testing.T, by string, ns *netnstest.Namespace, conf string) member {
	if by == "usvs" {
		m := &nodeMember{t: t, ns: ns, conf: conf}
		m.start()
		return m
	}
	startDirector(t, ns, "-i eth0 --own host")
	return &keepalivedMember{startKeepalived(t, ns, conf)}
}

func measureOutages(t *testing.T, lab *netnstest.Lab, by string) {
	s := newKeepalivedSite(t, lab)
	conf := func(name string) string { return strings.Replace(example(t, name), "persistence_timeout 50", "", 1) }
	master := startMember(t, by, s.director, conf("master.conf"))
	startMember(t, by, s.backup, conf("backup.conf"))
	s.awaitVIP(s.director, s.backup, vip4)
	s.requests(vip4, 10)

	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "event\trequests\tlost\tlongest outage")
	atBackup := func() bool { return has(s.backup, vip4) && !has(s.director, vip4) }
	atMaster := func() bool { return has(s.director, vip4) && !has(s.backup, vip4) }
	for _, e := range []struct {
		name string
		do   func()
		done func() bool
	}{
		{"a server stops", s.web[0].stop, nil},
		{"it starts", s.web[0].start, nil},
		{"the master stops (SIGTERM)", master.stop, atBackup},
		{"it starts", master.start, atMaster},
		{"the master is killed (SIGKILL)", master.kill, atBackup},
		{"it starts", master.start, atMaster},
		{"the master's cable is pulled", func() { s.plug.SetDown(s.uplink) }, func() bool { return has(s.backup, vip4) }},
		{"it is plugged in", func() { s.plug.SetUp(s.uplink) }, atMaster},
	} {
		r := s.startStream(vip4)
		time.Sleep(time.Second)
		e.do()
		if e.done != nil {
			eventually(t, e.name, e.done)
		}
		time.Sleep(4 * time.Second) // as long as a check and its retry take, and more
		n, lost, outage := r.end()
		fmt.Fprintf(w, "%s\t%d\t%d\t%v\n", e.name, n, lost, outage.Round(10*time.Millisecond))
	}
	w.Flush()
	t.Logf("a pair run by %s\n%s", by, out.String())
}

const (
	requestEvery = 10 * time.Millisecond
	answerWithin = 300 * time.Millisecond // otherwise the request is lost
)

// stream is requests made at a constant rate, whatever becomes of them.
type stream struct {
	stop context.CancelFunc
	all  sync.WaitGroup

	mu       sync.Mutex
	n        int
	answered []time.Time // when those requests began
}

func (s *keepalivedSite) startStream(vip string) *stream {
	ctx, cancel := context.WithCancel(context.Background())
	r := &stream{stop: cancel}
	r.all.Go(func() {
		tick := time.NewTicker(requestEvery)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			r.all.Go(func() { r.one(s, i, vip) })
		}
	})
	return r
}

func (r *stream) one(s *keepalivedSite, i int, vip string) {
	began := time.Now()
	_, err := s.request(i, vip, answerWithin)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	if err == nil {
		r.answered = append(r.answered, began)
	}
}

// end returns how many requests there were, how many had no answer, and the
// longest time in which none that was made got one.
func (r *stream) end() (n, lost int, outage time.Duration) {
	r.stop()
	r.all.Wait()
	slices.SortFunc(r.answered, time.Time.Compare)
	for i := 1; i < len(r.answered); i++ {
		outage = max(outage, r.answered[i].Sub(r.answered[i-1]))
	}
	return r.n, r.n - len(r.answered), outage
}
