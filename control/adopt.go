package control

import (
	"errors"
	"fmt"
	"slices"

	"usvs/ipvs"
)

// adoption applies the differences between the running state and the one a
// scratch Control was told, and says what it does. The scratch accepted it
// all, so errors are for what depends on the running state: a full registry,
// or a scheduler that cannot take over the servers there are.
type adoption struct {
	*Control
	errs    []error
	changes int // that were applied
}

// mostLogged is how many differences are logged one by one.
const mostLogged = 1000

// adopt makes the state what want has. It is published once, at the end.
func (c *Control) adopt(want *Control) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held++
	a := &adoption{Control: c}
	a.sysctls(want)
	a.services(want)
	a.marks(want)
	a.timeouts(want.cfg.Conns.Timeouts())
	a.daemons(want)
	if more := a.changes - mostLogged; more > 0 {
		a.cfg.Log.Info("further services and servers changed", "changes", more)
	}
	c.held--
	c.publishLocked()
	return errors.Join(a.errs...)
}

// did logs a difference that was applied, or keeps the error.
func (a *adoption) did(err error, what string, svc *service, args ...any) {
	if err != nil {
		a.errs = append(a.errs, fmt.Errorf("service %v: %w", svc.vs.ID, err))
		return
	}
	if a.changes++; a.changes > mostLogged {
		return
	}
	a.cfg.Log.Info(what, append([]any{"service", svc.vs.ID}, args...)...)
}

func (a *adoption) services(want *Control) {
	for _, svc := range slices.Clone(a.Control.services) {
		if want.byID[svc.vs.ID] == nil {
			a.deleteServiceLocked(svc)
			a.did(nil, "service removed", svc)
		}
	}
	for _, w := range want.services {
		svc := a.byID[w.vs.ID]
		if svc == nil {
			var err error
			svc, err = a.addServiceLocked(w.vs.ID, w.spec)
			a.did(err, "service added", w)
			if err != nil {
				continue
			}
		}
		a.service(svc, w)
	}
}

// service makes svc what w is. Servers that go, go before a change of the
// scheduler, and new ones come after it, oldest first as in the file.
func (a *adoption) service(svc, w *service) {
	for _, srv := range slices.Clone(svc.servers) {
		if id := srv.rs.ID; w.find(id) < 0 {
			a.did(a.deleteServerLocked(svc, id), "server removed", svc, "server", id)
		}
	}
	if svc.spec != w.spec {
		a.did(a.editServiceLocked(svc, w.spec), "service changed", svc)
	}
	for _, srv := range slices.Backward(w.servers) {
		id, spec := srv.rs.ID, srv.rs.Spec()
		switch i := svc.find(id); {
		case i < 0:
			a.did(a.addServerLocked(svc, id, spec), "server added", svc, "server", id)
		case svc.servers[i].rs.Spec() != spec:
			a.did(a.editServerLocked(svc, id, spec), "server changed", svc, "server", id)
		}
	}
}

// timeouts applies what the file sets; 0 is what it does not mention.
func (a *adoption) timeouts(t ipvs.Timeouts) {
	if t != (ipvs.Timeouts{}) {
		a.setTimeoutsLocked(t)
	}
}
