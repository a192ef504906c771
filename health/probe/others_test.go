package probe

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"usvs/health"
	"usvs/health/dialog"
	"usvs/script"
)

// mailServer says a line to begin with and one for each that it hears.
func mailServer(t *testing.T, heard *[]string, lines ...string) netip.AddrPort {
	return serve(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for _, line := range lines {
			_, _ = io.WriteString(c, line)
			command, err := r.ReadString('\n')
			if err != nil {
				return
			}
			*heard = append(*heard, command)
		}
		hang(c)
	})
}

func TestSMTP(t *testing.T) {
	for _, c := range []struct {
		name   string
		lines  []string
		reason string
		cause  string
	}{
		{name: "as it should be", lines: []string{"220 hello\r\n", "250 hi\r\n", "221 bye\r\n"}},
		{name: "several lines", lines: []string{"220-hello\r\n220-you\r\n220 there\r\n", "250-hi\n250 hi\n", "221 bye\r\n"}},
		{name: "any line at the end", lines: []string{"220 hello\r\n", "250 hi\r\n", "\n"}},
		{name: "not now", lines: []string{"421 busy\r\n"}, reason: "Bad greeting banner from server", cause: `it says "421 busy"`},
		{name: "not you", lines: []string{"220 hello\r\n", "550 no\r\n"}, reason: "Bad HELO response from server", cause: `it says "550 no"`},
		{name: "silent", lines: []string{""}, reason: "Read timeout from server"},
		{name: "silent then", lines: []string{"220 hello\r\n", ""}, reason: "Read timeout from server"},
		{name: "half a line", lines: []string{"220 hel"}, reason: "Read timeout from server"},
		{name: "endless line", lines: []string{"220 " + strings.Repeat("x", 100000)}, reason: "Read failure from server", cause: "the answer is too long"},
		{name: "endless lines", lines: []string{strings.Repeat("220-x\r\n", 100000)}, reason: "Read failure from server", cause: "the answer is too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var heard []string
			p := &health.Probe{Kind: health.SMTP, Target: mailServer(t, &heard, c.lines...), Timeout: short}
			if c.reason != "Read timeout from server" {
				p.Timeout = 10 * time.Second
			}
			got := attempt(t, Config{}, p)
			assert.Equal(t, c.reason, got.Reason)
			assert.Equal(t, c.reason == "", got.Outcome == health.Success)
			assert.Equal(t, c.cause, got.Cause)
		})
	}
	assert.Equal(t, "Read failure from server", attempt(t, Config{}, &health.Probe{Kind: health.SMTP, Target: serve(t, func(net.Conn) {})}).Reason)
	assert.Equal(t, "Could not connect to server", attempt(t, Config{}, &health.Probe{Kind: health.SMTP, Target: closedPort(t)}).Reason)
	assert.Equal(t, "Connection timeout to server", attempt(t, Config{}, &health.Probe{Kind: health.SMTP, Target: silence(t), Timeout: short}).Reason)
}

// datagrams serves UDP: answer returns what is sent for each datagram.
func datagrams(t *testing.T, answer func([]byte) [][]byte) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, b := range answer(append([]byte(nil), buf[:n]...)) {
				_, _ = c.WriteTo(b, from)
			}
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func replyWith(b ...[]byte) func([]byte) [][]byte {
	return func([]byte) [][]byte { return b }
}

// responds answers a query with a code, changed a little.
func responds(code dnsmessage.RCode, change func(*dnsmessage.Message)) func([]byte) [][]byte {
	return func(query []byte) [][]byte {
		var m dnsmessage.Message
		if err := m.Unpack(query); err != nil {
			return nil
		}
		m.Response, m.RCode = true, code
		if change != nil {
			change(&m)
		}
		b, _ := m.Pack()
		return [][]byte{b}
	}
}

