package ipvsadm

import (
	"fmt"
	"net/netip"
	"slices"

	"usvs/ipvs"
)

// model is a plain model of the control plane behind ipvsadm: lists, newest
// first, searched from the front.
type model struct {
	services []*modelService
	timeouts ipvs.Timeouts
	daemons  []ipvs.Daemon
	calls    []string // what was asked for, in order
	fail     error    // if set, what every call but Info returns
	infoErr  error
}

type modelService struct {
	id      ipvs.ServiceID
	spec    ipvs.ServiceSpec
	servers []*modelServer
}

type modelServer struct {
	id   ipvs.ServerID
	spec ipvs.ServerSpec
}

func newModel() *model { return &model{timeouts: ipvs.DefaultTimeouts} }

func (m *model) called(format string, args ...any) error {
	m.calls = append(m.calls, fmt.Sprintf(format, args...))
	return m.fail
}

func (m *model) Info() (ipvs.Info, error) {
	return ipvs.Info{Version: [3]int{1, 2, 1}, ConnTableSize: 4096}, m.infoErr
}

func (m *model) find(id ipvs.ServiceID) (*modelService, error) {
	i := slices.IndexFunc(m.services, func(s *modelService) bool { return s.id == id })
	if i < 0 {
		return nil, ipvs.ErrNotFound
	}
	return m.services[i], nil
}

var knownSchedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"}

func checkSpec(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	if !slices.Contains(knownSchedulers, spec.Scheduler) || spec.PE != "" && spec.PE != "sip" {
		return ipvs.ErrNoEntry
	}
	if id.Family == ipvs.IPv6 && (spec.PrefixLen < 1 || spec.PrefixLen > 128) {
		return ipvs.ErrInvalid
	}
	return nil
}

func (m *model) AddService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	if err := m.called("add %v %+v", id, spec); err != nil {
		return err
	}
	if _, err := m.find(id); err == nil {
		return ipvs.ErrExists
	}
	if err := checkSpec(id, spec); err != nil {
		return err
	}
	m.services = slices.Insert(m.services, 0, &modelService{id: id, spec: spec})
	return nil
}

func (m *model) EditService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error {
	if err := m.called("edit %v %+v", id, spec); err != nil {
		return err
	}
	s, err := m.find(id)
	if err != nil {
		return err
	}
	if err := checkSpec(id, spec); err != nil {
		return err
	}
	s.spec = spec
	return nil
}

func (m *model) DeleteService(id ipvs.ServiceID) error {
	if err := m.called("delete %v", id); err != nil {
		return err
	}
	s, err := m.find(id)
	if err != nil {
		return err
	}
	m.services = slices.DeleteFunc(m.services, func(t *modelService) bool { return t == s })
	return nil
}

func (m *model) Flush() error {
	if err := m.called("flush"); err != nil {
		return err
	}
	m.services = nil
	return nil
}

func (s *modelService) find(id ipvs.ServerID) *modelServer {
	for _, d := range s.servers {
		if d.id == id {
			return d
		}
	}
	return nil
}

// server makes the checks that adding and editing share, in the kernel's order.
func (m *model) server(svc ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) (*modelService, *modelServer, error) {
	s, err := m.find(svc)
	if err != nil {
		return nil, nil, err
	}
	if spec.Method != ipvs.Tunnel && ipvs.FamilyOf(id.Addr) != svc.Family {
		return nil, nil, ipvs.ErrInvalid
	}
	if spec.Weight < 0 || spec.LowerThreshold > spec.UpperThreshold {
		return nil, nil, ipvs.ErrRange
	}
	if spec.Method == ipvs.Tunnel && spec.Tunnel.Type == ipvs.GUE && spec.Tunnel.Port == 0 {
		return nil, nil, ipvs.ErrInvalid
	}
	return s, s.find(id), nil
}

func (m *model) AddServer(svc ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	if err := m.called("add-server %v %v %+v", svc, id, spec); err != nil {
		return err
	}
	s, d, err := m.server(svc, id, spec)
	if err != nil {
		return err
	}
	if d != nil {
		return ipvs.ErrExists
	}
	if !unicast(id.Addr) {
		return ipvs.ErrInvalid
	}
	s.servers = slices.Insert(s.servers, 0, &modelServer{id: id, spec: spec})
	return nil
}

