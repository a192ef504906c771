package show

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"usvs/dissect"
	"usvs/netsim"
	"usvs/wire"
)

//go:embed page.html
var pageHTML string

// pageMark is where the page's data belongs.
const pageMark = "/*DATA*/null"

// page is the data of the page.
type page struct {
	Title  string            `json:"title"`
	Seed   uint64            `json:"seed"`
	Nodes  []pageNode        `json:"nodes"`
	Links  []pageLink        `json:"links"`
	Frames []pageFrame       `json:"frames"`
	States []json.RawMessage `json:"states"`
	More   int               `json:"more"`
	Log    []pageLog         `json:"log"`
}

type pageNode struct {
	Name  string     `json:"name"`
	Kind  string     `json:"kind"` // switch, router, director, server, host
	Ports []pagePort `json:"ports,omitempty"`
}

type pagePort struct {
	Name  string   `json:"name"`
	MAC   string   `json:"mac"`
	Addrs []string `json:"addrs"`
}

type pageLink struct {
	Name string `json:"name"`
	A    int    `json:"a"` // indexes of nodes
	B    int    `json:"b"`
}

type pageLog struct {
	At   int64  `json:"at"`
	Who  string `json:"who"`
	Text string `json:"text"`
}

// pageFrame is a frame. Times are microseconds since the start.
type pageFrame struct {
	At      float64         `json:"at"`
	Link    int             `json:"link"`
	From    int             `json:"from"` // indexes of nodes
	To      int             `json:"to"`
	Line    string          `json:"line"`
	Fate    string          `json:"fate,omitempty"` // if it does not simply arrive
	Lost    bool            `json:"lost,omitempty"`
	Cause   int             `json:"cause"`  // index of the frame because of which it was sent, or -1
	Before  int             `json:"before"` // index of the frame that became this one, or -1
	Fields  []dissect.Field `json:"fields"`
	Notes   []string        `json:"notes,omitempty"`
	Verdict string          `json:"verdict,omitempty"` // of the director it arrives at
	Drop    bool            `json:"drop,omitempty"`
	Knows   []int           `json:"knows"` // by node: index of what it knew when the frame was sent
}

// WritePage writes one self-contained HTML page that steps through the run.
func (r *Recording) WritePage(w io.Writer, title string) error {
	data, err := json.Marshal(r.page(title)) // which leaves no "<" in it
	if err != nil {
		return err
	}
	before, after, ok := strings.Cut(pageHTML, pageMark)
	if !ok {
		panic("show: page.html has no place for data")
	}
	for _, part := range []string{before, string(data), after} {
		if _, err := io.WriteString(w, part); err != nil {
			return err
		}
	}
	return nil
}

func (r *Recording) page(title string) *page {
	p := &page{Title: title, Seed: r.net.Seed(), More: r.more}
	nodes, links := map[netsim.Node]int{}, map[*netsim.Link]int{}
	roles := r.roles()
	for i, n := range r.net.Nodes() {
		nodes[n] = i
		p.Nodes = append(p.Nodes, pageNode{Name: n.Name(), Kind: kind(n, roles), Ports: pagePorts(n)})
	}
	for i, l := range r.net.Links() {
		a, b := l.Ends()
		links[l] = i
		p.Links = append(p.Links, pageLink{l.Name(), nodes[a.Node()], nodes[b.Node()]})
	}
	for _, s := range r.states {
		p.States = append(p.States, json.RawMessage(s))
	}
	for _, e := range r.net.Log() {
		p.Log = append(p.Log, pageLog{netsim.Since(e.At).Microseconds(), e.Who, e.Text})
	}
	p.Frames = r.frames(nodes, links)
	return p
}

// roles are what nodes turned out to be: servers are those a director chose,
// routers those that sent on what others sent.
func (r *Recording) roles() map[netsim.Node]string {
	chosen := map[netip.Addr]bool{}
	for _, s := range r.shots {
		if v := s.rec.Verdict; v != nil && v.Server != "" {
			if rip, err := netip.ParseAddrPort(v.Server); err == nil {
				chosen[rip.Addr()] = true
			}
		}
	}
	roles := map[netsim.Node]string{}
	for _, h := range r.hops() {
		if h.before != nil {
			roles[h.from] = "router"
		}
	}
	for _, n := range r.net.Nodes() {
		for _, p := range ports(n) {
			if slices.ContainsFunc(p.Addrs(), func(a netip.Prefix) bool { return chosen[a.Addr()] }) {
				roles[n] = "server"
			}
		}
	}
	return roles
}

func kind(n netsim.Node, roles map[netsim.Node]string) string {
	switch n.(type) {
	case *netsim.Switch:
		return "switch"
	case *netsim.Director:
		return "director"
	}
	return cmp.Or(roles[n], "host")
}

func pagePorts(n netsim.Node) (list []pagePort) {
	for _, p := range ports(n) {
		pp := pagePort{Name: p.Name(), MAC: p.MAC().String(), Addrs: []string{}}
		for _, a := range p.Addrs() {
			pp.Addrs = append(pp.Addrs, a.String())
		}
		list = append(list, pp)
	}
	return list
}

// frames describes every frame that was kept.
func (r *Recording) frames(nodes map[netsim.Node]int, links map[*netsim.Link]int) []pageFrame {
	index := map[*netsim.Record]int{nil: -1}
	first := map[string]int{} // a frame's bytes, to the latest index
	before := r.befores()
	list := make([]pageFrame, 0, len(r.shots))
	for i, s := range r.shots {
		rec := s.rec
		index[rec] = i
		f := pageFrame{
			At: float64(netsim.Since(rec.Sent)) / 1e3, Link: links[rec.Link], From: nodes[rec.From.Node()], To: nodes[rec.To.Node()],
			Line: dissect.Line(rec.Data, wire.Ethernet), Lost: !rec.Fate.Arrives(), Cause: -1, Before: -1,
			Fields: dissect.Fields(rec.Data, wire.Ethernet), Notes: rec.Notes, Knows: s.knows,
		}
		if k, ok := index[rec.Cause]; ok {
			f.Cause = k
		}
		if isSwitch(rec.From.Node()) {
			f.Before = f.Cause
		} else if k, ok := first[string(before[rec])]; ok && before[rec] != nil {
			f.Before = k
		}
		if rec.Fate != netsim.Delivered {
			f.Fate = rec.Fate.String()
		}
		if v := rec.Verdict; v != nil {
			f.Verdict, f.Drop = verdict(rec), v.Reason.Dropped()
		}
		first[string(rec.Data)] = i
		list = append(list, f)
	}
	return list
}

// befores are, for the frames that a director or router sent on, what came in.
func (r *Recording) befores() map[*netsim.Record][]byte {
	all := map[*netsim.Record][]byte{}
	for _, h := range r.hops() {
		all[origin(h.rec)] = h.before
	}
	return all
}

func verdict(rec *netsim.Record) string {
	v := rec.Verdict
	s := strings.ReplaceAll(v.Reason.String(), "_", " ")
	if v.Server != "" {
		s += fmt.Sprintf(", real server %s (%s)", v.Server, v.Method)
	}
	return s
}
