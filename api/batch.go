package api

import (
	"bytes"
	"errors"
	"io"
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

// change is what is asked for; what is missing is zero.
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

// Batch makes changes in as few exchanges as they fit into. If one fails, each
// of its changes fails so.
func (c *Client) Batch(changes []ipvsadm.Change) []error {
	errs := make([]error, len(changes))
	var body []byte
	for done := 0; done < len(changes); {
		var n int
		body, n = appendBatch(body[:0], changes[done:], maxBody)
		c.batch(body, errs[done:done+n])
		done += n
	}
	return errs
}

// batch makes the changes of a body, and puts into errs what failed.
func (c *Client) batch(body []byte, errs []error) {
	var a batchReply
	if err := c.exchange(http.MethodPost, "batch", bytes.NewReader(body), &a); err != nil {
		for i := range errs {
			errs[i] = err
		}
		return
	}
	for _, f := range a.Failed {
		if f.Index >= 0 && f.Index < len(errs) && f.Error != nil {
			errs[f.Index] = f.Error
		}
	}
}

// Begin is Batch without waiting: the function it returns does that.
func (c *Client) Begin(changes []ipvsadm.Change) (wait func() []error) {
	done := make(chan []error, 1)
	go func() { done <- c.Batch(changes) }()
	return func() []error { return <-done }
}

var _ ipvsadm.Pipeliner = (*Client)(nil)

// serveBatch routes batches to b, which makes the changes together if it can.
func serveBatch(mux *http.ServeMux, b ipvsadm.Backend) {
	mux.Handle("POST /v1/batch", callRead(readBatch, func(changes []ipvsadm.Change) (batchReply, error) {
		return failuresOf(makeChanges(b, changes))
	}))
}

// readBatch reads a request's body, by a shorter way if it is as a Client sends it.
func readBatch(w http.ResponseWriter, r *http.Request) ([]ipvsadm.Change, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, badBody(err)
	}
	if changes, ok := parseBatch(body); ok {
		return changes, nil
	}
	var q batchRequest
	if err := decodeText(bytes.NewReader(body), &q); err != nil {
		return nil, err
	}
	changes := make([]ipvsadm.Change, len(q.Changes))
	for i := range q.Changes {
		changes[i] = q.Changes[i].change()
	}
	return changes, nil
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
