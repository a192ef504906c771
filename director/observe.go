package director

import (
	"slices"

	"usvs/clock"
	"usvs/link"
)

// Event tells what became of one frame: the frame as it came, and every frame
// that left because of it.
type Event struct {
	Now    clock.Instant
	Port   int
	Before []byte
	After  []Emitted
	Reason Reason
	Server string // the real server's address and port, if one was involved
	Method string // its forwarding method
}

// Emitted is one frame that left.
type Emitted struct {
	Port int
	Host bool // handed to the host's own stack
	Data []byte
}

// Observer receives events. It is called by workers, possibly several at once,
// must not block, and must not change the event.
type Observer func(*Event)

// Observe makes o see every frame from now on, besides other observers, until
// stop is called. Observation copies frames and is meant for looking, not for
// production load.
func (d *Director) Observe(o Observer) (stop func()) {
	mine := &o
	d.observe(func(list []*Observer) []*Observer { return append(slices.Clone(list), mine) })
	return func() {
		d.observe(func(list []*Observer) []*Observer {
			return slices.DeleteFunc(slices.Clone(list), func(x *Observer) bool { return x == mine })
		})
	}
}

func (d *Director) observe(change func([]*Observer) []*Observer) {
	for {
		old := d.observers.Load()
		var list []*Observer
		if old != nil {
			list = *old
		}
		if list = change(list); len(list) == 0 {
			if d.observers.CompareAndSwap(old, nil) {
				return
			}
		} else if d.observers.CompareAndSwap(old, &list) {
			return
		}
	}
}

// observed handles f like frame, and reports it.
func (w *Worker) observed(to []*Observer, f *link.Frame) {
	ev := &Event{Now: w.now, Port: f.Port, Before: append([]byte(nil), f.Bytes()...)}
	w.c.Server, w.seen = nil, Passed
	tx, host := len(w.out.Tx), len(w.out.Host)
	w.frame(f)
	for _, g := range w.out.Tx[tx:] {
		ev.After = append(ev.After, Emitted{Port: g.Port, Data: append([]byte(nil), g.Bytes()...)})
	}
	for _, g := range w.out.Host[host:] {
		ev.After = append(ev.After, Emitted{Port: g.Port, Host: true, Data: append([]byte(nil), g.Bytes()...)})
	}
	ev.Reason = w.seen
	if rs := w.c.Server; rs != nil {
		ev.Server, ev.Method = rs.ID.String(), w.c.Method.String()
	}
	for _, o := range to {
		(*o)(ev)
	}
}
