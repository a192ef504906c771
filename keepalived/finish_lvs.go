package keepalived

import (
	"fmt"
	"net/netip"
	"time"
)

// String names a virtual server as keepalived's messages do, without brackets.
func (vs *VirtualServer) String() string {
	switch {
	case vs.Group != "":
		return "group " + vs.Group
	case !vs.VIP.IsValid():
		return fmt.Sprintf("fwmark %d", vs.Mark)
	}
	return netip.AddrPortFrom(vs.VIP, vs.Port).String()
}

func (p *parser) finishLVS() {
	kept := make([]*VirtualServer, 0, len(p.config.VirtualServers))
	for _, vs := range p.config.VirtualServers {
		b := p.blockOf(vs)
		if b != nil && b.finished {
			kept = append(kept, vs)
			continue
		}
		if len(vs.RealServers) == 0 {
			p.lateInvalid(vs.At, "virtual_server %v without real_server", vs)
			continue
		}
		before := p.report.found()
		p.finishVirtualServer(vs)
		kept = append(kept, vs)
		if b != nil && p.report.found() == before && vs.Group == "" {
			b.finish()
		}
	}
	p.config.VirtualServers = kept
}

// endRealServer keeps a server of the virtual server's address family only, which
// is the first server's where nothing else says so.
func endRealServer(p *parser, s statement) {
	vs, rs := p.vs, p.rs
	if rs.Forwarding.V.Method == "TUN" {
		return
	}
	if vs.Family.V == "" {
		vs.Family.V = family(rs.RIP)
	}
	if vs.Family.V != family(rs.RIP) {
		p.invalid(fmt.Sprintf("real_server %v is not of the family of virtual_server %v, %s", rs.RIP, vs, vs.Family.V), "only a tunnel joins the two")
		vs.RealServers = without(vs.RealServers, rs)
	}
}

// endVirtualServer looks at what may stand anywhere in the block.
func endVirtualServer(p *parser, s statement) {
	vs := p.vs
	sorry := vs.SorryServer
	if !sorry.Set() || vs.Family.V == "" || vs.SorryForwarding.V.Method == "TUN" {
		return
	}
	if family(sorry.V.Addr()) != vs.Family.V {
		p.invalid(fmt.Sprintf("sorry_server %v is not of the family of virtual_server %v, %s", sorry.V.Addr(), vs, vs.Family.V), "only a tunnel joins the two")
		vs.SorryServer = Value[netip.AddrPort]{}
	}
}

func (p *parser) finishVirtualServer(vs *VirtualServer) {
	p.finishService(vs)
	p.finishForwarding(vs)
	p.finishServers(vs)
	p.finishQuorum(vs)
	p.finishPorts(vs)
	vs.DelayLoop.orDefault(time.Minute)
	vs.ConnectTimeout.orDefault(5 * time.Second)
	vs.CheckPath.orElse(p.config.Global.CheckPath)
	vs.CheckPath.orDefault("direct")
	vs.SMTPAlert.orElse(p.config.Global.SMTPAlertChecker)
	vs.SMTPAlert.orElse(p.config.Global.SMTPAlert)
	for _, rs := range vs.RealServers {
		p.finishRealServer(vs, rs)
	}
}

// byMark reports whether packets come to the virtual server by their mark.
func (p *parser) byMark(vs *VirtualServer) bool {
	if vs.Group == "" {
		return !vs.VIP.IsValid()
	}
	g := p.serverGroup(vs.Group)
	if g == nil {
		return false
	}
	for _, e := range g.Entries {
		if e.First.IsValid() || e.Family != "" && e.Family != vs.Family.V {
			return false
		}
	}
	return true
}

