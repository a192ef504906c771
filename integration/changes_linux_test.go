package integration

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// startEcho is a server that says its name and then repeats every line.
func startEcho(t *testing.T, ns *netnstest.Namespace, addr string) {
	t.Helper()
	ln := ns.Listen("tcp", addr)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprintln(conn, ns.Name())
				in := bufio.NewReader(conn)
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					fmt.Fprint(conn, line)
				}
			}()
		}
	}()
}

// talk is a connection to an echo server.
type talk struct {
	t      *testing.T
	conn   net.Conn
	in     *bufio.Reader
	server string
}

func startTalk(t *testing.T, ns *netnstest.Namespace, addr string) *talk {
	t.Helper()
	conn, err := ns.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	k := &talk{t: t, conn: conn, in: bufio.NewReader(conn)}
	k.server = k.hear()
	return k
}

// startTalks opens connections and counts how many each server has.
func startTalks(t *testing.T, ns *netnstest.Namespace, addr string, n int) (talks []*talk, servers map[string]int) {
	t.Helper()
	servers = map[string]int{}
	for range n {
		k := startTalk(t, ns, addr)
		talks = append(talks, k)
		servers[k.server]++
	}
	return talks, servers
}

// hear waits for a line.
func (k *talk) hear() string {
	k.t.Helper()
	require.NoError(k.t, k.conn.SetReadDeadline(time.Now().Add(patience)))
	line, err := k.in.ReadString('\n')
	require.NoError(k.t, err, "connection to %s", k.server)
	return strings.TrimSpace(line)
}

func (k *talk) say(text string) {
	k.t.Helper()
	_, err := fmt.Fprintln(k.conn, text)
	require.NoError(k.t, err)
}

func (k *talk) assertWorks() {
	k.t.Helper()
	k.say("still there?")
	assert.Equal(k.t, "still there?", k.hear())
}

// assertSilent: nothing has come, no end and no reset either.
func (k *talk) assertSilent() {
	k.t.Helper()
	require.NoError(k.t, k.conn.SetReadDeadline(time.Now()))
	_, err := k.in.Peek(1)
	assert.True(k.t, errors.Is(err, os.ErrDeadlineExceeded), "connection to %s: %v", k.server, err)
}

func TestChangesUnderTraffic(t *testing.T) {
	t.Parallel()
	for _, m := range bulkModes {
		t.Run(m.name, func(t *testing.T) {
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) { testChanges(t, lab, &m) })
		})
	}
}

func testChanges(t *testing.T, lab *netnstest.Lab, m *bulkMode) {
	s, d := m.start(t, lab)
	vip := m.vip + ":7"
	rs1, rs2 := m.servers[0]+":7", m.servers[1]+":7"
	for _, rs := range s.servers {
		startEcho(t, rs, ":7")
	}
	m.service(d, 7, "-s rr")
	old, servers := startTalks(t, s.client, vip, 8)
	require.Equal(t, map[string]int{"rs1": 4, "rs2": 4}, servers)
	all := func() {
		t.Helper()
		for _, k := range old {
			k.assertWorks()
		}
	}
	all()

	// Weight 0: no new connection, the old ones continue.
	d.ipvsadm(fmt.Sprintf("-e -t %s -r %s %s -w 0", vip, rs1, m.flag))
	fresh, servers := startTalks(t, s.client, vip, 6)
	assert.Equal(t, map[string]int{"rs2": 6}, servers)
	all()
	rows := d.serverList()
	assert.Equal(t, []uint64{0, 4, 0}, rows[rs1], "weight, active, inactive")
	assert.Equal(t, []uint64{1, 10, 0}, rows[rs2])
	old = append(old, fresh...)

	// A deleted server's connections meet silence; back again, they continue.
	d.ipvsadm(fmt.Sprintf("-d -t %s -r %s", vip, rs1))
	before := d.count("drop_server_gone")
	for _, k := range old {
		if k.server == "rs1" {
			k.say("anybody there?")
		}
	}
	eventually(t, "packets to the deleted server are dropped", func() bool { return d.count("drop_server_gone") >= before+4 })
	for _, k := range old {
		if k.server == "rs1" {
			k.assertSilent()
		} else {
			k.assertWorks()
		}
	}
	d.ipvsadm(fmt.Sprintf("-a -t %s -r %s %s -w 1", vip, rs1, m.flag))
	for _, k := range old {
		if k.server == "rs1" {
			assert.Equal(t, "anybody there?", k.hear(), "TCP repeats what was dropped")
		}
	}
	all()
	assertListings(t, d, m, vip, len(old))
}

// assertListings: what the listings say is consistent.
func assertListings(t *testing.T, d *director, m *bulkMode, vip string, conns int) {
	t.Helper()
	// The kernel numbers a deleted and re-added server's connections anew
	// only as they come; those it had are its own again.
	rows := d.serverList()
	active := rows[m.servers[0]+":7"][1] + rows[m.servers[1]+":7"][1]
	assert.EqualValues(t, conns, active)
	entries := regexp.MustCompile(`(?m)^TCP 1[45]:\d\d  ESTABLISHED ` + regexp.QuoteMeta(clientOf(m)) + `:\d+ +` + regexp.QuoteMeta(vip) + ` `)
	list := d.ipvsadm("-Lnc")
	assert.Len(t, entries.FindAllString(list, -1), conns, list)

	stats := d.counted(vip, conns)
	sum := stats[m.servers[0]+":7"].inPkts + stats[m.servers[1]+":7"].inPkts
	eventually(t, "the sums agree", func() bool {
		stats = d.stats()
		sum = stats[m.servers[0]+":7"].inPkts + stats[m.servers[1]+":7"].inPkts
		return stats[vip].inPkts >= sum && sum >= uint64(3*conns)
	})
	assert.Equal(t, m.repliesPass, stats[vip].outPkts > 0)
	for _, option := range []string{"--rate", "--thresholds", "--persistent-conn"} {
		out := d.ipvsadm("-Ln " + option)
		for _, word := range append([]string{vip}, m.servers[0]+":7", m.servers[1]+":7") {
			assert.Contains(t, out, word, option)
		}
	}
	d.ipvsadm(fmt.Sprintf("-e -t %s -r %s %s -x 100 -y 50", vip, m.servers[0]+":7", m.flag))
	assert.Equal(t, []uint64{100, 50}, table(t, d.ipvsadm("-Ln --thresholds"))[m.servers[0]+":7"][:2])
	d.ipvsadm("-Z")
	eventually(t, "counters are zero", func() bool { return d.stats()[vip].conns == 0 })
}

// clientOf is the client's address in a mode's network.
func clientOf(m *bulkMode) string {
	if m.name == "Masquerade" {
		return "192.168.40.2"
	}
	return "10.10.100.2"
}
