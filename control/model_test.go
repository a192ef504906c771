package control

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// model is the kernel's control plane as one would tell it to a colleague:
// lists, searched from the front, and a clock that moves by whole seconds.
type model struct {
	services []*modelService // newest first
	trash    []*modelServer  // newest first
	now      int             // seconds
	sweep    int             // when the trash is looked through; 0: not at all
}

type modelService struct {
	id      ipvs.ServiceID
	spec    ipvs.ServiceSpec
	servers []*modelServer // newest first
}

type modelServer struct {
	id           ipvs.ServerID
	spec         ipvs.ServerSpec
	of           *modelService
	conns        uint64 // counted
	folded, zero uint64
	bound        int
	idleSince    int
	rs           *ipvs.RealServer // the real thing, for comparing identity
	availableNow bool
}

func (m *model) find(id ipvs.ServiceID) *modelService {
	for _, s := range m.services {
		if s.id == id {
			return s
		}
	}
	return nil
}

func (s *modelService) find(id ipvs.ServerID) *modelServer {
	for _, srv := range s.servers {
		if srv.id == id {
			return srv
		}
	}
	return nil
}

func knownScheduler(name string) bool {
	return slices.Contains([]string{"rr", "wrr", "wlc", "sh", "none"}, name)
}

func (m *model) addService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	if m.find(id) != nil {
		return ipvs.ErrExists
	}
	if !knownScheduler(spec.Scheduler) {
		return ipvs.ErrNoEntry
	}
	m.services = append([]*modelService{{id: id, spec: spec}}, m.services...)
	return nil
}

func (m *model) editService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	s := m.find(id)
	if s == nil {
		return ipvs.ErrNotFound
	}
	if !knownScheduler(spec.Scheduler) {
		return ipvs.ErrNoEntry
	}
	s.spec = spec
	return nil
}

func (m *model) deleteService(id ipvs.ServiceID) error {
	s := m.find(id)
	if s == nil {
		return ipvs.ErrNotFound
	}
	for _, srv := range s.servers {
		m.discard(srv)
	}
	m.services = slices.DeleteFunc(m.services, func(o *modelService) bool { return o == s })
	return nil
}

func (m *model) discard(srv *modelServer) {
	if len(m.trash) == 0 {
		m.sweep = m.now + 60
	}
	srv.idleSince, srv.availableNow = 0, false
	m.trash = append([]*modelServer{srv}, m.trash...)
}

func (m *model) addServer(svc ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	s := m.find(svc)
	switch {
	case s == nil:
		return ipvs.ErrNotFound
	case spec.Weight < 0, spec.LowerThreshold > spec.UpperThreshold:
		return ipvs.ErrRange
	case s.find(id) != nil:
		return ipvs.ErrExists
	}
	srv := m.take(s, id)
	if srv == nil {
		if id.Addr.IsMulticast() {
			return ipvs.ErrInvalid
		}
		srv = &modelServer{id: id}
	} else if srv.of != s {
		srv.zero = srv.folded
	}
	srv.of, srv.spec, srv.availableNow = s, spec, true
	s.servers = append([]*modelServer{srv}, s.servers...)
	return nil
}

// take finds a deleted server of a service with the same identity.
func (m *model) take(s *modelService, id ipvs.ServerID) *modelServer {
	for i, srv := range m.trash {
		if srv.id == id && srv.of.id == s.id {
			m.trash = slices.Delete(m.trash, i, i+1)
			return srv
		}
	}
	return nil
}

func (m *model) editServer(svc ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	s := m.find(svc)
	if s == nil {
		return ipvs.ErrNotFound
	}
	if spec.Weight < 0 || spec.LowerThreshold > spec.UpperThreshold {
		return ipvs.ErrRange
	}
	srv := s.find(id)
	if srv == nil {
		return ipvs.ErrNoEntry
	}
	srv.spec = spec
	return nil
}

func (m *model) deleteServer(svc ipvs.ServiceID, id ipvs.ServerID) error {
	s := m.find(svc)
	if s == nil {
		return ipvs.ErrNotFound
	}
	srv := s.find(id)
	if srv == nil {
		return ipvs.ErrNoEntry
	}
	s.servers = slices.DeleteFunc(s.servers, func(o *modelServer) bool { return o == srv })
	m.discard(srv)
	return nil
}

func (m *model) second() {
	m.now++
	if m.now%2 == 0 {
		for _, s := range m.services {
			for _, srv := range s.servers {
				srv.folded = srv.conns
			}
		}
	}
	if m.now != m.sweep || m.sweep == 0 {
		return
	}
	m.trash = slices.DeleteFunc(m.trash, func(srv *modelServer) bool {
		if srv.bound > 0 {
			return false
		}
		if srv.idleSince == 0 {
			srv.idleSince = m.now
			return false
		}
		return m.now-srv.idleSince >= 120
	})
	m.sweep = 0
	if len(m.trash) > 0 {
		m.sweep = m.now + 60
	}
}

// The universe is small, so that operations meet each other.
var (
	modelServices = []ipvs.ServiceID{web, tcp("10.9.0.1", 0), mark(1), mark(2)}
	modelServers  = []ipvs.ServerID{rsA, rsB, rsC, at("224.0.0.1:80")}
	modelScheds   = []string{"rr", "wrr", "wlc", "sh", "none", "nosuch"}
)

