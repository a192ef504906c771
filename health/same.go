package health

import (
	"bytes"
	"slices"
)

// same reports whether two checks look at the same in the same way: when they
// do it, how often and how patiently does not matter.
func (c *Check) same(d *Check) bool {
	return c.Probe.same(&d.Probe) && slices.EqualFunc(c.URLs, d.URLs, URL.same) &&
		c.Dynamic == d.Dynamic && c.Track == d.Track && c.Weight == d.Weight
}

func (p *Probe) same(q *Probe) bool {
	return p.Kind == q.Kind && p.Target == q.Target && p.Bind == q.Bind && p.Interface == q.Interface && p.Mark == q.Mark &&
		p.Helo == q.Helo && p.Name == q.Name && p.Path == q.Path &&
		both(p.HTTP, q.HTTP, (*HTTPRequest).same) && both(p.DNS, q.DNS, equal[DNSQuestion]) &&
		both(p.UDP, q.UDP, (*UDPExchange).same) && both(p.Script, q.Script, (*Script).same)
}

// both compares what may not be there.
func both[T any](a, b *T, same func(a, b *T) bool) bool {
	if a == nil || b == nil {
		return a == b
	}
	return same(a, b)
}

func equal[T comparable](a, b *T) bool { return *a == *b }

func (r *HTTPRequest) same(q *HTTPRequest) bool {
	return r.URL.same(q.URL) && r.Protocol == q.Protocol && r.SNI == q.SNI && r.ServerName == q.ServerName && both(r.TLS, q.TLS, equal[TLS])
}

func (u URL) same(v URL) bool {
	return u.Path == v.Path && u.Virtualhost == v.Virtualhost && u.Digest == v.Digest && slices.Equal(u.Statuses, v.Statuses) &&
		u.Regex == v.Regex && u.RegexNot == v.RegexNot
}

func (u *UDPExchange) same(v *UDPExchange) bool {
	return bytes.Equal(u.Payload, v.Payload) && u.RequireReply == v.RequireReply && bytes.Equal(u.Reply, v.Reply) &&
		bytes.Equal(u.ReplyMask, v.ReplyMask) && u.MinReply == v.MinReply && u.MaxReply == v.MaxReply
}

func (s *Script) same(t *Script) bool {
	return slices.Equal(s.Args, t.Args) && s.User == t.User && s.Group == t.Group
}
