package chaos

import (
	"slices"
	"time"
)

// State is what a director is in a virtual router.
type State string

// The states. Off is that of a machine that does not run.
const (
	Master  State = "MASTER"
	Backup  State = "BACKUP"
	InFault State = "FAULT"
	Off     State = "OFF"
)

// Transition is a change of state.
type Transition struct {
	At       time.Duration `json:"at"`
	Director int           `json:"director"` // index of Lab.Directors
	Router   int           `json:"router"`   // index of Lab.Routers
	State    State         `json:"state"`
}

// Outcome is what became of a request.
type Outcome string

// The outcomes.
const (
	OK          Outcome = "ok"
	Timeout     Outcome = "no answer"
	Refused     Outcome = "refused"
	Reset       Outcome = "reset"
	Unreachable Outcome = "unreachable"
)

// Request is one request of a client's, on a connection of its own.
type Request struct {
	At      time.Duration `json:"at"`
	Took    time.Duration `json:"took"`
	Service int           `json:"service"` // index of Lab.Services
	Client  int           `json:"client"`  // index of Lab.Clients
	Outcome Outcome       `json:"outcome"`
	// Server is who answered, or whom a director picked.
	Server string `json:"server,omitempty"`
	// Via is the director that has the connection, and To the one whose MAC
	// address the router has for the VIP; of requests that failed.
	Via string `json:"via,omitempty"`
	To  string `json:"to,omitempty"`
}

// Session is a long connection of a client's, over which something goes now and then.
type Session struct {
	Service int           `json:"service"`
	Opened  time.Duration `json:"opened"`
	Ended   time.Duration `json:"ended"` // 0: it was there to the end
	Outcome Outcome       `json:"outcome"`
	Server  string        `json:"server"`
}

// Line is a line of a log.
type Line struct {
	At   time.Duration `json:"at"`
	Who  string        `json:"who"`
	Text string        `json:"text"`
}

// History is what happened in a run.
type History struct {
	Seed        uint64
	Schedule    Schedule
	End         time.Duration
	Transitions []Transition
	Requests    []Request
	Sessions    []Session
	Log         []Line
}

// states are the stretches in which a director was in a state.
func (h *History) states(director, router int, state State) spans {
	var list []span
	since, in := time.Duration(0), false
	for _, t := range h.Transitions {
		if t.Director != director || t.Router != router {
			continue
		}
		if in {
			list = append(list, span{since, t.At})
		}
		since, in = t.At, t.State == state
	}
	if in {
		list = append(list, span{since, h.End})
	}
	return joinedSpans(list)
}

// stateAt is a director's state at a moment.
func (h *History) stateAt(director, router int, at time.Duration) State {
	state := Off
	for _, t := range h.Transitions {
		if t.Director == director && t.Router == router && t.At <= at {
			state = t.State
		}
	}
	return state
}

// Outage is a stretch in which no request to a service succeeded.
type Outage struct {
	Service int           `json:"service"`
	From    time.Duration `json:"from"`
	To      time.Duration `json:"to"`
	Failed  int           `json:"failed"` // requests
}

// Length is how long it was.
func (o Outage) Length() time.Duration { return o.To - o.From }

// Outages lists them, by service and time: each from a request that failed to
// the next that was made and did not.
func (h *History) Outages() []Outage {
	var list []Outage
	open := map[int]int{} // by service: index of the outage that goes on, plus one
	for _, r := range h.Requests {
		k := open[r.Service]
		switch {
		case r.Outcome == OK && k > 0:
			list[k-1].To = r.At
			open[r.Service] = 0
		case r.Outcome != OK && k > 0:
			list[k-1].Failed++
			list[k-1].To = r.At + r.Took
		case r.Outcome != OK:
			list = append(list, Outage{r.Service, r.At, r.At + r.Took, 1})
			open[r.Service] = len(list)
		}
	}
	slices.SortStableFunc(list, func(a, b Outage) int {
		if a.Service != b.Service {
			return a.Service - b.Service
		}
		return int(a.From - b.From)
	})
	return list
}

// Worst is the longest outage; of none, the zero Outage.
func (h *History) Worst() Outage {
	var worst Outage
	for _, o := range h.Outages() {
		if o.Length() > worst.Length() {
			worst = o
		}
	}
	return worst
}

// Failed counts the requests that failed.
func (h *History) Failed() int {
	n := 0
	for _, r := range h.Requests {
		if r.Outcome != OK {
			n++
		}
	}
	return n
}