func TestDNS(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func([]byte) [][]byte
		reason string
	}{
		{"an answer", responds(0, nil), ""},
		{"an error", responds(dnsmessage.RCodeServerFailure, nil), "read error occurred. (rcode = 2)"},
		{"no such name", responds(dnsmessage.RCodeNameError, nil), "read error occurred. (rcode = 3)"},
		{"to another question", responds(0, func(m *dnsmessage.Message) { m.ID++ }), "read timeout from socket"},
		{"a question", responds(0, func(m *dnsmessage.Message) { m.Response = false }), "read timeout from socket"},
		{"garbage", replyWith([]byte("x")), "read timeout from socket"},
		{"much garbage", replyWith(make([][]byte, 40)...), "read error occurred."},
		{"silence", replyWith(), "read timeout from socket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &health.Probe{Kind: health.DNS, Target: datagrams(t, c.answer), Timeout: short, DNS: &health.DNSQuestion{Type: "A", Name: "example.com"}}
			if c.reason != "read timeout from socket" {
				p.Timeout = 10 * time.Second
			}
			got := attempt(t, Config{}, p)
			assert.Equal(t, c.reason, got.Reason)
			assert.Equal(t, c.reason == "", got.Outcome == health.Success)
		})
	}
	got := attempt(t, Config{}, &health.Probe{Kind: health.DNS, Target: closedPort(t)})
	assert.Equal(t, "failed to read socket; errno 111 (Connection refused)", got.Reason)
}

func TestUDP(t *testing.T) {
	reply := &health.UDPExchange{RequireReply: true, Reply: []byte{1, 0x25}, ReplyMask: []byte{0xff, 0xf0}, MaxReply: 255}
	for _, c := range []struct {
		name   string
		udp    *health.UDPExchange
		answer func([]byte) [][]byte
		reason string
		waits  bool
	}{
		{name: "silence is well", answer: replyWith(), waits: true},
		{name: "any answer, too", answer: replyWith([]byte("x"))},
		{name: "and an empty one", answer: replyWith(nil)},
		{name: "the payload arrives", udp: &health.UDPExchange{Payload: []byte("ping"), RequireReply: true, Reply: []byte("ping"), MaxReply: 4}, answer: func(b []byte) [][]byte { return [][]byte{b} }},
		{name: "the right reply", udp: reply, answer: replyWith([]byte{1, 0x29, 7})},
		{name: "another", udp: reply, answer: replyWith([]byte{1, 0x35}), reason: "failed"},
		{name: "a shorter one", udp: reply, answer: replyWith([]byte{1}), reason: "failed"},
		{name: "one that is too short", udp: &health.UDPExchange{RequireReply: true, MinReply: 2, MaxReply: 9}, answer: replyWith([]byte{1}), reason: "failed"},
		{name: "one that is too long", udp: &health.UDPExchange{RequireReply: true, MaxReply: 2}, answer: replyWith([]byte("abc")), reason: "failed"},
		{name: "none", udp: reply, answer: replyWith(), reason: "failed", waits: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &health.Probe{Kind: health.UDP, Target: datagrams(t, c.answer), UDP: c.udp}
			if c.waits {
				p.Timeout = short
			}
			got := attempt(t, Config{}, p)
			assert.Equal(t, c.reason, got.Reason)
			assert.Equal(t, c.reason == "", got.Outcome == health.Success)
		})
	}
	got := attempt(t, Config{}, &health.Probe{Kind: health.UDP, Target: closedPort(t)})
	assert.Equal(t, "failed", got.Reason, "ICMP port unreachable")
}

func TestPing(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		got := attempt(t, Config{}, &health.Probe{Kind: health.Ping, Target: netip.MustParseAddrPort(addr)})
		if got.Outcome == health.LocalError {
			t.Skip("no socket for it: " + got.Reason)
		}
		assert.Equal(t, success, got, addr)
	}
	bound := &health.Probe{Kind: health.Ping, Target: netip.MustParseAddrPort("127.0.0.1:0"), Bind: netip.MustParseAddrPort("127.0.0.9:0")}
	assert.Equal(t, success, attempt(t, Config{}, bound))
	bound.Bind = netip.MustParseAddrPort("192.0.2.1:0")
	assert.Equal(t, health.LocalError, attempt(t, Config{}, bound).Outcome)
}

func TestRawPing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		p := &health.Probe{Target: netip.MustParseAddrPort(addr), Timeout: 10 * time.Second}
		c, err := icmpSocket(p, rawSocket)
		require.NoError(t, err)
		d, err := dialog.New(&health.Probe{Kind: health.Ping}, 0)
		require.NoError(t, err)
		assert.Equal(t, success, echoesBy(c, p, d, true), addr)
	}
}

