package ipvsadm

import (
	"fmt"

	"usvs/ipvs"
)

// Action is what a Change does.
type Action uint8

// The commands -A, -E, -D, -a, -e and -d.
const (
	AddService Action = iota + 1
	EditService
	DeleteService
	AddServer
	EditServer
	DeleteServer
)

// Change is a command that changes one service or one of its servers. What the
// action has no use for is zero.
type Change struct {
	Action     Action
	Service    ipvs.ServiceID
	Spec       ipvs.ServiceSpec
	Server     ipvs.ServerID
	ServerSpec ipvs.ServerSpec
}

// Batcher is a Backend that makes many changes at the price of few. Batch makes
// them in their order, each whether or not those before it succeeded, and
// returns what the Backend's methods would have: an error, or nil, for each.
type Batcher interface {
	Batch([]Change) []error
}

// Pipeliner is a Batcher that makes changes while more of them are prepared.
// Begin is Batch, except that the changes are its own, and it returns what Batch
// would have only when wait is called. No other call comes before that.
type Pipeliner interface {
	Batcher
	Begin([]Change) (wait func() []error)
}

// Apply makes the change.
func (c *Change) Apply(b Backend) error {
	switch c.Action {
	case AddService:
		return b.AddService(c.Service, c.Spec)
	case EditService:
		return b.EditService(c.Service, c.Spec)
	case DeleteService:
		return b.DeleteService(c.Service)
	case AddServer:
		return b.AddServer(c.Service, c.Server, c.ServerSpec)
	case EditServer:
		return b.EditServer(c.Service, c.Server, c.ServerSpec)
	case DeleteServer:
		return b.DeleteServer(c.Service, c.Server)
	}
	return fmt.Errorf("change %d: %w", c.Action, ipvs.ErrInvalid)
}

// String says what the change does, for errors.
func (c *Change) String() string {
	switch c.Action {
	case AddService:
		return fmt.Sprintf("add service %v", c.Service)
	case EditService:
		return fmt.Sprintf("edit service %v", c.Service)
	case DeleteService:
		return fmt.Sprintf("delete service %v", c.Service)
	case AddServer:
		return fmt.Sprintf("add server %v of %v", c.Server, c.Service)
	case EditServer:
		return fmt.Sprintf("edit server %v of %v", c.Server, c.Service)
	case DeleteServer:
		return fmt.Sprintf("delete server %v of %v", c.Server, c.Service)
	}
	return fmt.Sprintf("change %d", c.Action)
}

// actions are the commands that are a Change.
var actions = map[command]Action{
	cmdAdd: AddService, cmdEdit: EditService, cmdDelete: DeleteService,
	cmdAddServer: AddServer, cmdEditServer: EditServer, cmdDeleteServer: DeleteServer,
}

// change is what q asks for; ok is false if that is not a Change.
func (q *request) change() (c Change, ok bool) {
	c = Change{Action: actions[q.command], Service: q.service}
	switch c.Action {
	case 0:
		return c, false
	case AddService, EditService:
		c.Spec = q.spec
	case AddServer, EditServer:
		c.Server, c.ServerSpec = q.server, q.serverSpec
	case DeleteServer:
		c.Server = q.server
	}
	return c, true
}
