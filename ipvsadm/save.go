package ipvsadm

import (
	"bufio"
	"fmt"

	"usvs/ipvs"
)

// save executes -S: the table as command lines for a restore. Thresholds,
// timeouts and synchronisation daemons are not saved.
func (s *session) save(q *request) *verdict {
	entries, err := s.backend.Services()
	if err != nil {
		return readFailed(cmdSave, err)
	}
	entries = sorted(entries)
	d := dump{w: s.out, names: newNames(s.resolver, q.options.has(optNumeric))}
	for i := range entries {
		d.service(&entries[i])
	}
	return nil
}

// dump writes services and servers as command lines.
type dump struct {
	w     *bufio.Writer
	names names
}

func (d *dump) service(e *ipvs.ServiceEntry) {
	id := d.identify(&e.ID)
	d.w.WriteString("-A " + id + " -s " + e.Spec.Scheduler)
	d.flags(&e.ID, &e.Spec)
	d.w.WriteByte('\n')
	for i := range e.Servers {
		d.server(id, e.ID.Protocol, &e.Servers[i])
	}
}

// identify is the option that names a service. Firewall marks are written as
// signed numbers, so those of 2^31 and more cannot be restored.
func (d *dump) identify(id *ipvs.ServiceID) string {
	if id.Mark != 0 {
		text := fmt.Sprintf("-f %d", int32(id.Mark))
		if id.Family == ipvs.IPv6 {
			text += " -6"
		}
		return text
	}
	option := "-t"
	switch id.Protocol {
	case ipvs.UDP:
		option = "-u"
	case ipvs.SCTP:
		option = "--sctp-service"
	}
	return option + " " + d.names.endpoint(id.Addr, id.Port, id.Protocol)
}

func (d *dump) flags(id *ipvs.ServiceID, spec *ipvs.ServiceSpec) {
	if spec.Flags&ipvs.FlagPersistent != 0 {
		fmt.Fprintf(d.w, " -p %d", spec.Timeout)
		if mask, ok := maskText(id, spec); ok {
			d.w.WriteString(" -M " + mask)
		}
	}
	if spec.PE != "" {
		d.w.WriteString(" --pe " + spec.PE)
	}
	if spec.Flags&ipvs.FlagOnePacket != 0 {
		d.w.WriteString(" -o")
	}
	if spec.Flags&(ipvs.FlagSched1|ipvs.FlagSched2|ipvs.FlagSched3) != 0 {
		d.w.WriteString(" -b " + schedFlagList(spec))
	}
}

func (d *dump) server(service string, proto ipvs.Protocol, e *ipvs.ServerEntry) {
	name := d.names.endpoint(e.ID.Addr, e.ID.Port, proto)
	fmt.Fprintf(d.w, "-a %s -r %s %s -w %d", service, name, methodOption(e.Spec.Method), e.Spec.Weight)
	if e.Spec.Method == ipvs.Tunnel {
		d.tunnel(&e.Spec.Tunnel)
	}
	d.w.WriteByte('\n')
}

// methodOption is the option of a forwarding method; there is none for a local
// server, which is found out anew when it is restored.
func methodOption(m ipvs.ForwardMethod) string {
	switch m {
	case ipvs.Masquerade:
		return "-m"
	case ipvs.Tunnel:
		return "-i"
	}
	return "-g"
}

var tunnelCsumOptions = [...]string{
	ipvs.TunnelNoCsum:  " --tun-nocsum",
	ipvs.TunnelCsum:    " --tun-csum",
	ipvs.TunnelRemCsum: " --tun-remcsum",
}

func (d *dump) tunnel(t *ipvs.TunnelParams) {
	switch t.Type {
	case ipvs.GUE:
		fmt.Fprintf(d.w, " --tun-type gue --tun-port %d%s", t.Port, tunnelCsumOptions[csumMode(t)])
	case ipvs.GRE:
		d.w.WriteString(" --tun-type gre" + tunnelCsumOptions[csumMode(t)])
	default:
		d.w.WriteString(" --tun-type ipip")
	}
}
