package ipvsabi

import "usvs/ipvs"

// command is what a command of the family IPVS does, asked once or for a dump.
type command struct {
	do   func(*Server, *attributes, *reply) Errno
	dump func(s *Server, body []byte, l *list) Errno
}

var commands = [...]command{
	cmdNewService: {do: (*Server).newService},
	cmdSetService: {do: (*Server).setService},
	cmdDelService: {do: (*Server).delService},
	cmdGetService: {do: (*Server).getService, dump: (*Server).dumpServices},
	cmdNewDest:    {do: (*Server).newDest},
	cmdSetDest:    {do: (*Server).setDest},
	cmdDelDest:    {do: (*Server).delDest},
	cmdGetDest:    {dump: (*Server).dumpDests},
	cmdNewDaemon:  {do: (*Server).newDaemon},
	cmdDelDaemon:  {do: (*Server).delDaemon},
	cmdGetDaemon:  {dump: (*Server).dumpDaemons},
	cmdSetConfig:  {do: (*Server).setConfig},
	cmdGetConfig:  {do: (*Server).getConfig},
	cmdGetInfo:    {do: (*Server).getInfo},
	cmdZero:       {do: (*Server).zero},
	cmdFlush:      {do: (*Server).flush},
}

// commandOf returns a command, nil if there is none.
func commandOf(cmd uint8) *command {
	if int(cmd) >= len(commands) {
		return nil
	}
	c := &commands[cmd]
	if c.do == nil && c.dump == nil {
		return nil
	}
	return c
}

func (s *Server) newService(a *attributes, _ *reply) Errno {
	svc, errno := parseService(a[attrService], true)
	if errno != 0 {
		return errno
	}
	if svc.foreign {
		return EINVAL
	}
	return s.addService(svc.id, svc.spec(0))
}

func (s *Server) setService(a *attributes, _ *reply) Errno {
	svc, errno := parseService(a[attrService], true)
	if errno != 0 {
		return errno
	}
	s.edit.Lock()
	defer s.edit.Unlock()
	old, errno := s.find(&svc)
	if errno != 0 {
		return errno
	}
	return s.editService(svc.id, svc.spec(old.Spec.Flags))
}

func (s *Server) delService(a *attributes, _ *reply) Errno {
	svc, errno := s.identify(a)
	if errno != 0 {
		return errno
	}
	return errnoOf(s.table.DeleteService(svc.id))
}

func (s *Server) getService(a *attributes, r *reply) Errno {
	svc, errno := s.identify(a)
	if errno != 0 {
		return errno
	}
	e, errno := s.find(&svc)
	if errno != 0 {
		return errno
	}
	r.single(cmdNewService, func(w *writer) { w.service(&e) })
	return 0
}

// dumpServices lists all services, whatever the request says.
func (s *Server) dumpServices(_ []byte, l *list) Errno {
	all, err := s.table.Services()
	if err != nil {
		return errnoOf(err)
	}
	for i := range all {
		l.entry(cmdNewService, func(w *writer) { w.service(&all[i]) })
	}
	return 0
}

func (s *Server) newDest(a *attributes, _ *reply) Errno {
	svc, rs, errno := s.identifyDest(a, true)
	if errno != 0 {
		return errno
	}
	return errnoOf(s.table.AddServer(svc, rs.id, rs.spec))
}

func (s *Server) setDest(a *attributes, _ *reply) Errno {
	svc, rs, errno := s.identifyDest(a, true)
	if errno != 0 {
		return errno
	}
	return errnoOf(s.table.EditServer(svc, rs.id, rs.spec))
}

func (s *Server) delDest(a *attributes, _ *reply) Errno {
	svc, rs, errno := s.identifyDest(a, false)
	if errno != 0 {
		return errno
	}
	return errnoOf(s.table.DeleteServer(svc, rs.id))
}

// dumpDests lists a service's servers. Of a request that is wrong, and of a
// service that is not there, the list is empty.
func (s *Server) dumpDests(body []byte, l *list) Errno {
	a, errno := commandPolicy.parse(body)
	if errno != 0 {
		return 0
	}
	svc, errno := s.identify(&a)
	if errno != 0 {
		return 0
	}
	e, errno := s.find(&svc)
	if errno == ESRCH {
		return 0
	}
	if errno != 0 {
		return errno
	}
	for i := range e.Servers {
		l.entry(cmdNewDest, func(w *writer) { w.dest(&e.Servers[i]) })
	}
	return 0
}

