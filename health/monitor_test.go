package health

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
)

// world is IPVS and everybody else in memory. What happens is written down.
type world struct {
	t       testing.TB
	table   map[ipvs.ServiceID]map[ipvs.ServerID]ipvs.ServerSpec
	running map[CheckID]*Probe
	said    []string
	refuses bool // what IPVS refuses fails the test
}

func newWorld(t testing.TB) *world {
	return &world{t: t, table: map[ipvs.ServiceID]map[ipvs.ServerID]ipvs.ServerSpec{}, running: map[CheckID]*Probe{}}
}

func (w *world) say(format string, args ...any) {
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

// take returns what was said since it was called last.
func (w *world) take() []string {
	said := w.said
	w.said = nil
	return said
}

func (w *world) AddService(id ipvs.ServiceID, _ ipvs.ServiceSpec) error {
	w.say("ipvs: add %v", id)
	if w.table[id] != nil {
		return ipvs.ErrExists
	}
	w.table[id] = map[ipvs.ServerID]ipvs.ServerSpec{}
	return nil
}

func (w *world) EditService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	w.say("ipvs: edit %v %s", id, spec.Scheduler)
	if w.table[id] == nil {
		return ipvs.ErrNotFound
	}
	return nil
}

func (w *world) DeleteService(id ipvs.ServiceID) error {
	w.say("ipvs: delete %v", id)
	if w.table[id] == nil {
		return ipvs.ErrNotFound
	}
	delete(w.table, id)
	return nil
}

func (w *world) AddServer(vs ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	w.say("ipvs: add %v to %v weight %d", id, vs, spec.Weight)
	if _, there := w.table[vs][id]; there {
		return ipvs.ErrExists
	}
	if w.table[vs] == nil {
		return ipvs.ErrNotFound
	}
	w.table[vs][id] = spec
	return nil
}

func (w *world) EditServer(vs ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	w.say("ipvs: edit %v of %v weight %d", id, vs, spec.Weight)
	if _, there := w.table[vs][id]; !there {
		return ipvs.ErrNoEntry
	}
	w.table[vs][id] = spec
	return nil
}

func (w *world) DeleteServer(vs ipvs.ServiceID, id ipvs.ServerID) error {
	w.say("ipvs: delete %v from %v", id, vs)
	if _, there := w.table[vs][id]; !there {
		return ipvs.ErrNoEntry
	}
	delete(w.table[vs], id)
	return nil
}

func (w *world) Probe(id CheckID, p *Probe) {
	w.say("probe: %v %s %v", p.Kind, p.Server, p.Path)
	require.NotContains(w.t, w.running, id)
	w.running[id] = p
}

func (w *world) Cancel(id CheckID) {
	w.say("cancel")
	require.Contains(w.t, w.running, id)
	delete(w.running, id)
}

func (w *world) Notify(e Event) {
	switch {
	case e.Mail != nil:
		w.say("mail: %s: %s", e.Mail.Subject, e.Mail.Body)
	case e.Script != nil:
		w.say("notify: %s; %s", e.FIFO, strings.Join(e.Script.Args, " "))
	default:
		w.say("notify: %s", e.FIFO)
	}
}

func (w *world) Log(level Level, text string) {
	w.say("log: %s", text)
	if w.refuses {
		require.NotEqual(w.t, Warning, level, "%s\n%v", text, w.said)
	}
}

// answer ends the oldest running attempt.
func (w *world) answer(m *Monitor, now clock.Instant, r Result) {
	ids := make([]CheckID, 0, len(w.running))
	for id := range w.running {
		ids = append(ids, id)
	}
	require.NotEmpty(w.t, ids, "no attempt runs")
	id := slices.Min(ids)
	if !w.running[id].Kind.Watch() {
		delete(w.running, id)
	}
	m.Result(now, id, r)
}

func vip(port uint16) ipvs.ServiceID {
	return ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.TCP, Addr: netip.MustParseAddr("10.0.0.100"), Port: port}
}

func rip(n byte) ipvs.ServerID {
	return ipvs.ServerID{Addr: netip.AddrFrom4([4]byte{10, 0, 1, n}), Port: 80}
}

func tcpCheck(id ipvs.ServerID) *Check {
	return &Check{
		Probe:     Probe{Kind: TCP, Target: netip.AddrPortFrom(id.Addr, id.Port), Timeout: 5 * time.Second},
		DelayLoop: 6 * time.Second, DelayBeforeRetry: time.Second, Retry: 1,
	}
}

// oneOf returns a virtual server on port 80 with n servers and a TCP_CHECK each.
func oneOf(n int) *VirtualServer {
	vs := &VirtualServer{Protocol: ipvs.TCP, Services: []Service{{ID: vip(80), Spec: ipvs.ServiceSpec{Scheduler: "rr"}}}, Quorum: 1}
	for i := range n {
		id := rip(byte(i + 1))
		vs.Servers = append(vs.Servers, &Server{
			ID: id, Spec: ipvs.ServerSpec{Weight: 1}, SMTPAlert: true, Checks: []*Check{tcpCheck(id)},
		})
	}
	return vs
}

func start(t testing.TB, vs ...*VirtualServer) (*Monitor, *world) {
	w := newWorld(t)
	m := New(&Config{VirtualServers: vs, RouterID: "lvs1"}, w, rand.New(rand.NewPCG(1, 2)))
	m.Start(0)
	return m, w
}

func TestServerDownAndUp(t *testing.T) {
	m, w := start(t, oneOf(2))
	require.Equal(t, []string{
		"ipvs: add TCP 10.0.0.100:80",
		"ipvs: add 10.0.1.1:80 to TCP 10.0.0.100:80 weight 1",
		"ipvs: add 10.0.1.2:80 to TCP 10.0.0.100:80 weight 1",
		"log: Gained quorum 1+0=1 <= 2 for VS [10.0.0.100]:tcp:80",
		"notify: VS [10.0.0.100]:tcp:80 UP",
		"log: Activating healthchecker for service [10.0.1.1]:tcp:80 for VS [10.0.0.100]:tcp:80",
		"log: Activating healthchecker for service [10.0.1.2]:tcp:80 for VS [10.0.0.100]:tcp:80",
	}, w.take())
	next := m.Tick(0)
	require.Equal(t, clock.Instant(time.Second), next, "no warmup")
	m.Tick(next)
	w.take()
	w.answer(m, next, Result{Outcome: Failure, Reason: "timeout"})
	require.Equal(t, []string{
		"log: TCP_CHECK on service [10.0.1.1]:tcp:80 failed.",
		"log: Removing service [10.0.1.1]:tcp:80 from VS [10.0.0.100]:tcp:80",
		"ipvs: delete 10.0.1.1:80 from TCP 10.0.0.100:80",
		"notify: RS [10.0.1.1]:tcp:80 [10.0.0.100]:tcp:80 DOWN",
		"mail: [lvs1] Realserver [10.0.1.1]:tcp:80 of virtual server [10.0.0.100]:tcp:80 - DOWN: => TCP CHECK failed on service <=",
	}, w.take())
}
