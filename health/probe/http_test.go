package probe

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/health"
	"usvs/ipvs"
)

// answering serves one text to whoever has sent a whole request.
func answering(t *testing.T, text string) netip.AddrPort {
	return serve(t, func(c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, text)
	})
}

// readRequest reads to the empty line.
func readRequest(c io.Reader) (request string) {
	one := make([]byte, 1)
	for !strings.HasSuffix(request, "\r\n\r\n") {
		if _, err := c.Read(one); err != nil {
			return request
		}
		request += string(one)
	}
	return request
}

func get(target netip.AddrPort, url health.URL) *health.Probe {
	if url.Path == "" {
		url.Path = "/"
	}
	return &health.Probe{Kind: health.HTTP, Target: target, HTTP: &health.HTTPRequest{URL: url}}
}

func sum(text string) string {
	d := md5.Sum([]byte(text))
	return hex.EncodeToString(d[:])
}

func TestPages(t *testing.T) {
	ranges := func(r ...health.StatusRange) []health.StatusRange { return r }
	for _, c := range []struct {
		name, text string
		url        health.URL
		reason     string // of a failure
		cause      string
		status     int
	}{
		{name: "200", text: "HTTP/1.1 200 OK\r\n\r\nhello", status: 200},
		{name: "no words after the status", text: "HTTP/1.0 204\r\n\r\n", status: 204},
		{name: "404", text: "HTTP/1.1 404 Not Found\r\n\r\n", reason: "HTTP status code error to", cause: "the status is 404", status: 404},
		{name: "404 is wanted", text: "HTTP/1.1 404 Not Found\r\n\r\n", url: health.URL{Statuses: ranges(health.StatusRange{First: 200, Last: 200}, health.StatusRange{First: 400, Last: 499})}, status: 404},
		{name: "200 is not", text: "HTTP/1.1 200 OK\r\n\r\n", url: health.URL{Statuses: ranges(health.StatusRange{First: 201, Last: 299})}, reason: "HTTP status code error to", cause: "the status is 200", status: 200},
		{name: "digest", text: "HTTP/1.1 200 OK\r\n\r\nhello", url: health.URL{Digest: strings.ToUpper(sum("hello"))}, status: 200},
		{name: "digest of nothing", text: "HTTP/1.1 200 OK\r\n\r\n", url: health.URL{Digest: sum("")}, status: 200},
		{name: "another digest", text: "HTTP/1.1 200 OK\r\n\r\nhello!", url: health.URL{Digest: sum("hello")}, reason: "MD5 digest error to", cause: "the digest is " + sum("hello!"), status: 200},
		{name: "digest up to Content-Length", text: "HTTP/1.1 200 OK\r\ncontent-length:  5 \r\n\r\nhello and more", url: health.URL{Digest: sum("hello")}, status: 200},
		{name: "Content-Length is wrong", text: "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello", url: health.URL{Digest: sum("hello")}, status: 200},
		{name: "Content-Length is too large", text: "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello", url: health.URL{Digest: sum("hello")}, status: 200},
		{name: "regex", text: "HTTP/1.1 200 OK\r\n\r\nall is well", url: health.URL{Regex: "is (well|good)$"}, status: 200},
		{name: "regex is not there", text: "HTTP/1.1 200 OK\r\n\r\nhelp", url: health.URL{Regex: "well"}, reason: "Regex match failed", status: 200},
		{name: "regex is not to be there", text: "HTTP/1.1 200 OK\r\n\r\nhelp", url: health.URL{Regex: "help", RegexNot: true}, reason: "Regex match failed", status: 200},
		{name: "regex is not there, well", text: "HTTP/1.1 200 OK\r\n\r\nfine", url: health.URL{Regex: "help", RegexNot: true}, status: 200},
		{name: "nothing", reason: "Read, no data received from", cause: errNoPage.Error()},
		{name: "half a header", text: "HTTP/1.1 200 OK\r\nServer: x", reason: "Read, no data received from", cause: errNoPage.Error()},
		{name: "garbage", text: "\x00\xff\r\n\r\n", reason: "HTTP status code error to", cause: errStatus.Error()},
		{name: "another protocol", text: "SSH-2.0-OpenSSH\r\n\r\n", reason: "HTTP status code error to", cause: errStatus.Error()},
		{name: "no number", text: "HTTP/1.1 OK 200\r\n\r\n", reason: "HTTP status code error to", cause: errStatus.Error()},
		{name: "four digits", text: "HTTP/1.1 2000 OK\r\n\r\n", reason: "HTTP status code error to", cause: errStatus.Error()},
		{name: "endless header", text: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 10000), reason: "Read, no data received from", cause: errHeader.Error()},
		{name: "header of 4096 bytes", text: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 4096-17-3-4) + "\r\n\r\n", status: 200},
		{name: "header of 4097 bytes", text: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 4097-17-3-4) + "\r\n\r\n", reason: "Read, no data received from", cause: errHeader.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := attempt(t, Config{}, get(answering(t, c.text), c.url))
			assert.Equal(t, c.reason, got.Reason)
			assert.Equal(t, c.reason == "", got.Outcome == health.Success)
			assert.Equal(t, c.status, got.Status)
			assert.True(t, strings.HasPrefix(got.Cause, c.cause), got.Cause)
			for _, r := range []io.Reader{iotest.OneByteReader(strings.NewReader(c.text)), iotest.DataErrReader(strings.NewReader(c.text))} {
				var g page
				err := g.readAll(r)
				assert.Equal(t, c.status, g.status, "however it is cut: %v", err)
			}
		})
	}
}

