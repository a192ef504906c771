package ipvsabi

import (
	"net/netip"

	"usvs/ipvs"
)

// fake is a Backend that lists what it is told and fails with err. It counts
// the changes it was asked for.
type fake struct {
	err      error
	services []ipvs.ServiceEntry
	daemons  []ipvs.Daemon
	changes  int
	zeroed   []*ipvs.ServiceID
}

func (f *fake) change() error { f.changes++; return f.err }

func (f *fake) Info() (ipvs.Info, error)                           { return ipvs.Info{Version: [3]int{1, 2, 1}}, f.err }
func (f *fake) AddService(ipvs.ServiceID, ipvs.ServiceSpec) error  { return f.change() }
func (f *fake) EditService(ipvs.ServiceID, ipvs.ServiceSpec) error { return f.change() }
func (f *fake) DeleteService(ipvs.ServiceID) error                 { return f.change() }
func (f *fake) Flush() error                                       { return f.change() }
func (f *fake) SetTimeouts(ipvs.Timeouts) error                    { return f.change() }
func (f *fake) StartDaemon(ipvs.Daemon) error                      { return f.change() }
func (f *fake) StopDaemon(ipvs.DaemonState) error                  { return f.change() }
func (f *fake) Services() ([]ipvs.ServiceEntry, error)             { return f.services, f.err }
func (f *fake) Timeouts() (ipvs.Timeouts, error)                   { return ipvs.DefaultTimeouts, f.err }
func (f *fake) Daemons() ([]ipvs.Daemon, error)                    { return f.daemons, f.err }
func (f *fake) Connections(func(*ipvs.ConnEntry) bool) error       { return f.err }

func (f *fake) AddServer(ipvs.ServiceID, ipvs.ServerID, ipvs.ServerSpec) error  { return f.change() }
func (f *fake) EditServer(ipvs.ServiceID, ipvs.ServerID, ipvs.ServerSpec) error { return f.change() }
func (f *fake) DeleteServer(ipvs.ServiceID, ipvs.ServerID) error                { return f.change() }

func (f *fake) Zero(id *ipvs.ServiceID) error {
	f.zeroed = append(f.zeroed, id)
	return f.change()
}

func (f *fake) Service(id ipvs.ServiceID) (ipvs.ServiceEntry, error) {
	for _, e := range f.services {
		if e.ID == id {
			return e, f.err
		}
	}
	if f.err != nil {
		return ipvs.ServiceEntry{}, f.err
	}
	return ipvs.ServiceEntry{}, ipvs.ErrNotFound
}

var (
	vip4 = netip.MustParseAddr("10.9.0.1")
	vip6 = netip.MustParseAddr("fd00:9::1")
	web  = ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.TCP, Addr: vip4, Port: 80}
)

// request is a message of IPVS.
func request(cmd uint8, flags uint16, attrs func(*writer)) []byte {
	var w writer
	w.message(header{FamilyID, flagRequest | flags, 7, 0}, cmd, func(w *writer) {
		if attrs != nil {
			attrs(w)
		}
	})
	return w
}

// naming writes what identifies a service, and if sched is not empty what it
// is to be.
func naming(id ipvs.ServiceID, sched string, flags, mask uint32) func(*writer) {
	return func(w *writer) {
		all := w.nest(attrService | 0x8000)
		w.u16(svcFamily, afOf(id.Family))
		if id.Mark != 0 {
			w.u32(svcMark, id.Mark)
		} else {
			w.u16(svcProtocol, uint16(id.Protocol))
			w.addr(svcAddr, id.Addr)
			w.be16(svcPort, id.Port)
		}
		if sched != "" {
			w.text(svcScheduler, sched)
			w.attr(svcFlags, 8)
			*w = native.AppendUint32(native.AppendUint32(*w, flags), mask)
			w.u32(svcTimeout, 0)
			w.u32(svcNetmask, 0xffffffff)
		}
		w.endNest(all)
	}
}

// result is the error number of the only or last reply.
func result(replies [][]byte) Errno {
	last := replies[len(replies)-1]
	return Errno(-int32(native.Uint32(last[headerLen:])))
}
