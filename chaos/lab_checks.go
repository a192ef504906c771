package chaos

import (
	"slices"

	"usvs/keepalived"
)

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

// byScript are the checks that ask a script or a file, which says that all is
// well whatever happens.
var byScript = []string{"MISC_CHECK", "FILE_CHECK", "BFD_CHECK"}

// onlyScripts reports whether nothing asks the server itself.
func onlyScripts(checks []*keepalived.Checker) bool {
	return len(checks) > 0 && !slices.ContainsFunc(checks, func(c *keepalived.Checker) bool { return !slices.Contains(byScript, c.Type) })
}
