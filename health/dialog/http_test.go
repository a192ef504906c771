package dialog

import (
	"crypto/md5"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"usvs/health"
	"usvs/ipvs"
)

func get(url health.URL) *health.Probe {
	return &health.Probe{Kind: health.HTTP, Target: target, HTTP: &health.HTTPRequest{URL: url}}
}

func sum(text string) string {
	d := md5.Sum([]byte(text))
	return hex.EncodeToString(d[:])
}

func statuses(r ...health.StatusRange) health.URL { return health.URL{Statuses: r} }

func TestPages(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, c := range []struct {
		name, text string
		url        health.URL
		reason     string // of a failure
		cause      string
		status     int
	}{
		{name: "200", text: ok + "\r\nhello", status: 200},
		{name: "404", text: "HTTP/1.1 404 Not Found\r\n\r\n", reason: wrongStatus, cause: "the status is 404", status: 404},
		{name: "404 is wanted", text: "HTTP/1.1 404 Not Found\r\n\r\n", url: statuses(health.StatusRange{First: 200, Last: 200}, health.StatusRange{First: 400, Last: 499}), status: 404},
		{name: "200 is not", text: ok + "\r\n", url: statuses(health.StatusRange{First: 201, Last: 299}), reason: wrongStatus, cause: "the status is 200", status: 200},
		{name: "redirections are statuses like others", text: "HTTP/1.0 302 Found\r\nLocation: /x\r\n\r\n", reason: wrongStatus, cause: "the status is 302", status: 302},
		{name: "an interim answer, too", text: "HTTP/1.1 100 Continue\r\n\r\n" + ok + "\r\n", reason: wrongStatus, cause: "the status is 100", status: 100},
		{name: "digest", text: ok + "\r\nhello", url: health.URL{Digest: strings.ToUpper(sum("hello"))}, status: 200},
		{name: "another digest", text: ok + "\r\nhello!", url: health.URL{Digest: sum("hello")}, reason: "MD5 digest error to", cause: "the digest is " + sum("hello!"), status: 200},
		{name: "status comes before digest", text: "HTTP/1.0 404 No\r\n\r\nhello", url: health.URL{Digest: sum("hello")}, reason: wrongStatus, cause: "the status is 404", status: 404},
		{name: "digest comes before regex", text: ok + "\r\nhello", url: health.URL{Digest: sum("x"), Regex: "hello"}, reason: "MD5 digest error to", cause: "the digest is " + sum("hello"), status: 200},
		{name: "both are looked at", text: ok + "\r\nhello", url: health.URL{Digest: sum("hello"), Regex: "x"}, reason: "Regex match failed", status: 200},
		{name: "regex", text: ok + "\r\nall is well", url: health.URL{Regex: "is (well|good)$"}, status: 200},
		{name: "regex is not there", text: ok + "\r\nhelp", url: health.URL{Regex: "well"}, reason: "Regex match failed", status: 200},
		{name: "regex is not to be there", text: ok + "\r\nhelp", url: health.URL{Regex: "help", RegexNot: true}, reason: "Regex match failed", status: 200},
		{name: "regex is not there, well", text: ok + "\r\nfine", url: health.URL{Regex: "help", RegexNot: true}, status: 200},
		{name: "regex heeds no length", text: ok + "Content-Length: 2\r\n\r\nhello", url: health.URL{Regex: "lo$", Digest: sum("he")}, status: 200},
		{name: "regex of the first MiB", text: ok + "\r\n" + strings.Repeat("x", regexLimit-1) + "yz", url: health.URL{Regex: "y$"}, status: 200},
		{name: "nothing", reason: noPage, cause: errNoPage.Error()},
		{name: "half a header", text: ok + "Server: x", reason: noPage, cause: errNoPage.Error()},
		{name: "line feeds only", text: "HTTP/1.1 200 OK\n\nhello", reason: noPage, cause: errNoPage.Error()},
		{name: "garbage", text: "\x00\xff\r\n\r\n", reason: wrongStatus, cause: errStatus.Error()},
		{name: "another protocol", text: "SSH-2.0-OpenSSH\r\n\r\n", reason: wrongStatus, cause: errStatus.Error()},
		{name: "no number", text: "HTTP/1.1 OK 200\r\n\r\n", reason: wrongStatus, cause: errStatus.Error()},
		{name: "four digits", text: "HTTP/1.1 2000 OK\r\n\r\n", reason: wrongStatus, cause: errStatus.Error()},
		{name: "two blanks", text: "HTTP/1.1  200 OK\r\n\r\n", reason: wrongStatus, cause: errStatus.Error()},
		{name: "a sign", text: "HTTP/1.1 +20 OK\r\n\r\n", reason: wrongStatus, cause: errStatus.Error()},
		{name: "no words after the status", text: "HTTP/1.0 204\r\n\r\n", status: 204},
		{name: "endless header", text: ok + strings.Repeat("X: y\r\n", 10000), reason: noPage, cause: errHeader.Error()},
		{name: "header without a line", text: ok + strings.Repeat("x", 10000), reason: noPage, cause: errHeader.Error()},
		{name: "header of 4095 bytes", text: ok + "X: " + strings.Repeat("y", 4095-17-3-4) + "\r\n\r\nhello", url: health.URL{Digest: sum("hello")}, status: 200},
		{name: "header of 4096 bytes", text: ok + "X: " + strings.Repeat("y", 4096-17-3-4) + "\r\n\r\n", reason: noPage, cause: errHeader.Error()},
		{name: "endless body", text: ok + "\r\n" + strings.Repeat("x", bodyLimit+1), url: health.URL{Regex: "y"}, reason: "Read error with", cause: errBody.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, piece := range []int{1, 7, 4096, 1 << 30} {
				if len(c.text) > 1<<20 && piece < 4096 {
					continue
				}
				_, got := play(t, get(c.url), c.text, piece)
				assert.Equal(t, c.reason, got.Reason)
				assert.Equal(t, c.reason == "", got.Outcome == health.Success)
				assert.Equal(t, c.cause, got.Cause)
				assert.Equal(t, c.status, got.Status, "in pieces of %d", piece)
			}
		})
	}
}

