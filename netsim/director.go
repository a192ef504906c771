package netsim

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"usvs/arp"
	"usvs/clock"
	"usvs/conntrack"
	"usvs/control"
	"usvs/director"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/ipvsadm"
	"usvs/link"
	"usvs/localstack"
	"usvs/node"
	"usvs/sysctl"
	"usvs/wire"
)

// DirectorOptions are what `usvs run` is told.
type DirectorOptions struct {
	Own      control.Own  // --own
	VIPs     []netip.Addr // --vip
	MaxConns int          // --max-conns; 0: 65536
	Shards   int          // of the connection table; 0: 1, for there is one worker
}

// Director is a host on which usvs runs: the production director, with the
// production control, between the interfaces and the host's own stack.
type Director struct {
	*Host
	opts     DirectorOptions
	dir      *director.Director
	ctl      *control.Control
	worker   *director.Worker
	out      link.Output
	batch    []*link.Frame
	timer    *Timer
	isLocal  func(netip.Addr) bool // made once
	says     verdict               // on the frame that is being handled
	explains bool                  // somebody wants to hear it

	listeners recorders // to its decisions, besides says

	// With StartKeepalived:
	conf      *Keepalived
	node      *node.Node
	nodeTimer *Timer
	world     *world
	probes    *prober
	env       env
	skew      skew
	telling   bool // the node is being called
	news      []func(*node.Node, clock.Instant)
}

// Director adds a host on which usvs runs on every interface.
func (n *Net) Director(name string, opts ...DirectorOptions) *Director {
	var o DirectorOptions
	if len(opts) > 0 {
		o = opts[0]
	}
	d := &Director{Host: newHost(n, name), opts: o, batch: make([]*link.Frame, 1), explains: len(n.observers) > 0, env: newEnv()}
	d.adopt(d)
	d.isLocal = func(a netip.Addr) bool { return d.table.IsLocal(a) }
	d.start()
	d.changed = d.rerouted
	return d
}

// start starts usvs on the host.
func (d *Director) start() {
	d.timer = d.newTimer(d.tick)
	d.build(d.opts)
	if d.explains {
		d.explains = false
		d.explainVerdicts()
	}
	d.rerouted()
}

// rerouted tells usvs of the host's network.
func (d *Director) rerouted() {
	if d.life.crashed {
		return
	}
	d.ctl.SetRoutes(d.table)
	d.timer.Set(d.net.now)
	if d.node != nil {
		d.world.lost()
		d.interfacesChanged()
	}
}

// Crash ends the machine as Host.Crash does: connections, services and settings
// are lost, and the addresses that keepalived had put on interfaces. Core and
// Control stay what they were, and do nothing.
func (d *Director) Crash() {
	if d.life.crashed {
		return
	}
	d.net.logf(d.name, "has crashed")
	d.lose()
	if d.world != nil {
		d.world.vanish()
	}
	d.endNode()
}

// Restart starts the machine, and usvs on it with the options it was made with
// and the configuration that StartKeepalived or Reload gave it last; one that
// runs crashes first. Core and Control are new ones.
func (d *Director) Restart() {
	d.Crash()
	d.boot()
	d.start()
	if d.conf == nil {
		return
	}
	cfg, err := d.conf.Parse()
	if err == nil {
		err = d.startNode(cfg)
	}
	if err != nil { // it has been accepted before
		panic(fmt.Sprintf("netsim: %s: %v", d.name, err))
	}
}

// build makes the production parts and joins them, as cmd/usvs does.
func (d *Director) build(o DirectorOptions) {
	seed := func(what string) uint64 { return d.net.derived(d.inEra(what + " of " + d.name)) }
	log := slog.New(&logHandler{net: d.net, who: d.name})
	servers := new(ipvs.Registry)
	table := conntrack.New(conntrack.Config{
		Seed: seed("connection table"), MaxEntries: orDefault(o.MaxConns, 1<<16), Shards: orDefault(o.Shards, 1), Servers: servers,
		FTPPorts: []uint16{21},
	})
	d.dir = director.New(director.Config{
		Table:     table,
		ARP:       arp.Config{Seed: seed("neighbours")},
		Fragments: forward.NewReassembler(forward.Limits{Bytes: 1 << 20}, seed("fragments")),
		Answers: localstack.New(localstack.Options{
			Seed: seed("answers"), Limiter: localstack.NewLimiter(localstack.Limits{Seed: seed("limiter")}),
		}),
		Conflict: func(c arp.Conflict) {
			log.Warn("another host answers for VIP", "vip", c.Addr, "mac", c.MAC, "interface", d.ports[c.Port].name)
		},
	})
	d.worker = d.dir.NewWorker()
	d.ctl = control.New(control.Config{
		Clock: d.net, Rand: d.net.Rand(d.inEra("schedulers of " + d.name)), Servers: servers, Conns: table,
		Totals: &d.dir.Totals, Sysctls: ipvs.DefaultSysctls(), Own: o.Own, VIPs: o.VIPs,
		Log: log, Publish: d.publish, Director: d.dir, Sync: syncTransport{d},
	})
}

func (d *Director) publish(s *director.Snapshot) {
	d.dir.Publish(d.net.now, s)
	d.timer.Set(d.net.now) // announcements are due
}

// Core is the production director.
func (d *Director) Core() *director.Director { return d.dir }

// Control is the production control.
func (d *Director) Control() *control.Control { return d.ctl }

