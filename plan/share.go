package plan

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"

	"usvs/ipvs"
	"usvs/sched"
)

// What shares are measured with: so many new connections for each service, and
// not more than so many in all.
const (
	mostClients  = 10_000
	fewClients   = 500
	allSchedules = 4_000_000
)

// share fills in the shares of every service that is in the plan.
func (p *Plan) share() {
	if len(p.Services) == 0 {
		return
	}
	clients := makeClients(min(mostClients, max(fewClients, allSchedules/len(p.Services))))
	for i := range p.Services {
		svc := &p.Services[i]
		before, after := schedule(svc.old, clients), schedule(svc.new, clients)
		for j := range svc.Servers {
			rs := &svc.Servers[j]
			rs.Before, rs.After = before.share(svc.old, rs.ID), after.share(svc.new, rs.ID)
		}
		if svc.old != nil && svc.new != nil && byClient(svc.old) && byClient(svc.new) {
			svc.Moved = moved(before, after)
		}
	}
}

// client is where a made-up connection comes from.
type client struct {
	v4, v6 netip.Addr
	port   uint16
}

// makeClients makes clients up, always the same.
func makeClients(n int) []client {
	rng := rand.New(rand.NewPCG(0x75737673, 0x706c616e))
	out := make([]client, n)
	for i := range out {
		var a [16]byte
		a[0], a[1], a[2], a[3] = 0x20, 0x01, 0x0d, 0xb8
		binary.BigEndian.PutUint64(a[8:], rng.Uint64())
		binary.BigEndian.PutUint32(a[4:], rng.Uint32())
		out[i] = client{v4: netip.AddrFrom4([4]byte(a[8:12])), v6: netip.AddrFrom16(a), port: uint16(1024 + rng.IntN(64512))}
	}
	return out
}

// choices are the servers that clients got, in the order of the clients.
type choices []ipvs.ServerID

// schedule asks the service's scheduler for a server for each client, whose
// connections all stay. Connection thresholds are left out: all of this happens
// at once, which it never does.
func schedule(s *ServiceState, clients []client) choices {
	if s == nil {
		return nil
	}
	scheduler := s.scheduler()
	if scheduler == nil {
		return nil
	}
	sysctls := ipvs.DefaultSysctls()
	req := sched.Request{Protocol: s.ID.Protocol, Dst: s.ID.Addr, Flags: s.Spec.Flags, Sysctls: &sysctls, Now: 1}
	out := make(choices, 0, len(clients))
	for _, c := range clients {
		req.Client, req.ClientPort = c.v4, c.port
		if s.ID.Family == ipvs.IPv6 {
			req.Client = c.v6
		}
		if !req.Dst.IsValid() { // of a mark: any
			req.Dst = req.Client
		}
		rs := scheduler.Schedule(&req)
		if rs == nil {
			out = append(out, ipvs.ServerID{})
			continue
		}
		if s.Spec.Scheduler != "ovf" { // with connections that never end everything overflows
			rs.Bind(true)
		}
		out = append(out, rs.ID)
	}
	return out
}

// scheduler is the service's own, with its servers, or nil.
func (s *ServiceState) scheduler() sched.Scheduler {
	scheduler, err := sched.New(s.Spec.Scheduler, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		return nil
	}
	vs := &ipvs.VirtualService{ID: s.ID}
	var servers []*ipvs.RealServer
	for i, rs := range s.Servers {
		spec := rs.Spec
		spec.UpperThreshold, spec.LowerThreshold = 0, 0
		real := ipvs.NewRealServer(rs.ID, vs, spec)
		real.Join(uint64(i))
		servers = append(servers, real)
	}
	slices.Reverse(servers) // newest first
	if scheduler.Update(sched.Bind, servers, nil) != nil {
		return nil
	}
	return scheduler
}

// share is a server's part, nil where it is not in the service.
func (c choices) share(s *ServiceState, id ipvs.ServerID) *float64 {
	if lookup(s, id) == nil || len(c) == 0 {
		return nil
	}
	n := 0
	for _, got := range c {
		if got == id {
			n++
		}
	}
	part := float64(n) / float64(len(c))
	return &part
}

// byClient reports whether the client alone decides who serves it.
func byClient(s *ServiceState) bool {
	return slices.Contains([]string{"sh", "dh", "mh"}, s.Spec.Scheduler)
}

func moved(before, after choices) *float64 {
	if len(before) == 0 || len(before) != len(after) {
		return nil
	}
	n := 0
	for i := range before {
		if before[i] != after[i] {
			n++
		}
	}
	part := float64(n) / float64(len(before))
	return &part
}
