package procnet

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/netip"

	"usvs/ipvs"
)

// jiffies are the units of a persistence timeout: the kernel shows its own.
const jiffies = 100 // a second

func writeServices(w *bufio.Writer, s Source) error {
	info, err := s.Info()
	if err != nil {
		return err
	}
	all, err := s.Services()
	if err != nil {
		return err
	}
	v := info.Version
	fmt.Fprintf(w, "IP Virtual Server version %d.%d.%d (size=%d)\n", v[0], v[1], v[2], info.ConnTableSize)
	w.WriteString("Prot LocalAddress:Port Scheduler Flags\n" +
		"  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n")
	for i := range all {
		writeService(w, &all[i])
	}
	return nil
}

func writeService(w *bufio.Writer, e *ipvs.ServiceEntry) {
	ops := ""
	if e.Spec.Flags&ipvs.FlagOnePacket != 0 {
		ops = "ops "
	}
	switch {
	case e.ID.Mark != 0:
		fmt.Fprintf(w, "FWM  %08X %s %s", e.ID.Mark, e.Spec.Scheduler, ops)
	case e.ID.Addr.Is6():
		fmt.Fprintf(w, "%s  %s %s ", e.ID.Protocol, endpoint(e.ID.Addr, e.ID.Port), e.Spec.Scheduler)
	default:
		fmt.Fprintf(w, "%s  %s %s %s ", e.ID.Protocol, endpoint(e.ID.Addr, e.ID.Port), e.Spec.Scheduler, ops)
	}
	if e.Spec.Flags&ipvs.FlagPersistent != 0 {
		fmt.Fprintf(w, "persistent %d %08X", uint64(e.Spec.Timeout)*jiffies, netmask(e))
	}
	w.WriteByte('\n')
	for _, d := range e.Servers {
		fmt.Fprintf(w, "  -> %s      %-7s %-6d %-10d %-10d\n",
			endpoint(d.ID.Addr, d.ID.Port), d.Spec.Method, d.Spec.Weight, d.Active, d.Inactive)
	}
}

// netmask is the persistence granularity: IPv4's mask, or IPv6's prefix length
// with its bytes the wrong way round, as little-endian machines show it.
func netmask(e *ipvs.ServiceEntry) uint32 {
	if e.ID.Family == ipvs.IPv6 {
		return uint32(e.Spec.PrefixLen) << 24
	}
	if !e.Spec.Netmask.Is4() {
		return 1<<32 - 1
	}
	mask := e.Spec.Netmask.As4()
	return binary.BigEndian.Uint32(mask[:])
}

// endpoint writes an address of a service or a server with its port.
func endpoint(a netip.Addr, port uint16) string {
	if a.Is6() {
		return fmt.Sprintf("[%s]:%04X", a.StringExpanded(), port)
	}
	return fmt.Sprintf("%s:%04X", hexAddr(a), port)
}

// hexAddr writes an address without a port: eight digits, or IPv6 in full.
func hexAddr(a netip.Addr) string {
	if a.Is6() {
		return a.StringExpanded()
	}
	if !a.Is4() {
		return "00000000"
	}
	b := a.As4()
	return fmt.Sprintf("%08X", binary.BigEndian.Uint32(b[:]))
}
