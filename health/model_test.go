package health

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
)

// model is what becomes of servers, said in the simplest way: it looks at every
// check, adds up weights, and makes the whole table anew.
type model struct {
	quorum map[identity]bool
}

// table is what IPVS has.
type table map[ipvs.ServiceID]map[ipvs.ServerID]ipvs.ServerSpec

// follow is called after everything that happens. It takes from the Monitor what
// each check says, and nothing else.
func (o *model) follow(m *Monitor) table {
	want, quorum := table{}, map[identity]bool{}
	for _, vs := range m.services {
		up := o.quorum[vs.cfg.identity()]
		weight := 0
		for _, rs := range vs.servers {
			if well(rs) {
				weight += weighs(rs)
			}
		}
		limit := vs.cfg.Quorum + vs.cfg.Hysteresis
		if up {
			limit = vs.cfg.Quorum - vs.cfg.Hysteresis
		}
		up = weight > 0 && weight >= limit
		quorum[vs.cfg.identity()] = up
		for i, s := range vs.cfg.Services {
			want[s.ID] = wanted(vs, i, up)
		}
	}
	o.quorum = quorum
	return want
}

// well: no check says otherwise.
func well(rs *server) bool {
	for _, c := range rs.checks {
		if !c.up {
			return false
		}
	}
	return true
}

func weighs(rs *server) int {
	weight := int(rs.cfg.Spec.Weight)
	for _, c := range rs.checks {
		weight += int(c.weight)
	}
	return max(0, weight)
}

// wanted is the i-th service's servers.
func wanted(vs *service, i int, quorum bool) map[ipvs.ServerID]ipvs.ServerSpec {
	all := map[ipvs.ServerID]ipvs.ServerSpec{}
	sorry := vs.cfg.Sorry
	if sorry != nil && sorry.Inhibit {
		spec := sorry.Spec
		spec.Weight = 0
		all[target(sorry.ID, sorry.Targets, i)] = spec
	}
	for _, rs := range vs.servers {
		spec, id := rs.cfg.Spec, target(rs.cfg.ID, rs.cfg.Targets, i)
		delete(all, id)
		spec.Weight = int32(weighs(rs))
		serves := well(rs) && (quorum || sorry == nil)
		if !serves {
			spec.Weight = 0
		}
		if serves || rs.cfg.Inhibit {
			all[id] = spec
		}
	}
	if sorry != nil && !quorum {
		all[target(sorry.ID, sorry.Targets, i)] = sorry.Spec
	}
	return all
}

// history is a Monitor to which anything may happen.
type history struct {
	t      testing.TB
	w      *world
	m      *Monitor
	random *rand.Rand
	now    clock.Instant
	model  model
}

func newHistory(t testing.TB, seed uint64) *history {
	h := &history{t: t, w: newWorld(t), random: rand.New(rand.NewPCG(seed, 7))}
	h.w.refuses = true
	h.m = New(h.config(), h.w, rand.New(rand.NewPCG(seed, 8)))
	h.m.Start(0)
	h.check("start")
	return h
}

// step has something happen.
func (h *history) step(choice, detail byte) {
	switch {
	case choice < 28 && len(h.w.running) > 0:
		h.result(detail)
	case choice < 31:
		h.m.Reload(h.now, h.config())
		h.check("reload")
	case choice == 31:
		h.m.SetAddress(h.now, vip(80).Addr, detail%2 == 0)
	case choice == 32:
		if late := CheckID(detail); h.w.running[late] == nil {
			h.m.Result(h.now, late, Result{Outcome: Failure})
		}
	default:
		h.now = max(h.now, min(h.m.Tick(h.now), h.now.Add(time.Minute)))
		h.m.Tick(h.now)
	}
	h.check(fmt.Sprintf("step %d %d", choice, detail))
}

