package control

import (
	"fmt"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

var _ ipvsadm.Batcher = (*Control)(nil)

// Batch makes changes in their order and publishes them together. What one is
// refused for does not keep the others from being made.
func (c *Control) Batch(changes []ipvsadm.Change) []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := make([]error, len(changes))
	c.held++
	for i := range changes {
		errs[i] = c.changeLocked(&changes[i])
	}
	c.releaseLocked()
	return errs
}

// Together publishes once, when do returns, what changes meanwhile. do may call
// any method; what it is told of the state is up to date.
func (c *Control) Together(do func()) {
	c.mu.Lock()
	c.held++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.releaseLocked()
	}()
	do()
}

// releaseLocked ends a transaction.
func (c *Control) releaseLocked() {
	c.held--
	if c.pending {
		c.publishLocked()
	}
}

// change makes one change and publishes.
func (c *Control) change(ch ipvsadm.Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changeLocked(&ch)
}

func (c *Control) changeLocked(ch *ipvsadm.Change) error {
	if err := c.makeLocked(ch); err != nil {
		return fmt.Errorf("%v: %w", ch, err)
	}
	c.publishLocked()
	return nil
}

func (c *Control) makeLocked(ch *ipvsadm.Change) error {
	if ch.Action == ipvsadm.AddService {
		_, err := c.addServiceLocked(ch.Service, ch.Spec)
		return err
	}
	svc, err := c.serviceLocked(ch.Service)
	if err != nil {
		return err
	}
	switch ch.Action {
	case ipvsadm.EditService:
		return c.editServiceLocked(svc, ch.Spec)
	case ipvsadm.DeleteService:
		c.deleteServiceLocked(svc)
		return nil
	case ipvsadm.AddServer:
		return c.addServerLocked(svc, ch.Server, ch.ServerSpec)
	case ipvsadm.EditServer:
		return c.editServerLocked(svc, ch.Server, ch.ServerSpec)
	case ipvsadm.DeleteServer:
		return c.deleteServerLocked(svc, ch.Server)
	}
	return ipvs.ErrInvalid
}
