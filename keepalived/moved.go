package keepalived

import "slices"

// move is where the lines of a block have gone to. What is inherited from
// elsewhere stays.
type move struct {
	file        string
	first, last int
	by          int
}

func (m *move) at(list ...*Pos) {
	for _, p := range list {
		if m.first <= p.Line && p.Line <= m.last && p.File == m.file {
			p.Line += m.by
		}
	}
}

// movedTo is the block at the place where s is now.
func (b *block) movedTo(s *source) *block {
	c := *b
	c.text, c.line = s.data[s.at:s.at+len(b.text)], s.line
	m := move{b.key.file, b.line + 1, b.line + b.lines, c.line - b.line}
	if m.by == 0 {
		return &c
	}
	c.vs = m.virtualServer(b.vs)
	c.scripts = slices.Clone(b.scripts)
	for i := range c.scripts {
		m.at(&c.scripts[i].at, &c.scripts[i].userAt)
	}
	return &c
}

func (m *move) virtualServer(old *VirtualServer) *VirtualServer {
	vs := *old
	m.at(&vs.At, &vs.Scheduler.At, &vs.Forwarding.At, &vs.Protocol.At, &vs.Persistence.At, &vs.PersistenceEngine.At,
		&vs.PersistenceGranularity.At, &vs.OnePacket.At, &vs.Hashed.At, &vs.Family.At, &vs.Weight.At, &vs.Virtualhost.At,
		&vs.HASuspend.At, &vs.Quorum.At, &vs.Hysteresis.At, &vs.QuorumUp.At, &vs.QuorumDown.At, &vs.Alpha.At, &vs.Omega.At,
		&vs.InhibitOnFailure.At, &vs.SMTPAlert.At, &vs.SNMPName.At, &vs.SorryServer.At, &vs.SorryServerInhibit.At, &vs.SorryForwarding.At)
	m.timing(&vs.Timing)
	vs.Flags = slices.Clone(old.Flags)
	for i := range vs.Flags {
		m.at(&vs.Flags[i].At)
	}
	vs.RealServers = copies(old.RealServers, m.realServer)
	return &vs
}

// copies returns copies of what list points to, each changed by change.
func copies[T any](list []*T, change func(*T)) []*T {
	if list == nil {
		return nil
	}
	values, pointers := make([]T, len(list)), make([]*T, len(list))
	for i, p := range list {
		values[i] = *p
		change(&values[i])
		pointers[i] = &values[i]
	}
	return pointers
}

func (m *move) timing(t *Timing) {
	m.at(&t.DelayLoop.At, &t.ConnectTimeout.At, &t.Retry.At, &t.DelayBeforeRetry.At, &t.Warmup.At, &t.CheckPath.At)
}

func (m *move) realServer(rs *RealServer) {
	m.at(&rs.At, &rs.Weight.At, &rs.Forwarding.At, &rs.InhibitOnFailure.At, &rs.Alpha.At, &rs.UpperThreshold.At, &rs.LowerThreshold.At,
		&rs.NotifyUp.At, &rs.NotifyDown.At, &rs.Virtualhost.At, &rs.SMTPAlert.At, &rs.SNMPName.At)
	m.timing(&rs.Timing)
	rs.Checkers = copies(rs.Checkers, m.checker)
}

func (m *move) checker(c *Checker) {
	m.at(&c.At, &c.Alpha.At, &c.LogAllFailures.At, &c.ConnectIP.At, &c.ConnectPort.At, &c.BindTo.At, &c.BindPort.At, &c.BindIf.At, &c.Mark.At,
		&c.HeloName.At, &c.BFD.At, &c.TrackFile.At, &c.FileWeight.At)
	m.timing(&c.Timing)
	if c.HTTP != nil {
		h := *c.HTTP
		m.at(&h.Protocol.At, &h.Virtualhost.At, &h.EnableSNI.At, &h.FastRecovery.At)
		h.URLs = copies(h.URLs, m.url)
		c.HTTP = &h
	}
	if c.DNS != nil {
		d := *c.DNS
		m.at(&d.Type.At, &d.Name.At)
		c.DNS = &d
	}
	if c.Misc != nil {
		s := *c.Misc
		m.at(&s.Path.At, &s.Timeout.At, &s.Dynamic.At, &s.User.At)
		c.Misc = &s
	}
	if c.UDP != nil {
		u := *c.UDP
		m.at(&u.Payload.At, &u.RequireReply.At, &u.MinReplyLength.At, &u.MaxReplyLength.At)
		c.UDP = &u
	}
}

func (m *move) url(u *URL) {
	m.at(&u.At, &u.Path.At, &u.Digest.At, &u.StatusCodes.At, &u.Virtualhost.At, &u.Regex.At, &u.RegexNot.At)
}
