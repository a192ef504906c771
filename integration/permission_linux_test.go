package integration

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link/netnstest"
)

// withCapabilities is a command line that runs the program with no other
// capabilities than those, as root or as another user.
func withCapabilities(user bool, caps string, args ...string) []string {
	words := []string{"setpriv", "--bounding-set=-all" + caps, "--inh-caps=-all" + caps}
	if user {
		words = append(words, "--reuid=1000", "--regid=1000", "--clear-groups")
	}
	if caps != "" {
		words = append(words, "--ambient-caps=-all"+caps)
	}
	return append(append(words, program()), args...)
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "setpriv", "nginx", "curl", "arping")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := directRoute(t, lab)
		for _, rs := range s.servers {
			startNginx(t, rs, 80)
		}
		s.realServersUp(vip4, "dr")
		for _, user := range []bool{false, true} {
			name := map[bool]string{false: "root", true: "user"}[user]
			if out, err := s.director.Try("setpriv", "--reuid=1000", "--clear-groups", "true"); user && err != nil {
				t.Logf("no other users here: %s", out)
				continue
			}
			t.Run(name+" with what it needs", func(t *testing.T) {
				d := &director{t: t, ns: s.director}
				words := withCapabilities(user, ",+net_raw,+net_admin", "run", "-i", "eth0")
				d.proc = s.director.StartCmd(exec.Command(words[0], words[1:]...))
				eventually(t, "it runs", func() bool { return d.ended() || d.logged("director is running") })
				require.False(t, d.ended(), d.proc.Output())
				for _, line := range []string{"-A -t 10.10.100.107:80 -s rr", "-a -t 10.10.100.107:80 -r 10.10.100.111 -g", "-a -t 10.10.100.107:80 -r 10.10.100.112 -g"} {
					words := withCapabilities(user, "", append([]string{"ipvsadm"}, strings.Fields(line)...)...)
					out, err := s.director.Try(words[0], words[1:]...)
					require.NoError(t, err, out)
				}
				assert.Equal(t, map[string]int{"rs1": 4, "rs2": 4}, shares(browse(t, s.client, vip4, 8)))
				d.stop()
			})
			for caps, missing := range map[string][]string{
				"":            {"CAP_NET_RAW", "CAP_NET_ADMIN"},
				",+net_raw":   {"CAP_NET_ADMIN"},
				",+net_admin": {"CAP_NET_RAW"},
			} {
				t.Run(name+" without "+strings.Join(missing, " "), func(t *testing.T) {
					words := withCapabilities(user, caps, "run", "-i", "eth0")
					out, err := s.director.Try(words[0], words[1:]...)
					assert.Error(t, err)
					reason, _, _ := strings.Cut(out, "). ")
					for _, c := range []string{"CAP_NET_RAW", "CAP_NET_ADMIN"} {
						assert.Equal(t, slices.Contains(missing, c), strings.Contains(reason, c), "%s: %s", c, out)
					}
				})
			}
		}
	})
}

func TestControlSocket(t *testing.T) {
	t.Parallel()
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newSite(t, lab, "lan0")
		s.director = s.machine("director", "lan0 10.10.100.1/24")
		t.Run("No director", func(t *testing.T) {
			out, err := s.director.Try(program(), "ipvsadm", "-Ln")
			assert.Error(t, err)
			assert.Contains(t, out, "usvs run")
		})
		t.Run("Path", func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "socket")
			for range 2 { // the second time over the socket that a killed one left
				d := startDirector(t, s.director, "-i eth0 --control "+path)
				usvs(t, s.director, "--control "+path+" ipvsadm -A -t 10.10.100.107:80 -s rr")
				cmd := exec.Command(program(), "ipvsadm", "-Ln")
				cmd.Env = append(os.Environ(), "USVS_CONTROL="+path)
				p := s.director.StartCmd(cmd)
				require.NoError(t, p.Wait(), p.Output())
				assert.Contains(t, p.Output(), "10.10.100.107:80 rr")
				info, err := os.Stat(path)
				require.NoError(t, err)
				assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
				_, err = s.director.Try(program(), "ipvsadm", "-Ln")
				assert.Error(t, err, "nobody listens on the default name")
				d.kill()
			}
		})
		t.Run("One director", func(t *testing.T) {
			d := startDirector(t, s.director, "-i eth0")
			second := launchDirector(t, s.director, "-i", "eth0")
			assert.Error(t, second.proc.Wait())
			assert.Contains(t, second.proc.Output(), "another usvs is running")
			d.ipvsadm("-Ln")
			// In another namespace the same name is another socket.
			other := s.machine("other", "lan0 10.10.100.3/24")
			startDirector(t, other, "-i eth0")
		})
		t.Run("Somebody else's", func(t *testing.T) {
			squatter := listenAs(t, s.director, 1000, "@usvs")
			defer squatter.Close()
			out, err := s.director.Try(program(), "ipvsadm", "-Ln")
			assert.Error(t, err)
			assert.Contains(t, out, "belongs to user 1000")
		})
	})
}

// listenAs opens a Unix listener as another user. Only the one thread becomes
// that user, and it does not outlive the call.
func listenAs(t *testing.T, ns *netnstest.Namespace, uid int, addr string) net.Listener {
	t.Helper()
	var ln net.Listener
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err = unix.Setns(ns.Fd(), unix.CLONE_NEWNET); err != nil {
			return
		}
		id := uintptr(uid)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id); errno != 0 {
			err = errno
			return
		}
		ln, err = net.Listen("unix", addr)
	}()
	<-done
	if err == unix.EINVAL {
		netnstest.Skip(t, "user %d does not exist in this user namespace", uid)
	}
	require.NoError(t, err)
	return ln
}
