package chaos

import "usvs/keepalived"

// answerable returns a configuration whose checks a server of the lab can
// answer: what a page contains, and with which status it comes, is not known.
func (b *builder) answerable(c *keepalived.Config) *keepalived.Config {
	out := *c
	out.VirtualServers = nil
	for _, vs := range c.VirtualServers {
		service := *vs
		service.RealServers = nil
		for _, rs := range vs.RealServers {
			server := *rs
			server.Checkers = nil
			for _, check := range rs.Checkers {
				server.Checkers = append(server.Checkers, b.answerableCheck(check))
			}
			service.RealServers = append(service.RealServers, &server)
		}
		out.VirtualServers = append(out.VirtualServers, &service)
	}
	return &out
}

func (b *builder) answerableCheck(c *keepalived.Checker) *keepalived.Checker {
	if c.HTTP == nil {
		return c
	}
	out, web := *c, *c.HTTP
	web.URLs = nil
	for _, u := range c.HTTP.URLs {
		page := *u
		if u.Digest.Set() || u.Regex.Set() || u.StatusCodes.Set() {
			b.assume("digest, regex and status_code of %s are not compared: every page is there", c.Type)
		}
		page.Digest, page.Regex = keepalived.Value[string]{}, keepalived.Value[string]{}
		page.StatusCodes = keepalived.Value[[]keepalived.StatusRange]{}
		web.URLs = append(web.URLs, &page)
	}
	out.HTTP = &web
	return &out
}

// unasked reports whether a check says that all is well whatever happens.
func unasked(c *keepalived.Checker) bool { return c.Type == "BFD_CHECK" }

// scripted reports whether a check is a script or a file, of which nobody knows
// here what it looks at.
func scripted(c *keepalived.Checker) bool { return c.Type == "MISC_CHECK" || c.Type == "FILE_CHECK" }