func TestAnswers(t *testing.T) {
	request := newEcho(false)
	reply := append([]byte(nil), request...)
	reply[0] = echoReply4
	assert.True(t, answers(reply, request, false))
	assert.False(t, answers(request, request, false), "our own request")
	ip := append([]byte{0x45}, make([]byte, 19)...)
	assert.True(t, answers(append(ip, reply...), request, true))
	assert.False(t, answers(reply, newEcho(false), false), "to another")
	for n := range reply {
		assert.False(t, answers(reply[:n], request, false))
		assert.False(t, answers(reply[:n], request, true))
	}
	assert.Zero(t, checksum(request))
}

// program makes a script.
func program(t *testing.T, text string) []string {
	return []string{"/bin/sh", "-c", text}
}

func TestMisc(t *testing.T) {
	for _, c := range []struct {
		text string
		want health.Result
	}{
		{"exit 0", success},
		{"echo out; exit 1", health.Result{Outcome: health.Failure, Status: 1, Reason: "exited with status 1", Cause: "out"}},
		{"exit 17", health.Result{Outcome: health.Failure, Status: 17, Reason: "exited with status 17"}},
		{"kill -9 $$", health.Result{Outcome: health.Failure, Status: -1, Signal: 9, Reason: "exited due to signal 9"}},
	} {
		p := &health.Probe{Kind: health.Misc, Script: &health.Script{Args: program(t, c.text)}}
		assert.Equal(t, c.want, attempt(t, Config{}, p), c.text)
	}
	slow := &health.Probe{Kind: health.Misc, Timeout: 100 * time.Millisecond, Script: &health.Script{Args: program(t, "trap 'exit 5' TERM; while :; do sleep 0.01; done")}}
	got := attempt(t, Config{}, slow)
	got.Cause = "" // what the shell has to say
	assert.Equal(t, health.Result{Outcome: health.Failure, Status: 1, Reason: "timed out"}, got)
	missing := &health.Probe{Kind: health.Misc, Script: &health.Script{Args: []string{"/no/such/script"}}}
	assert.Equal(t, health.LocalError, attempt(t, Config{}, missing).Outcome)
	user := &health.Probe{Kind: health.Misc, Script: &health.Script{Args: []string{"true"}, User: "nobody-of-this-name"}}
	assert.Equal(t, health.LocalError, attempt(t, Config{}, user).Outcome)
}

// Scripts that hang take no slots from sockets, and end with the runner.
func TestScriptsHaveTheirOwnSlots(t *testing.T) {
	done := make(chan health.CheckID, 10)
	r := New(Config{Sockets: 1, Scripts: 1}, func(id health.CheckID, _ health.Result) { done <- id })
	r.SetPolicy(script.Policy{})
	hang := &health.Probe{Kind: health.Misc, Timeout: time.Hour, Script: &health.Script{Args: program(t, "sleep 3600")}}
	r.Start(1, hang)
	r.Start(2, hang)
	r.Start(3, &health.Probe{Target: closedPort(t), Timeout: time.Second})
	assert.Equal(t, health.CheckID(3), <-done)
	r.Close()
	assert.Empty(t, done)
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "number")
	require.NoError(t, os.WriteFile(path, []byte("3"), 0o600))
	told := make(chan string, 10)
	r := New(Config{}, func(id health.CheckID, res health.Result) { told <- fmt.Sprint(id, res.Outcome, res.Status) })
	defer r.Close()
	r.Start(5, &health.Probe{Kind: health.File, Name: path})
	assert.Equal(t, "5 success 3", <-told)
	require.NoError(t, os.WriteFile(path+"x", []byte("-4"), 0o600))
	require.NoError(t, os.Rename(path+"x", path))
	assert.Equal(t, "5 success -4", <-told)
	r.Cancel(5)
	require.NoError(t, os.Remove(path))
	r.Start(6, &health.Probe{Kind: health.File, Name: path})
	assert.Equal(t, "6 success 0", <-told)
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte{0x45}, true)
	request := newEcho(false)
	f.Fuzz(func(t *testing.T, packet []byte, raw bool) {
		if answers(packet, request, raw) {
			t.Fatalf("%x answers what nobody knows", packet)
		}
	})
}