func (p *parser) serverGroup(name string) *VirtualServerGroup {
	for _, g := range p.config.ServerGroups {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// anyPort reports whether the virtual server is for every port of an address.
func (p *parser) anyPort(vs *VirtualServer) bool {
	if vs.Group == "" {
		return vs.VIP.IsValid() && vs.Port == 0
	}
	if g := p.serverGroup(vs.Group); g != nil {
		for _, e := range g.Entries {
			if e.First.IsValid() && e.Port == 0 {
				return true
			}
		}
	}
	return false
}

// finishService fills in what the service itself lacks.
func (p *parser) finishService(vs *VirtualServer) {
	mark := p.byMark(vs)
	switch {
	case mark && vs.Protocol.Set():
		p.lateInvalid(vs.Protocol.At, "virtual_server %v: a mark has no protocol", vs)
		vs.Protocol = Value[string]{}
	case !mark && !vs.Protocol.Set():
		p.lateInvalid(vs.At, "virtual_server %v without protocol; keepalived takes UDP", vs)
		vs.Protocol.V = "UDP"
	}
	if vs.Group == "" && mark && vs.Mark == 0 {
		p.lateInvalid(vs.At, "virtual_server fwmark 0: no packet has this mark")
	}
	if mark && vs.HASuspend.V {
		p.lateInvalid(vs.HASuspend.At, "virtual_server %v: ha_suspend does not go with a mark", vs)
		vs.HASuspend.V = false
	}
	if vs.OnePacket.V && vs.Protocol.V != "UDP" {
		p.lateInvalid(vs.OnePacket.At, "virtual_server %v: ops is for UDP", vs)
		vs.OnePacket.V = false
	}
	if !vs.Scheduler.Set() {
		p.lateInvalid(vs.At, "virtual_server %v without lb_algo; keepalived takes wlc", vs)
		vs.Scheduler.V = "wlc"
	}
	if vs.PersistenceGranularity.Set() && !vs.Persistence.Set() {
		vs.Persistence.V = defaultPersistence
	}
	if p.anyPort(vs) && vs.Persistence.V == 0 {
		p.lateInvalid(vs.At, "virtual_server %v: without a port the service has to be persistent; keepalived makes it so", vs)
		vs.Persistence.V = defaultPersistence
	}
}

// finishForwarding gives servers without a method of their own the virtual
// server's.
func (p *parser) finishForwarding(vs *VirtualServer) {
	missing := false
	for _, rs := range vs.RealServers {
		if rs.Forwarding.V.Method != "" {
			continue
		}
		rs.Forwarding.V = vs.Forwarding.V
		missing = missing || !vs.Forwarding.Set()
	}
	if missing {
		p.lateInvalid(vs.At, "virtual_server %v without lb_kind; keepalived takes NAT", vs)
	}
	vs.Forwarding.orDefault(Forwarding{Method: "NAT"})
	for _, rs := range vs.RealServers {
		if rs.Forwarding.V.Method == "" {
			rs.Forwarding.V = vs.Forwarding.V
		}
	}
	if vs.SorryForwarding.V.Method == "" {
		vs.SorryForwarding.V = vs.Forwarding.V
	}
}

// finishServers drops servers that are there already.
func (p *parser) finishServers(vs *VirtualServer) {
	seen := map[netip.AddrPort]bool{}
	var kept []*RealServer
	for _, rs := range vs.RealServers {
		at := netip.AddrPortFrom(rs.RIP, rs.Port)
		if seen[at] {
			p.lateInvalid(rs.At, "virtual_server %v has real_server %v twice; the first counts", vs, at)
			continue
		}
		seen[at] = true
		kept = append(kept, rs)
		rs.InhibitOnFailure.orElse(vs.InhibitOnFailure)
		if sorry := vs.SorryServer; sorry.Set() && sorry.V == at && vs.SorryServerInhibit.V != rs.InhibitOnFailure.V {
			p.lateInvalid(sorry.At, "virtual_server %v: the sorry server is also real_server %v, but only one of them is inhibited", vs, at)
			vs.SorryServerInhibit.V = rs.InhibitOnFailure.V
		}
	}
	vs.RealServers = kept
}

func (p *parser) finishQuorum(vs *VirtualServer) {
	vs.Weight.orDefault(1)
	vs.Quorum.orDefault(1)
	total := 0
	for _, rs := range vs.RealServers {
		if !rs.Weight.Set() {
			rs.Weight.V = vs.Weight.V
		}
		total += rs.Weight.V
	}
	at := vs.Quorum.At
	if !vs.Quorum.Set() {
		at = vs.At
	}
	if vs.Quorum.V > total {
		p.lateInvalid(at, "virtual_server %v: quorum %d is more than all weights together, %d", vs, vs.Quorum.V, total)
		vs.Quorum.V = total
	}
	if vs.Hysteresis.V >= vs.Quorum.V && vs.Hysteresis.V > 0 {
		p.lateInvalid(vs.Hysteresis.At, "virtual_server %v: hysteresis %d is not less than quorum %d", vs, vs.Hysteresis.V, vs.Quorum.V)
		vs.Hysteresis.V = max(0, vs.Quorum.V-1)
	}
}

// finishPorts makes ports equal where a method cannot change them.
func (p *parser) finishPorts(vs *VirtualServer) {
	mark := p.byMark(vs)
	for _, rs := range vs.RealServers {
		switch {
		case mark && vs.Group == "" && rs.Port != 0:
			p.lateInvalid(rs.At, "virtual_server %v: a mark has no port, but real_server %v has %d", vs, rs.RIP, rs.Port)
			rs.Port = 0
		case vs.Group == "" && !mark && rs.Forwarding.V.Method != "NAT" && rs.Port != vs.Port:
			p.lateInvalid(rs.At, "virtual_server %v and real_server %v have different ports, which %s cannot change", vs, netip.AddrPortFrom(rs.RIP, rs.Port), rs.Forwarding.V.Method)
			rs.Port = vs.Port
		case vs.Group != "" && !mark && rs.Forwarding.V.Method != "NAT":
			p.groupPorts(vs, rs)
		}
	}
	p.sorryPort(vs, mark)
}

func (p *parser) groupPorts(vs *VirtualServer, rs *RealServer) {
	g := p.serverGroup(vs.Group)
	if g == nil {
		return
	}
	for _, e := range g.Entries {
		if e.First.IsValid() && rs.Port != 0 && e.Port != rs.Port {
			p.lateInvalid(rs.At, "virtual_server %v and real_server %v have different ports, which %s cannot change", vs, netip.AddrPortFrom(rs.RIP, rs.Port), rs.Forwarding.V.Method)
			return
		}
	}
}

func (p *parser) sorryPort(vs *VirtualServer, mark bool) {
	sorry := vs.SorryServer
	if !sorry.Set() {
		return
	}
	switch {
	case mark && vs.Group == "" && sorry.V.Port() != 0, vs.Group == "" && !mark && vs.SorryForwarding.V.Method != "NAT" && sorry.V.Port() != vs.Port:
		p.lateInvalid(sorry.At, "virtual_server %v and its sorry_server have different ports, which %s cannot change", vs, vs.SorryForwarding.V.Method)
		vs.SorryServer.V = netip.AddrPortFrom(sorry.V.Addr(), vs.Port)
	}
}

// Defaults of checks that no keyword sets.
var (
	defaultRetries = map[string]int{"DNS_CHECK": 3, "MISC_CHECK": 0}
	defaultDelays  = map[string]time.Duration{"HTTP_GET": 3 * time.Second, "SSL_GET": 3 * time.Second}
)

// finishRealServer hands the virtual server's settings down.
func (p *parser) finishRealServer(vs *VirtualServer, rs *RealServer) {
	rs.Timing.inherit(vs.Timing)
	rs.Alpha.orElse(vs.Alpha)
	rs.Virtualhost.orElse(vs.Virtualhost)
	rs.SMTPAlert.orElse(p.config.Global.SMTPAlertChecker)
	rs.SMTPAlert.orElse(p.config.Global.SMTPAlert)
	rs.SMTPAlert.orDefault(true)
	for _, c := range rs.Checkers {
		p.finishChecker(vs, rs, c)
	}
}

func (t *Timing) inherit(from Timing) {
	t.DelayLoop.orElse(from.DelayLoop)
	t.ConnectTimeout.orElse(from.ConnectTimeout)
	t.Retry.orElse(from.Retry)
	t.DelayBeforeRetry.orElse(from.DelayBeforeRetry)
	t.Warmup.orElse(from.Warmup)
	t.CheckPath.orElse(from.CheckPath)
	t.CheckPath.orDefault(from.CheckPath.V)
}

func (p *parser) finishChecker(vs *VirtualServer, rs *RealServer, c *Checker) {
	c.Timing.inherit(rs.Timing)
	c.Alpha.orElse(rs.Alpha)
	c.LogAllFailures.orElse(p.config.Global.CheckerLogAll)
	c.ConnectIP.orDefault(rs.RIP)
	c.ConnectPort.orDefault(rs.Port)
	if retries, ok := defaultRetries[c.Type]; ok {
		c.Retry.orDefault(retries)
	} else {
		c.Retry.orDefault(1)
	}
	delay := defaultDelays[c.Type]
	switch {
	case c.Type == "DNS_CHECK":
		delay = c.DelayLoop.V
	case delay == 0:
		delay = time.Second
	}
	c.DelayBeforeRetry.orDefault(delay)
	c.Warmup.orDefault(c.DelayLoop.V)
	c.finishKind(vs, rs)
}

// finishKind fills in the defaults of the check's own type.
func (c *Checker) finishKind(vs *VirtualServer, rs *RealServer) {
	switch {
	case c.HTTP != nil:
		c.HTTP.Protocol.orDefault("1.0")
		c.HTTP.Virtualhost.orElse(rs.Virtualhost)
		for _, u := range c.HTTP.URLs {
			u.Virtualhost.orElse(c.HTTP.Virtualhost)
		}
	case c.DNS != nil:
		c.DNS.Type.orDefault("SOA")
		c.DNS.Name.orDefault(".")
	case c.Misc != nil && c.Misc.Timeout.V == 0:
		c.Misc.Timeout.orDefault(vs.DelayLoop.V)
	case c.Type == "SMTP_CHECK":
		c.HeloName.orDefault("smtpchecker.keepalived.org")
	}
}
