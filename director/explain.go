package director

import (
	"net/netip"

	"usvs/conntrack"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/route"
	"usvs/sched"
	"usvs/wire"
)

// Stage is a place of the pipeline where something is decided.
type Stage uint8

const (
	StageMark       Stage = iota // Mark: what the mark rules gave it, now on the frame
	StageFragment                // Fragment: what became of it
	StageInput                   // for a virtual service's address, or OK: for one's mark
	StageOutput                  // from elsewhere: perhaps a real server's answer
	StageConnection              // OK: Conn is the packet's connection
	StageReuse                   // Conn makes way for a new one
	StageService                 // Service, or nil; OK: the packet's kind may open a connection
	StageTemplate                // OK: Conn is the template for Client and Virtual
	StageStale                   // Conn is a template whose server is not to be used any more
	StageSchedule                // the scheduler of Service is about to be asked by Request
	StageScheduled               // it said Server, or nil
	StageOpen                    // OK: Conn is a new connection of Service to Server
	StageBypass                  // OK: Conn is a new connection past all servers of Service
	StageDefence                 // drop_packet is in force; OK: the packet may open a connection
	StageEngine                  // OK: the persistence engine of Service goes by Data
	StageExpect                  // OK: Conn is expected because of what the packet says
	StageHelper                  // the packet's announcement becomes Data
	StageRoute                   // Hop leads towards Conn's other end
	StageMTU                     // whether Packet fits MTU; OK: it does, or may be cut
)

// Step is one decision about a frame. What it points at is valid during the
// call only, and Packet is as the stage has it, before it changes it.
type Step struct {
	Stage   Stage
	OK      bool
	Dir     conntrack.Dir
	Packet  *wire.Packet
	Quoted  *wire.Packet // what Packet, an ICMP error, quotes
	Mark    uint32
	MTU     int
	Service *Service
	Server  *ipvs.RealServer
	Conn    *conntrack.Conn
	Request *sched.Request
	Client  netip.AddrPort
	Virtual netip.AddrPort
	Data    []byte
	Hop     route.Hop

	Fragment forward.Outcome
}

// Recorder hears of every decision a worker makes, in order.
type Recorder interface{ Record(s Step) }

// Record makes r hear what the worker decides from now on; nil: nobody does,
// which is what production runs with. It must not be called while the worker
// works.
func (w *Worker) Record(r Recorder) { w.recorder = r }

// record tells the recorder, of which the caller knows that there is one. Kept
// out of line, it leaves frames without one nothing but the question.
//
//go:noinline
func (w *Worker) record(s Step) {
	s.Packet = &w.p
	w.recorder.Record(s)
}

// recordConn records the outcome of looking for the packet's connection.
func (w *Worker) recordConn(dir conntrack.Dir, found bool) {
	w.record(Step{Stage: StageConnection, Dir: dir, Conn: &w.c, OK: found})
}

// ask asks a service's scheduler for a server for the current packet.
func (w *Worker) ask(svc *Service) *ipvs.RealServer {
	req := w.request(svc)
	if w.recorder != nil {
		w.record(Step{Stage: StageSchedule, Service: svc, Request: req})
	}
	rs := svc.Picker.Schedule(req)
	if w.recorder != nil {
		w.record(Step{Stage: StageScheduled, Service: svc, Server: rs, OK: rs != nil})
	}
	return rs
}
