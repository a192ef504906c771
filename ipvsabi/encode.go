package ipvsabi

import (
	"net/netip"

	"usvs/ipvs"
)

// service writes a SERVICE, in the kernel's order.
func (w *writer) service(e *ipvs.ServiceEntry) {
	all := w.nest(attrService)
	w.u16(svcFamily, afOf(e.ID.Family))
	if e.ID.Mark != 0 {
		w.u32(svcMark, e.ID.Mark)
	} else {
		w.u16(svcProtocol, uint16(e.ID.Protocol))
		w.addr(svcAddr, e.ID.Addr)
		w.be16(svcPort, e.ID.Port)
	}
	w.text(svcScheduler, e.Spec.Scheduler)
	if e.Spec.PE != "" {
		w.text(svcPE, e.Spec.PE)
	}
	w.attr(svcFlags, 8)
	*w = native.AppendUint32(*w, uint32(e.Spec.Flags))
	*w = native.AppendUint32(*w, 0xffffffff) // all flags are known
	w.u32(svcTimeout, e.Spec.Timeout)
	w.netmask(e)
	w.stats(svcStats, &e.Stats)
	w.stats64(svcStats64, &e.Stats)
	w.endNest(all)
}

func (w *writer) netmask(e *ipvs.ServiceEntry) {
	if e.ID.Family == ipvs.IPv6 {
		w.u32(svcNetmask, uint32(e.Spec.PrefixLen))
		return
	}
	mask := maskOf(e.Spec.Netmask)
	w.bytes(svcNetmask, mask[:])
}

// maskOf is an IPv4 netmask; none is that of a host.
func maskOf(a netip.Addr) [4]byte {
	if a.Is4() {
		return a.As4()
	}
	return [4]byte{255, 255, 255, 255}
}

// dest writes a DEST, in the kernel's order.
func (w *writer) dest(e *ipvs.ServerEntry) {
	all := w.nest(attrDest)
	w.addr(destAddr, e.ID.Addr)
	w.be16(destPort, e.ID.Port)
	w.u32(destMethod, uint32(e.Spec.Method))
	w.u32(destWeight, uint32(e.Spec.Weight))
	w.u8(destTunType, uint8(e.Spec.Tunnel.Type))
	w.be16(destTunPort, e.Spec.Tunnel.Port)
	w.u16(destTunFlags, e.Spec.Tunnel.Flags)
	w.u32(destUpper, e.Spec.UpperThreshold)
	w.u32(destLower, e.Spec.LowerThreshold)
	w.u32(destActive, e.Active)
	w.u32(destInactive, e.Inactive)
	w.u32(destPersistent, e.Persistent)
	w.u16(destFamily, afOf(ipvs.FamilyOf(e.ID.Addr)))
	w.stats(destStats, &e.Stats)
	w.stats64(destStats64, &e.Stats)
	w.endNest(all)
}

// daemon writes a DAEMON, in the kernel's order.
func (w *writer) daemon(d *ipvs.Daemon) {
	all := w.nest(attrDaemon)
	w.u32(daemonState, uint32(d.State))
	w.text(daemonInterface, d.Interface)
	w.u32(daemonSyncID, uint32(d.SyncID))
	w.u16(daemonMaxLen, uint16(d.MaxLen))
	w.u16(daemonPort, uint16(d.Port))
	w.u8(daemonTTL, uint8(d.TTL))
	switch {
	case d.Group.Is4():
		w.bytes(daemonGroup, d.Group.AsSlice())
	case d.Group.Is6():
		w.bytes(daemonGroup6, d.Group.AsSlice())
	}
	w.endNest(all)
}

// stats writes the older form of statistics: 32 bits, but 64 for bytes.
func (w *writer) stats(typ int, st *ipvs.Stats) {
	all := w.nest(typ)
	w.u32(statConns, uint32(st.Conns))
	w.u32(statInPkts, uint32(st.InPkts))
	w.u32(statOutPkts, uint32(st.OutPkts))
	w.u64(statInBytes, statPad, st.InBytes)
	w.u64(statOutBytes, statPad, st.OutBytes)
	w.u32(statCPS, uint32(st.CPS))
	w.u32(statInPPS, uint32(st.InPPS))
	w.u32(statOutPPS, uint32(st.OutPPS))
	w.u32(statInBPS, uint32(st.InBPS))
	w.u32(statOutBPS, uint32(st.OutBPS))
	w.endNest(all)
}

func (w *writer) stats64(typ int, st *ipvs.Stats) {
	all := w.nest(typ)
	for i, n := range [...]uint64{
		st.Conns, st.InPkts, st.OutPkts, st.InBytes, st.OutBytes,
		st.CPS, st.InPPS, st.OutPPS, st.InBPS, st.OutBPS,
	} {
		w.u64(statConns+i, statPad, n)
	}
	w.endNest(all)
}

// addr writes an address: 16 bytes for either family.
func (w *writer) addr(typ int, a netip.Addr) {
	var b [addrLen]byte
	if a.Is4() {
		v4 := a.As4()
		copy(b[:], v4[:])
	} else if a.IsValid() {
		b = a.As16()
	}
	w.attr(typ, addrLen)
	*w = append(*w, b[:]...)
}

func afOf(f ipvs.Family) uint16 {
	if f == ipvs.IPv6 {
		return afInet6
	}
	return afInet
}