// result has an attempt end.
func (h *history) result(detail byte) {
	ids := make([]CheckID, 0, len(h.w.running))
	for id := range h.w.running {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	id := ids[int(detail)%len(ids)]
	if !h.w.running[id].Kind.Watch() {
		delete(h.w.running, id)
	}
	r := Result{Outcome: [...]Outcome{Success, Failure, Failure, LocalError}[detail>>4%4], Status: int(detail) % 7}
	h.m.Result(h.now, id, r)
}

// check holds the Monitor against the model and against its own invariants.
func (h *history) check(when string) {
	h.t.Helper()
	want := h.model.follow(h.m)
	got := table(h.w.table)
	require.Equal(h.t, want, got, "%s\n%v", when, h.w.take())
	watched := 0
	for _, vs := range h.m.services {
		require.Equal(h.t, h.model.quorum[vs.cfg.identity()], vs.quorumUp, when)
		require.Equal(h.t, vs.cfg.Sorry != nil && !vs.quorumUp, vs.sorryUp, when)
		for _, rs := range vs.servers {
			require.Equal(h.t, well(rs), rs.alive, when)
			for _, c := range rs.checks {
				require.NotEqual(h.t, c.place == notQueued, c.id == 0, "%s: %v either waits or runs", when, c.cfg.Probe.Kind)
				if c.id != 0 {
					require.Contains(h.t, h.w.running, c.id)
					watched++
				}
			}
		}
	}
	require.Len(h.t, h.w.running, watched, when)
}

// end stops, and looks for what is left.
func (h *history) end() {
	h.m.Stop(h.now)
	require.Empty(h.t, h.w.table)
	require.Empty(h.t, h.w.running)
	require.Equal(h.t, clock.Never, h.m.Tick(h.now.Add(time.Hour)))
}

// config is any configuration of a few virtual servers.
func (h *history) config() *Config {
	cfg := &Config{InitNotifies: h.one(2), NoCheckerEmails: h.one(2)}
	for port := range uint16(3) {
		if h.one(4) {
			continue
		}
		vs := h.virtualServer()
		vs.Services = []Service{{ID: vip(80 + port), Spec: h.serviceSpec()}}
		cfg.VirtualServers = append(cfg.VirtualServers, vs)
	}
	if h.one(2) {
		vs := h.virtualServer()
		vs.Group = "G"
		for port := range uint16(4) {
			if h.one(2) || port == 0 {
				vs.Services = append(vs.Services, Service{ID: vip(90 + port), Spec: h.serviceSpec()})
			}
		}
		h.renumber(vs)
		cfg.VirtualServers = append(cfg.VirtualServers, vs)
	}
	h.random.Shuffle(len(cfg.VirtualServers), func(i, j int) {
		cfg.VirtualServers[i], cfg.VirtualServers[j] = cfg.VirtualServers[j], cfg.VirtualServers[i]
	})
	return cfg
}

// renumber gives the servers of a group the ports of its services, as direct
// routing does.
func (h *history) renumber(vs *VirtualServer) {
	if h.one(2) {
		return
	}
	ports := func(id ipvs.ServerID) (all []ipvs.ServerID) {
		for _, s := range vs.Services {
			all = append(all, ipvs.ServerID{Addr: id.Addr, Port: s.ID.Port})
		}
		return all
	}
	for _, rs := range vs.Servers {
		rs.Targets = ports(rs.ID)
	}
	if vs.Sorry != nil {
		vs.Sorry.Targets = ports(vs.Sorry.ID)
	}
}

func (h *history) serviceSpec() ipvs.ServiceSpec {
	return ipvs.ServiceSpec{Scheduler: [...]string{"rr", "wlc"}[h.random.IntN(2)]}
}

func (h *history) virtualServer() *VirtualServer {
	vs := &VirtualServer{Protocol: ipvs.TCP, Quorum: 1 + h.random.IntN(4), Omega: h.one(2), SMTPAlert: h.one(2), HASuspend: h.one(4)}
	vs.Hysteresis = h.random.IntN(vs.Quorum)
	if h.one(2) {
		vs.Sorry = &SorryServer{ID: rip(byte(4 + h.random.IntN(3))), Spec: ipvs.ServerSpec{Weight: 1}, Inhibit: h.one(2)}
	}
	alpha := h.one(3)
	for n := range byte(6) {
		if h.one(3) {
			continue
		}
		id := rip(n)
		rs := &Server{ID: id, Inhibit: h.one(2), SMTPAlert: h.one(2), Spec: ipvs.ServerSpec{Weight: h.random.Int32N(4)}}
		rs.Spec.Method = [...]ipvs.ForwardMethod{ipvs.Masquerade, ipvs.DirectRoute}[h.random.IntN(2)]
		for range h.random.IntN(3) {
			c := h.checker(id)
			c.Alpha = alpha
			rs.Checks = append(rs.Checks, c)
		}
		vs.Servers = append(vs.Servers, rs)
	}
	if vs.Sorry != nil {
		for _, rs := range vs.Servers {
			if rs.ID == vs.Sorry.ID {
				vs.Sorry.Inhibit = rs.Inhibit // as the parser has it
			}
		}
	}
	return vs
}

func (h *history) checker(id ipvs.ServerID) *Check {
	c := tcpCheck(id)
	c.Retry, c.Warmup, c.LogAllFailures = h.random.IntN(3), time.Duration(h.random.IntN(3))*time.Second, h.one(2)
	switch h.random.IntN(7) {
	case 0:
		c.Probe.Kind, c.Dynamic, c.Probe.Script = Misc, h.one(2), &Script{Args: []string{"/bin/true"}}
	case 1:
		c.Probe.Kind, c.Probe.Name, c.Track, c.Weight = File, "/file", "file", h.random.IntN(3)
	case 2:
		c = c.pages(URL{Path: "/"}, URL{Path: "/other"})
		c.Probe.Kind, c.FastRecovery = HTTP, h.one(2)
	case 3:
		c.Probe.Kind = [...]Kind{SMTP, DNS, UDP, Ping}[h.random.IntN(4)]
	case 4:
		c.Probe.Path = ViaVIP
	case 5:
		c.Probe.Kind, c.Probe.Name = BFD, "session"
	}
	return c
}

// one is true once in n times.
func (h *history) one(n int) bool { return h.random.IntN(n) == 0 }

func TestHistories(t *testing.T) {
	for seed := range uint64(120) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := newHistory(t, seed)
			for range 150 {
				h.step(byte(h.random.IntN(50)), byte(h.random.Uint32()))
			}
			h.end()
		})
	}
}

func FuzzHistory(f *testing.F) {
	f.Add(uint64(1), []byte{40, 0, 40, 0, 1, 16, 1, 16, 30, 0, 40, 0, 2, 3})
	f.Add(uint64(2), []byte("any text will do as a history of events"))
	f.Fuzz(func(t *testing.T, seed uint64, events []byte) {
		h := newHistory(t, seed)
		for i := 0; i+1 < min(len(events), 400); i += 2 {
			h.step(events[i]%64, events[i+1])
		}
		h.end()
	})
}
