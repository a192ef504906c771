package netsim

import (
	"net/netip"
	"path"
	"strings"
	"time"

	"usvs/clock"
	"usvs/health"
	"usvs/node"
)

// Script is how the runs of a script end.
type Script struct {
	Status int  // exit status
	Hangs  bool // it does not end, until its time is up
}

// scriptTime is how long a script runs that does not hang.
const scriptTime = time.Millisecond

// env is what a director's host has besides interfaces: what scripts say, which
// processes run, what is in files. It outlives crashes.
type env struct {
	scripts   map[string]Script
	files     map[string]int
	processes map[string]int
	failing   map[netip.Addr]bool // real servers
}

func newEnv() env {
	return env{scripts: map[string]Script{}, files: map[string]int{}, processes: map[string]int{}, failing: map[netip.Addr]bool{}}
}

// SetScript says how runs of a script end from now on: a vrrp_script by its name,
// any script by its path or its file's name. Others succeed.
func (d *Director) SetScript(name string, s Script) { d.env.scripts[name] = s }

// script finds what was said of a script.
func (e *env) script(name string, args []string) Script {
	names := []string{name}
	if len(args) > 0 {
		names = append(names, strings.Join(args, " "), args[0], path.Base(args[0]))
	}
	for _, n := range names {
		if s, ok := e.scripts[n]; ok && n != "" {
			return s
		}
	}
	return Script{}
}

// SetServerFails has the MISC_CHECKs and FILE_CHECKs of a real server fail from now
// on, or no longer, whatever SetScript and SetFile have said: somebody looked at
// the server itself.
func (d *Director) SetServerFails(rip netip.Addr, fails bool) {
	if d.env.failing[rip] == fails {
		return
	}
	d.env.failing[rip] = fails
	d.later(func(*node.Node, clock.Instant) {
		d.probes.filesChanged(func(p *health.Probe) bool { return p.Target.Addr() == rip })
	})
}

// SetFile writes a number to a tracked file, which is known by its name in the
// configuration, or by its path.
func (d *Director) SetFile(name string, value int) {
	d.env.files[name] = value
	d.later(func(n *node.Node, now clock.Instant) {
		for _, f := range d.world.setup.Files {
			if f.Name == name || f.Path == name {
				n.SetFile(now, f.Name, value)
				d.env.files[f.Path] = value
				d.probes.filesChanged(func(p *health.Probe) bool { return p.Name == f.Path })
			}
		}
	})
}

func (e *env) file(f node.TrackFile) int {
	for _, name := range []string{f.Name, f.Path} {
		if v, ok := e.files[name]; ok {
			return v
		}
	}
	if f.Init != nil {
		return *f.Init
	}
	return 0
}

// SetProcess says how many processes run that a vrrp_track_process means. One
// does if nothing is said.
func (d *Director) SetProcess(name string, count int) {
	d.env.processes[name] = count
	d.later(func(n *node.Node, now clock.Instant) { n.SetProcess(now, name, count) })
}

func (e *env) process(name string) int {
	if n, ok := e.processes[name]; ok {
		return n
	}
	return 1
}
