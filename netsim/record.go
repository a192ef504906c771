package netsim

import (
	"usvs/clock"
	"usvs/director"
)

// Fate is what became of a frame on a link.
type Fate uint8

// The fates of frames.
const (
	Delivered  Fate = iota
	Duplicated      // delivered, as the second of two
	Lost            // by chance
	Cut             // the link or the receiving port was down, or cut in this direction
	TooLong         // longer than the link's MTU
	Overflow        // too much waited for the link's bandwidth
)

var fateNames = [...]string{"delivered", "duplicate", "lost", "cut", "too long for the link", "link's queue full"}

// String says it in a few words.
func (f Fate) String() string { return fateNames[f] }

// Arrives reports whether the frame gets to the other end.
func (f Fate) Arrives() bool { return f <= Duplicated }

// Record is one frame on one link. Observers get it when the frame is sent;
// Fate, Arrived, Notes and Verdict may change until it has arrived and its
// receiver has dealt with it.
type Record struct {
	Seq      uint64        // counts the records of a Net, in the order of sending
	Sent     clock.Instant //
	Arrived  clock.Instant // clock.Never if it does not
	Link     *Link
	From, To *Port
	Fate     Fate
	Data     []byte // as it was sent
	Arrival  []byte // as it arrived, if a bit was turned over; else nil
	// Cause is the frame because of which this one was sent at once: what a
	// switch passed on, a director rewrote or a host answered. It is nil when a
	// timer or an application sent it.
	Cause *Record
	// Verdict is what a director did with the frame when it arrived, and
	// Emitter the verdict because of which a director sent it.
	Verdict, Emitter *director.Event
	// Notes are remarks for people: what the link did to it, what a director
	// decided. They become the comments of a pcapng file.
	Notes []string
}

func (r *Record) note(text string) { r.Notes = append(r.Notes, text) }

// Observe makes f see every frame that is sent on any link from now on. Frames
// are copied for it, and directors are asked for their reasons.
func (n *Net) Observe(f func(*Record)) {
	n.observers = append(n.observers, f)
	if len(n.observers) == 1 {
		for _, node := range n.order {
			if d, ok := node.(*Director); ok {
				d.explainVerdicts()
			}
		}
	}
}

// Recorder keeps records of frames.
type Recorder struct {
	net     *Net
	Records []*Record
}

// Record makes a Recorder that keeps every frame from now on.
func (n *Net) Record() *Recorder {
	r := &Recorder{net: n}
	n.Observe(func(rec *Record) { r.Records = append(r.Records, rec) })
	return r
}

// On lists the records of one link.
func (r *Recorder) On(l *Link) []*Record {
	var list []*Record
	for _, rec := range r.Records {
		if rec.Link == l {
			list = append(list, rec)
		}
	}
	return list
}

// record shows a frame to the observers.
func (n *Net) record(l *Link, from *Port, f *frame, at clock.Instant, fate Fate) {
	n.records++
	rec := &Record{
		Seq: n.records, Sent: n.now, Arrived: at, Link: l, From: from, To: f.to, Fate: fate,
		Data: append([]byte(nil), f.Bytes()...), Cause: n.cause,
	}
	if d, ok := from.node.(*Director); ok {
		d.says.sent(rec, d.name)
	}
	f.rec = rec
	for _, see := range n.observers {
		see(rec)
	}
}