func randomSpec(rng *rand.Rand) ipvs.ServiceSpec {
	s := ipvs.ServiceSpec{
		Scheduler: modelScheds[rng.IntN(len(modelScheds))],
		Flags:     ipvs.FlagHashed,
		Netmask:   netip.MustParseAddr("255.255.255.255"),
	}
	if rng.IntN(2) == 0 {
		s.Flags |= ipvs.FlagPersistent
		s.Timeout = uint32(1 + rng.IntN(100))
	}
	return s
}

func randomServerSpec(rng *rand.Rand) ipvs.ServerSpec {
	return ipvs.ServerSpec{
		Method:         ipvs.ForwardMethod(rng.IntN(2) * 3),
		Weight:         int32(rng.IntN(12) - 1),
		UpperThreshold: uint32(rng.IntN(5)),
		LowerThreshold: uint32(rng.IntN(3)),
	}
}

// step does one random operation to both and compares the results.
func (m *model) step(r *rig, rng *rand.Rand) string {
	svc, id := modelServices[rng.IntN(len(modelServices))], modelServers[rng.IntN(len(modelServers))]
	spec, server := randomSpec(rng), randomServerSpec(rng)
	compare := func(got, want error) {
		require.True(r.t, errors.Is(got, want) && (got == nil) == (want == nil), "got %v, want %v", got, want)
	}
	switch op := rng.IntN(20); op {
	case 0, 1:
		compare(r.AddService(svc, spec), m.addService(svc, spec))
		return "add service"
	case 2:
		compare(r.EditService(svc, spec), m.editService(svc, spec))
		return "edit service"
	case 3:
		compare(r.DeleteService(svc), m.deleteService(svc))
		return "delete service"
	case 4, 5, 6, 7, 8:
		compare(r.AddServer(svc, id, server), m.addServer(svc, id, server))
		return "add server"
	case 9, 10:
		compare(r.EditServer(svc, id, server), m.editServer(svc, id, server))
		return "edit server"
	case 11, 12, 13:
		compare(r.DeleteServer(svc, id), m.deleteServer(svc, id))
		return "delete server"
	case 14:
		if rng.IntN(8) == 0 {
			r.must(r.Flush())
			for len(m.services) > 0 {
				r.must(m.deleteService(m.services[0].id))
			}
		}
		return "flush"
	case 15:
		r.must(r.Zero(nil))
		for _, s := range m.services {
			for _, srv := range s.servers {
				srv.zero = srv.folded
			}
		}
		return "zero"
	case 16, 17:
		m.traffic(rng)
		return "traffic"
	}
	for range rng.IntN(90) {
		r.advance(time.Second)
		r.Tick(r.clock.now)
		m.second()
	}
	return "time"
}

// traffic opens or closes a connection of some server, linked or in the trash.
func (m *model) traffic(rng *rand.Rand) {
	all := slices.Clone(m.trash)
	for _, s := range m.services {
		all = append(all, s.servers...)
	}
	if len(all) == 0 {
		return
	}
	srv := all[rng.IntN(len(all))]
	if srv.bound > 0 && rng.IntN(2) == 0 {
		srv.bound--
		srv.rs.Unbind(false)
		return
	}
	if srv.availableNow {
		srv.conns++
		srv.rs.Counters.Conns.Add(1)
		srv.bound++
		srv.rs.Bind(false)
	}
}

// check compares everything visible.
func (m *model) check(r *rig) {
	got, err := r.Services()
	r.must(err)
	byID := map[ipvs.ServiceID]ipvs.ServiceEntry{}
	for _, e := range got {
		byID[e.ID] = e
	}
	require.Len(r.t, got, len(m.services))
	for _, s := range m.services {
		e := byID[s.id]
		require.Equal(r.t, s.spec, e.Spec)
		require.Len(r.t, e.Servers, len(s.servers))
		for i, srv := range s.servers {
			rs := r.real(s.id, srv.id)
			if srv.rs == nil {
				srv.rs = rs
			}
			require.Same(r.t, srv.rs, rs, "identity of %v in %v", srv.id, s.id)
			require.True(r.t, rs.Available())
			g := e.Servers[i]
			require.Equal(r.t, srv.id, g.ID)
			require.Equal(r.t, srv.spec, g.Spec)
			require.Equal(r.t, uint32(srv.bound), g.Inactive)
			require.Equal(r.t, srv.folded-srv.zero, g.Stats.Conns)
			require.Same(r.t, rs, r.registry.Get(rs.Index))
		}
	}
	var deleted []*server
	r.trash.each(func(srv *server) { deleted = append(deleted, srv) })
	require.Len(r.t, deleted, len(m.trash))
	require.Equal(r.t, len(m.trash), r.trash.n)
	for i, srv := range m.trash {
		require.Same(r.t, srv.rs, deleted[i].rs)
		require.False(r.t, srv.rs.Available())
		require.Same(r.t, srv.rs, r.registry.Get(srv.rs.Index))
	}
}

func TestAgainstModel(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			r, m := newRig(t), &model{}
			var trail []string
			defer func() {
				if t.Failed() {
					t.Log("operations:", trail)
				}
			}()
			for range 300 {
				trail = append(trail, m.step(r, rng))
				m.check(r)
			}
		})
	}
}
