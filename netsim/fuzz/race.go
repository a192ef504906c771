package fuzz

import (
	"time"

	"usvs/clock"
	"usvs/director"
	"usvs/link"
	"usvs/wire"
)

// race plays two workers in one step of time, always the same way: the second
// acts between two steps of the first, whose frame comes to nothing by that.
type race struct {
	act    func(r *race, s director.Step)
	second *director.Worker
	clock  clock.Instant // of the second worker
	frame  []byte        // that the second worker is given
	port   int
}

// races are what the second worker does.
var races = map[string]func(*race, director.Step){
	"template": (*race).endTemplate,
	"helper":   (*race).askHelper,
}

// templateEnds is more than a template of one second lives, and what it controls.
const templateEnds = 3 * time.Minute

// endTemplate lets the template that the first worker has just found end, for
// the second worker's clock is ahead, and makes it anew, again and again.
func (r *race) endTemplate(s director.Step) {
	switch {
	case s.Stage == director.StageTemplate && s.OK:
		r.clock = r.clock.Add(templateEnds)
		var out link.Output
		r.second.Tick(r.clock, &out)
	case s.Stage == director.StageOpen && !s.OK:
		r.hand(r.second, r.clock, r.frame)
	}
}

// askHelper lets the connection's helper read another packet of it meanwhile.
func (r *race) askHelper(s director.Step) {
	if s.Stage == director.StageMTU {
		r.hand(r.second, r.clock, r.frame)
	}
}

// race gives the director's first worker a frame, and the second worker another
// one in between. The judge, who knows of one worker at a time, has left by then.
func (p *player) race(kind, name string, first, second []byte) {
	act := races[kind]
	if act == nil || len(p.judges) == 0 || len(first) < wire.EthernetLen || len(second) < wire.EthernetLen {
		return
	}
	j := p.judges[0]
	r := &race{act: act, clock: p.sim.Net().Now(), frame: second, port: portIndex(j.dir, name)}
	if r.port < 0 {
		return
	}
	j.off = true
	r.second = j.dir.Core().NewWorker()
	r.hand(r.second, r.clock, r.frame)
	w := p.worker[j]
	w.Record(r)
	r.hand(w, p.sim.Net().Now(), first)
	w.Record(nil)
	p.cover.Faults["race of two workers"]++
}

// Record acts between two steps of the first worker.
func (r *race) Record(s director.Step) { r.act(r, s) }

// hand gives a worker one frame.
func (r *race) hand(w *director.Worker, now clock.Instant, frame []byte) {
	f := wire.NewFrame(len(frame))
	f.SetBytes(frame)
	f.Port = r.port
	var out link.Output
	w.Handle(now, []*link.Frame{f}, &out)
}
