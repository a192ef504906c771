package api

import (
	"errors"
	"net/http"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

// batchRequest is many changes, to be made in their order.
type batchRequest struct {
	Changes []batchChange `json:"changes"`
}

type batchChange struct {
	Action     ipvsadm.Action `json:"action"`
	Service    serviceID      `json:"service"`
	Spec       *serviceSpec   `json:"spec,omitempty"`
	Server     *serverID      `json:"server,omitempty"`
	ServerSpec *serverSpec    `json:"server_spec,omitempty"`
}

// batchReply has the changes that failed.
type batchReply struct {
	Failed []batchFailure `json:"failed,omitempty"`
}

type batchFailure struct {
	Index int    `json:"index"` // in the request
	Error *Error `json:"error"`
}

func toBatchChange(c *ipvsadm.Change) batchChange {
	out := batchChange{Action: c.Action, Service: serviceID(c.Service)}
	switch c.Action {
	case ipvsadm.AddService, ipvsadm.EditService:
		spec := serviceSpec(c.Spec)
		out.Spec = &spec
	case ipvsadm.AddServer, ipvsadm.EditServer:
		spec := toServerSpec(c.ServerSpec)
		out.ServerSpec = &spec
		fallthrough
	case ipvsadm.DeleteServer:
		id := serverID(c.Server)
		out.Server = &id
	}
	return out
}

// change is the reverse; what is missing is zero.
func (b *batchChange) change() ipvsadm.Change {
	c := ipvsadm.Change{Action: b.Action, Service: ipvs.ServiceID(b.Service)}
	if b.Spec != nil {
		c.Spec = ipvs.ServiceSpec(*b.Spec)
	}
	if b.Server != nil {
		c.Server = ipvs.ServerID(*b.Server)
	}
	if b.ServerSpec != nil {
		c.ServerSpec = b.ServerSpec.spec()
	}
	return c
}

// Batch makes changes in one exchange. If that fails, each of them fails so.
func (c *Client) Batch(changes []ipvsadm.Change) []error {
	q := batchRequest{make([]batchChange, len(changes))}
	for i := range changes {
		q.Changes[i] = toBatchChange(&changes[i])
	}
	var a batchReply
	errs := make([]error, len(changes))
	if err := c.post("batch", q, &a); err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	for _, f := range a.Failed {
		if f.Index >= 0 && f.Index < len(errs) && f.Error != nil {
			errs[f.Index] = f.Error
		}
	}
	return errs
}

var _ ipvsadm.Batcher = (*Client)(nil)

// serveBatch routes batches to b, which makes the changes together if it can.
func serveBatch(mux *http.ServeMux, b ipvsadm.Backend) {
	mux.Handle("POST /v1/batch", call(func(q batchRequest) (batchReply, error) {
		changes := make([]ipvsadm.Change, len(q.Changes))
		for i := range q.Changes {
			changes[i] = q.Changes[i].change()
		}
		return failuresOf(makeChanges(b, changes))
	}))
}

func makeChanges(b ipvsadm.Backend, changes []ipvsadm.Change) []error {
	if batcher, ok := b.(ipvsadm.Batcher); ok {
		return batcher.Batch(changes)
	}
	errs := make([]error, len(changes))
	for i := range changes {
		errs[i] = changes[i].Apply(b)
	}
	return errs
}

// failuresOf lists what failed. A backend that cannot be talked to is the
// failure of the whole.
func failuresOf(errs []error) (batchReply, error) {
	var a batchReply
	for i, err := range errs {
		if errors.Is(err, ipvsadm.ErrUnreachable) {
			return a, err
		}
		if err != nil {
			e, _ := toError(err)
			a.Failed = append(a.Failed, batchFailure{i, e})
		}
	}
	return a, nil
}
