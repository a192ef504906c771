package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// vsftpdConf serves anybody from a directory and takes uploads in up. As in
// nginxConf there is one user only.
const vsftpdConf = `
background=NO
listen_ipv6=YES
run_as_launching_user=YES
seccomp_sandbox=NO
anonymous_enable=YES
no_anon_password=YES
ftp_username=root
anon_root=%[1]s
allow_writeable_chroot=YES
write_enable=YES
anon_upload_enable=YES
anon_umask=022
anon_world_readable_only=NO
port_enable=YES
pasv_enable=YES
connect_from_port_20=YES
xferlog_enable=NO
`

// startVsftpd starts an FTP server and returns the directory it serves.
func startVsftpd(t *testing.T, ns *netnstest.Namespace) (dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "up"), 0o777))
	conf := filepath.Join(t.TempDir(), "vsftpd.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, vsftpdConf, dir), 0o600))
	p := ns.Start("vsftpd", conf)
	eventually(t, "vsftpd on "+ns.Name(), func() bool {
		select {
		case <-p.Done():
			t.Fatalf("vsftpd on %s ended: %s", ns.Name(), p.Output())
		default:
		}
		conn, err := ns.Dial("tcp", "127.0.0.1:21")
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return dir
}

// ftpModes are the four ways to open a data connection, as curl calls them.
// curl must connect where a 227 says, not where it is connected already.
var ftpModes = []struct {
	name string
	args []string
	data string // a row of -Lnc while data flows; %s is the VIP
}{
	{"EPSV", []string{"--ftp-pasv"}, `TCP \S+ +\w+ +\S+:\d{4,5} +%[1]s:\d{4,5} +%[2]s:\d{4,5}`},
	{"PASV", []string{"--ftp-pasv", "--disable-epsv", "--no-ftp-skip-pasv-ip"}, `TCP \S+ +\w+ +\S+:\d{4,5} +%[1]s:\d{4,5} +%[2]s:\d{4,5}`},
	{"EPRT", []string{"--ftp-port", "-"}, `TCP \S+ +\w+ +\S+:\d{4,5} +%[1]s:20 +%[2]s:20`},
	{"PORT", []string{"--ftp-port", "-", "--disable-eprt"}, `TCP \S+ +\w+ +\S+:\d{4,5} +%[1]s:20 +%[2]s:20`},
}

// TestFTP moves files through a virtual service with a real server and a real
// client, in every mode, both ways.
func TestFTP(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "vsftpd", "curl", "nstat")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := masquerade(t, lab)
		d := startDirector(t, s.director, "-i eth0 -i eth1")
		d.ipvsadm("-A -t 10.1.1.77:21 -s rr", "-a -t 10.1.1.77:21 -r 10.1.1.78:21 -m")
		testFTP(t, s, d, "10.1.1.77", "10.1.1.78", "")
	})
}

// TestFTPIPv6 likewise: PASV and PORT do not exist there.
func TestFTPIPv6(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "vsftpd", "curl", "nstat")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newSite(t, lab, "lan0", "lan1")
		s.client = s.machine("client", "lan0 fd00:40::2/64")
		s.director = s.machine("director", "lan0 fd00:40::1/64", "lan1 fd00:1::1/64")
		s.servers = []*netnstest.Namespace{s.machine("rs1", "lan1 fd00:1::78/64")}
		s.client.AddRoute("default", "fd00:40::1")
		s.servers[0].AddRoute("default", "fd00:1::1")
		d := startDirector(t, s.director, "-i eth0 -i eth1")
		d.ipvsadm("-A -t [fd00:1::77]:21 -s rr", "-a -t [fd00:1::77]:21 -r [fd00:1::78]:21 -m")
		testFTP(t, s, d, "[fd00:1::77]", "[fd00:1::78]", "V")
	})
}

// testFTP skips modes whose name begins with a letter of none: P for IPv4's.
func testFTP(t *testing.T, s *site, d *director, vip, rip, v6 string) {
	dir := startVsftpd(t, s.servers[0])
	blob, want := makeBlob(t, 5<<20)
	require.NoError(t, os.Link(blob, filepath.Join(dir, "blob")))
	health := watchTCP(t, s.client, s.servers[0])
	for _, m := range ftpModes {
		if v6 != "" && strings.HasPrefix(m.name, "P") {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			down := sha256.New()
			curl(t, s.client, down, append(m.args, "ftp://"+vip+"/blob")...)
			assert.Equal(t, want, hex.EncodeToString(down.Sum(nil)), "downloaded")
			curl(t, s.client, io.Discard, append(m.args, "--upload-file", blob, "ftp://"+vip+"/up/"+m.name)...)
			assert.Equal(t, want, hashFile(t, filepath.Join(dir, "up", m.name)), "uploaded")
			// Several transfers on one control connection: its numbers shift more and more.
			list := []string{}
			for range 5 {
				list = append(list, "--output", "/dev/null", "ftp://"+vip+"/blob")
			}
			curl(t, s.client, io.Discard, append(m.args, list...)...)
			quote := strings.NewReplacer("[", `\[`, "]", `\]`, ".", `\.`).Replace
			assert.Regexp(t, fmt.Sprintf(m.data, quote(vip), quote(rip)), d.ipvsadm("-Lnc"))
		})
	}
	health.assertUnchanged(damage...)
	assert.Zero(t, d.count("drop_helper_checksum"))
	rows := d.stats()
	assert.Contains(t, rows, net.JoinHostPort(strings.Trim(vip, "[]"), "21"))
}

func hashFile(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	require.NoError(t, err)
	return hex.EncodeToString(h.Sum(nil))
}

// TestFTPWithout: no helper, no data connections.
func TestFTPWithout(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "vsftpd", "curl")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := masquerade(t, lab)
		d := launchDirector(t, s.director, "-i", "eth0", "-i", "eth1", "--ftp-ports", "")
		eventually(t, "the director is running", func() bool { return d.ended() || d.logged("director is running") })
		t.Cleanup(d.stop)
		d.ipvsadm("-A -t 10.1.1.77:21 -s rr", "-a -t 10.1.1.77:21 -r 10.1.1.78:21 -m")
		startVsftpd(t, s.servers[0])
		out, err := s.client.Try("curl", "--silent", "--show-error", "--max-time", "3", "--ftp-pasv", "--disable-epsv", "ftp://10.1.1.77/")
		assert.Error(t, err, out)
		assert.NotContains(t, d.ipvsadm("-Lnc"), "LISTEN")
	})
}
