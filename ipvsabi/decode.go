package ipvsabi

import (
	"math"
	"net/netip"

	"usvs/ipvs"
)

// service is a SERVICE of a request.
type service struct {
	id ipvs.ServiceID
	// foreign services have a protocol that no service can have.
	foreign bool

	scheduler, engine string
	flags, flagsMask  uint32
	timeout           uint32
	netmask           []byte // 4 bytes
}

// parseService reads a SERVICE: what identifies it, and if full also what it is to be.
func parseService(v []byte, full bool) (service, Errno) {
	a, ok := within(servicePolicy, v)
	if !ok || !a.has(svcFamily) || a[svcMark] == nil && !a.has(svcPort, svcProtocol, svcAddr) {
		return service{}, EINVAL
	}
	family := familyOf(a.u16(svcFamily))
	if family == ipvs.Unspec {
		return service{}, EAFNOSUPPORT
	}
	svc := service{id: ipvs.ServiceID{Family: family, Protocol: ipvs.TCP, Mark: a.u32(svcMark)}}
	if svc.id.Mark == 0 {
		svc.id.Addr = addrOf(family, a[svcAddr])
		svc.id.Port = a.be16(svcPort)
	}
	if a[svcMark] == nil {
		svc.foreign = !supported(a.u16(svcProtocol))
		svc.id.Protocol = ipvs.Protocol(a.u16(svcProtocol))
	}
	if !full {
		return svc, 0
	}
	if !a.has(svcScheduler, svcFlags, svcTimeout, svcNetmask) {
		return service{}, EINVAL
	}
	svc.scheduler, svc.engine = str(a[svcScheduler]), str(a[svcPE])
	var flags [8]byte
	copy(flags[:], a[svcFlags])
	svc.flags, svc.flagsMask = native.Uint32(flags[:]), native.Uint32(flags[4:])
	svc.timeout, svc.netmask = a.u32(svcTimeout), a[svcNetmask][:4]
	return svc, 0
}

// spec is what the service is to be if its flags were old.
func (svc *service) spec(old ipvs.ServiceFlags) ipvs.ServiceSpec {
	spec := ipvs.ServiceSpec{
		Scheduler: svc.scheduler,
		Flags:     ipvs.ServiceFlags(uint32(old)&^svc.flagsMask | svc.flags&svc.flagsMask),
		Timeout:   svc.timeout,
		PE:        svc.engine,
	}
	if svc.id.Family == ipvs.IPv6 {
		spec.PrefixLen = uint8(min(native.Uint32(svc.netmask), math.MaxUint8))
		return spec
	}
	spec.Netmask = netip.AddrFrom4([4]byte(svc.netmask))
	return spec
}

// supported reports whether services can have a protocol.
func supported(protocol uint16) bool {
	switch protocol {
	case uint16(ipvs.TCP), uint16(ipvs.UDP), uint16(ipvs.SCTP):
		return true
	}
	return false
}

// dest is a DEST of a request.
type dest struct {
	id   ipvs.ServerID
	spec ipvs.ServerSpec
}

// methodMask cuts the forwarding method out of a connection's flags.
const methodMask = 7

// parseDest reads a DEST of a service of a family. One of the other family can
// only be tunnelled to, which the kernel checks before anything else.
func parseDest(v []byte, service ipvs.Family, full bool) (dest, Errno) {
	a, ok := within(destPolicy, v)
	if !ok || !a.has(destAddr, destPort) {
		return dest{}, EINVAL
	}
	if full && !a.has(destMethod, destWeight, destUpper, destLower) {
		return dest{}, EINVAL
	}
	family := service
	if af := a.u16(destFamily); af != 0 {
		family = familyOf(af)
	}
	if family == ipvs.Unspec {
		return dest{}, EAFNOSUPPORT
	}
	rs := dest{id: ipvs.ServerID{Addr: addrOf(family, a[destAddr]), Port: a.be16(destPort)}}
	rs.spec = ipvs.ServerSpec{
		Method:         ipvs.ForwardMethod(a.u32(destMethod) & methodMask),
		Weight:         int32(a.u32(destWeight)),
		UpperThreshold: a.u32(destUpper),
		LowerThreshold: a.u32(destLower),
		Tunnel: ipvs.TunnelParams{
			Type: ipvs.TunnelType(a.u8(destTunType)), Port: a.be16(destTunPort), Flags: a.u16(destTunFlags),
		},
	}
	return rs, when(full && family != service && rs.spec.Method != ipvs.Tunnel, EINVAL)
}

// parseDaemon reads a DAEMON: its state, and if full also what it is to be.
func parseDaemon(v []byte, full bool) (ipvs.Daemon, Errno) {
	a, ok := within(daemonPolicy, v)
	if !ok || !a.has(daemonState) || full && !a.has(daemonInterface, daemonSyncID) {
		return ipvs.Daemon{}, EINVAL
	}
	d := ipvs.Daemon{State: daemonStateOf(a.u32(daemonState))}
	if !full {
		return d, 0
	}
	d.Interface = str(a[daemonInterface])
	d.SyncID = int(a.u32(daemonSyncID))
	d.MaxLen = int(a.u16(daemonMaxLen))
	d.Port = int(a.u16(daemonPort))
	d.TTL = int(a.u8(daemonTTL))
	switch {
	case a[daemonGroup] != nil:
		d.Group = addrOf(ipvs.IPv4, a[daemonGroup])
	case a[daemonGroup6] != nil:
		d.Group = addrOf(ipvs.IPv6, a[daemonGroup6])
	}
	return d, when(d.Group.IsValid() && !d.Group.IsMulticast(), EINVAL)
}

// daemonStateOf is a state, or 0 if the number is none.
func daemonStateOf(n uint32) ipvs.DaemonState {
	if n == uint32(ipvs.DaemonMaster) || n == uint32(ipvs.DaemonBackup) {
		return ipvs.DaemonState(n)
	}
	return 0
}

// within parses a container that must be there. What is wrong inside has no
// error number of its own.
func within(p policy, v []byte) (attributes, bool) {
	a, errno := p.parse(v)
	return a, v != nil && errno == 0
}

func familyOf(af uint16) ipvs.Family {
	switch af {
	case afInet:
		return ipvs.IPv4
	case afInet6:
		return ipvs.IPv6
	}
	return ipvs.Unspec
}

// addrOf reads an address of a family; what is missing is 0.
func addrOf(f ipvs.Family, v []byte) netip.Addr {
	var b [addrLen]byte
	copy(b[:], v)
	if f == ipvs.IPv4 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}
