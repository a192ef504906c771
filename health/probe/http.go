package probe

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"

	"usvs/health"
)

// Limits of a page, in bytes. keepalived has the first.
const (
	headerLimit = 4096
	bodyLimit   = 16 << 20
	regexLimit  = 1 << 20 // of what a regular expression sees
)

var (
	errHeader = fmt.Errorf("the header is longer than %d bytes", headerLimit)
	errBody   = fmt.Errorf("the page is longer than %d bytes", bodyLimit)
	errNoPage = errors.New("the connection ended within the header")
	errStatus = errors.New("there is no HTTP status line")
)

// getsPage is HTTP_GET and SSL_GET of one URL.
func getsPage(ctx context.Context, dial Dial, p *health.Probe) health.Result {
	var pattern *regexp.Regexp
	if p.HTTP == nil {
		return localError(errUnsupported)
	}
	if p.HTTP.URL.Regex != "" {
		var err error
		if pattern, err = Regex(p.HTTP.URL.Regex); err != nil {
			return localError(err)
		}
	}
	c, err := dial.open(ctx, "tcp", p)
	if err != nil {
		return notConnected(err, "Timeout connecting", "Connection failed")
	}
	defer c.Close()
	if p.Kind == health.SSL {
		return getsSecurely(c, p, pattern)
	}
	return getsFrom(c, p, pattern, "HTTP")
}

// Regex compiles a pattern for pages. Patterns are those of package regexp
// (RE2): what only Perl's have, such as looking ahead, is an error.
func Regex(pattern string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("invalid regex: %w", err)
	}
	return re, nil
}

// getsFrom asks for the page and judges what comes.
func getsFrom(c io.ReadWriter, p *health.Probe, pattern *regexp.Regexp, layer string) health.Result {
	if _, err := io.WriteString(c, request(p)); err != nil {
		if isTimeout(err) {
			return failure("Timeout WEB write", nil)
		}
		return failure("Cannot send get request to", err)
	}
	got := &page{pattern: pattern}
	err := got.readAll(c)
	switch {
	case isTimeout(err) && got.nothing():
		return failure("Timeout WEB read", nil)
	case isTimeout(err):
		return failure("Timeout "+layer+" read", nil)
	case errors.Is(err, errHeader), errors.Is(err, errNoPage):
		return failure("Read, no data received from", err)
	case errors.Is(err, errStatus):
		return failure("HTTP status code error to", err)
	case err != nil && layer == "SSL":
		return failure("SSL read error from", err)
	case err != nil:
		return failure("Read error with", err)
	}
	return got.judge(p.HTTP.URL)
}

// request is what keepalived sends, byte for byte.
func request(p *health.Probe) string {
	var b strings.Builder
	version := "0"
	if p.HTTP.Protocol == "1.1" {
		version = "1"
	}
	fmt.Fprintf(&b, "GET %s HTTP/1.%s\r\nUser-Agent: KeepAliveClient\r\n", p.HTTP.URL.Path, version)
	if p.HTTP.Protocol == "1.0C" || p.HTTP.Protocol == "1.1" {
		b.WriteString("Connection: close\r\n")
	}
	fmt.Fprintf(&b, "Host: %s\r\n\r\n", host(p))
	return b.String()
}

// host names whom the page is asked of.
func host(p *health.Probe) string {
	switch {
	case p.HTTP.URL.Virtualhost != "":
		return p.HTTP.URL.Virtualhost
	case p.Path == health.ViaVIP:
		return hostPort(netip.AddrPortFrom(p.Via.Service.Addr, p.Via.Service.Port))
	}
	return hostPort(p.Target)
}

// judge compares the page with what it should be, in keepalived's order.
func (g *page) judge(url health.URL) health.Result {
	var r health.Result
	switch {
	case !inRanges(g.status, url.Statuses):
		r = failure("HTTP status code error to", fmt.Errorf("the status is %d", g.status))
	case url.Digest != "" && !strings.EqualFold(g.digest(), url.Digest):
		r = failure("MD5 digest error to", fmt.Errorf("the digest is %s", g.digest()))
	case g.pattern != nil && g.pattern.Match(g.text) == url.RegexNot:
		r = failure("Regex match failed", nil)
	}
	r.Status = g.status
	return r
}

// inRanges reports whether a status is wanted: 200 to 299 if nobody says.
func inRanges(status int, ranges []health.StatusRange) bool {
	if len(ranges) == 0 {
		return status >= 200 && status <= 299
	}
	for _, r := range ranges {
		if status >= r.First && status <= r.Last {
			return true
		}
	}
	return false
}

func (g *page) digest() string {
	if g.sum == nil {
		g.sum = md5.New()
	}
	return hex.EncodeToString(g.sum.Sum(nil))
}
