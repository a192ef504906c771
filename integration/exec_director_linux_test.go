package integration

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/api"
	"usvs/clock"
	"usvs/control"
	"usvs/ipvs"
	"usvs/link/netnstest"
)

// countingDirector is a control plane in the test's own process that counts
// every change it is asked for, and whose counters a client can foretell.
type countingDirector struct {
	*control.Control

	mu    sync.Mutex
	calls map[string]int // guarded by mu
}

// serveCountingDirector serves one in a namespace until the test ends.
func serveCountingDirector(t *testing.T, ns *netnstest.Namespace) *countingDirector {
	t.Helper()
	d := &countingDirector{calls: map[string]int{}, Control: control.New(control.Config{
		Clock: clock.NewSystem(), Rand: rand.New(rand.NewPCG(1, 2)), Servers: new(ipvs.Registry), Sysctls: ipvs.DefaultSysctls(),
	})}
	var ln net.Listener
	var err error
	ns.Do(func() { ln, err = api.Listen(api.DefaultAddress) })
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- api.Serve(ctx, ln, d, api.Handlers{
			Settings: d.Control, Status: func() any { return map[string]any{} },
			Proc: func(w io.Writer, name string) error { return d.WriteProc(w, name) },
		})
	}()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-ended) })
	return d
}

// fill adds services with some servers each, uncounted.
func (d *countingDirector) fill(t *testing.T, services, servers int) {
	t.Helper()
	for i := range services {
		id := ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.UDP, Addr: netip.AddrFrom4([4]byte{10, 79, byte(i >> 8), byte(i)}), Port: 53}
		spec := ipvs.ServiceSpec{Scheduler: "rr", Netmask: netip.AddrFrom4([4]byte{255, 255, 255, 255})}
		require.NoError(t, d.Control.AddService(id, spec))
		for k := range servers {
			rs := ipvs.ServerID{Addr: netip.AddrFrom4([4]byte{10, 80, byte(i >> 8), byte(k + 1)}), Port: 5353}
			require.NoError(t, d.Control.AddServer(id, rs, ipvs.ServerSpec{Weight: int32(i)}))
		}
	}
}

func (d *countingDirector) count(call string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[call]++
}

// counted returns how often each change was asked for.
func (d *countingDirector) counted() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls := map[string]int{}
	for call, n := range d.calls {
		calls[call] = n
	}
	return calls
}

func (d *countingDirector) AddService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	d.count("add service")
	return d.Control.AddService(id, spec)
}

func (d *countingDirector) EditService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	d.count("edit service")
	return d.Control.EditService(id, spec)
}

func (d *countingDirector) DeleteService(id ipvs.ServiceID) error {
	d.count("delete service")
	return d.Control.DeleteService(id)
}

func (d *countingDirector) AddServer(svc ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	d.count("add server")
	return d.Control.AddServer(svc, id, spec)
}

func (d *countingDirector) EditServer(svc ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	d.count("edit server")
	return d.Control.EditServer(svc, id, spec)
}

func (d *countingDirector) DeleteServer(svc ipvs.ServiceID, id ipvs.ServerID) error {
	d.count("delete server")
	return d.Control.DeleteServer(svc, id)
}

// Services lists the services with foretold counters.
func (d *countingDirector) Services() ([]ipvs.ServiceEntry, error) {
	all, err := d.Control.Services()
	for i := range all {
		foretell(&all[i])
	}
	return all, err
}

// Service lists a service with foretold counters.
func (d *countingDirector) Service(id ipvs.ServiceID) (ipvs.ServiceEntry, error) {
	e, err := d.Control.Service(id)
	foretell(&e)
	return e, err
}

func foretell(e *ipvs.ServiceEntry) {
	if e.ID.Mark == 0 {
		e.Stats = foretold(e.ID.Addr.AsSlice(), e.ID.Port)
	}
	for i := range e.Servers {
		s := &e.Servers[i]
		s.Stats = foretold(s.ID.Addr.AsSlice(), s.ID.Port)
	}
}

// foretold are counters that follow from an address; bytes need 64 bits.
func foretold(addr []byte, port uint16) ipvs.Stats {
	if len(addr) < 4 {
		return ipvs.Stats{}
	}
	n := uint64(binary.BigEndian.Uint16(addr[len(addr)-2:]))<<8 + uint64(port)
	return ipvs.Stats{
		Conns: n + 1, InPkts: n + 2, OutPkts: n + 3, InBytes: (n + 4) << 32, OutBytes: (n + 5) << 32,
		CPS: n + 6, InPPS: n + 7, OutPPS: n + 8, InBPS: n + 9, OutBPS: n + 10,
	}
}
