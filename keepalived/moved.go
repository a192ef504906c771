package keepalived

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

// moveTo has the block stand where s is now.
func (b *block) moveTo(s *source) {
	m := move{b.key.file, b.line + 1, b.line + b.lines, s.line - b.line}
	b.text, b.line = s.data[s.at:s.at+len(b.text)], s.line
	if m.by == 0 {
		return
	}
	m.virtualServer(b.vs)
	for i := range b.scripts {
		m.at(&b.scripts[i].at, &b.scripts[i].userAt)
	}
}

func (m *move) virtualServer(vs *VirtualServer) {
	m.at(&vs.At, &vs.Scheduler.At, &vs.Forwarding.At, &vs.Protocol.At, &vs.Persistence.At, &vs.PersistenceEngine.At,
		&vs.PersistenceGranularity.At, &vs.OnePacket.At, &vs.Hashed.At, &vs.Family.At, &vs.Weight.At, &vs.Virtualhost.At,
		&vs.HASuspend.At, &vs.Quorum.At, &vs.Hysteresis.At, &vs.QuorumUp.At, &vs.QuorumDown.At, &vs.Alpha.At, &vs.Omega.At,
		&vs.InhibitOnFailure.At, &vs.SMTPAlert.At, &vs.SNMPName.At, &vs.SorryServer.At, &vs.SorryServerInhibit.At, &vs.SorryForwarding.At)
	m.timing(&vs.Timing)
	for i := range vs.Flags {
		m.at(&vs.Flags[i].At)
	}
	for _, rs := range vs.RealServers {
		m.realServer(rs)
	}
}

func (m *move) timing(t *Timing) {
	m.at(&t.DelayLoop.At, &t.ConnectTimeout.At, &t.Retry.At, &t.DelayBeforeRetry.At, &t.Warmup.At, &t.CheckPath.At)
}

func (m *move) realServer(rs *RealServer) {
	m.at(&rs.At, &rs.Weight.At, &rs.Forwarding.At, &rs.InhibitOnFailure.At, &rs.Alpha.At, &rs.UpperThreshold.At, &rs.LowerThreshold.At,
		&rs.NotifyUp.At, &rs.NotifyDown.At, &rs.Virtualhost.At, &rs.SMTPAlert.At, &rs.SNMPName.At)
	m.timing(&rs.Timing)
	for _, c := range rs.Checkers {
		m.checker(c)
	}
}

func (m *move) checker(c *Checker) {
	m.at(&c.At, &c.Alpha.At, &c.LogAllFailures.At, &c.ConnectIP.At, &c.ConnectPort.At, &c.BindTo.At, &c.BindPort.At, &c.BindIf.At, &c.Mark.At,
		&c.HeloName.At, &c.BFD.At, &c.TrackFile.At, &c.FileWeight.At)
	m.timing(&c.Timing)
	if h := c.HTTP; h != nil {
		m.at(&h.Protocol.At, &h.Virtualhost.At, &h.EnableSNI.At, &h.FastRecovery.At)
		for _, u := range h.URLs {
			m.at(&u.At, &u.Path.At, &u.Digest.At, &u.StatusCodes.At, &u.Virtualhost.At, &u.Regex.At, &u.RegexNot.At)
		}
	}
	if d := c.DNS; d != nil {
		m.at(&d.Type.At, &d.Name.At)
	}
	if s := c.Misc; s != nil {
		m.at(&s.Path.At, &s.Timeout.At, &s.Dynamic.At, &s.User.At)
	}
	if u := c.UDP; u != nil {
		m.at(&u.Payload.At, &u.RequireReply.At, &u.MinReplyLength.At, &u.MaxReplyLength.At)
	}
}
