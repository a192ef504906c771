package conntrack

import (
	"slices"

	"usvs/clock"
	"usvs/ipvs"
)

// App is a helper for an application whose packets carry addresses.
type App uint8

const (
	AppNone App = iota
	AppFTP      // ipvs.md 5.8
)

// Seq is how one direction's sequence numbers differ on both sides of the
// director since a helper changed the length of what was sent: by Delta after
// Init, by Previous up to it (ipvs.md 5.8).
type Seq struct {
	Init     uint32
	Delta    int32
	Previous int32
}

// Grow notes that data at seq, as its sender numbers it, became diff bytes
// longer. Of data sent before that was noted already.
func (q *Seq) Grow(seq uint32, diff int32) {
	if diff == 0 || q.Delta != q.Previous && !after(seq, q.Init) {
		return
	}
	*q = Seq{Init: seq, Delta: q.Delta + diff, Previous: q.Delta}
}

// Offset is what to add to the sender's sequence number seq.
func (q *Seq) Offset(seq uint32) int32 {
	if after(seq, q.Init) {
		return q.Delta
	}
	return q.Previous
}

// AckOffset is what to take off ack, by which the receiver acknowledges the
// changed data, for the sender.
func (q *Seq) AckOffset(ack uint32) int32 {
	if after(ack-uint32(q.Previous), q.Init) {
		return q.Delta
	}
	return q.Previous
}

// Zero reports whether sequence numbers are the same on both sides.
func (q *Seq) Zero() bool { return q.Delta == 0 && q.Previous == 0 }

func after(a, b uint32) bool { return int32(a-b) > 0 }

// SetFTPPorts says which virtual ports make a masqueraded TCP connection that
// is opened from now on one with the FTP helper.
func (t *Table) SetFTPPorts(ports []uint16) {
	ports = slices.Clone(ports)
	t.ftpPorts.Store(&ports)
}

// Helper is the FTP helper at one virtual port.
type Helper struct {
	Port  uint16
	Conns int // that have it
}

// Helpers lists the FTP helper's ports. It goes through the whole table.
func (t *Table) Helpers(now clock.Instant) []Helper {
	var list []Helper
	for _, p := range *t.ftpPorts.Load() {
		list = append(list, Helper{Port: p})
	}
	t.Walk(now, func(c *Conn) bool {
		if i := slices.IndexFunc(list, func(h Helper) bool { return h.Port == c.Virtual.Port() }); i >= 0 && c.App == AppFTP {
			list[i].Conns++
		}
		return true
	})
	return list
}

// app is the helper of a new connection (ipvs.md 2.3).
func (t *Table) app(n *Spec) App {
	if n.Protocol != ipvs.TCP || n.Method != ipvs.Masquerade || n.Template ||
		!slices.Contains(*t.ftpPorts.Load(), n.Virtual.Port()) {
		return AppNone
	}
	return AppFTP
}

// sided reports whether a new entry needs a side record.
func sided(n *Spec, app App) bool {
	return app != AppNone || n.engine() || n.InSeq != Seq{} || n.OutSeq != Seq{}
}
