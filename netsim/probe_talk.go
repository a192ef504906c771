package netsim

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"usvs/clock"
	"usvs/health"
	"usvs/netsim/http"
	"usvs/netsim/tcp"
)

// talk is a check's dialogue over TCP. The dialogue is a function of all that
// was received: it is asked again whenever there is more.
type talk struct {
	p      *health.Probe
	dialog func(p *health.Probe, in []byte, ended bool) (out string, res *health.Result)
	in     []byte
	ended  bool // the server has no more to say
	said   int  // bytes of what the dialogue says
	up     bool // the connection is there
}

// maxTalk is how much of a server's answer is read.
const maxTalk = 1 << 20

func newTalk(p *health.Probe, dialog func(*health.Probe, []byte, bool) (string, *health.Result)) *talk {
	return &talk{p: p, dialog: dialog}
}

// read takes what has arrived.
func (t *talk) read(now clock.Instant, c *tcp.Conn) {
	var chunk [4096]byte
	for {
		n, err := c.Read(now, chunk[:])
		t.in = append(t.in, chunk[:n]...)
		if n == 0 || len(t.in) > maxTalk {
			t.ended = t.ended || err == io.EOF || len(t.in) > maxTalk
			return
		}
	}
}

// next is what is to be said now, and the result, when there is one.
func (t *talk) next() (string, *health.Result) {
	out, res := t.dialog(t.p, t.in, t.ended)
	say := out[min(t.said, len(out)):]
	t.said = len(out)
	return say, res
}

// timeout is the result if the server says nothing more.
func (t *talk) timeout() health.Result {
	smtp := t.p.Kind == health.SMTP
	switch {
	case smtp && !t.up:
		return failure("Connection timeout to server", nil)
	case smtp:
		return failure("Read timeout from server", nil)
	case !t.up:
		return failure("Timeout connecting", nil)
	}
	return failure("Timeout HTTP read", nil)
}

// broken is the result if the connection fails.
func (t *talk) broken(err error) health.Result {
	if t.p.Kind == health.SMTP {
		return failure("Read failure from server", err)
	}
	return failure("Read error with", err)
}

var (
	errNoPage = errors.New("the connection ended within the header")
	errStatus = errors.New("there is no HTTP status line")
)

// httpDialog is HTTP_GET, and in the simulation SSL_GET, too: what keepalived
// asks for, and whether the page is the right one.
func httpDialog(p *health.Probe, in []byte, ended bool) (string, *health.Result) {
	out := httpRequest(p)
	if !ended {
		return out, nil
	}
	res := judgePage(&p.HTTP.URL, in)
	return out, &res
}

func httpRequest(p *health.Probe) string {
	version, option := "1.0", ""
	if p.HTTP.Protocol == "1.1" {
		version = "1.1"
	}
	if p.HTTP.Protocol == "1.0C" || p.HTTP.Protocol == "1.1" {
		option = "Connection: close\r\n"
	}
	host := p.HTTP.URL.Virtualhost
	if host == "" {
		host = p.Target.String()
	}
	return fmt.Sprintf("GET %s HTTP/%s\r\nUser-Agent: KeepAliveClient\r\n%sHost: %s\r\n\r\n", p.HTTP.URL.Path, version, option, host)
}

// judgePage compares a page with what it should be, in keepalived's order.
func judgePage(url *health.URL, in []byte) health.Result {
	head, body, found := strings.Cut(string(in), "\r\n\r\n")
	if !found {
		return failure("Read, no data received from", errNoPage)
	}
	status := statusOf(head)
	if v, ok := http.Header(head, "Content-Length"); ok {
		if n, err := strconv.Atoi(v); err == nil && n >= 0 {
			body = body[:min(n, len(body))]
		}
	}
	sum := md5.Sum([]byte(body))
	digest := hex.EncodeToString(sum[:])
	r := success
	switch {
	case status == 0:
		r = failure("HTTP status code error to", errStatus)
	case !statusWanted(status, url.Statuses):
		r = failure("HTTP status code error to", fmt.Errorf("the status is %d", status))
	case url.Digest != "" && !strings.EqualFold(url.Digest, digest):
		r = failure("MD5 digest error to", fmt.Errorf("the digest is %s", digest))
	case url.Regex != "" && matches(url.Regex, body) == url.RegexNot:
		r = failure("Regex match failed", nil)
	}
	r.Status = status
	return r
}

// statusOf reads a status line; 0 if it is none.
func statusOf(head string) int {
	f := strings.Fields(http.FirstLine(head))
	if len(f) < 2 || !strings.HasPrefix(f[0], "HTTP/") || len(f[1]) != 3 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}

func statusWanted(status int, ranges []health.StatusRange) bool {
	for _, r := range ranges {
		if status >= r.First && status <= r.Last {
			return true
		}
	}
	return len(ranges) == 0 && status >= 200 && status <= 299
}

func matches(pattern, text string) bool {
	ok, err := regexp.MatchString(pattern, text)
	return ok && err == nil
}

// smtpDialog is SMTP_CHECK: a greeting, HELO, QUIT.
func smtpDialog(p *health.Probe, in []byte, ended bool) (string, *health.Result) {
	out := ""
	answers := smtpAnswers(string(in))
	for i, step := range []struct{ code, complaint, say string }{
		{"220", "Bad greeting banner from server", "HELO " + orDefault(p.Helo, "smtpchecker.keepalived.org") + "\r\n"},
		{"250", "Bad HELO response from server", "QUIT\r\n"},
		{"", "", ""},
	} {
		var res health.Result
		switch {
		case i < len(answers) && strings.HasPrefix(answers[i], step.code):
			out += step.say
			continue
		case i < len(answers):
			res = failure(step.complaint, fmt.Errorf("it says %q", answers[i]))
		case ended:
			res = failure("Read failure from server", io.EOF)
		default:
			return out, nil
		}
		return out, &res
	}
	return out, &success
}

// smtpAnswers are the complete answers in a text: the last line of each.
func smtpAnswers(text string) []string {
	var list []string
	for {
		line, rest, found := strings.Cut(text, "\n")
		if !found {
			return list
		}
		text = rest
		if len(line) < 4 || line[3] != '-' {
			list = append(list, strings.TrimRight(line, "\r"))
		}
	}
}
