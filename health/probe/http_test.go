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
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/health"
	"usvs/health/dialog"
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
	for _, c := range []struct {
		name, text string
		url        health.URL
		want       health.Result
	}{
		{"a page", "HTTP/1.1 200 OK\r\n\r\nhello", health.URL{Digest: sum("hello"), Regex: "el+o$"}, health.Result{Status: 200}},
		{"another", "HTTP/1.1 404 No\r\n\r\nhello", health.URL{}, health.Result{Outcome: health.Failure, Status: 404, Reason: "HTTP status code error to", Cause: "the status is 404"}},
		{"none", "", health.URL{}, health.Result{Outcome: health.Failure, Reason: "Read, no data received from", Cause: "the connection ended within the header"}},
		{"endless", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 10000), health.URL{}, health.Result{Outcome: health.Failure, Reason: "Read, no data received from", Cause: "the header is longer than 4095 bytes"}},
	} {
		assert.Equal(t, c.want, attempt(t, Config{}, get(answering(t, c.text), c.url)), c.name)
	}
}

// TestGenhash: the digests are those that people are told to copy from genhash.
func TestGenhash(t *testing.T) {
	path, err := exec.LookPath("genhash")
	if err != nil {
		t.Skip("genhash is not installed: make deps")
	}
	for _, text := range []string{
		"HTTP/1.0 200 OK\r\n\r\nhello", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello and more", "HTTP/1.0 200 OK\r\nContent-Length: 99\r\n\r\nhello",
		"HTTP/1.0 200 OK\r\ncontent-length: 5 \r\n\r\nhello and more", "HTTP/1.0 200 OK\r\nX-Content-Length:0\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n" + strings.Repeat("\x00long\xff", 10000),
		"HTTP/1.0 200 OK\r\nX: " + strings.Repeat("y", 4070) + "\r\n\r\nhello",
	} {
		target := answering(t, text)
		out, err := exec.Command(path, "-s", target.Addr().String(), "-p", strconv.Itoa(int(target.Port())), "-u", "/").CombinedOutput()
		require.NoError(t, err)
		assert.Equal(t, health.Result{Status: 200}, attempt(t, Config{}, get(target, health.URL{Digest: strings.TrimSpace(string(out))})), "%.80q %s", text, out)
	}
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
	assert.Equal(t, "the page is longer than 16777216 bytes", got.Cause)
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
		{"header", health.HTTP, "", "Timeout HTTP read", dialog.Lifetime * timeout},
		{"body", health.HTTP, "HTTP/1.1 200 OK\r\n\r\n", "Timeout HTTP read", dialog.Lifetime * timeout},
		{"handshake", health.SSL, "\x16\x03\x03\x40\x00", "Timeout connecting", timeout},
		{"greeting", health.SMTP, "220 ", "Read timeout from server", dialog.Lifetime * timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				p := get(netip.AddrPort{}, health.URL{})
				p.Timeout, p.Kind = timeout, c.kind
				assert.Equal(t, failed(c.reason), conversation(t, dribbles(c.start), p))
				assert.Equal(t, c.took, time.Since(began))
				time.Sleep(2 * time.Second) // the server finds out
			})
		})
	}
}

// conversation is converse with a new dialogue.
func conversation(t *testing.T, dial Dial, p *health.Probe) health.Result {
	d, err := dialog.New(p, 0)
	require.NoError(t, err)
	return converse(t.Context(), dial, p, d)
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
		assert.Equal(t, failed("Timeout WEB write"), conversation(t, via, p))
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
