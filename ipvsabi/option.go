package ipvsabi

import (
	"fmt"

	"usvs/ipvs"
)

// The options, by what they are numbered from.
const optionBase = 1152

const (
	getVersion = optionBase + iota
	getInfo
	getServices
	getService
	getDests
	getDest // never answered
	getTimeout
	getDaemon
)

const (
	setAdd = optionBase + 2 + iota
	setEdit
	setDelete
	setFlush
	setList // never answered
	setAddDest
	setDeleteDest
	setEditDest
	setTimeout
	setStartDaemon
	setStopDaemon
	setRestore // never answered
	setSave    // never answered
	setZero
)

// IPVS's socket options, of level IPPROTO_IP, are those from the first to the last.
const (
	FirstOption = optionBase
	LastOption  = setZero
)

type getOption struct {
	min int // bytes of the caller's buffer
	get func(s *Server, buf []byte) (out []byte, errno Errno)
}

var getOptions = [...]getOption{
	getVersion - optionBase:  {64, (*Server).optionVersion},
	getInfo - optionBase:     {infoLen, (*Server).optionInfo},
	getServices - optionBase: {servicesHeaderLen, (*Server).optionServices},
	getService - optionBase:  {serviceEntryLen, (*Server).optionService},
	getDests - optionBase:    {destsHeaderLen, (*Server).optionDests},
	getTimeout - optionBase:  {timeoutLen, (*Server).optionTimeout},
	getDaemon - optionBase:   {2 * daemonLen, (*Server).optionDaemon},
}

// GetOption serves getsockopt at level IPPROTO_IP. in is what the caller's
// buffer holds; its length is the caller's optlen. out is what to write back,
// and its length the new optlen: what the kernel leaves as it was is in it too.
func (s *Server) GetOption(name int, in []byte, admin bool) (out []byte, errno Errno) {
	i := name - optionBase
	if i < 0 || i >= len(getOptions) {
		return nil, ENOPROTOOPT
	}
	o := getOptions[i]
	switch {
	case !admin:
		return nil, EPERM
	case o.get == nil || len(in) < o.min:
		return nil, EINVAL
	}
	out, errno = o.get(s, append([]byte(nil), in...))
	if errno != 0 {
		return nil, errno
	}
	return out, 0
}

func (s *Server) optionVersion([]byte) ([]byte, Errno) {
	info, err := s.table.Info()
	if err != nil {
		return nil, errnoOf(err)
	}
	v := info.Version
	text := fmt.Sprintf("IP Virtual Server version %d.%d.%d (size=%d)\x00", v[0], v[1], v[2], info.ConnTableSize)
	return []byte(text), 0
}

func (s *Server) optionInfo(buf []byte) ([]byte, Errno) {
	info, err := s.table.Info()
	if err != nil {
		return nil, errnoOf(err)
	}
	list, errno := s.services4()
	native.PutUint32(buf, versionCode(info))
	native.PutUint32(buf[4:], uint32(info.ConnTableSize))
	native.PutUint32(buf[8:], uint32(len(list)))
	return buf, errno
}

// services4 lists the services these options can show.
func (s *Server) services4() ([]ipvs.ServiceEntry, Errno) {
	list, err := s.table.Services()
	if err != nil {
		return nil, errnoOf(err)
	}
	var v4 []ipvs.ServiceEntry
	for _, e := range list {
		if e.ID.Family == ipvs.IPv4 {
			v4 = append(v4, e)
		}
	}
	return v4, 0
}

// optionServices lists as many services as the caller has room for.
func (s *Server) optionServices(buf []byte) ([]byte, Errno) {
	if uint64(len(buf)) != servicesHeaderLen+serviceEntryLen*uint64(native.Uint32(buf)) {
		return nil, EINVAL
	}
	list, errno := s.services4()
	for i, room := 0, buf[servicesHeaderLen:]; i < len(list) && len(room) > 0; i++ {
		clear(room[:serviceEntryLen])
		putServiceEntry(room, &list[i])
		room = room[serviceEntryLen:]
	}
	return buf, errno
}

func (s *Server) optionService(buf []byte) ([]byte, Errno) {
	e, errno := s.find(serviceKey(buf))
	if errno == 0 {
		putServiceEntry(buf, &e)
	}
	return buf, errno
}

// optionDests lists as many of a service's servers as the caller has room for.
// Those of IPv6 cannot be shown.
func (s *Server) optionDests(buf []byte) ([]byte, Errno) {
	if uint64(len(buf)) != destsHeaderLen+destEntryLen*uint64(native.Uint32(buf[16:])) {
		return nil, EINVAL
	}
	e, errno := s.find(serviceKey(buf))
	room := buf[destsHeaderLen:]
	for i := 0; i < len(e.Servers) && len(room) > 0; i++ {
		if e.Servers[i].ID.Addr.Is4() {
			putDestEntry(room, &e.Servers[i])
			room = room[destEntryLen:]
		}
	}
	return buf, errno
}

func (s *Server) optionTimeout(buf []byte) ([]byte, Errno) {
	t, err := s.table.Timeouts()
	native.PutUint32(buf, t.TCP)
	native.PutUint32(buf[4:], t.TCPFin)
	native.PutUint32(buf[8:], t.UDP)
	return buf, errnoOf(err)
}

// optionDaemon describes the master, then the backup; one that does not run is
// all zero.
func (s *Server) optionDaemon(buf []byte) ([]byte, Errno) {
	list, err := s.table.Daemons()
	clear(buf[:2*daemonLen])
	for i := range list {
		switch d := &list[i]; d.State {
		case ipvs.DaemonMaster:
			putDaemon(buf, d)
		case ipvs.DaemonBackup:
			putDaemon(buf[daemonLen:], d)
		}
	}
	return buf, errnoOf(err)
}
