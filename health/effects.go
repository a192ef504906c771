package health

import "usvs/ipvs"

// Effects is what a Monitor does to the world. Its methods are called from the
// Monitor's, and must not call back into it.
type Effects interface {
	AddService(ipvs.ServiceID, ipvs.ServiceSpec) error
	EditService(ipvs.ServiceID, ipvs.ServiceSpec) error
	DeleteService(ipvs.ServiceID) error
	AddServer(ipvs.ServiceID, ipvs.ServerID, ipvs.ServerSpec) error
	EditServer(ipvs.ServiceID, ipvs.ServerID, ipvs.ServerSpec) error
	DeleteServer(ipvs.ServiceID, ipvs.ServerID) error

	// Probe begins an attempt. What comes of it is told by Monitor.Result: once,
	// or of kinds that watch, each time it changes.
	Probe(CheckID, *Probe)
	// Cancel ends an attempt that has not ended. No result is wanted any more;
	// one that comes nevertheless is ignored.
	Cancel(CheckID)

	// Notify tells of a change to whom the configuration names.
	Notify(Event)
	Log(Level, string)
}

// Level is how important a line of the log is.
type Level uint8

// Levels of the log.
const (
	Info    Level = iota
	Detail        // what keepalived logs with its option -D
	Warning       // something is wrong with what was asked for
)

// Event is a change and whom to tell: by Script, by a line for lvs_notify_fifo
// and notify_fifo, and by mail; each of them may be missing.
type Event struct {
	Kind EventKind
	// Service and Server are their names as messages have them; Server is empty
	// for a virtual server's own events.
	Service, Server string
	Script          *Script
	FIFO            string // without the newline
	Mail            *Mail
}

// EventKind is what happened.
type EventKind uint8

// What may happen. Mail comes as an Event of its own, after the change.
const (
	ServerUp EventKind = iota
	ServerDown
	QuorumUp
	QuorumDown
)

// String is the event in a word.
func (k EventKind) String() string {
	return [...]string{"server up", "server down", "quorum up", "quorum down"}[min(k, QuorumDown)]
}

// Mail is a message to the receivers of notification_email.
type Mail struct{ Subject, Body string }
