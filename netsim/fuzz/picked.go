package fuzz

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"usvs/clock"
	"usvs/director"
	"usvs/ipvs"
	"usvs/sched"
	"usvs/sched/model"
)

// This file judges whom schedulers pick, by a literal model of each service's
// scheduler that hears of the same changes and is asked for the same packets.

// twin is the model of a service's scheduler.
type twin struct {
	name    string
	s       model.Scheduler // nil: no scheduler
	servers []*ipvs.RealServer
	lost    bool // it cannot be known what it was told, and in which order
}

// commanded follows what a command has done to the services. It is called after
// every command on the director's host, with its exit status.
func (j *Judge) commanded(command string, status int) {
	if j.first != nil || j.off {
		return
	}
	j.settle()
	services := j.dir.Core().Snapshot().Services
	for vs := range j.twins { // in any order
		if !slices.ContainsFunc(services, func(s *director.Service) bool { return s.VS == vs }) {
			for _, rs := range j.twins[vs].servers {
				j.deleted[rs] = true
			}
			delete(j.twins, vs)
		}
	}
	words := strings.Fields(command)
	single := len(words) > 3 && words[0] == "ipvsadm" && words[1] != "-R"
	for _, svc := range services {
		t := j.twins[svc.VS]
		if t == nil {
			t = &twin{}
			j.twins[svc.VS] = t
		}
		j.follow(t, svc, single)
		if single && status == 0 && words[1] == "-e" && names(words, svc) {
			j.tell(t, sched.Edit, svc, edited(words, svc))
		}
		t.servers = svc.Servers
	}
}

// settle makes the book what it is to be between two frames, before something
// changes by which it is judged.
func (j *Judge) settle() {
	if j.first != nil || j.off {
		return
	}
	j.table.read(j.dir.Core().Table, j.net.Now())
	j.book.expire(j.net.Now(), j.table.byRef)
	j.dropped()
}

// names reports whether a command of ipvsadm is about a service.
func names(words []string, svc *director.Service) bool {
	id := svc.VS.ID
	text := strings.Fields(id.String())[1] // of "TCP 10.0.0.100:80", "FWM 1 IPv6"
	if id.Mark == 0 {
		flag := map[ipvs.Protocol]string{ipvs.TCP: "-t", ipvs.UDP: "-u", ipvs.SCTP: "--sctp-service"}[id.Protocol]
		return words[2] == flag && words[3] == text
	}
	return words[2] == "-f" && words[3] == text && slices.Contains(words, "-6") == (id.Family == ipvs.IPv6)
}

// edited is the server that `ipvsadm -e` was about. Without -m, as ipvsadm(8)
// has it, the port is the service's, whatever port was given.
func edited(words []string, svc *director.Service) *ipvs.RealServer {
	given := words[slices.Index(words, "-r")+1]
	end, err := netip.ParseAddrPort(given)
	if err != nil {
		a, _ := netip.ParseAddr(given)
		end = netip.AddrPortFrom(a, svc.VS.ID.Port)
	}
	if !slices.Contains(words, "-m") {
		end = netip.AddrPortFrom(end.Addr(), svc.VS.ID.Port)
	}
	for _, rs := range svc.Servers {
		if netip.AddrPortFrom(rs.ID.Addr, rs.ID.Port) == end {
			return rs
		}
	}
	return nil
}

// follow tells a model of the difference between its service and what it was.
// Servers come to the head of the list, and nobody moves.
func (j *Judge) follow(t *twin, svc *director.Service, single bool) {
	added, gone := missing(svc.Servers, t.servers), missing(t.servers, svc.Servers)
	for _, rs := range added {
		j.joined(rs)
	}
	for _, rs := range gone {
		j.deleted[rs] = true
	}
	switch {
	case t.name != svc.Spec.Scheduler:
		t.name = svc.Spec.Scheduler
		t.s, _ = model.New(t.name, j.dice(t.name))
		t.lost = !single && len(svc.Servers) > 0
		j.tell(t, sched.Bind, svc, nil)
	case len(added)+len(gone) > 1:
		t.lost = true
	case len(added) == 1:
		if svc.Servers[0] != added[0] {
			j.broken("service", "%v was added to %v, and not at the head", added[0].ID, svc.VS.ID)
		}
		j.tell(t, sched.Add, svc, added[0])
	case len(gone) == 1:
		j.tell(t, sched.Delete, svc, gone[0])
	}
}

