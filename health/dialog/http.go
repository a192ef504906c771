package dialog

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"usvs/health"
)

// web is HTTP_GET and SSL_GET of one URL.
type web struct {
	*wording
	p    *health.Probe
	page page
}

var (
	httpWords = wording{
		Connecting: {"Timeout connecting", "Connection failed"},
		Securing:   {"Timeout connecting", "SSL handshake/communication error connecting to"},
		Writing:    {"Timeout WEB write", "Cannot send get request to"},
		Reading:    {"Timeout HTTP read", "Read error with"},
	}
	sslWords = wording{
		Connecting: httpWords[Connecting], Securing: httpWords[Securing], Writing: httpWords[Writing],
		Reading: {"Timeout SSL read", "SSL read error from"},
	}
)

func newWeb(p *health.Probe) (Dialog, error) {
	if p.HTTP == nil {
		return nil, fmt.Errorf("%w: no page to look at", ErrUnsupported)
	}
	w := &web{wording: &httpWords, p: p, page: newPage(p.HTTP.URL.Digest != "")}
	if p.Kind == health.SSL {
		w.wording = &sslWords
	}
	if pattern := p.HTTP.URL.Regex; pattern != "" {
		// RE2's: what only Perl's have, such as looking ahead, is an error.
		var err error
		if w.page.pattern, err = regexp.Compile(pattern); err != nil {
			return nil, fmt.Errorf("invalid regex: %w", err)
		}
	}
	return w, nil
}

// Begin asks for the page, byte for byte as keepalived does.
func (w *web) Begin() Move {
	h := w.p.HTTP
	version, option := "1.0", ""
	if h.Protocol == "1.1" {
		version = "1.1"
	}
	if h.Protocol == "1.0C" || h.Protocol == "1.1" {
		option = "Connection: close\r\n"
	}
	return Move{Say: fmt.Appendf(nil, "GET %s HTTP/%s\r\nUser-Agent: KeepAliveClient\r\n%sHost: %s\r\n\r\n", h.URL.Path, version, option, host(w.p))}
}

// host names whom the page is asked of: with the port, always.
func host(p *health.Probe) string {
	switch {
	case p.HTTP.URL.Virtualhost != "":
		return p.HTTP.URL.Virtualhost
	case p.Path == health.ViaVIP:
		return withoutZone(p.Via.VIP()).String()
	}
	return withoutZone(p.Target).String()
}

// Take reads on: the page ends with the connection only.
func (w *web) Take(b []byte) Move {
	switch err := w.page.take(b); {
	case err == nil:
		return Move{}
	case errors.Is(err, errHeader):
		return over(failure(noPage, err))
	case errors.Is(err, errStatus):
		return over(failure(wrongStatus, err))
	default:
		return over(w.Fail(Reading, err))
	}
}

// Fail says of a page that does not come when nothing came at all.
func (w *web) Fail(at Stage, err error) health.Result {
	if at == Reading && err == nil && w.page.nothing() {
		return failure("Timeout WEB read", nil)
	}
	return w.wording.Fail(at, err)
}

const (
	noPage      = "Read, no data received from"
	wrongStatus = "HTTP status code error to"
)

// End compares the page with what it should be, in keepalived's order.
func (w *web) End() health.Result {
	g, url := &w.page, &w.p.HTTP.URL
	if !g.done {
		return failure(noPage, errNoPage)
	}
	var r health.Result
	switch {
	case !wanted(g.status, url.Statuses):
		r = failure(wrongStatus, fmt.Errorf("the status is %d", g.status))
	case url.Digest != "" && !strings.EqualFold(g.digest(), url.Digest):
		r = failure("MD5 digest error to", fmt.Errorf("the digest is %s", g.digest()))
	case g.pattern != nil && g.pattern.Match(g.text) == url.RegexNot:
		r = failure("Regex match failed", nil)
	}
	r.Status = g.status
	return r
}

// wanted reports whether a status is: 200 to 299 if nobody says.
func wanted(status int, ranges []health.StatusRange) bool {
	for _, r := range ranges {
		if status >= r.First && status <= r.Last {
			return true
		}
	}
	return len(ranges) == 0 && status >= 200 && status <= 299
}

func (g *page) digest() string { return hex.EncodeToString(g.sum.Sum(nil)) }
