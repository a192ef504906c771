package ipvs

import "sync/atomic"

// Watch has the servers that may have become a better choice since a scheduler
// looked at them last: an end of a connection, or an edit, tells it of its
// server, once until that is taken. It spares the scheduler of many servers to
// look at all of them.
//
// Anyone may tell it of servers at any time, without a lock; Take and Follow
// are for its one scheduler. A server tells the Watch that followed it last.
type Watch struct {
	head atomic.Pointer[Note]
}

// Note is a server's entry in a Watch, under the number it goes by there.
type Note struct {
	place  int
	watch  *Watch
	listed atomic.Bool
	next   *Note // in the Watch; the one's who set listed
}

// Notes returns n notes, for the servers 0 to n-1.
func (w *Watch) Notes(n int) []Note {
	notes := make([]Note, n)
	for i := range notes {
		notes[i].place, notes[i].watch = i, w
	}
	return notes
}

// Follow has rs written down on n from now on. A note may have been another
// server's before, of which it may still tell.
func (w *Watch) Follow(rs *RealServer, n *Note) { rs.note.Store(n) }

// Take empties the Watch and returns the first of what it had, or nil.
func (w *Watch) Take() *Note {
	if w.head.Load() == nil {
		return nil
	}
	return w.head.Swap(nil)
}

// Release returns which server a note that was taken is of, and the note behind
// it, or nil. What the server has counted before is to be read afterwards: from
// now on it may be noted again.
func (n *Note) Release() (place int, next *Note) {
	place, next = n.place, n.next
	n.next = nil
	n.listed.Store(false)
	return place, next
}

// eased tells the scheduler, if it wants to know, that rs may be a better choice
// than it was. It comes behind the change: if the note is still listed then, the
// scheduler has yet to look.
func (rs *RealServer) eased() {
	n := rs.note.Load()
	if n == nil || n.listed.Load() || !n.listed.CompareAndSwap(false, true) {
		return
	}
	for {
		n.next = n.watch.head.Load()
		if n.watch.head.CompareAndSwap(n.next, n) {
			return
		}
	}
}
