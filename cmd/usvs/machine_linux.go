package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"usvs/clock"
	"usvs/host"
	"usvs/ipvs"
	"usvs/keepalived"
	lvs "usvs/node"
	"usvs/node/machine"
)

// openMachine makes the node that runs by a keepalived.conf.
func (n *node) openMachine(conf *keepalived.Config, f runFlags) (err error) {
	n.machine, err = machine.Open(machine.Config{
		Clock: n.clock, Log: n.log, Detail: f.detail,
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
	n.reload = func() error { return n.reloadKeepalived(f) }
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
		n.machine.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// reloadKeepalived reads the keepalived.conf again. One with errors changes
// nothing.
func (n *node) reloadKeepalived(f runFlags) error {
	conf, report, err := readKeepalived(f.keepalived, f.configID, n.log)
	if err != nil {
		return err
	}
	if worstClass(report) >= keepalived.Invalid {
		return fmt.Errorf("%s has errors", f.keepalived)
	}
	err = errors.New("nothing was done")
	if doErr := n.machine.Do(context.Background(), func(now clock.Instant, node *lvs.Node) { err = node.Reload(now, conf) }); doErr != nil {
		return doErr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.keepalived, err)
	}
	n.warnOfInterfaces(conf)
	n.log.Info("configuration read again", "file", f.keepalived)
	return nil
}

// warnOfInterfaces says which interfaces a new configuration needs that the
// director does not run on: they are chosen at start.
func (n *node) warnOfInterfaces(conf *keepalived.Config) {
	list, err := impliedInterfaces(conf, hostNetwork{host.InterfaceTo, host.InterfaceWith})
	if err != nil {
		n.log.Warn("interfaces of the new configuration", "err", err)
	}
	for _, i := range list {
		if !slices.Contains(n.names, i.name) {
			n.log.Warn("the director does not run on an interface that the configuration needs: restart it", "interface", i.name, "for", i.why)
		}
	}
}

// errNoNode answers questions about VRRP and health checks.
var errNoNode = fmt.Errorf("this director runs without VRRP and health checks: start it with usvs run --keepalived FILE: %w", ipvs.ErrNotReady)

// nodeStatus is what usvs vrrp and usvs health show.
func (n *node) nodeStatus(ctx context.Context) (any, error) {
	if n.machine == nil {
		return nil, errNoNode
	}
	var s lvs.Status
	err := n.machine.Do(ctx, func(now clock.Instant, node *lvs.Node) { s = node.Status(now) })
	return s, err
}