func TestRequest(t *testing.T) {
	target := netip.MustParseAddrPort("192.0.2.1:80")
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
		assert.Equal(t, c.want, request(&health.Probe{HTTP: &c.request, Target: netip.MustParseAddrPort(c.target)}))
	}
	vip := &health.Probe{Target: target, Path: health.ViaVIP, HTTP: &health.HTTPRequest{URL: health.URL{Path: "/"}}}
	vip.Via.Service = ipvs.ServiceID{Addr: netip.MustParseAddr("192.0.2.99"), Port: 8080}
	assert.Contains(t, request(vip), "Host: 192.0.2.99:8080\r\n")
}

func TestPagesThatDoNotCome(t *testing.T) {
	got := attempt(t, Config{}, get(closedPort(t), health.URL{}))
	assert.Equal(t, "Connection failed", got.Reason)
	p := get(silence(t), health.URL{})
	p.Timeout = short
	assert.Equal(t, failed("Timeout connecting"), attempt(t, Config{}, p))
	p = get(serve(t, hang), health.URL{})
	p.Timeout = short
	assert.Equal(t, failed("Timeout WEB read"), attempt(t, Config{}, p))
	p = get(serve(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n") // and the connection stays open
		hang(c)
	}), health.URL{})
	p.Timeout = short
	assert.Equal(t, failed("Timeout HTTP read"), attempt(t, Config{}, p))
	p = get(serve(t, func(c net.Conn) {
		readRequest(c)
		_ = c.(*net.TCPConn).SetLinger(0)
	}), health.URL{})
	assert.Equal(t, "Read error with", attempt(t, Config{}, p).Reason)
}

func TestEndlessBody(t *testing.T) {
	chunk := bytes.Repeat([]byte("x"), 1<<16)
	endless := serve(t, func(c net.Conn) {
		readRequest(c)
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		for err == nil {
			_, err = c.Write(chunk)
		}
	})
	got := attempt(t, Config{}, get(endless, health.URL{Regex: "y"}))
	assert.Equal(t, "Read error with", got.Reason)
	assert.Equal(t, errBody.Error(), got.Cause)
}

