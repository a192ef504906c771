package ipvsadm

import (
	"bufio"
	"fmt"
	"strings"

	"usvs/ipvs"
)

// layout is what a listing of services shows.
type layout uint8

const (
	layoutDefault layout = iota
	layoutStats
	layoutRate
	layoutThresholds
	layoutPersistentConn
	layoutTunInfo
)

// layoutOf chooses the layout; when several were asked for, one wins.
func layoutOf(o optionSet) layout {
	switch {
	case o.has(optStats):
		return layoutStats
	case o.has(optRate):
		return layoutRate
	case o.has(optThresholds):
		return layoutThresholds
	case o.has(optPersistentConn):
		return layoutPersistentConn
	case o.has(optTunInfo):
		return layoutTunInfo
	}
	return layoutDefault
}

// titles are the two lines above the services. Trailing blanks count.
var titles = [...]string{
	layoutDefault: "Prot LocalAddress:Port Scheduler Flags\n" +
		"  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n",
	layoutTunInfo: "Prot LocalAddress:Port Scheduler Flags\n" +
		"  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n",
	layoutStats: "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n" +
		"  -> RemoteAddress:Port\n",
	layoutRate: "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n" +
		"  -> RemoteAddress:Port\n",
	layoutThresholds: "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n" +
		"  -> RemoteAddress:Port\n",
	layoutPersistentConn: "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n" +
		"  -> RemoteAddress:Port\n",
}

// list executes -L.
func (s *session) list(q *request) *verdict {
	switch o := q.options; {
	case o.has(optConnection):
		return s.listConnections(o)
	case o.has(optService):
		return s.listService(q)
	case o.has(optTimeout):
		return s.listTimeouts()
	case o.has(optDaemon):
		return s.listDaemons()
	}
	return s.listServices(q.options)
}

func (s *session) listServices(o optionSet) *verdict {
	v := s.info.Version
	fmt.Fprintf(s.out, "IP Virtual Server version %d.%d.%d (size=%d)\n", v[0], v[1], v[2], s.info.ConnTableSize)
	entries, err := s.backend.Services()
	if err != nil {
		return readFailed(cmdList, err)
	}
	s.writeServices(entries, o)
	return nil
}

func (s *session) listService(q *request) *verdict {
	entry, err := s.backend.Service(q.service)
	if err != nil {
		return readFailed(cmdListService, err)
	}
	s.writeServices([]ipvs.ServiceEntry{entry}, q.options)
	return nil
}

func (s *session) writeServices(entries []ipvs.ServiceEntry, o optionSet) {
	if !o.has(optNoSort) {
		entries = sorted(entries)
	}
	l := listing{
		w:      s.out,
		names:  newNames(s.resolver, o.has(optNumeric)),
		layout: layoutOf(o),
		exact:  o.has(optExact),
	}
	l.w.WriteString(titles[l.layout])
	for i := range entries {
		l.service(&entries[i])
	}
}

func (s *session) listTimeouts() *verdict {
	t, err := s.backend.Timeouts()
	if err != nil {
		return failedSilently(err)
	}
	fmt.Fprintf(s.out, "Timeout (tcp tcpfin udp): %d %d %d\n", t.TCP, t.TCPFin, t.UDP)
	return nil
}

func (s *session) listDaemons() *verdict {
	daemons, err := s.backend.Daemons()
	if err != nil {
		return failedSilently(err)
	}
	for _, state := range []ipvs.DaemonState{ipvs.DaemonMaster, ipvs.DaemonBackup} {
		for i := range daemons {
			if daemons[i].State == state {
				s.writeDaemon(&daemons[i])
			}
		}
	}
	return nil
}

// failedSilently is how the original fails to list timeouts and daemons.
func failedSilently(err error) *verdict {
	v := readFailed(cmdList, err)
	if v.status == statusRead {
		v.text = ""
	}
	return v
}