// dice is the source that a new scheduler is made from, as control does it.
func (j *Judge) dice(name string) *rand.Rand {
	if name == "none" {
		return nil
	}
	return rand.New(rand.NewPCG(j.seeds.Uint64(), j.seeds.Uint64()))
}

func (j *Judge) tell(t *twin, what sched.Change, svc *director.Service, rs *ipvs.RealServer) {
	if what == sched.Edit && rs != nil {
		if s := j.book.servers[rs]; s != nil {
			s.Edit(rs.Spec())
		}
	}
	if t.s != nil {
		_ = t.s.Update(what, svc.Servers, rs)
	}
}

// joined begins to count a server's connections, or goes on if it comes back.
func (j *Judge) joined(rs *ipvs.RealServer) {
	if s := j.book.servers[rs]; s != nil {
		s.Revive(rs.Spec())
		return
	}
	j.book.servers[rs] = model.NewServer(rs.Spec())
}

// missing lists those of a that are not in b.
func missing(a, b []*ipvs.RealServer) []*ipvs.RealServer {
	return slices.DeleteFunc(slices.Clone(a), func(rs *ipvs.RealServer) bool { return slices.Contains(b, rs) })
}

// whom asks the model whom a service's scheduler picks for the packet at hand.
// It reports false if there is no telling.
func (j *Judge) whom(svc *director.Service, now clock.Instant) (*ipvs.RealServer, bool) {
	t, fl := j.twins[svc.VS], j.heard.flow()
	if t == nil || t.lost || fl == nil {
		return nil, false
	}
	if t.s == nil {
		return nil, true
	}
	return t.s.Schedule(&sched.Request{
		Now: now, Protocol: ipvs.Protocol(fl.proto), Client: fl.client.Addr(), ClientPort: fl.client.Port(), Dst: fl.virtual.Addr(),
		Flags: svc.Spec.Flags, Sysctls: j.sysctls(),
	}), true
}

// scheduled judges whom the scheduler picked.
func (j *Judge) scheduled() {
	h := &j.heard
	if !h.known {
		j.cover.Faults["scheduler's choice not foreseen"]++
		return
	}
	j.cover.Faults["scheduler's choice foreseen"]++
	if h.picked == h.foreseen {
		return
	}
	j.broken("scheduler", "%s of %v picked %s for %v > %v; it was to be %s of %s", h.asked.Spec.Scheduler, h.asked.VS.ID,
		serverName(h.picked), h.flow().client, h.flow().virtual, serverName(h.foreseen), figures(h.asked.Servers))
}

func serverName(rs *ipvs.RealServer) string {
	if rs == nil {
		return "nobody"
	}
	return rs.ID.String()
}

// figures are what a scheduler decides by.
func figures(list []*ipvs.RealServer) string {
	var b strings.Builder
	for _, rs := range list {
		fmt.Fprintf(&b, "\n  %v: weight %d (last %d), %d active, %d inactive, overloaded %v",
			rs.ID, rs.Weight(), rs.LastWeight(), rs.Active(), rs.Inactive(), rs.Overloaded())
	}
	return b.String()
}

// counts compares each server's settings and counts with what they must be.
func (j *Judge) counts() {
	for _, svc := range j.dir.Core().Snapshot().Services {
		for _, rs := range svc.Servers {
			if s := j.book.servers[rs]; s == nil {
				j.broken("counts", "%v belongs to %v and was never added", rs.ID, svc.VS.ID)
			} else if text := j.book.agrees(rs); text != "" {
				j.broken("counts", "%s", text)
			}
			templates := int32(0)
			for _, r := range j.book.entries {
				if r.template && r.server == rs {
					templates++
				}
			}
			if rs.Persistent() != templates {
				j.broken("counts", "%v counts %d templates of %d", rs.ID, rs.Persistent(), templates)
			}
		}
	}
}
