package fuzz

import (
	"time"

	"usvs/clock"
	"usvs/director"
	"usvs/link"
	"usvs/wire"
)

// race plays two workers in one step of time, always the same way: while the
// first opens a connection, the second, whose clock is ahead, lets the template
// that the first has just found end, and then makes it anew. The first gives up.
type race struct {
	core   *director.Director
	second *director.Worker
	late   clock.Instant // what the second worker's clock says
	first  []byte        // a frame that the second worker opens a connection for
	port   int
}

// templateEnds is more than a template of one second lives, and what it controls.
const templateEnds = 3 * time.Minute

// race is over when the first worker has dropped the second frame; the judge
// has left by then, for it knows of one clock only.
func (p *player) race(name string, first, second []byte) {
	if len(p.judges) == 0 || len(first) < wire.EthernetLen || len(second) < wire.EthernetLen {
		return
	}
	j := p.judges[0]
	r := &race{core: j.dir.Core(), late: p.sim.Net().Now(), first: first, port: portIndex(j.dir, name)}
	if r.port < 0 {
		return
	}
	j.off = true
	r.second = r.core.NewWorker()
	r.open()
	w := p.worker[j]
	w.Record(r)
	r.hand(w, p.sim.Net().Now(), second)
	w.Record(nil)
	p.cover.Faults["race of two workers"]++
}

// Record acts between two steps of the first worker.
func (r *race) Record(s director.Step) {
	switch {
	case s.Stage == director.StageTemplate && s.OK:
		r.late = r.late.Add(templateEnds)
		var out link.Output
		r.second.Tick(r.late, &out)
	case s.Stage == director.StageOpen && !s.OK:
		r.open()
	}
}

func (r *race) open() { r.hand(r.second, r.late, r.first) }

// hand gives a worker one frame.
func (r *race) hand(w *director.Worker, now clock.Instant, frame []byte) {
	f := wire.NewFrame(len(frame))
	f.SetBytes(frame)
	f.Port = r.port
	var out link.Output
	w.Handle(now, []*link.Frame{f}, &out)
}