// TestDigests has those that genhash 2.2.7 has printed for these answers, whose
// bodies keepalived 2.2.7 compared likewise.
func TestDigests(t *testing.T) {
	const whole = "hello and more"
	for header, want := range map[string]string{
		"":                       whole,
		"Content-Length: 5\r\n":  "hello",
		"Content-Length:5\r\n":   "hello",
		"Content-Length: 0\r\n":  "",
		"Content-Length: 99\r\n": whole,
		"Content-Length: -5\r\n": whole,
		"Content-Length: 5 \r\n": whole,
		"Content-Length: 5x\r\n": whole,
		"Content-Length: 99999999999999999999999\r\n": whole,
		"content-length: 5\r\n":                       whole,
		"X-Content-Length: 5\r\n":                     "hello",
		"Content-Length: 5\r\nContent-Length: 7\r\n":  "hello",
		"X: y\r\nContent-Length: 7\r\nZ: 1\r\n":       "hello a",
		"Transfer-Encoding: chunked\r\n":              "5\r\nhello\r\n0\r\n\r\n",
	} {
		body := whole
		if strings.HasPrefix(header, "Transfer") {
			body = want // as it stands on the wire
		}
		for piece := range 40 {
			_, got := play(t, get(health.URL{Digest: sum(want)}), "HTTP/1.1 200 OK\r\n"+header+"\r\n"+body, piece+1)
			assert.Equal(t, health.Result{Status: 200}, got, header)
		}
	}
}

func TestRequest(t *testing.T) {
	for _, c := range []struct {
		request health.HTTPRequest
		target  string
		want    string
	}{
		{health.HTTPRequest{URL: health.URL{Path: "/"}}, "192.0.2.1:80", "GET / HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: 192.0.2.1:80\r\n\r\n"},
		{health.HTTPRequest{URL: health.URL{Path: "/x?y"}, Protocol: "1.0"}, "[2001:db8::1]:81", "GET /x?y HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: [2001:db8::1]:81\r\n\r\n"},
		{health.HTTPRequest{URL: health.URL{Path: "/", Virtualhost: "www"}, Protocol: "1.0C"}, "192.0.2.1:80", "GET / HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: www\r\n\r\n"},
		{health.HTTPRequest{URL: health.URL{Path: "/"}, Protocol: "1.1"}, "[fe80::1%eth0]:80", "GET / HTTP/1.1\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: [fe80::1]:80\r\n\r\n"},
	} {
		said, _ := play(t, &health.Probe{Kind: health.HTTP, HTTP: &c.request, Target: netip.MustParseAddrPort(c.target)}, "", 1)
		assert.Equal(t, c.want, said)
	}
	vip := get(health.URL{Path: "/"})
	vip.Path = health.ViaVIP
	vip.Via.Service = ipvs.ServiceID{Addr: netip.MustParseAddr("192.0.2.99"), Port: 8080}
	said, _ := play(t, vip, "", 1)
	assert.Contains(t, said, "Host: 192.0.2.99:8080\r\n")
}

// FuzzHTTP compares the page that is read piece by piece with one that is
// looked at as a whole.
func FuzzHTTP(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", 3)
	f.Add("HTTP/1.0 99999999999999999999\r\n\r\n", 1)
	f.Fuzz(func(t *testing.T, text string, piece int) {
		got := fuzzed(t, get(health.URL{Digest: sum("b"), Regex: "b"}), text, piece)
		head, body, complete := strings.Cut(text, "\r\n\r\n")
		if got.Outcome != health.Success {
			return
		}
		if !complete || !strings.HasPrefix(head, "HTTP/") || got.Status/100 != 2 || !strings.HasPrefix(body, "b") {
			t.Fatalf("%q is no page of the digest of b", text)
		}
	})
}
