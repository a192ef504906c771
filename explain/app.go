package explain

import "usvs/director"

// engine tells what a persistence engine goes by.
func (r *recorder) engine(s *director.Step) {
	if s.OK {
		r.say("engine", "%s: the call is %q", s.Service.Spec.PE, s.Data)
		return
	}
	r.say("engine", "%s: no Call-ID that ends its line, which the engine goes by", s.Service.Spec.PE)
}

// expect tells of a connection that was announced.
func (r *recorder) expect(s *director.Step) {
	switch {
	case !s.OK:
		r.say("helper", "ftp: a connection was announced, and the table has no room for it")
	case s.Conn.Client.Port() == 0:
		r.say("helper", "ftp: expects %s, from whatever port the client uses", ends(s.Conn))
	default:
		r.say("helper", "ftp: expects %s", ends(s.Conn))
	}
}

// helper tells what a server's announcement becomes.
func (r *recorder) helper(s *director.Step) {
	r.say("helper", "ftp: the server's announcement becomes %s", s.Data)
}