// A server that never stops sending single bytes is given up, too; in virtual
// time.
func TestSlowServers(t *testing.T) {
	const timeout = 5 * time.Second
	for _, c := range []struct {
		name   string
		kind   health.Kind
		start  string
		reason string
		took   time.Duration
	}{
		{"header", health.HTTP, "", "Timeout HTTP read", lifetime * timeout},
		{"body", health.HTTP, "HTTP/1.1 200 OK\r\n\r\n", "Timeout HTTP read", lifetime * timeout},
		{"handshake", health.SSL, "\x16\x03\x03\x40\x00", "Timeout connecting", timeout},
		{"greeting", health.SMTP, "220 ", "Read timeout from server", lifetime * timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				p := get(netip.AddrPort{}, health.URL{})
				p.Timeout, p.Kind = timeout, c.kind
				check := getsPage
				if c.kind == health.SMTP {
					check = greets
				}
				assert.Equal(t, failed(c.reason), check(t.Context(), dribbles(c.start), p))
				assert.Equal(t, c.took, time.Since(began))
				time.Sleep(2 * time.Second) // the server finds out
			})
		})
	}
}

// dribbles leads to a server that reads all, says something, and then a byte
// every second.
func dribbles(start string) Dial {
	return func(context.Context, string, *health.Probe) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go hang(theirs)
		go func() {
			defer theirs.Close()
			_, err := io.WriteString(theirs, start)
			for err == nil {
				time.Sleep(time.Second)
				_, err = io.WriteString(theirs, "x")
			}
		}()
		return ours, nil
	}
}

// A server that does not read what it is sent.
func TestTimeoutToWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		via := func(context.Context, string, *health.Probe) (net.Conn, error) {
			ours, theirs := net.Pipe()
			t.Cleanup(func() { theirs.Close() })
			return ours, nil
		}
		p := get(netip.AddrPort{}, health.URL{})
		p.Timeout = 3 * time.Second
		assert.Equal(t, failed("Timeout WEB write"), getsPage(t.Context(), via, p))
	})
}

func TestRealHTTPServer(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "www.example.com" || r.UserAgent() != "KeepAliveClient" || r.URL.Path != "/status" {
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		fmt.Fprint(w, strings.Repeat("long ", 10000))
	}))
	defer s.Close()
	target := s.Listener.Addr().(*net.TCPAddr).AddrPort()
	url := health.URL{Path: "/status", Virtualhost: "www.example.com", Digest: sum(strings.Repeat("long ", 10000))}
	assert.Equal(t, health.Result{Status: 200}, attempt(t, Config{}, get(target, url)))
	url.Virtualhost = ""
	assert.Equal(t, 418, attempt(t, Config{}, get(target, url)).Status)
}

func secure(target netip.AddrPort) *health.Probe {
	p := get(target, health.URL{})
	p.Kind = health.SSL
	return p
}

func TestTLS(t *testing.T) {
	var names []string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		names = append(names, r.TLS.ServerName)
		fmt.Fprint(w, "secret")
	}))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS10}
	s.StartTLS()
	defer s.Close()
	target := s.Listener.Addr().(*net.TCPAddr).AddrPort()
	p := secure(target)
	p.HTTP.URL.Digest = sum("secret")
	assert.Equal(t, health.Result{Status: 200}, attempt(t, Config{}, p))
	p = secure(target)
	p.HTTP.SNI, p.HTTP.URL.Virtualhost = true, "www.example.com"
	assert.Equal(t, health.Result{Status: 200}, attempt(t, Config{}, p))
	p.HTTP.ServerName = "sni.example.com"
	assert.Equal(t, health.Result{Status: 200}, attempt(t, Config{}, p))
	assert.Equal(t, []string{"", "www.example.com", "sni.example.com"}, names)
}

func TestOldTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}
	s.StartTLS()
	defer s.Close()
	assert.Equal(t, health.Result{Status: 200}, attempt(t, Config{}, secure(s.Listener.Addr().(*net.TCPAddr).AddrPort())))
}

