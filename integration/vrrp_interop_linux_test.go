package integration

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// speaker is a program that speaks VRRP: usvs, or the distribution's keepalived.
type speaker interface {
	start()
	stop() // as systemd does
	kill() // as nobody should
}

// usvsSpeaker is `usvs run --keepalived` with VRRP alone.
type usvsSpeaker struct {
	*lvsNode
	t  *testing.T
	ns *netnstest.Namespace
}

func (s *usvsSpeaker) start() { s.lvsNode.start(s.t, s.ns) }

// daemonSpeaker is keepalived with VRRP alone.
type daemonSpeaker struct{ *keepalived }

func (s *daemonSpeaker) start() {
	for _, pid := range []string{"main.pid", "vrrp.pid"} {
		_ = os.Remove(s.file(pid))
	}
	s.proc = s.ns.StartCmd(exec.Command("keepalived", "--vrrp", "--dont-fork", "--log-console", "--log-detail",
		"--use-file", s.file("keepalived.conf"), "--pid", s.file("main.pid"), "--vrrp_pid", s.file("vrrp.pid")))
}

func (s *daemonSpeaker) stop() { _ = s.proc.Stop() }

// kill ends the child first: it would say goodbye if it saw its parent go.
func (s *daemonSpeaker) kill() {
	pids := []string{"-KILL"}
	for _, name := range []string{"vrrp.pid", "main.pid"} {
		pid, err := os.ReadFile(s.file(name))
		require.NoError(s.t, err, "%s", s.proc.Output())
		pids = append(pids, strings.TrimSpace(string(pid)))
	}
	s.ns.Run("kill", pids...)
	<-s.proc.Done()
}

// newSpeaker prepares usvs or keepalived to run on a machine.
func newSpeaker(t *testing.T, program string, ns *netnstest.Namespace, conf string) speaker {
	t.Helper()
	if program == "usvs" {
		n := &lvsNode{file: filepath.Join(t.TempDir(), "keepalived.conf")}
		n.write(t, conf)
		return &usvsSpeaker{lvsNode: n, t: t, ns: ns}
	}
	k := &keepalived{t: t, ns: ns, dir: t.TempDir()}
	k.configure(conf)
	t.Cleanup(func() {
		_ = k.proc.Stop()
		if t.Failed() {
			t.Logf("keepalived on %s:\n%s", ns.Name(), k.proc.Output())
		}
	})
	return &daemonSpeaker{k}
}

// dialects are what both have to speak. The other machine's address stands for
// PEER.
var dialects = []struct{ name, words, vip string }{
	{"version 2 with PASS", "advert_int 1\n\tauthentication {\n\t\tauth_type PASS\n\t\tauth_pass 1111\n\t}", vip4},
	{"version 2 with AH", "advert_int 1\n\tauthentication {\n\t\tauth_type AH\n\t\tauth_pass secret\n\t}", vip4},
	{"version 3", "version 3\n\tadvert_int 0.1", vip4},
	{"version 3 over IPv6", "version 3\n\tadvert_int 0.1", "fe80::107"},
	{"unicast", "version 3\n\tadvert_int 0.1\n\tunicast_peer {\n\t\tPEER\n\t}", vip4},
}

func interopConf(words, vip, peer string, priority int) string {
	length := netip.MustParseAddr(vip).BitLen()
	return fmt.Sprintf(`
vrrp_instance web {
	state BACKUP
	interface eth0
	virtual_router_id 51
	priority %d
	%s
	virtual_ipaddress {
		%s/%d
	}
}
`, priority, strings.Replace(words, "PEER", peer, 1), vip, length)
}

// A pair of usvs and keepalived fails over and back, whichever is the master,
// and however that ends.
func TestVRRPInterop(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		for _, pair := range [][2]string{{"usvs", "keepalived"}, {"keepalived", "usvs"}} {
			t.Run(d.name+", "+pair[0]+" is the master", func(t *testing.T) {
				t.Parallel()
				netnstest.NeedCommands(t, "keepalived", "tcpdump", "ip")
				netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
					s := newSite(t, lab, "lan0")
					s.client = s.machine("client", "lan0 10.10.100.2/24")
					s.director = s.machine("master", "lan0 10.10.100.1/24")
					s.backup(t, pair, d.words, d.vip)
				})
			})
		}
	}
}

// backup adds the other machine and plays the pair's life.
func (s *site) backup(t *testing.T, programs [2]string, words, vip string) {
	t.Helper()
	other := s.machine("backup", "lan0 10.10.100.3/24")
	capture := s.capture(t)
	master := newSpeaker(t, programs[0], s.director, interopConf(words, vip, "10.10.100.3", 150))
	backup := newSpeaker(t, programs[1], other, interopConf(words, vip, "10.10.100.1", 100))
	k := &keepalivedSite{site: s}
	master.start()
	backup.start()
	k.awaitVIP(s.director, other, vip)
	master.stop()
	k.awaitVIP(other, s.director, vip)
	master.start()
	k.awaitVIP(s.director, other, vip)
	master.kill()
	eventually(t, "the backup has "+vip, func() bool { return has(other, vip) })
	master.start()
	k.awaitVIP(s.director, other, vip)
	backup.stop()
	assert.False(t, has(other, vip))
	capture(t)
}

// capture writes down what is on the LAN. The function it returns has tcpdump,
// and tshark where it is installed, read the adverts.
func (s *site) capture(t *testing.T) func(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lan0.pcap")
	const adverts = "proto 112 or proto 51 or ip6 proto 112"
	dump := s.plug.Start("tcpdump", "-i", "lan0", "-U", "-Z", "root", "-w", file, adverts)
	eventually(t, "tcpdump listens", func() bool { return strings.Contains(dump.Output(), "listening on") })
	return func(t *testing.T) {
		_ = dump.Stop()
		text := s.plug.Run("tcpdump", "-nn", "-vvv", "-r", file)
		for _, prio := range []string{"prio 150", "prio 100", "prio 0"} {
			assert.Contains(t, text, "Advertisement, vrid 51, "+prio)
		}
		for _, bad := range []string{"bad", "invalid", "trunc", "wrong"} {
			assert.NotContains(t, text, bad)
		}
		if _, err := exec.LookPath("tshark"); err != nil {
			return
		}
		all := s.plug.Run("tshark", "-r", file, "-o", "ip.check_checksum:TRUE", "-Y", "vrrp", "-T", "fields", "-e", "vrrp.prio")
		assert.Contains(t, all, "150")
		bad := s.plug.Run("tshark", "-r", file, "-Y", "_ws.malformed || vrrp.checksum.status == 0 || ip.checksum.status == 0", "-T", "fields", "-e", "frame.number")
		assert.NotRegexp(t, `(?m)^\d+$`, bad)
	}
}
