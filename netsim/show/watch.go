package show

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"usvs/conntrack"
	"usvs/netsim"
)

// maxFrames bounds what is kept of a run; later frames are counted only.
const maxFrames = 20000

// Recording is what is kept of a run.
type Recording struct {
	net    *netsim.Net
	shots  []shot
	more   int
	states []string       // each as JSON; no two are equal
	known  map[string]int // index in states
}

// shot is a frame, and what every node knew when it was sent.
type shot struct {
	rec   *netsim.Record
	knows []int // by node, in the order of the network: index in states
}

// Watch keeps every frame that is sent in n from now on, and with it the
// neighbour caches, the switches' stations and the directors' connections.
func Watch(n *netsim.Net) *Recording {
	r := &Recording{net: n, known: map[string]int{}}
	n.Observe(r.see)
	return r
}

// Of makes a Recording of frames alone, which is enough for ladders.
func Of(n *netsim.Net, records []*netsim.Record) *Recording {
	r := &Recording{net: n, known: map[string]int{}}
	for _, rec := range records {
		r.shots = append(r.shots, shot{rec: rec})
	}
	return r
}

func (r *Recording) see(rec *netsim.Record) {
	if len(r.shots) == maxFrames {
		r.more++
		return
	}
	s := shot{rec: rec}
	for _, node := range r.net.Nodes() {
		s.knows = append(s.knows, r.keep(knowledge(r.net, node)))
	}
	r.shots = append(r.shots, s)
}

// keep returns the index of a state, which it keeps once.
func (r *Recording) keep(s state) int {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // plain strings and numbers
	}
	i, ok := r.known[string(b)]
	if !ok {
		i = len(r.states)
		r.states = append(r.states, string(b))
		r.known[string(b)] = i
	}
	return i
}

// state is what a node knows: rows of tables, as text.
type state struct {
	Neighbours  [][]string `json:"neighbours,omitempty"`  // port, address, MAC, state
	Stations    [][]string `json:"stations,omitempty"`    // MAC, port
	Connections []connRow  `json:"connections,omitempty"` // of a director
}

// connRow is a connection or template.
type connRow struct {
	Text    []string `json:"text"`    // protocol, client, virtual, real, method, state
	Expires int64    `json:"expires"` // microseconds since the start
}

func knowledge(n *netsim.Net, node netsim.Node) (s state) {
	switch x := node.(type) {
	case *netsim.Switch:
		for _, st := range x.Stations() {
			s.Stations = append(s.Stations, []string{st.MAC.String(), st.Port.Name()})
		}
	case *netsim.Director:
		s.Neighbours = hostNeighbours(x.Host)
		for _, e := range x.Core().Neighbours.Entries(n.Now()) {
			s.Neighbours = append(s.Neighbours, []string{portName(x, e.Port), e.Addr.String(), e.MAC.String(), "usvs: " + e.State.String()})
		}
		s.Connections = connections(n, x)
	case *netsim.Host:
		s.Neighbours = hostNeighbours(x)
	}
	return s
}

func hostNeighbours(h *netsim.Host) (rows [][]string) {
	for _, e := range h.Neighbours() {
		rows = append(rows, []string{e.Port.Name(), e.Addr.String(), e.MAC.String(), e.State.String()})
	}
	return rows
}

func portName(d *netsim.Director, i int) string {
	if ifs := d.Core().Snapshot().Routes.Interfaces; i >= 0 && i < len(ifs) {
		return ifs[i].Name
	}
	return fmt.Sprint(i)
}

func connections(n *netsim.Net, d *netsim.Director) (rows []connRow) {
	d.Core().Table.Walk(n.Now(), func(c *conntrack.Conn) bool {
		kind := c.StateName()
		if c.Template() {
			kind = "template " + kind
		}
		virtual := c.Virtual.String()
		if c.Template() && c.Protocol == 0 {
			virtual = fmt.Sprintf("mark %d", c.Mark)
		}
		rows = append(rows, connRow{
			Text:    []string{c.Protocol.String(), c.Client.String(), virtual, c.Real.String(), c.Method.String(), kind},
			Expires: netsim.Since(c.Expires).Microseconds(),
		})
		return true
	})
	slices.SortFunc(rows, func(a, b connRow) int { return strings.Compare(strings.Join(a.Text, " "), strings.Join(b.Text, " ")) })
	return rows
}
