package netsim

import (
	"fmt"
	"strings"

	"usvs/director"
	"usvs/ipvs"
	"usvs/wire"
)

// verdict is what a director says about the frame that it is handling, kept
// while somebody looks. It is the worker's recorder.
type verdict struct {
	event   *director.Event
	text    string // who was chosen, and why
	mark    uint32
	service *director.Service
	how     string // the connection came about, or was found
	picked  string // by what the scheduler picked
}

// explainVerdicts makes the director say what it does with frames.
func (d *Director) explainVerdicts() {
	if d.explains {
		return
	}
	d.explains = true
	d.worker.Record(append(recorders{&d.says}, d.listeners...))
	d.dir.Observe(func(ev *director.Event) {
		d.says.event = ev
		d.says.text = d.decision(ev)
	})
}

// Listen makes r hear of every decision that the director makes from now on,
// besides whoever hears of them already.
func (d *Director) Listen(r director.Recorder) {
	d.explainVerdicts()
	d.listeners = append(d.listeners, r)
	d.worker.Record(append(recorders{&d.says}, d.listeners...))
}

// recorders are several that hear of decisions.
type recorders []director.Recorder

// Record tells each of them.
func (list recorders) Record(s director.Step) {
	for _, r := range list {
		r.Record(s)
	}
}

// Record hears of a decision about the frame.
func (v *verdict) Record(s director.Step) {
	switch s.Stage {
	case director.StageMark:
		v.mark = s.Mark
	case director.StageConnection:
		if s.OK {
			v.how = "known connection"
		}
	case director.StageService:
		v.service = s.Service
	case director.StageTemplate:
		if s.OK {
			v.how = "new connection by its persistence template"
		}
	case director.StageStale:
		v.how = ""
	case director.StageSchedule:
		v.service, v.picked = s.Service, arithmetic(s)
	case director.StageScheduled:
		v.how = "new connection by " + s.Service.Spec.Scheduler
	}
}

// arithmetic is what the scheduler is about to decide by.
func arithmetic(s director.Step) string {
	e, ok := s.Service.Picker.Explain(s.Request)
	if !ok {
		return ""
	}
	parts := []string{e.Rule}
	if e.State != "" {
		parts = append(parts, e.State)
	}
	for _, f := range e.Figures {
		parts = append(parts, fmt.Sprintf("%v %s", f.Server.ID, f.Text))
	}
	return strings.Join(parts, "; ")
}

// decision says in a line what became of a frame, which service and server had
// to do with it, and how they came together.
func (d *Director) decision(ev *director.Event) string {
	v := &d.says
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", d.name, strings.ReplaceAll(ev.Reason.String(), "_", " "))
	if v.mark != 0 {
		fmt.Fprintf(&b, ", mark %d", v.mark)
	}
	svc := v.service
	if svc == nil && ev.Server != "" {
		svc = d.serviceOf(ev)
	}
	if svc != nil {
		fmt.Fprintf(&b, ", service %v", svc.VS.ID)
		if svc.Spec.Flags&ipvs.FlagPersistent != 0 {
			b.WriteString(" (persistent)")
		}
	}
	if ev.Server != "" {
		fmt.Fprintf(&b, ", server %s %s, %s", ev.Server, ev.Method, v.how)
	}
	return b.String()
}

// serviceOf finds the service of a known connection: one that has the server,
// and of several the one whose address is in the packet.
func (d *Director) serviceOf(ev *director.Event) *director.Service {
	var p wire.Packet
	if p.Parse(ev.Before, wire.Ethernet) != wire.None {
		return nil
	}
	var found *director.Service
	for _, svc := range d.dir.Snapshot().Services {
		for _, rs := range svc.Servers {
			if rs.ID.String() != ev.Server {
				continue
			}
			id := svc.VS.ID
			named := id.Mark == 0 && id.Addr == p.Dst && (id.Port == p.DstPort || id.Port == 0)
			if found == nil || named {
				found = svc
			}
		}
	}
	return found
}

// touched reports whether a verdict is worth a comment: a frame that was
// merely left alone is not.
func touched(r director.Reason) bool {
	switch r {
	case director.Passed, director.NotForUs, director.VLANTagged, director.Consumed:
		return false
	}
	return true
}

// received notes the verdict on a frame that arrived.
func (v *verdict) received(rec *Record) {
	rec.Verdict = v.event
	if v.event != nil && touched(v.event.Reason) {
		rec.note(v.text)
		if v.picked != "" {
			rec.note(v.picked)
		}
	}
}

// sent notes why the director sends a frame.
func (v *verdict) sent(rec *Record, name string) {
	ev := v.event
	if ev == nil {
		return
	}
	rec.Emitter = ev
	asks := isNeighbourMessage(rec.Data)
	switch {
	case asks && touched(ev.Reason):
		rec.note(name + ": asks for the next hop's MAC address")
	case touched(ev.Reason):
		note := v.text
		if list := Changes(ev.Before, rec.Data); len(list) > 0 && ev.Reason == director.Forwarded {
			note += "; " + strings.Join(list, ", ")
		}
		rec.note(note)
	case !asks: // an answer to ARP or neighbour discovery set it free
		rec.note(name + ": it waited for the next hop's MAC address")
	}
}

// isNeighbourMessage reports whether a frame is ARP or neighbour discovery.
func isNeighbourMessage(frame []byte) bool {
	var p wire.Packet
	return p.Parse(frame, wire.Ethernet) == wire.None && (p.EtherType == wire.TypeARP || isND(&p))
}

// Changes lists the header fields in which two frames differ, for frames of
// which one was made of the other.
func Changes(before, after []byte) []string {
	var p, q wire.Packet
	if p.Parse(before, wire.Ethernet) != wire.None || q.Parse(after, wire.Ethernet) != wire.None {
		return nil
	}
	var list []string
	changed := func(what string, old, now any) {
		if old != now {
			list = append(list, fmt.Sprintf("%s %v -> %v", what, old, now))
		}
	}
	old, now := wire.EthernetHeader(before), wire.EthernetHeader(after)
	changed("source MAC", old.Src(), now.Src())
	changed("destination MAC", old.Dst(), now.Dst())
	if p.Version == 0 || q.Version == 0 {
		return list
	}
	if q.Proto != p.Proto && tunnelled(&q) {
		return append(list, fmt.Sprintf("put into a tunnel packet %v > %v", q.Src, q.Dst))
	}
	changed("source", p.Src, q.Src)
	changed("destination", p.Dst, q.Dst)
	if p.Ports && q.Ports {
		changed("source port", p.SrcPort, q.SrcPort)
		changed("destination port", p.DstPort, q.DstPort)
	}
	changed("TTL", p.TTL, q.TTL)
	return list
}

func tunnelled(q *wire.Packet) bool {
	switch q.Proto {
	case wire.ProtoIPIP, wire.ProtoIPv6, wire.ProtoGRE, wire.ProtoUDP:
		return true
	}
	return false
}