func (s *session) writeDaemon(d *ipvs.Daemon) {
	state := "master"
	if d.State == ipvs.DaemonBackup {
		state = "backup"
	}
	fmt.Fprintf(s.out, "%s sync daemon (mcast=%s, syncid=%d", state, d.Interface, d.SyncID)
	if d.MaxLen != 0 {
		fmt.Fprintf(s.out, ", maxlen=%d", d.MaxLen)
	}
	if d.Group.IsValid() && !d.Group.IsUnspecified() {
		fmt.Fprintf(s.out, ", group=%s", formatAddr(d.Group))
	}
	if d.Port != 0 {
		fmt.Fprintf(s.out, ", port=%d", d.Port)
	}
	if d.TTL != 0 {
		fmt.Fprintf(s.out, ", ttl=%d", d.TTL)
	}
	s.out.WriteString(")\n")
}

// listing writes services and servers in one layout.
type listing struct {
	w      *bufio.Writer
	names  names
	layout layout
	exact  bool
}

func (l *listing) service(e *ipvs.ServiceEntry) {
	label := l.label(&e.ID)
	switch l.layout {
	case layoutStats, layoutRate:
		fmt.Fprintf(l.w, "%-33s", label)
		for _, n := range l.numbers(&e.Stats) {
			l.number(n)
		}
	default:
		fmt.Fprintf(l.w, "%s %s", label, e.Spec.Scheduler)
		l.flags(&e.ID, &e.Spec)
	}
	l.w.WriteByte('\n')
	for i := range e.Servers {
		l.server(e.ID.Protocol, &e.Servers[i])
	}
}

// label names a service. Firewall marks print as signed numbers. IPv6 labels
// are not cut.
func (l *listing) label(id *ipvs.ServiceID) string {
	if id.Mark != 0 {
		label := fmt.Sprintf("FWM  %d", int32(id.Mark))
		if id.Family == ipvs.IPv6 {
			label += " IPv6"
		}
		return label
	}
	label := fmt.Sprintf("%-4s %s", id.Protocol, l.names.endpoint(id.Addr, id.Port, id.Protocol))
	if id.Family == ipvs.IPv6 {
		return label
	}
	return cut(label, 33)
}

func (l *listing) flags(id *ipvs.ServiceID, spec *ipvs.ServiceSpec) {
	if spec.Flags&(ipvs.FlagSched1|ipvs.FlagSched2|ipvs.FlagSched3) != 0 {
		fmt.Fprintf(l.w, " (%s)", schedFlagList(spec))
	}
	if spec.Flags&ipvs.FlagPersistent != 0 {
		fmt.Fprintf(l.w, " persistent %d", spec.Timeout)
		if mask, ok := maskText(id, spec); ok {
			fmt.Fprintf(l.w, " mask %s", mask)
		}
		if spec.PE != "" {
			fmt.Fprintf(l.w, " pe %s", spec.PE)
		}
	}
	if spec.Flags&ipvs.FlagOnePacket != 0 {
		l.w.WriteString(" ops")
	}
}

// schedFlagList names the scheduler's flags. A flag the scheduler has no name
// for is left out, so the list may be empty.
func schedFlagList(spec *ipvs.ServiceSpec) string {
	known, ok := schedFlagNames[spec.Scheduler]
	if !ok {
		known = schedFlagNames[""]
	}
	var set []string
	for i, bit := range schedFlagBits {
		if spec.Flags&bit != 0 && known[i] != "" {
			set = append(set, known[i])
		}
	}
	return strings.Join(set, ",")
}

// maskText is the persistence mask, if it is not the one that keeps every
// client apart.
func maskText(id *ipvs.ServiceID, spec *ipvs.ServiceSpec) (string, bool) {
	if id.Family == ipvs.IPv6 {
		return fmt.Sprint(spec.PrefixLen), spec.PrefixLen != 128 && spec.PrefixLen != 0
	}
	return spec.Netmask.String(), spec.Netmask.IsValid() && spec.Netmask != allOnes
}