func unicast(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func (m *model) EditServer(svc ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error {
	if err := m.called("edit-server %v %v %+v", svc, id, spec); err != nil {
		return err
	}
	_, d, err := m.server(svc, id, spec)
	if err != nil {
		return err
	}
	if d == nil {
		return ipvs.ErrNoEntry
	}
	d.spec = spec
	return nil
}

func (m *model) DeleteServer(svc ipvs.ServiceID, id ipvs.ServerID) error {
	if err := m.called("delete-server %v %v", svc, id); err != nil {
		return err
	}
	s, err := m.find(svc)
	if err != nil {
		return err
	}
	d := s.find(id)
	if d == nil {
		return ipvs.ErrNoEntry
	}
	s.servers = slices.DeleteFunc(s.servers, func(t *modelServer) bool { return t == d })
	return nil
}

func (m *model) Zero(id *ipvs.ServiceID) error {
	if err := m.called("zero %v", id); err != nil || id == nil {
		return err
	}
	_, err := m.find(*id)
	return err
}

func (m *model) Services() ([]ipvs.ServiceEntry, error) {
	if err := m.called("services"); err != nil {
		return nil, err
	}
	var entries []ipvs.ServiceEntry
	for _, s := range m.services {
		entries = append(entries, s.entry())
	}
	return entries, nil
}

func (s *modelService) entry() ipvs.ServiceEntry {
	e := ipvs.ServiceEntry{ID: s.id, Spec: s.spec}
	for _, d := range s.servers {
		e.Servers = append(e.Servers, ipvs.ServerEntry{
			ID: d.id, Spec: d.spec,
		})
	}
	return e
}

func (m *model) Service(id ipvs.ServiceID) (ipvs.ServiceEntry, error) {
	if err := m.called("service %v", id); err != nil {
		return ipvs.ServiceEntry{}, err
	}
	s, err := m.find(id)
	if err != nil {
		return ipvs.ServiceEntry{}, err
	}
	return s.entry(), nil
}

func (m *model) Connections(func(*ipvs.ConnEntry) bool) error {
	return m.called("connections")
}

func (m *model) Timeouts() (ipvs.Timeouts, error) { return m.timeouts, m.called("timeouts") }

func (m *model) SetTimeouts(t ipvs.Timeouts) error {
	if err := m.called("set %+v", t); err != nil {
		return err
	}
	for _, f := range []struct {
		dst *uint32
		src uint32
	}{{&m.timeouts.TCP, t.TCP}, {&m.timeouts.TCPFin, t.TCPFin}, {&m.timeouts.UDP, t.UDP}} {
		if f.src != 0 {
			*f.dst = f.src
		}
	}
	return nil
}

func (m *model) Daemons() ([]ipvs.Daemon, error) { return m.daemons, m.called("daemons") }

func (m *model) StartDaemon(d ipvs.Daemon) error {
	if err := m.called("start %+v", d); err != nil {
		return err
	}
	if slices.ContainsFunc(m.daemons, func(e ipvs.Daemon) bool { return e.State == d.State }) {
		return ipvs.ErrExists
	}
	if d.Interface != "eth0" && d.Interface != "eth1" {
		return ipvs.ErrNoDevice
	}
	if d.MaxLen == 0 {
		d.MaxLen = 1472
	}
	if !d.Group.IsValid() {
		d.Group = netip.MustParseAddr("224.0.0.81")
	}
	if d.Port == 0 {
		d.Port = 8848
	}
	if d.TTL == 0 {
		d.TTL = 1
	}
	m.daemons = slices.Insert(m.daemons, 0, d) // newest first: order is not the backend's job
	return nil
}

func (m *model) StopDaemon(s ipvs.DaemonState) error {
	if err := m.called("stop %v", s); err != nil {
		return err
	}
	n := len(m.daemons)
	m.daemons = slices.DeleteFunc(m.daemons, func(d ipvs.Daemon) bool { return d.State == s })
	if len(m.daemons) == n {
		return ipvs.ErrNotFound
	}
	return nil
}

// book is a Resolver of a few names.
type book struct {
	hosts map[string]string // address by name
	ports map[string]uint16 // port by "name/protocol"
}

func (b book) LookupAddr(a netip.Addr) (string, bool) {
	for name, addr := range b.hosts {
		if addr == a.String() {
			return name, true
		}
	}
	return "", false
}

func (b book) LookupHost(name string) (netip.Addr, bool) {
	addr, ok := b.hosts[name]
	if !ok {
		return netip.Addr{}, false
	}
	return netip.MustParseAddr(addr), true
}

func (b book) ServiceName(port uint16, p ipvs.Protocol) (string, bool) {
	for key, n := range b.ports {
		name, proto := cutProto(key)
		if n == port && proto == p.String() {
			return name, true
		}
	}
	return "", false
}

func (b book) ServicePort(name string, p ipvs.Protocol) (uint16, bool) {
	port, ok := b.ports[name+"/"+p.String()]
	return port, ok
}
