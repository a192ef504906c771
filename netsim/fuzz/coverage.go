package fuzz

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"usvs/conntrack"
	"usvs/director"
	"usvs/netsim/fuzz/machine"
)

// Coverage counts what occurred, over any number of cases.
type Coverage struct {
	Cases      int
	Deliveries uint64            // frames that arrived at the end of a link
	Reasons    map[string]uint64 // verdicts on frames
	Schedulers map[string]uint64 // connections, by the scheduler that gave them a server
	Methods    map[string]uint64 // frames forwarded
	States     map[string]uint64 // "TCP SYN_RECV -> ESTABLISHED"
	Cells      map[machine.Cell]uint64
	Faults     map[string]uint64 // links' and special situations
}

// NewCoverage returns an empty Coverage.
func NewCoverage() *Coverage {
	return &Coverage{
		Reasons: map[string]uint64{}, Schedulers: map[string]uint64{}, Methods: map[string]uint64{},
		States: map[string]uint64{}, Cells: map[machine.Cell]uint64{}, Faults: map[string]uint64{},
	}
}

// add adds another's counts.
func (c *Coverage) add(o *Coverage) {
	c.Cases += o.Cases
	c.Deliveries += o.Deliveries
	sumUp(c.Reasons, o.Reasons)
	sumUp(c.Schedulers, o.Schedulers)
	sumUp(c.Methods, o.Methods)
	sumUp(c.States, o.States)
	sumUp(c.Cells, o.Cells)
	sumUp(c.Faults, o.Faults)
}

func sumUp[K comparable](to, from map[K]uint64) {
	for k, n := range from {
		to[k] += n
	}
}

// transition counts a connection's change of state; old is nil if it is new.
func (c *Coverage) transition(old, now *conntrack.Conn) {
	from := "new"
	if old != nil {
		from = old.StateName()
	}
	kind := now.Protocol.String()
	if now.Template() {
		kind = "template"
	}
	c.States[kind+" "+from+" -> "+now.StateName()]++
}

// Schedulers lists all there are, in ipvsadm's names.
var Schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"}

// beyond are reasons that no case can reach, and why.
var beyond = map[director.Reason]string{
	director.DropHelperTooBig: "no server of a case announces where it listens for FTP's data: the judge foresees no connection that a helper expects",
	director.DropFragment:     "a guard: what parses as a first fragment parses when it is whole, and the reassembler refuses all else (fragment_...)",
}

// verdicts are all that have a name.
func verdicts() []director.Reason {
	var list []director.Reason
	for r := director.Reason(0); r <= director.DropMartian; r++ {
		list = append(list, r)
	}
	return list
}

// reachable are the cells of the protocols' state machines that connections can
// meet.
var reachable = sync.OnceValue(func() []machine.Cell {
	return slices.Concat(machine.WalkTCP().Cells, machine.WalkSCTP().Cells)
})

// unseen are the reachable cells that no connection has met.
func (c *Coverage) unseen() []machine.Cell {
	return slices.DeleteFunc(slices.Clone(reachable()), func(cell machine.Cell) bool { return c.Cells[cell] > 0 })
}

// changes are the reachable changes of state, and those that were seen.
func (c *Coverage) changes() (all, seen map[string]bool) {
	all, seen = map[string]bool{}, map[string]bool{}
	for _, cell := range reachable() {
		protocol, _, _ := strings.Cut(cell.Machine, ",")
		name := fmt.Sprintf("%s %s -> %s", protocol, cell.From, cell.Next())
		all[name] = true
		if c.Cells[cell] > 0 {
			seen[name] = true
		}
	}
	return all, seen
}

// Missing lists schedulers, methods, reasons and cells of state machines that
// have not occurred, except for those that cannot.
func (c *Coverage) Missing() []string {
	var list []string
	for _, s := range Schedulers {
		if c.Schedulers[s] == 0 {
			list = append(list, "scheduler "+s)
		}
	}
	for _, m := range []string{"Masq", "Masq, back", "Route", "Tunnel IPIP", "Tunnel GUE", "Tunnel GRE", "Local", "Bypass", "one packet"} {
		if c.Methods[m] == 0 {
			list = append(list, "method "+m)
		}
	}
	for _, r := range verdicts() {
		if _, never := beyond[r]; c.Reasons[r.String()] == 0 && !never {
			list = append(list, "verdict "+r.String())
		}
	}
	for _, cell := range c.unseen() {
		list = append(list, "state "+cell.String())
	}
	return list
}

// Write prints the table.
func (c *Coverage) Write(w io.Writer) {
	fmt.Fprintf(w, "%d cases, %d frames delivered\n", c.Cases, c.Deliveries)
	section(w, "connections by scheduler", c.Schedulers)
	section(w, "frames by method", c.Methods)
	reasons := maps.Clone(c.Reasons) // the reassembler's among them
	for _, r := range verdicts() {
		if _, never := beyond[r]; !never || c.Reasons[r.String()] > 0 {
			reasons[r.String()] = c.Reasons[r.String()]
		}
	}
	section(w, "frames by verdict", reasons)
	section(w, "state transitions", c.States)
	all, seen := c.changes()
	fmt.Fprintf(w, "  seen %d of %d changes of TCP and SCTP states that are reachable, by %d of %d ways\n",
		len(seen), len(all), len(reachable())-len(c.unseen()), len(reachable()))
	section(w, "faults and situations", c.Faults)
	fmt.Fprintln(w, "\nout of reach")
	for _, r := range verdicts() {
		if why, never := beyond[r]; never && c.Reasons[r.String()] == 0 {
			fmt.Fprintf(w, "  %-44s %s\n", r, why)
		}
	}
	if missing := c.Missing(); len(missing) > 0 {
		more := ""
		if n := len(missing) - mostMissing; n > 0 {
			more = fmt.Sprintf(" and %d more", n)
		}
		fmt.Fprintf(w, "\nnot met: %q%s\n", missing[:min(len(missing), mostMissing)], more)
	}
}

// mostMissing bounds the list of what was not met.
const mostMissing = 60

func section(w io.Writer, title string, counts map[string]uint64) {
	fmt.Fprintf(w, "\n%s\n", title)
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(w, "  %-44s %12d\n", k, counts[k])
	}
}