func TestTLSThatIsNone(t *testing.T) {
	const handshake = "SSL handshake/communication error connecting to"
	plain := serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n") })
	assert.Equal(t, handshake, attempt(t, Config{}, secure(plain)).Reason)
	garbage := serve(t, func(c net.Conn) {
		junk := make([]byte, 1<<16)
		_, _ = rand.Read(junk)
		junk[0] = 22 // a handshake record, of sorts
		_, _ = c.Write(junk)
	})
	assert.Equal(t, handshake, attempt(t, Config{}, secure(garbage)).Reason)
	assert.Equal(t, handshake, attempt(t, Config{}, secure(serve(t, func(net.Conn) {}))).Reason)
	p := secure(serve(t, hang))
	p.Timeout = short
	assert.Equal(t, failed("Timeout connecting"), attempt(t, Config{}, p))
}

// keyPair makes a certificate, and its key as it is and with a password.
func keyPair(t *testing.T) (certificate, key, locked string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(private)
	require.NoError(t, err)
	//lint:ignore SA1019 what the configuration's password is for
	block, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", keyDER, []byte("open"), x509.PEMCipherAES128)
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name string, b *pem.Block) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(b), 0o600))
		return path
	}
	return write("certificate", &pem.Block{Type: "CERTIFICATE", Bytes: der}),
		write("key", &pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), write("locked", block)
}

func TestClientCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200 + len(r.TLS.PeerCertificates))
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	certificate, key, locked := keyPair(t)
	for _, c := range []struct {
		name    string
		tls     health.TLS
		outcome health.Outcome
		status  int
	}{
		{"none", health.TLS{}, health.Success, 200},
		{"certificate and key", health.TLS{Certificate: certificate, Key: key}, health.Success, 201},
		{"key with a password", health.TLS{Certificate: certificate, Key: locked, Password: "open"}, health.Success, 201},
		{"wrong password", health.TLS{Certificate: certificate, Key: locked, Password: "shut"}, health.LocalError, 0},
		{"no key", health.TLS{Certificate: certificate}, health.LocalError, 0},
		{"no file", health.TLS{Certificate: certificate + "x", Key: key}, health.LocalError, 0},
		{"no key file", health.TLS{Certificate: certificate, Key: key + "x"}, health.LocalError, 0},
		{"not PEM", health.TLS{Certificate: certificate, Key: "/dev/null"}, health.LocalError, 0},
	} {
		p := secure(s.Listener.Addr().(*net.TCPAddr).AddrPort())
		p.HTTP.TLS = &c.tls
		got := attempt(t, Config{}, p)
		assert.Equal(t, c.outcome, got.Outcome, "%s: %v", c.name, got)
		assert.Equal(t, c.status, got.Status, c.name)
	}
}

func FuzzPage(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd"), 3)
	f.Add([]byte("HTTP/1.0 99999999999999999999\r\n\r\n"), 1)
	f.Fuzz(func(t *testing.T, response []byte, piece int) {
		pattern, err := Regex("b")
		require.NoError(t, err)
		whole, cut := page{pattern: pattern}, page{pattern: pattern}
		wholeErr := whole.readAll(bytes.NewReader(response))
		cutErr := cut.readAll(&pieces{response, max(1, piece%100)})
		if wholeErr == nil && cutErr == nil {
			require.Equal(t, whole.status, cut.status)
			require.Equal(t, whole.digest(), cut.digest())
			require.Equal(t, whole.text, cut.text)
		}
		require.Equal(t, wholeErr == nil, cutErr == nil)
		require.LessOrEqual(t, len(whole.text), len(response))
	})
}

// pieces reads some bytes at a time.
type pieces struct {
	rest []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[:min(p.n, len(p.rest))])
	p.rest = p.rest[n:]
	return n, nil
}
