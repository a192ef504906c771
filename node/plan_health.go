package node

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"usvs/health"
	"usvs/ipvs"
	"usvs/keepalived"
	"usvs/keepalived/wanted"
)

func (p *plan) planHealth(before *plan) error {
	g := &p.conf.Global
	h := &p.health
	h.RouterID = p.routerID
	h.NoCheckerEmails, h.InitNotifies = g.NoCheckerEmails.V, g.RSInitNotifies.V
	switch g.LVSFlushOnStop.V {
	case "all":
		h.OnStop = health.StopNothing
	case "VS":
		h.OnStop = health.StopServices
	}
	p.planTLS()
	var errs []error
	groups, known := wanted.GroupsOf(p.conf), before.knownTo(p)
	h.VirtualServers = make([]*health.VirtualServer, 0, len(p.conf.VirtualServers))
	p.known = make(map[keepalived.Origin]*health.VirtualServer, len(p.conf.VirtualServers))
	for _, conf := range p.conf.VirtualServers {
		vs, err := known[conf.Origin], error(nil)
		if vs == nil {
			vs, err = p.translate(groups.VirtualServer(conf))
		} else {
			p.known[conf.Origin] = vs
		}
		if vs != nil {
			h.VirtualServers = append(h.VirtualServers, vs)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (p *plan) planTLS() {
	if s := p.conf.SSL; s != nil {
		p.tls = &health.TLS{Password: s.Password.V, CA: s.CA.V, Certificate: s.Certificate.V, Key: s.File.V}
	}
}

// knownTo are the virtual servers of a plan, if any, that are the same in the
// one after it.
func (p *plan) knownTo(next *plan) map[keepalived.Origin]*health.VirtualServer {
	if p == nil || (p.tls == nil) != (next.tls == nil) || p.tls != nil && *p.tls != *next.tls {
		return nil
	}
	return p.known
}

// translate returns nil for a virtual server that stands for nothing.
func (p *plan) translate(w wanted.VirtualServer) (*health.VirtualServer, error) {
	if len(w.Services) == 0 {
		return nil, nil
	}
	warnings := len(p.warnings)
	vs, err := p.virtualServer(&w)
	if w.Truncated {
		err = errors.Join(fmt.Errorf("%v: virtual_server %v stands for more than %d services", w.Conf.At, w.Conf, wanted.MaxServices), err)
	}
	if w.Conf.Origin.Known() && err == nil && len(p.warnings) == warnings {
		p.known[w.Conf.Origin] = vs
	}
	return vs, err
}

func (p *plan) virtualServer(w *wanted.VirtualServer) (*health.VirtualServer, error) {
	conf := w.Conf
	vs := &health.VirtualServer{
		Group: conf.Group, Protocol: w.Services[0].ID.Protocol,
		Quorum: conf.Quorum.V, Hysteresis: conf.Hysteresis.V, Alpha: conf.Alpha.V, Omega: conf.Omega.V,
		HASuspend: conf.HASuspend.V, SMTPAlert: conf.SMTPAlert.V,
		QuorumUp: healthScript(conf.QuorumUp), QuorumDown: healthScript(conf.QuorumDown),
	}
	for _, s := range w.Services {
		vs.Services = append(vs.Services, health.Service{ID: s.ID, Spec: s.Spec})
	}
	vs.Sorry = sorry(w)
	var errs []error
	for i, rs := range conf.RealServers {
		s, err := p.server(w, i, rs)
		vs.Servers = append(vs.Servers, s)
		errs = append(errs, err)
	}
	return vs, errors.Join(errs...)
}

func sorry(w *wanted.VirtualServer) *health.SorryServer {
	first := w.Services[0].Sorry
	if first == nil {
		return nil
	}
	s := &health.SorryServer{
		ID:   ipvs.ServerID{Addr: w.Conf.SorryServer.V.Addr(), Port: w.Conf.SorryServer.V.Port()},
		Spec: first.Spec, Inhibit: w.Conf.SorryServerInhibit.V,
	}
	if len(w.Services) == 1 {
		s.ID = first.ID
	}
	s.Targets = targets(w, s.ID, func(svc *wanted.Service) ipvs.ServerID { return svc.Sorry.ID })
	return s
}

// targets is what a server is called in each service; nil if that is id
// everywhere.
func targets(w *wanted.VirtualServer, id ipvs.ServerID, of func(*wanted.Service) ipvs.ServerID) []ipvs.ServerID {
	same := true
	for i := range w.Services {
		same = same && of(&w.Services[i]) == id
	}
	if same {
		return nil
	}
	out := make([]ipvs.ServerID, len(w.Services))
	for i := range w.Services {
		out[i] = of(&w.Services[i])
	}
	return out
}

func (p *plan) server(w *wanted.VirtualServer, i int, rs *keepalived.RealServer) (*health.Server, error) {
	s := &health.Server{
		ID:   ipvs.ServerID{Addr: rs.RIP, Port: rs.Port},
		Spec: w.Services[0].Servers[i].Spec, Inhibit: rs.InhibitOnFailure.V, SMTPAlert: rs.SMTPAlert.V,
		NotifyUp: healthScript(rs.NotifyUp), NotifyDown: healthScript(rs.NotifyDown),
	}
	s.Targets = targets(w, s.ID, func(svc *wanted.Service) ipvs.ServerID { return svc.Servers[i].ID })
	var errs []error
	for _, c := range rs.Checkers {
		if c.Type == "BFD_CHECK" {
			continue // warned of
		}
		check, err := p.checker(w, rs, c)
		if err != nil {
			errs = append(errs, fmt.Errorf("%v: %s: %w", c.At, c.Type, err))
			continue
		}
		s.Checks = append(s.Checks, check)
	}
	return s, errors.Join(errs...)
}

func healthScript(v keepalived.Value[keepalived.Script]) *health.Script {
	if !v.Set() {
		return nil
	}
	return &health.Script{Args: v.V.Args, User: v.V.User, Group: v.V.Group}
}

var kinds = map[string]health.Kind{
	"TCP_CHECK": health.TCP, "HTTP_GET": health.HTTP, "SSL_GET": health.SSL, "SMTP_CHECK": health.SMTP, "DNS_CHECK": health.DNS,
	"MISC_CHECK": health.Misc, "UDP_CHECK": health.UDP, "PING_CHECK": health.Ping, "FILE_CHECK": health.File,
}

func (p *plan) checker(w *wanted.VirtualServer, rs *keepalived.RealServer, c *keepalived.Checker) (*health.Check, error) {
	h := &health.Check{
		Probe: health.Probe{
			Kind: kinds[c.Type], Target: netip.AddrPortFrom(c.ConnectIP.V, c.ConnectPort.V),
			Bind: netip.AddrPortFrom(c.BindTo.V, c.BindPort.V), Interface: c.BindIf.V, Mark: uint32(c.Mark.V),
			Timeout: c.ConnectTimeout.V, Helo: c.HeloName.V,
		},
		DelayLoop: c.DelayLoop.V, DelayBeforeRetry: c.DelayBeforeRetry.V, Warmup: c.Warmup.V, Retry: c.Retry.V,
		Alpha: c.Alpha.V, LogAllFailures: c.LogAllFailures.V,
	}
	p.path(h, w, rs, c)
	switch {
	case c.HTTP != nil:
		return h, p.http(h, c)
	case c.DNS != nil:
		h.Probe.DNS = &health.DNSQuestion{Type: c.DNS.Type.V, Name: c.DNS.Name.V}
	case c.Misc != nil:
		h.Probe.Script = healthScript(c.Misc.Path)
		h.Probe.Timeout, h.Dynamic = c.Misc.Timeout.V, c.Misc.Dynamic.V
	case c.UDP != nil:
		return h, udp(&h.Probe, c.UDP)
	case c.Type == "FILE_CHECK":
		p.file(h, c)
	}
	return h, nil
}

// path has the check go by the VIP, where it can.
func (p *plan) path(h *health.Check, w *wanted.VirtualServer, rs *keepalived.RealServer, c *keepalived.Checker) {
	switch {
	case c.CheckPath.V != "vip":
	case w.Services[0].ID.Mark != 0:
		p.warnings = append(p.warnings, fmt.Sprintf("%v: check_path vip: a mark has no address, the check goes to the server's own", c.CheckPath.At))
	case !viaVIP(h.Probe.Kind):
		if c.CheckPath.At != rs.CheckPath.At { // not inherited
			p.warnings = append(p.warnings, fmt.Sprintf("%v: check_path vip has no meaning for %s", c.CheckPath.At, c.Type))
		}
	default:
		h.Probe.Path = health.ViaVIP
	}
}

// viaVIP reports whether a check can look at a server by way of the VIP: the
// others do not send it packets of a service.
func viaVIP(k health.Kind) bool {
	switch k {
	case health.TCP, health.HTTP, health.SSL, health.SMTP, health.DNS, health.UDP:
		return true
	}
	return false
}

func (p *plan) http(h *health.Check, c *keepalived.Checker) error {
	h.Probe.HTTP = &health.HTTPRequest{Protocol: c.HTTP.Protocol.V, SNI: c.HTTP.EnableSNI.V, ServerName: c.HTTP.Virtualhost.V, TLS: p.tls}
	h.FastRecovery = c.HTTP.FastRecovery.V
	for _, u := range c.HTTP.URLs {
		if _, err := regexp.Compile(u.Regex.V); err != nil {
			// Perl's expressions can do more; such a check would never have a result.
			return fmt.Errorf("%v: regex: not one that usvs knows, which are those of RE2: %w", u.At, err)
		}
		url := health.URL{Path: u.Path.V, Virtualhost: u.Virtualhost.V, Digest: u.Digest.V, Regex: u.Regex.V, RegexNot: u.RegexNot.V}
		for _, r := range u.StatusCodes.V {
			url.Statuses = append(url.Statuses, health.StatusRange{First: r.First, Last: r.Last})
		}
		h.URLs = append(h.URLs, url)
	}
	return nil
}

// file has the check watch the file; its weight is the check's or the file's.
func (p *plan) file(h *health.Check, c *keepalived.Checker) {
	for _, f := range p.conf.TrackFiles {
		if f.Name != c.TrackFile.V {
			continue
		}
		h.Probe.Name, h.Track = f.File.V, f.Name
		w := f.Weight.V
		if c.FileWeight.Set() {
			w = c.FileWeight.V
		}
		if h.Weight = w.Value; w.Reverse {
			h.Weight = -w.Value
		}
	}
}

func udp(p *health.Probe, c *keepalived.UDPCheck) error {
	u := &health.UDPExchange{RequireReply: c.RequireReply.Set(), MinReply: c.MinReplyLength.V, MaxReply: c.MaxReplyLength.V}
	p.UDP = u
	var err error
	if c.Payload.Set() {
		if u.Payload, err = hex.DecodeString(strip(c.Payload.V)); err != nil {
			return fmt.Errorf("payload: %w", err)
		}
	}
	if u.Reply, u.ReplyMask, err = masked(strip(c.RequireReply.V)); err != nil {
		return fmt.Errorf("require_reply: %w", err)
	}
	return nil
}

// strip removes blanks between hexadecimal digits.
func strip(text string) string { return strings.Join(strings.Fields(text), "") }

// masked reads hexadecimal digits among which X stands for any.
func masked(text string) (value, mask []byte, err error) {
	known := strings.Map(func(r rune) rune { return onlyX(r, '0', r) }, text)
	if value, err = hex.DecodeString(known); err != nil {
		return nil, nil, err
	}
	mask, err = hex.DecodeString(strings.Map(func(r rune) rune { return onlyX(r, '0', 'f') }, text))
	return value, mask, err
}

func onlyX(r, x, other rune) rune {
	if r == 'x' || r == 'X' {
		return x
	}
	return other
}
