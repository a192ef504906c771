package ipvsadm

import (
	"errors"
	"net/netip"

	"usvs/ipvs"
)

// ErrUnreachable is wrapped by every error of a Backend that cannot be talked
// to at all: no director is running, or its control socket refuses us. Its
// cause is what follows "Can't initialize ipvs: ".
var ErrUnreachable = errors.New("director unreachable")

// Backend is what ipvsadm needs of a director. Errors wrap the sentinels of
// package ipvs, or ErrUnreachable; the text of any other error is shown as is.
type Backend interface {
	// Info describes the director. Run calls it before anything but -h and -v,
	// so that an unreachable director is found first.
	Info() (ipvs.Info, error)

	AddService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error
	EditService(id ipvs.ServiceID, spec ipvs.ServiceSpec) error
	DeleteService(id ipvs.ServiceID) error
	Flush() error

	AddServer(svc ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error
	EditServer(svc ipvs.ServiceID, id ipvs.ServerID, spec ipvs.ServerSpec) error
	DeleteServer(svc ipvs.ServiceID, id ipvs.ServerID) error

	// Zero clears the counters of one service, or of all when svc is nil.
	Zero(svc *ipvs.ServiceID) error

	// Services lists every service in the backend's own order.
	Services() ([]ipvs.ServiceEntry, error)
	Service(id ipvs.ServiceID) (ipvs.ServiceEntry, error)

	// Connections calls yield for each entry of the connection table until it
	// returns false. The entry is valid only during the call.
	Connections(yield func(*ipvs.ConnEntry) bool) error

	Timeouts() (ipvs.Timeouts, error)
	SetTimeouts(ipvs.Timeouts) error

	Daemons() ([]ipvs.Daemon, error)
	StartDaemon(ipvs.Daemon) error
	StopDaemon(ipvs.DaemonState) error
}

// Resolver translates between names and numbers. Every method reports false
// when it knows no translation.
type Resolver interface {
	LookupAddr(netip.Addr) (string, bool)
	LookupHost(name string) (netip.Addr, bool) // an IPv4 address
	ServiceName(port uint16, p ipvs.Protocol) (string, bool)
	ServicePort(name string, p ipvs.Protocol) (uint16, bool)
}