// receive takes a frame from a link through the director.
func (d *Director) receive(p *Port, f *frame) {
	if p.index < 0 { // the host talks to itself
		d.Host.receive(p, f)
		return
	}
	if d.stalled(p, f) {
		return
	}
	f.Medium, f.Port = wire.Ethernet, p.index
	seen := d.seenByHost(p, f)
	d.batch[0] = &f.Frame
	d.out.Reset()
	if d.explains {
		d.says = verdict{}
	}
	next := d.worker.Handle(d.net.now, d.batch, &d.out)
	if f.rec != nil {
		d.says.received(f.rec)
	}
	kept := d.emit(f)
	switch {
	case seen == nil:
	case d.receiveSync(p, seen), d.receiveVRRP(p, seen), d.probes != nil && d.probes.receive(seen):
		d.net.release(seen)
	default:
		d.input(p, seen)
	}
	if !kept {
		d.net.release(f)
	}
	d.wake(next.Min(d.ctl.SyncDeadline()))
}

// seenByHost returns a copy of a frame that the host's own stack sees whatever
// the director makes of it: one that usvs does not hide from it. A director
// that forwards a frame which it does not hide has it answered twice.
func (d *Director) seenByHost(p *Port, f *frame) *frame {
	pk := &d.p
	if pk.Parse(f.Bytes(), wire.Ethernet) != wire.None || !d.accepts(p, pk) || d.dir.Snapshot().Hidden.Hides(pk, d.isLocal) {
		return nil
	}
	return d.net.cloned(&f.Frame)
}

// emit sends what the director made of a frame, nil if it acts by itself, and
// reports whether f itself was among it. What it declined its host has seen.
func (d *Director) emit(f *frame) (kept bool) {
	for _, g := range d.out.Tx {
		own := f
		if f == nil || g != &f.Frame {
			own = d.net.cloned(g)
		} else {
			kept = true
		}
		d.transmitOn(own)
	}
	d.says.event = nil // what follows is the host's own doing
	for _, g := range d.out.Host {
		own := d.net.cloned(g)
		d.input(d.ports[own.Port], own)
	}
	return kept
}

// cloned copies a frame of the director's own into one of the network's.
func (n *Net) cloned(g *wire.Frame) *frame {
	f := n.frame(g.Len())
	f.CopyFrom(g)
	return f
}

func (d *Director) transmitOn(f *frame) {
	if f.Port < 0 || f.Port >= len(d.ports) {
		d.drop(f, "no such port")
		return
	}
	d.ports[f.Port].send(f)
}

// tick does the director's and control's timed work.
func (d *Director) tick() {
	now := d.net.now
	d.out.Reset()
	next := d.worker.Tick(now, &d.out).Min(d.ctl.Tick(now)).Min(d.ctl.SyncTick(now))
	d.emit(nil)
	d.timer.Set(max(next, now+1))
}

// wake makes tick happen at t, or sooner if it will anyway.
func (d *Director) wake(t clock.Instant) {
	if t < d.timer.Deadline() {
		d.timer.Set(max(t, d.net.now+1))
	}
}

// Exec runs a command on the director's host: what a Host understands, and
// ipvsadm, iptables, ip6tables and sysctl (of net.ipv4.vs) in production's grammar.
func (d *Director) Exec(command string) Result { return d.ExecInput(command, "") }

// ExecInput is Exec with standard input for the command, which ipvsadm -R and
// ipvsadm-restore read.
func (d *Director) ExecInput(command, stdin string) Result {
	w, err := words(command)
	switch {
	case err != nil:
		return failed(2, "%v", err)
	case !d.Running():
		return d.silent()
	}
	if len(w) > 0 && w[0] == "sudo" {
		w = w[1:]
	}
	if len(w) > 1 && w[0] == "usvs" {
		switch {
		case w[1] == "vrrp" || w[1] == "health":
			return d.commandKeepalived(w[1])
		case directorCommand(w[1:]):
			w = w[1:]
		}
	}
	if !directorCommand(w) {
		return d.run(w)
	}
	r := d.directorCommand(w, stdin)
	d.timer.Set(d.net.now)
	return r
}

func directorCommand(w []string) bool {
	if len(w) == 0 {
		return false
	}
	switch w[0] {
	case "sysctl":
		return slices.ContainsFunc(w[1:], sysctl.Ours) // others are the host's
	case "ipvsadm", "ipvsadm-save", "ipvsadm-restore", "iptables", "ip6tables", "iptables-legacy", "ip6tables-legacy":
		return true
	}
	return false
}

func (d *Director) directorCommand(w []string, input string) Result {
	var out, errs strings.Builder
	stdin := strings.NewReader(input)
	var status int
	switch w[0] {
	case "ipvsadm":
		status = ipvsadm.Run(w, d.ctl, nil, stdin, &out, &errs)
	case "sysctl":
		status = sysctl.Run(w[1:], d.ctl, &out, &errs)
	case "ipvsadm-save":
		status = ipvsadm.RunSave(w[1:], d.ctl, nil, stdin, &out, &errs)
	case "ipvsadm-restore":
		status = ipvsadm.RunRestore(w[1:], d.ctl, nil, stdin, &out, &errs)
	default:
		return d.iptables(strings.HasPrefix(w[0], "ip6"), w[1:])
	}
	return Result{Stdout: out.String(), Stderr: errs.String(), Status: status}
}

func (d *Director) iptables(v6 bool, w []string) Result {
	out, err := d.ctl.Iptables(v6, w)
	var refused *control.IptablesError
	switch {
	case errors.As(err, &refused):
		return Result{Stdout: out, Stderr: refused.Error() + "\n", Status: refused.ExitStatus()}
	case err != nil:
		return failed(1, "%v", err)
	}
	return Result{Stdout: out}
}

// Load makes the state what a rules file says, like `usvs run --rules`.
func (d *Director) Load(name, rules string) error {
	defer d.timer.Set(d.net.now)
	return d.ctl.Load(name, strings.NewReader(rules))
}
