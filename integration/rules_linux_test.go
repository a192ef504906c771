package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link/netnstest"
)

// writeRules makes a rules file of lines.
func writeRules(t *testing.T, path string, lines ...string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
}

func TestBrokenRules(t *testing.T) {
	t.Parallel()
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newSite(t, lab, "lan0")
		s.director = s.machine("director", "lan0 10.10.100.1/24")
		path := filepath.Join(t.TempDir(), "rules")
		for _, tc := range []struct {
			name  string
			lines []string
			want  string
		}{
			{"not a command", []string{"-A -t 10.10.100.107:80 -s rr", "", "reboot now"}, ":3: "},
			{"bad option", []string{"# services", "-A -t 10.10.100.107:80 -s rr", "-a -t 10.10.100.107:80 -r 10.10.100.111 -q"}, ":3: "},
			{"no such scheduler", []string{"-A -t 10.10.100.107:80 -s best"}, ":1: "},
			{"no such service", []string{"ipvsadm -a -t 10.10.100.107:80 -r 10.10.100.111 -g"}, ":1: "},
			{"bad rule", []string{"-A -f 1 -s rr", "iptables -t mangle -A PREROUTING -j FLY"}, ":2: "},
			{"unterminated", []string{"VIP='10.10.100.107", "-A -t $VIP:80"}, ":1: "},
		} {
			writeRules(t, path, tc.lines...)
			d := launchDirector(t, s.director, "-i", "eth0", "--rules", path)
			assert.Error(t, d.proc.Wait(), tc.name)
			assert.Contains(t, d.proc.Output(), path+tc.want, tc.name)
		}
		d := launchDirector(t, s.director, "-i", "eth0", "--rules", path+".missing")
		assert.Error(t, d.proc.Wait())
		assert.Contains(t, d.proc.Output(), path+".missing")
		assert.NotContains(t, s.director.Run("ip", "-o", "link"), "usvs", "nothing is left of those that did not start")
	})
}

func TestReload(t *testing.T) {
	t.Parallel()
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := directRoute(t, lab)
		third := s.machine("rs3", "lan0 10.10.100.113/24")
		s.servers = append(s.servers, third)
		for _, rs := range s.servers {
			startEcho(t, rs, ":7")
		}
		s.realServersUp(vip4, "dr")
		path := filepath.Join(t.TempDir(), "rules")
		rules := []string{
			"# what the shares are",
			"VIP=10.10.100.107",
			"ipvsadm -A -t $VIP:7 -s rr",
			"ipvsadm -a -t $VIP:7 -r 10.10.100.111 -g",
			"ipvsadm -a -t $VIP:7 -r 10.10.100.112 -g",
		}
		writeRules(t, path, rules...)
		d := startDirector(t, s.director, "-i eth0 --rules "+path)
		talks, servers := startTalks(t, s.client, vip4+":7", 4)
		assert.Equal(t, map[string]int{"rs1": 2, "rs2": 2}, servers)
		before := d.ipvsadm("-Ln")

		// A broken file changes nothing.
		writeRules(t, path, append(rules[:3:3], "ipvsadm -a -t $VIP:7 -r nowhere.invalid -g -z")...)
		d.reload("everything stays as it was")
		assert.True(t, d.logged(path+":4: "), "file and line are logged")
		assert.Equal(t, before, d.ipvsadm("-Ln"))
		for _, k := range talks {
			k.assertWorks()
		}

		// Of a changed one, only the differences.
		writeRules(t, path, append(rules[:4:4], "ipvsadm -a -t $VIP:7 -r 10.10.100.113 -g -w 2", "ipvsadm -A -t $VIP:8 -s wlc")...)
		d.reload("rules read again")
		rows := d.serverList()
		assert.Equal(t, []uint64{1, 2, 0}, rows["10.10.100.111:7"], "it was not touched")
		assert.Equal(t, []uint64{2, 0, 0}, rows["10.10.100.113:7"])
		assert.NotContains(t, rows, "10.10.100.112:7")
		assert.Contains(t, d.ipvsadm("-Ln"), "10.10.100.107:8 wlc")
		for _, k := range talks {
			if k.server == "rs1" {
				k.assertWorks()
			}
		}
		d.counted(vip4+":7", 4) // of the service since its beginning
		_, servers = startTalks(t, s.client, vip4+":7", 4)
		assert.Equal(t, map[string]int{"rs1": 2, "rs3": 2}, servers)

		// And back.
		writeRules(t, path, rules...)
		d.reload("rules read again")
		for _, k := range talks {
			k.assertWorks()
		}
	})
}

// reload sends SIGHUP and waits for the message that ends it.
func (d *director) reload(message string) {
	d.t.Helper()
	seen := strings.Count(d.proc.Output(), message)
	require.NoError(d.t, unix.Kill(d.proc.Pid(), unix.SIGHUP))
	eventually(d.t, message, func() bool { return strings.Count(d.proc.Output(), message) > seen })
}
