package ipvsabi

import "usvs/ipvs"

// Sizes of the records of the socket options.
const (
	serviceLen        = 44
	destLen           = 24
	daemonLen         = 24
	timeoutLen        = 12
	infoLen           = 12
	servicesHeaderLen = 8
	serviceEntryLen   = 104
	destsHeaderLen    = 24
	destEntryLen      = 96
)

// serviceKey reads what all records begin with: which service is meant.
func serviceKey(b []byte) *service {
	svc := &service{id: ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.TCP, Mark: native.Uint32(b[12:])}}
	if svc.id.Mark == 0 {
		svc.foreign = !supported(native.Uint16(b))
		svc.id.Protocol = ipvs.Protocol(native.Uint16(b))
		svc.id.Addr = addrOf(ipvs.IPv4, b[4:8])
		svc.id.Port = be.Uint16(b[8:])
	}
	return svc
}

// destArg reads a server. There is no way to say of which kind a tunnel is.
func destArg(b []byte) dest {
	return dest{
		id: ipvs.ServerID{Addr: addrOf(ipvs.IPv4, b[:4]), Port: be.Uint16(b[4:])},
		spec: ipvs.ServerSpec{
			Method:         ipvs.ForwardMethod(native.Uint32(b[8:]) & methodMask),
			Weight:         int32(native.Uint32(b[12:])),
			UpperThreshold: native.Uint32(b[16:]),
			LowerThreshold: native.Uint32(b[20:]),
		},
	}
}

// daemonArg reads a daemon; its interface must have a name that ends.
func daemonArg(b []byte) (ipvs.Daemon, bool) {
	name := b[4 : 4+interfaceLen]
	return ipvs.Daemon{
		State:     daemonStateOf(native.Uint32(b)),
		Interface: str(name),
		SyncID:    int(native.Uint32(b[20:])),
	}, nul(name) > 0
}

// putServiceEntry writes all of an entry but its gaps.
func putServiceEntry(b []byte, e *ipvs.ServiceEntry) {
	clear(b[:48])
	if e.ID.Mark == 0 {
		native.PutUint16(b, uint16(e.ID.Protocol))
		addr := e.ID.Addr.As4()
		copy(b[4:], addr[:])
		be.PutUint16(b[8:], e.ID.Port)
	} else {
		native.PutUint16(b, uint16(ipvs.TCP))
		native.PutUint32(b[12:], e.ID.Mark)
	}
	copy(b[16:16+schedulerLen-1], e.Spec.Scheduler)
	native.PutUint32(b[32:], uint32(e.Spec.Flags))
	native.PutUint32(b[36:], e.Spec.Timeout)
	mask := maskOf(e.Spec.Netmask)
	copy(b[40:], mask[:])
	native.PutUint32(b[44:], uint32(len(e.Servers)))
	putStats(b[48:], &e.Stats)
}

func putDestEntry(b []byte, e *ipvs.ServerEntry) {
	clear(b[:destEntryLen])
	addr := e.ID.Addr.As4()
	copy(b, addr[:])
	be.PutUint16(b[4:], e.ID.Port)
	native.PutUint32(b[8:], connFlags(e.Spec.Method))
	native.PutUint32(b[12:], uint32(e.Spec.Weight))
	native.PutUint32(b[16:], e.Spec.UpperThreshold)
	native.PutUint32(b[20:], e.Spec.LowerThreshold)
	native.PutUint32(b[24:], e.Active)
	native.PutUint32(b[28:], e.Inactive)
	native.PutUint32(b[32:], e.Persistent)
	putStats(b[40:], &e.Stats)
}

// Flags of a connection that stand beside its forwarding method.
const (
	connNoOutput = 0x080
	connInactive = 0x100
)

// connFlags are the flags with which a server's connections begin.
func connFlags(m ipvs.ForwardMethod) uint32 {
	flags := uint32(m) | connInactive
	if m != ipvs.Masquerade {
		flags |= connNoOutput // answers do not come by here
	}
	return flags
}

func putDaemon(b []byte, d *ipvs.Daemon) {
	native.PutUint32(b, uint32(d.State))
	copy(b[4:4+interfaceLen-1], d.Interface)
	native.PutUint32(b[20:], uint32(d.SyncID))
}

func putStats(b []byte, st *ipvs.Stats) {
	for i, n := range [...]uint64{st.Conns, st.InPkts, st.OutPkts} {
		native.PutUint32(b[4*i:], uint32(n))
	}
	native.PutUint64(b[16:], st.InBytes)
	native.PutUint64(b[24:], st.OutBytes)
	for i, n := range [...]uint64{st.CPS, st.InPPS, st.OutPPS, st.InBPS, st.OutBPS} {
		native.PutUint32(b[32+4*i:], uint32(n))
	}
}
