package machine

import "slices"

// Move is one step of a connection's life.
type Move struct {
	Machine *Machine
	Out     bool
	Event   string
}

// place is where a connection can be.
type place struct {
	state  string
	silent bool
}

// Walk goes wherever a protocol's connections can go, through the machines that
// may take turns with it, and remembers the shortest way to every cell.
type Walk struct {
	Cells []Cell // that can be met, in the order in which they are
	ways  map[Cell]Way
}

// Way is how to meet a cell: with a connection that is silent from its start or
// not, by these moves, of which the last one is the cell's.
type Way struct {
	Silent bool
	Moves  []Move
}

// NewWalk walks a protocol whose connections may be opened by some events.
func NewWalk(opening []string, machines ...*Machine) *Walk {
	w := &Walk{ways: map[Cell]Way{}}
	been := map[place]bool{}
	type job struct {
		at  place
		way Way
	}
	jobs := []job{{place{None, false}, Way{}}, {place{None, true}, Way{Silent: true}}}
	for len(jobs) > 0 {
		j := jobs[0]
		jobs = jobs[1:]
		for _, move := range moves(j.at, opening, machines) {
			c := Conn{State: j.at.state, Silent: j.at.silent}
			cell := c.Packet(move.Machine, move.Out, move.Event)
			way := Way{j.way.Silent, append(slices.Clone(j.way.Moves), move)}
			if _, known := w.ways[cell]; !known {
				w.ways[cell] = way
				w.Cells = append(w.Cells, cell)
			}
			if to := (place{c.State, c.Silent}); !been[to] {
				been[to] = true
				jobs = append(jobs, job{to, way})
			}
		}
	}
	return w
}

// moves are those that can be made at a place. A connection is made by its
// first packet, which is a client's and may open one.
func moves(at place, opening []string, machines []*Machine) (list []Move) {
	for _, m := range machines {
		for _, ev := range m.Events {
			if at.state == None && !slices.Contains(opening, ev) {
				continue
			}
			list = append(list, Move{m, false, ev})
			if at.state != None {
				list = append(list, Move{m, true, ev})
			}
		}
	}
	return list
}

// To is the way to a cell.
func (w *Walk) To(c Cell) Way { return w.ways[c] }

// WalkTCP walks TCP. secure_tcp may be switched between any two segments, and
// with sloppy_tcp any segment but a RST opens a connection.
func WalkTCP() *Walk {
	return NewWalk([]string{"SYN", "FIN", "ACK", noFlag}, TCP, SecureTCP)
}

// WalkSCTP walks SCTP. With sloppy_sctp any chunk but ABORT opens a connection.
func WalkSCTP() *Walk {
	return NewWalk(slices.DeleteFunc(slices.Clone(SCTP.Events), func(ev string) bool { return ev == "ABORT" }), SCTP)
}
