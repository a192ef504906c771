package vrrp

import (
	"fmt"
	"net/netip"
	"slices"

	"usvs/clock"
)

// Router is all instances and sync groups of a node.
type Router struct {
	cfg *Config
	fx  Effects

	running bool // between Start and Stop
	stopped bool
	delayed clock.Instant // end of vrrp_startup_delay

	instances []*instance
	groups    []*group
	scripts   []*script
	processes []*process
	files     []*file

	faces    map[string]*face
	faceList []*face
	virtual  map[netip.Addr]bool // addresses of any instance

	pacers map[string]*pacer // by interface
	paced  []*pacer          // each once

	complaints limiter
}

// New returns a Router that has not been started. What it is told about
// interfaces, processes and files before Start counts from Start on.
func New(cfg *Config, fx Effects) *Router {
	r := &Router{fx: fx, faces: map[string]*face{}}
	r.build(cfg)
	return r
}

// build makes what the configuration names.
func (r *Router) build(cfg *Config) {
	r.cfg = cfg.withDefaults()
	r.instances, r.groups, r.scripts, r.processes, r.files = nil, nil, nil, nil, nil
	for k := range r.cfg.Scripts {
		r.scripts = append(r.scripts, newScript(&r.cfg.Scripts[k]))
	}
	for k := range r.cfg.Processes {
		p := &process{Process: &r.cfg.Processes[k], turnsAt: clock.Never}
		p.up = p.quorum()
		r.processes = append(r.processes, p)
	}
	for k := range r.cfg.Files {
		r.files = append(r.files, &file{File: &r.cfg.Files[k]})
	}
	r.virtual = map[netip.Addr]bool{}
	for k := range r.cfg.Instances {
		i := newInstance(r, &r.cfg.Instances[k])
		r.instances = append(r.instances, i)
		for _, a := range i.addresses() {
			r.virtual[a.Prefix.Addr()] = true
		}
	}
	for k := range r.cfg.Groups {
		r.join(&r.cfg.Groups[k])
	}
	r.groupPacers()
}

// join makes a group of its members; each has what the group tracks.
func (r *Router) join(cfg *Group) {
	g := &group{Group: cfg, r: r}
	for _, name := range cfg.Members {
		i := r.instance(name)
		if i == nil || i.group != nil {
			continue
		}
		i.group = g
		i.NotifyPriorities = i.NotifyPriorities || cfg.NotifyPriorities
		if !cfg.TrackingWeight {
			i.tracks = r.weightless(i.tracks)
		}
		i.tracks = i.tracks.with(cfg.Tracks)
		g.members = append(g.members, i)
	}
	if len(g.members) > 0 {
		r.groups = append(r.groups, g)
	}
}

// weightless is what a member may track: a weight of its own could have it
// lose an election its group wins. Interfaces count without weight.
func (r *Router) weightless(t Tracks) (out Tracks) {
	for _, e := range t.Interfaces {
		e.Weight = 0
		out.Interfaces = append(out.Interfaces, e)
	}
	for _, e := range t.Scripts {
		if s := r.script(e.Name); s != nil && e.or(s.Weight, s.Reverse).Weight == 0 {
			out.Scripts = append(out.Scripts, e)
		}
	}
	for _, e := range t.Processes {
		if p := r.process(e.Name); p != nil && e.or(p.Weight, p.Reverse).Weight == 0 {
			out.Processes = append(out.Processes, e)
		}
	}
	for _, e := range t.Files {
		f := r.file(e.Name)
		if f == nil {
			continue
		}
		e = e.or(f.Weight, f.Reverse)
		if e.Weight == 0 || e.Weight == 1 { // 1 is what no weight means for files
			e.Weight, e.Weighted = 0, true
			out.Files = append(out.Files, e)
		}
	}
	return out
}

func (t Tracks) with(u Tracks) Tracks {
	return Tracks{
		Interfaces: slices.Concat(t.Interfaces, u.Interfaces),
		Scripts:    slices.Concat(t.Scripts, u.Scripts),
		Processes:  slices.Concat(t.Processes, u.Processes),
		Files:      slices.Concat(t.Files, u.Files),
	}
}

// Start brings the instances up.
func (r *Router) Start(now clock.Instant) {
	r.delayed = now.Add(r.cfg.StartupDelay)
	for _, i := range r.instances {
		i.fit()
		i.look()
	}
	r.running = true
	for _, i := range r.instances {
		i.clean()
	}
	for _, i := range r.instances {
		i.start(now)
	}
	for _, g := range r.groups {
		g.start()
	}
	for _, s := range r.scripts {
		s.nextRun = now
	}
}

// Handle takes in a packet: VRRP over IPv4 or IPv6, or IPv4 AH with VRRP in it.
// Anything else is ignored. The packet is not kept.
func (r *Router) Handle(now clock.Instant, packet Packet) {
	if !r.running {
		return
	}
	p, complaint, ok := unpack(packet.Interface, packet.IP)
	if !ok {
		r.complain(now, complaint)
		return
	}
	i := r.addressee(&p)
	if i == nil {
		if r.cfg.LogUnknownVRIDs {
			r.complain(now, fmt.Sprintf("Unknown VRID(%d) received on interface(%s). ignoring...", p.vrid(), p.iface))
		}
		return
	}
	a, ok := i.check(now, &p)
	if !ok {
		return
	}
	if i.state == Master {
		i.hearMaster(now, &a)
	} else {
		i.hearBackup(now, &a)
	}
	i.seq = max(i.seq, a.seq)
}

func (r *Router) complain(now clock.Instant, text string) {
	if text != "" && r.complaints.allow(now) {
		r.fx.Log(Info, text)
	}
}

// addressee finds whose advert a packet is. One that comes by multicast for a
// unicast instance, or the reverse, is that instance's to refuse.
func (r *Router) addressee(p *received) (found *instance) {
	for _, i := range r.instances {
		if i.VRID != p.vrid() || i.IPv6 != p.v6() || i.Interface != "" && i.Interface != p.iface {
			continue
		}
		switch {
		case p.dst.IsMulticast() && !i.unicast() && i.Multicast != p.dst:
		case !p.dst.IsMulticast() && i.unicast() && i.source != p.dst:
		case p.dst.IsMulticast() != i.unicast():
			return i
		case found == nil:
			found = i
		}
	}
	return found
}

// Tick does what is due and returns when there is more to do.
func (r *Router) Tick(now clock.Instant) clock.Instant {
	if !r.running {
		return clock.Never
	}
	next := r.tickFaces(now).Min(r.tickProcesses(now)).Min(r.tickScripts(now))
	for _, i := range r.instances {
		i.tick(now)
	}
	next = next.Min(r.tickPacers(now))
	for _, i := range r.instances {
		next = next.Min(i.next())
	}
	return next
}

// Stop has every instance leave: masters say so with priority 0. The Router
// does nothing more afterwards.
func (r *Router) Stop(now clock.Instant) {
	if !r.running {
		return
	}
	for _, i := range r.instances {
		i.leave(now, Stop)
	}
	for _, g := range r.groups {
		g.enter(Stop)
	}
	r.running, r.stopped = false, true
}

func (r *Router) instance(name string) *instance {
	for _, i := range r.instances {
		if i.Name == name {
			return i
		}
	}
	return nil
}