func (l *listing) server(proto ipvs.Protocol, e *ipvs.ServerEntry) {
	name := l.names.endpoint(e.ID.Addr, e.ID.Port, proto)
	if e.ID.Addr.Is4() {
		name = cut(name, 28) // IPv6 names are not cut; their columns shift
	}
	fmt.Fprintf(l.w, "  -> %-28s", name)
	spec := &e.Spec
	switch l.layout {
	case layoutStats, layoutRate:
		l.serverNumbers(&e.Stats)
	case layoutThresholds:
		fmt.Fprintf(l.w, " %-10d %-10d %-10d %-10d", spec.UpperThreshold, spec.LowerThreshold, e.Active, e.Inactive)
	case layoutPersistentConn:
		fmt.Fprintf(l.w, " %-9d %-11d %-10d %-10d", uint32(spec.Weight), e.Persistent, e.Active, e.Inactive)
	case layoutTunInfo:
		fmt.Fprintf(l.w, " %-7s %-13s %-6d %-10d %-10d", spec.Method, tunnelInfo(spec), spec.Weight, e.Active, e.Inactive)
	default:
		fmt.Fprintf(l.w, " %-7s %-6d %-10d %-10d", spec.Method, spec.Weight, e.Active, e.Inactive)
	}
	l.w.WriteByte('\n')
}

func tunnelInfo(spec *ipvs.ServerSpec) string {
	if spec.Method != ipvs.Tunnel {
		return "n/a"
	}
	t := &spec.Tunnel
	switch t.Type {
	case ipvs.GUE:
		return fmt.Sprintf("gue:%d:%s", t.Port, tunnelCsumMarks[csumMode(t)])
	case ipvs.GRE:
		return "gre:" + tunnelCsumMarks[csumMode(t)]
	}
	return "ipip"
}

var tunnelCsumMarks = [...]string{ipvs.TunnelNoCsum: "-c", ipvs.TunnelCsum: "+c", ipvs.TunnelRemCsum: "r+c"}

// csumMode is the tunnel's checksum flag.
func csumMode(t *ipvs.TunnelParams) uint16 {
	switch {
	case t.Flags&ipvs.TunnelCsum != 0:
		return ipvs.TunnelCsum
	case t.Flags&ipvs.TunnelRemCsum != 0:
		return ipvs.TunnelRemCsum
	}
	return ipvs.TunnelNoCsum
}

// numbers are the five columns of the layout.
func (l *listing) numbers(s *ipvs.Stats) [5]uint64 {
	if l.layout == layoutRate {
		return [5]uint64{s.CPS, s.InPPS, s.OutPPS, s.InBPS, s.OutBPS}
	}
	return [5]uint64{s.Conns, s.InPkts, s.OutPkts, s.InBytes, s.OutBytes}
}

// serverNumbers writes a server's columns. The first three rates of a server,
// unlike those of a service, are never scaled.
func (l *listing) serverNumbers(s *ipvs.Stats) {
	for i, n := range l.numbers(s) {
		if l.layout == layoutRate && i < 3 {
			fmt.Fprintf(l.w, " %8d", n)
			continue
		}
		l.number(n)
	}
}

// number writes one column, scaled by thousands, rounding down, unless exact.
func (l *listing) number(n uint64) {
	const million, billion, trillion = 1e6, 1e9, 1e12
	switch {
	case l.exact, n < 100*million:
		fmt.Fprintf(l.w, " %8d", n)
	case n < billion:
		fmt.Fprintf(l.w, "%8dK", n/1000)
	case n < 100*billion:
		fmt.Fprintf(l.w, "%8dM", n/million)
	case n < 100*trillion:
		fmt.Fprintf(l.w, "%8dG", n/billion)
	default:
		fmt.Fprintf(l.w, "%8dT", n/trillion)
	}
}
