package health

import (
	"fmt"
	"net/netip"
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
	now     *clock.Instant // stands in front of what is written down
	refuses bool           // what IPVS refuses fails the test
}

func newWorld(t testing.TB) *world {
	return &world{t: t, table: map[ipvs.ServiceID]map[ipvs.ServerID]ipvs.ServerSpec{}, running: map[CheckID]*Probe{}}
}

// note writes down what happens, and where: ipvs, log, fifo, mail.
func (w *world) note(where, format string, args ...any) {
	line := where + " " + fmt.Sprintf(format, args...)
	if w.now != nil {
		line = fmt.Sprintf("%.3f %s", time.Duration(*w.now).Seconds(), line)
	}
	w.said = append(w.said, line)
}

// take returns what was written down since it was called last.
func (w *world) take() []string {
	said := w.said
	w.said = nil
	return said
}

func (w *world) AddService(id ipvs.ServiceID, _ ipvs.ServiceSpec) error {
	w.note("ipvs", "add service %v", id)
	if w.table[id] != nil {
		return ipvs.ErrExists
	}
	w.table[id] = map[ipvs.ServerID]ipvs.ServerSpec{}
	return nil
}

func (w *world) EditService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	w.note("ipvs", "edit service %v %s", id, spec.Scheduler)
	if w.table[id] == nil {
		return ipvs.ErrNotFound
	}
	return nil
}

func (w *world) DeleteService(id ipvs.ServiceID) error {
	w.note("ipvs", "delete service %v", id)
	if w.table[id] == nil {
		return ipvs.ErrNotFound
	}
	delete(w.table, id)
	return nil
}

func (w *world) AddServer(vs ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	w.note("ipvs", "add server %v of %v w=%d", id, vs, spec.Weight)
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
	w.note("ipvs", "edit server %v of %v w=%d", id, vs, spec.Weight)
	if _, there := w.table[vs][id]; !there {
		return ipvs.ErrNoEntry
	}
	w.table[vs][id] = spec
	return nil
}

func (w *world) DeleteServer(vs ipvs.ServiceID, id ipvs.ServerID) error {
	w.note("ipvs", "delete server %v of %v", id, vs)
	if _, there := w.table[vs][id]; !there {
		return ipvs.ErrNoEntry
	}
	delete(w.table[vs], id)
	return nil
}

func (w *world) Probe(id CheckID, p *Probe) {
	require.NotContains(w.t, w.running, id)
	w.running[id] = p
}

func (w *world) Cancel(id CheckID) {
	require.Contains(w.t, w.running, id)
	delete(w.running, id)
}

func (w *world) Notify(e Event) {
	if e.Mail != nil {
		w.note("mail", "%s: %s", e.Mail.Subject, e.Mail.Body)
		return
	}
	w.note("fifo", "%s", e.FIFO)
	if e.Script != nil {
		w.note("script", "%v", e.Script.Args)
	}
}

func (w *world) Log(level Level, text string) {
	w.note("log", "%s", text)
	if w.refuses {
		require.NotEqual(w.t, Warning, level, "%s\n%v", text, w.said)
	}
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