func (s *Server) newDaemon(a *attributes, _ *reply) Errno {
	d, errno := parseDaemon(a[attrDaemon], true)
	if errno != 0 {
		return errno
	}
	return errnoOf(s.table.StartDaemon(d))
}

func (s *Server) delDaemon(a *attributes, _ *reply) Errno {
	d, errno := parseDaemon(a[attrDaemon], false)
	if errno != 0 {
		return errno
	}
	return errnoOf(s.table.StopDaemon(d.State))
}

func (s *Server) dumpDaemons(_ []byte, l *list) Errno {
	all, err := s.table.Daemons()
	if err != nil {
		return errnoOf(err)
	}
	for i := range all {
		l.entry(cmdNewDaemon, func(w *writer) { w.daemon(&all[i]) })
	}
	return 0
}

func (s *Server) setConfig(a *attributes, _ *reply) Errno {
	return errnoOf(s.table.SetTimeouts(ipvs.Timeouts{
		TCP: a.u32(attrTimeoutTCP), TCPFin: a.u32(attrTimeoutTCPFin), UDP: a.u32(attrTimeoutUDP),
	}))
}

func (s *Server) getConfig(_ *attributes, r *reply) Errno {
	t, err := s.table.Timeouts()
	if err != nil {
		return errnoOf(err)
	}
	r.single(cmdSetConfig, func(w *writer) {
		w.u32(attrTimeoutTCP, t.TCP)
		w.u32(attrTimeoutTCPFin, t.TCPFin)
		w.u32(attrTimeoutUDP, t.UDP)
	})
	return 0
}

func (s *Server) getInfo(_ *attributes, r *reply) Errno {
	info, err := s.table.Info()
	if err != nil {
		return errnoOf(err)
	}
	r.single(cmdSetInfo, func(w *writer) {
		w.u32(infoVersion, versionCode(info))
		w.u32(infoConnTableSize, uint32(info.ConnTableSize))
	})
	return 0
}

// zero clears the counters of a service, or of all if none is named.
func (s *Server) zero(a *attributes, _ *reply) Errno {
	if a[attrService] == nil {
		return errnoOf(s.table.Zero(nil))
	}
	svc, errno := s.identify(a)
	if errno != 0 {
		return errno
	}
	return errnoOf(s.table.Zero(&svc.id))
}

func (s *Server) flush(*attributes, *reply) Errno { return errnoOf(s.table.Flush()) }

// identify reads which service, of those there can be, is meant.
func (s *Server) identify(a *attributes) (service, Errno) {
	svc, errno := parseService(a[attrService], false)
	if errno == 0 && svc.foreign {
		errno = ESRCH
	}
	return svc, errno
}

// identifyDest reads which server of which service is meant. As in the kernel
// a service that is not there counts before what is wrong with the server.
func (s *Server) identifyDest(a *attributes, full bool) (ipvs.ServiceID, dest, Errno) {
	svc, errno := s.identify(a)
	if errno != 0 {
		return svc.id, dest{}, errno
	}
	rs, errno := parseDest(a[attrDest], svc.id.Family, full)
	if errno == 0 {
		return svc.id, rs, 0
	}
	if _, missing := s.find(&svc); missing != 0 {
		errno = missing
	}
	return svc.id, rs, errno
}

// find looks a service up.
func (s *Server) find(svc *service) (ipvs.ServiceEntry, Errno) {
	if svc.foreign {
		return ipvs.ServiceEntry{}, ESRCH
	}
	e, err := s.table.Service(svc.id)
	return e, errnoOf(err)
}

func (s *Server) addService(id ipvs.ServiceID, spec ipvs.ServiceSpec) Errno {
	return lookedUp(spec, errnoOf(s.table.AddService(id, spec)))
}

func (s *Server) editService(id ipvs.ServiceID, spec ipvs.ServiceSpec) Errno {
	return lookedUp(spec, errnoOf(s.table.EditService(id, spec)))
}

// lookedUp corrects the refusal of a scheduler without a name: the kernel looks
// for one and does not find it.
func lookedUp(spec ipvs.ServiceSpec, errno Errno) Errno {
	if errno == EINVAL && spec.Scheduler == "" {
		return ENOENT
	}
	return errno
}

// versionCode is a version as one number.
func versionCode(i ipvs.Info) uint32 {
	return uint32(i.Version[0]<<16 | i.Version[1]<<8 | i.Version[2])
}
