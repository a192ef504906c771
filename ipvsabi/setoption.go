package ipvsabi

import "usvs/ipvs"

type setOption struct {
	size int // bytes of the argument, exactly
	set  func(s *Server, arg []byte) Errno
}

var setOptions = [...]setOption{
	setAdd - optionBase:         {serviceLen, (*Server).optionAdd},
	setEdit - optionBase:        {serviceLen, (*Server).optionEdit},
	setDelete - optionBase:      {serviceLen, (*Server).optionDelete},
	setFlush - optionBase:       {0, (*Server).optionFlush},
	setAddDest - optionBase:     {serviceLen + destLen, (*Server).optionAddDest},
	setDeleteDest - optionBase:  {serviceLen + destLen, (*Server).optionDeleteDest},
	setEditDest - optionBase:    {serviceLen + destLen, (*Server).optionEditDest},
	setTimeout - optionBase:     {timeoutLen, (*Server).optionSetTimeout},
	setStartDaemon - optionBase: {daemonLen, (*Server).optionStartDaemon},
	setStopDaemon - optionBase:  {daemonLen, (*Server).optionStopDaemon},
	setZero - optionBase:        {serviceLen, (*Server).optionZero},
}

// SetOption serves setsockopt at level IPPROTO_IP.
func (s *Server) SetOption(name int, arg []byte, admin bool) Errno {
	i := name - optionBase
	if i < 0 || i >= len(setOptions) {
		return ENOPROTOOPT
	}
	o := setOptions[i]
	switch {
	case !admin:
		return EPERM
	case o.set == nil || len(arg) != o.size:
		return EINVAL
	}
	return o.set(s, arg)
}

func (s *Server) optionAdd(arg []byte) Errno {
	svc, errno := serviceArg(arg, true)
	if errno != 0 {
		return errno
	}
	return s.addService(svc.id, svc.spec(0))
}

func (s *Server) optionEdit(arg []byte) Errno {
	svc, errno := existing(arg, true)
	if errno != 0 {
		return errno
	}
	return s.editService(svc.id, svc.spec(0))
}

func (s *Server) optionDelete(arg []byte) Errno {
	svc, errno := existing(arg, false)
	if errno != 0 {
		return errno
	}
	return errnoOf(s.table.DeleteService(svc.id))
}

func (s *Server) optionFlush([]byte) Errno { return errnoOf(s.table.Flush()) }

func (s *Server) optionAddDest(arg []byte) Errno {
	svc, errno := existing(arg, false)
	if errno != 0 {
		return errno
	}
	rs := destArg(arg[serviceLen:])
	return errnoOf(s.table.AddServer(svc.id, rs.id, rs.spec))
}

func (s *Server) optionEditDest(arg []byte) Errno {
	svc, errno := existing(arg, false)
	if errno != 0 {
		return errno
	}
	rs := destArg(arg[serviceLen:])
	return errnoOf(s.table.EditServer(svc.id, rs.id, rs.spec))
}

func (s *Server) optionDeleteDest(arg []byte) Errno {
	svc, errno := existing(arg, false)
	if errno != 0 {
		return errno
	}
	return errnoOf(s.table.DeleteServer(svc.id, destArg(arg[serviceLen:]).id))
}

func (s *Server) optionSetTimeout(arg []byte) Errno {
	return errnoOf(s.table.SetTimeouts(ipvs.Timeouts{
		TCP: native.Uint32(arg), TCPFin: native.Uint32(arg[4:]), UDP: native.Uint32(arg[8:]),
	}))
}

func (s *Server) optionStartDaemon(arg []byte) Errno {
	d, ok := daemonArg(arg)
	if !ok {
		return EINVAL
	}
	return errnoOf(s.table.StartDaemon(d))
}

func (s *Server) optionStopDaemon(arg []byte) Errno {
	return errnoOf(s.table.StopDaemon(daemonStateOf(native.Uint32(arg))))
}

// optionZero clears the counters of a service; one without address, port and
// mark means all of them.
func (s *Server) optionZero(arg []byte) Errno {
	if key := serviceKey(arg); key.id.Mark == 0 && key.id.Port == 0 && key.id.Addr.IsUnspecified() {
		return errnoOf(s.table.Zero(nil))
	}
	svc, errno := existing(arg, false)
	if errno != 0 {
		return errno
	}
	return errnoOf(s.table.Zero(&svc.id))
}

// serviceArg reads the service of an argument. The scheduler's name, which
// must end, is read only if the service is to be made or changed.
func serviceArg(arg []byte, full bool) (*service, Errno) {
	svc := serviceKey(arg)
	name := arg[16 : 16+schedulerLen]
	if full && nul(name) < 0 {
		return nil, EINVAL
	}
	if !supported(native.Uint16(arg)) { // even with a mark
		return nil, EFAULT
	}
	svc.scheduler = str(name)
	svc.flags, svc.flagsMask = native.Uint32(arg[32:]), ^uint32(0)
	svc.timeout = native.Uint32(arg[36:])
	svc.netmask = arg[40:44]
	return svc, 0
}

// existing is serviceArg for commands to a service that must be there: under a
// mark there are only those of TCP.
func existing(arg []byte, full bool) (*service, Errno) {
	svc, errno := serviceArg(arg, full)
	if errno == 0 && svc.id.Mark != 0 && native.Uint16(arg) != uint16(ipvs.TCP) {
		return nil, ESRCH
	}
	return svc, errno
}
