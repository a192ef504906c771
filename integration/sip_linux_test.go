package integration

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

const sipCalls = 40

// TestSIPCalls has sipp make calls to two sipp servers. Every datagram is
// scheduled by its Call-ID: a call whose messages went to both would fail.
func TestSIPCalls(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "sipp")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := masquerade(t, lab)
		d := startDirector(t, s.director, "-i eth0 -i eth1")
		sipService(d, "-o")
		for i, rs := range s.servers {
			rs.Start("sipp", "-sn", "uas", "-i", sipServers[i], "-p", "5060", "-nostdin")
		}
		for _, mode := range []string{"u1", "un"} { // one socket; one for each call
			out, err := s.client.Try("timeout", "60", "sipp", "-sn", "uac", "10.1.1.77:5060", "-i", "192.168.40.2", "-t", mode,
				"-m", fmt.Sprint(sipCalls), "-r", "20", "-d", "500", "-nostdin", "-max_socket", "1000", "-timeout", "40", "-timeout_error")
			assert.NoError(t, err, "%s", tail(out))
		}
		rows := d.ipvsadm("-Lnc --persistent-conn")
		for _, rs := range sipServers {
			calls := strings.Count(rows, rs+":5060 ")
			assert.Equal(t, sipCalls, calls, "calls at %s:\n%s", rs, rows)
		}
		assert.Regexp(t, `192\.168\.40\.2:0 +10\.1\.1\.77:5060 +10\.1\.1\.7[89]:5060 +sip +\S+@192\.168\.40\.2`, rows)
	})
}

var sipServers = []string{"10.1.1.78", "10.1.1.79"}

func sipService(d *director, options string) {
	d.t.Helper()
	d.ipvsadm("-A -u 10.1.1.77:5060 -s rr -p 60 --pe sip " + options)
	for _, rs := range sipServers {
		d.ipvsadm("-a -u 10.1.1.77:5060 -r " + rs + ":5060 -m")
	}
}

// tail is the end of a long text.
func tail(s string) string { return s[max(0, len(s)-2000):] }

// TestSIPMoves: a call stays with its server when its client comes from another
// port, with and without one-packet scheduling, and a server's own call comes
// from the virtual service.
func TestSIPMoves(t *testing.T) {
	t.Parallel()
	for _, options := range []string{"", "-o"} {
		t.Run("options"+options, func(t *testing.T) {
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
				s := masquerade(t, lab)
				d := startDirector(t, s.director, "-i eth0 -i eth1")
				sipService(d, options)
				var servers []net.PacketConn
				for i, rs := range s.servers {
					servers = append(servers, answerSIP(t, rs, sipServers[i]+":5060"))
				}
				who := map[string]bool{}
				for call := range 6 {
					first := askSIP(t, s.client, call)
					who[first] = true
					for range 3 {
						assert.Equal(t, first, askSIP(t, s.client, call), "call %d", call)
					}
				}
				assert.Len(t, who, 2)
				testOwnCall(t, s, servers[1])
				assert.Zero(t, d.count("drop_engine"))
			})
		})
	}
}

func sipMessage(call int) string {
	return fmt.Sprintf("OPTIONS sip:x@example.test SIP/2.0\r\nVia: SIP/2.0/UDP x\r\nCall-ID: call-%d@test\r\n\r\n", call)
}

// answerSIP answers every datagram with the server's name.
func answerSIP(t *testing.T, ns *netnstest.Namespace, addr string) net.PacketConn {
	t.Helper()
	conn := ns.ListenPacket("udp", addr)
	t.Cleanup(func() { conn.Close() })
	go func() {
		var b [2000]byte
		for {
			n, from, err := conn.ReadFrom(b[:])
			if err != nil {
				return
			}
			reply := strings.Replace(string(b[:n]), "OPTIONS sip:x@example.test SIP/2.0", "SIP/2.0 200 "+ns.Name(), 1)
			_, _ = conn.WriteTo([]byte(reply), from)
		}
	}()
	return conn
}

// askSIP sends a message of a call from a port of its own, and returns who answered.
func askSIP(t *testing.T, ns *netnstest.Namespace, call int) string {
	t.Helper()
	conn, err := ns.Dial("udp", "10.1.1.77:5060")
	require.NoError(t, err)
	defer conn.Close()
	return exchange(t, conn, sipMessage(call))
}

// exchange sends a message until it is answered, and returns the answer's first line.
func exchange(t *testing.T, conn net.Conn, message string) string {
	t.Helper()
	var b [2000]byte
	for range 30 {
		_, err := conn.Write([]byte(message))
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Second)))
		if n, err := conn.Read(b[:]); err == nil {
			line, _, _ := strings.Cut(string(b[:n]), "\r\n")
			return line
		}
	}
	t.Fatalf("no answer to %q", message)
	return ""
}

// testOwnCall: what a server sends first comes from the virtual service, and
// the answer, from anywhere, returns to that server.
func testOwnCall(t *testing.T, s *site, server net.PacketConn) {
	phone := s.client.ListenPacket("udp", "192.168.40.2:5070")
	defer phone.Close()
	var b [2000]byte
	to := &net.UDPAddr{IP: net.IPv4(192, 168, 40, 2), Port: 5070}
	eventually(t, "the server's call arrives", func() bool {
		_, err := server.WriteTo([]byte(sipMessage(99)), to)
		require.NoError(t, err)
		require.NoError(t, phone.SetReadDeadline(time.Now().Add(time.Second)))
		_, from, err := phone.ReadFrom(b[:])
		return err == nil && assert.Equal(t, "10.1.1.77:5060", from.String())
	})
	assert.Equal(t, "SIP/2.0 200 rs2", askSIP(t, s.client, 99))
}
