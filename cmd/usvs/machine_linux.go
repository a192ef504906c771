package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"usvs/clock"
	"usvs/health"
	"usvs/host"
	"usvs/ipvs"
	"usvs/keepalived"
	lvs "usvs/node"
	"usvs/node/machine"
	"usvs/vrrp"
)

// openMachine makes the node that runs by a keepalived.conf.
func (n *node) openMachine(conf *keepalived.Config, f runFlags) (err error) {
	n.machine, err = machine.Open(machine.Config{
		Clock: n.clock, Log: n.log, Detail: f.detail, Director: n.dir,
		New: func(w lvs.World) (*lvs.Node, error) {
			return lvs.New(lvs.Config{
				Keepalived: conf, Control: n.ctl, World: w,
				Rand: rand.New(rand.NewPCG(seed(), seed())), Hostname: shortHostname(),
			})
		},
	})
	if err != nil {
		return fmt.Errorf("%s: %w", f.keepalived, err)
	}
	n.conf = conf
	var one sync.Mutex // at a time: signals and the control socket ask for it
	n.reload = func() error {
		one.Lock()
		defer one.Unlock()
		return n.reloadKeepalived(f.conf)
	}
	return nil
}

// startMachine lets the node live, if there is one. What it returns ends it and
// waits for the end.
func (n *node) startMachine() (stop func()) {
	if n.machine == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer n.flushLog() // before what a panic says
		n.machine.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// reloadKeepalived reads the keepalived.conf again. One with errors changes
// nothing.
func (n *node) reloadKeepalived(f *confFile) error {
	if f.name == "-" {
		return errors.New("the configuration came from standard input and cannot be read again")
	}
	conf, report, err := f.read()
	if err != nil {
		return err
	}
	if worstClass(report) >= keepalived.Invalid {
		return fmt.Errorf("%s has errors", f.name)
	}
	err = errors.New("nothing was done")
	if doErr := n.machine.Do(context.Background(), func(now clock.Instant, node *lvs.Node) { err = node.Reload(now, conf) }); doErr != nil {
		return doErr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	n.log.Info("configuration read again", "file", f.name)
	n.warnOfInterfaces(news(conf, n.conf))
	n.conf = conf
	return nil
}

// warnOfInterfaces says which interfaces a new configuration needs that the
// director does not run on: they are chosen at start.
func (n *node) warnOfInterfaces(conf *keepalived.Config) {
	list, err := impliedInterfaces(conf, hostNetwork{host.InterfaceTo, host.InterfaceWith})
	if err != nil && !errors.Is(err, errNoInterface) {
		n.log.Warn("interfaces of the new configuration", "err", err)
	}
	for _, i := range list {
		if !slices.Contains(n.names, i.name) {
			n.log.Warn("the director forwards nothing on an interface that the configuration needs, though VRRP works there: restart usvs", "interface", i.name, "for", i.why)
		}
	}
}

// errNoNode answers questions about VRRP and health checks.
var errNoNode = fmt.Errorf("%w: this director runs without VRRP and health checks; start it with usvs run --keepalived FILE", ipvs.ErrNotReady)

// nodeStatus is what usvs vrrp and usvs health show.
func (n *node) nodeStatus(ctx context.Context) (any, error) {
	if n.machine == nil {
		return nil, errNoNode
	}
	var s lvs.Status
	if err := n.machine.Do(ctx, func(now clock.Instant, node *lvs.Node) { s = node.Status(now) }); err != nil {
		return nil, err // and s may be written later
	}
	return s, nil
}

// machineStatus adds what the node counts: usvs vrrp and usvs health say more.
func (n *node) machineStatus(groups map[string]map[string]uint64) {
	if n.machine == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusPatience)
	defer cancel()
	var s lvs.Status
	if n.machine.Do(ctx, func(now clock.Instant, node *lvs.Node) { s = node.Status(now) }) != nil {
		return
	}
	for i := range s.VRRP.Instances {
		groups["vrrp "+s.VRRP.Instances[i].Name] = instanceCounters(&s.VRRP.Instances[i])
	}
	groups["health"] = healthCounters(&s.Health)
}

// statusPatience is how long usvs status waits for a node that is busy.
const statusPatience = time.Second

func instanceCounters(in *vrrp.InstanceStatus) map[string]uint64 {
	return map[string]uint64{
		"state " + in.State.String(): 1, "priority": uint64(in.Priority),
		"adverts sent": in.Stats.Sent, "adverts received": in.Stats.Received,
		"became master": in.Stats.BecameMaster, "released master": in.Stats.ReleasedMaster,
		"adverts refused": in.Stats.PacketLength + in.Stats.TTL + in.Stats.Version + in.Stats.Type + in.Stats.Checksum +
			in.Stats.AuthType + in.Stats.AuthFailure + in.Stats.AdvertInterval + in.Stats.AddressList + in.Stats.Destination + in.Stats.Peer,
	}
}

func healthCounters(h *health.Status) map[string]uint64 {
	m := map[string]uint64{"virtual servers with quorum": 0, "virtual servers without quorum": 0, "real servers up": 0, "real servers down": 0, "attempts": 0, "failures": 0}
	count := func(up bool, yes, no string) {
		if up {
			m[yes]++
			return
		}
		m[no]++
	}
	for _, vs := range h.Services {
		count(vs.Up, "virtual servers with quorum", "virtual servers without quorum")
		for _, rs := range vs.Servers {
			count(rs.Up, "real servers up", "real servers down")
			for _, c := range rs.Checks {
				m["attempts"] += c.Attempts
				m["failures"] += c.Failures
			}
		}
	}
	return m
}
