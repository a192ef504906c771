package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// A real server is set up, looked at and put back as it was.
func TestRealServer(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ip", "sysctl")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newSite(t, lab, "lan0")
		rs := s.machine("rs", "lan0 10.10.100.111/24")
		rs.Sysctl("net.ipv4.conf.lo.arp_announce", "1")
		look := func() string {
			return rs.Run("ip", "-br", "addr") + rs.Run("sysctl", "-a", "--pattern", "arp_(ignore|announce)|rp_filter")
		}
		before := look()
		for _, mode := range []string{"dr", "tun"} {
			options := " --vip 10.10.100.107 --vip 2001:db8::80 --dev eth0 --mode " + mode
			_, err := rs.Try(program(), strings.Fields("realserver status"+options)...)
			assert.Error(t, err, "status says that something is missing")
			for range 2 {
				usvs(t, rs, "realserver up"+options)
				usvs(t, rs, "realserver status"+options)
				assert.Contains(t, rs.Run("ip", "-o", "addr", "show", "lo"), "10.10.100.107/32")
			}
			for range 2 {
				usvs(t, rs, "realserver down --mode "+mode)
				assert.Equal(t, before, look())
			}
			assert.NotContains(t, rs.Run("ip", "-o", "link"), "usvs")
		}
	})
}

// What is saved can be restored, and is a rules file.
func TestSaveAndRestore(t *testing.T) {
	t.Parallel()
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newSite(t, lab, "lan0")
		s.director = s.machine("director", "lan0 10.10.100.1/24 2001:db8::1/64")
		d := startDirector(t, s.director, "-i eth0")
		d.ipvsadm("-A -t 10.10.100.107:80 -s wrr -p 600",
			"-a -t 10.10.100.107:80 -r 10.10.100.111:8080 -m -w 3 -x 100 -y 50",
			"-a -t 10.10.100.107:80 -r 10.10.100.112:80 -g -w 0",
			"-A -u [2001:db8::80]:53 -s mh -b mh-port",
			"-a -u [2001:db8::80]:53 -r 172.16.0.1:53 -i --tun-type gue --tun-port 6080",
			"-A -f 11 -s sh")
		listed := d.ipvsadm("-Ln")
		dir := t.TempDir()
		for _, name := range []string{"ipvsadm-save", "ipvsadm-restore"} {
			require.NoError(t, os.Symlink(program(), filepath.Join(dir, name)))
		}
		saved := s.director.Run(filepath.Join(dir, "ipvsadm-save"), "-n")
		assert.Equal(t, saved, d.ipvsadm("-S -n"))

		d.ipvsadm("-C")
		restore := exec.Command(filepath.Join(dir, "ipvsadm-restore"))
		restore.Stdin = strings.NewReader(saved)
		p := s.director.StartCmd(restore)
		require.NoError(t, p.Wait(), p.Output())
		assert.Equal(t, listed, d.ipvsadm("-Ln"))
		d.stop()

		rules := filepath.Join(dir, "rules")
		require.NoError(t, os.WriteFile(rules, []byte(saved), 0o600))
		d = startDirector(t, s.director, "-i eth0 --rules "+rules)
		assert.Equal(t, listed, d.ipvsadm("-Ln"))
		assert.Equal(t, saved, d.ipvsadm("-S -n"))
	})
}

// A capture and a trace show each packet as it came and as it left.
func TestCaptureAndTrace(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl", "tcpdump")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := masquerade(t, lab)
		for _, rs := range s.servers {
			startNginx(t, rs, 80)
		}
		file := filepath.Join(t.TempDir(), "frames.pcapng")
		d := startDirector(t, s.director, "-i eth0 -i eth1 --pcap "+file)
		bulkModes[1].service(d, 80, "-s rr")
		trace := s.director.Start(program(), "trace")
		var (
			in  = regexp.MustCompile(`in   eth0  .* tcp 192\.168\.40\.2:\d+ > 10\.1\.1\.77:80 S, \d+ bytes, ttl 64`)
			out = regexp.MustCompile(`out  eth1  .* tcp 192\.168\.40\.2:\d+ > 10\.1\.1\.78:80 S, \d+ bytes, ttl 63`)
			who = regexp.MustCompile(`forwarded, real server 10\.1\.1\.78:80 \(Masq\)`)
		)
		eventually(t, "the trace shows a request", func() bool {
			browse(t, s.client, "10.1.1.77", 1)
			text := trace.Output()
			return in.MatchString(text) && out.MatchString(text) && who.MatchString(text)
		})
		d.stop()
		text, err := s.director.Try("tcpdump", "-n", "-Z", "root", "-r", file)
		if err != nil && strings.Contains(text, "Couldn't change to") {
			netnstest.Skip(t, "tcpdump does not work here: %s", text)
		}
		require.NoError(t, err, text)
		assert.Regexp(t, `192\.168\.40\.2\.\d+ > 10\.1\.1\.77\.80: Flags \[S\]`, text)
		assert.Regexp(t, `192\.168\.40\.2\.\d+ > 10\.1\.1\.78\.80: Flags \[S\]`, text)
		assert.Regexp(t, `10\.1\.1\.77\.80 > 192\.168\.40\.2\.\d+: Flags \[S\.\]`, text)
	})
}
