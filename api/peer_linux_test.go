package api

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

func TestAbstractName(t *testing.T) {
	addr := uniqueName()
	serveAt(t, addr, &fake{})
	_, err := Listen(addr)
	require.ErrorIs(t, err, ErrRunning)
	info, err := Dial(addr).Info()
	require.NoError(t, err)
	require.Equal(t, theInfo, info)
	_, err = Dial(addr + "x").Info()
	require.EqualError(t, err, "director unreachable: Protocol not available")
}

func TestPeerUID(t *testing.T) {
	addr := uniqueName()
	ln, err := net.Listen("unix", addr)
	require.NoError(t, err)
	defer ln.Close()
	c, err := net.Dial("unix", addr)
	require.NoError(t, err)
	defer c.Close()
	s, err := ln.Accept()
	require.NoError(t, err)
	defer s.Close()
	for _, side := range []net.Conn{c, s} {
		uid, err := peerUID(side)
		require.NoError(t, err)
		require.Equal(t, os.Geteuid(), uid)
	}
	_, err = peerUID(&net.TCPConn{})
	require.Error(t, err)
}

// As somebody else, in a process of its own: helper is what it does there.
const asStranger = "USVS_API_TEST_STRANGER"

const strangerUID = 12345

func TestMain(m *testing.M) {
	switch what, addr, _ := strings.Cut(os.Getenv(asStranger), " "); what {
	case "call":
		_, err := Dial(addr).Info()
		os.Stdout.WriteString(err.Error())
		os.Exit(0)
	case "raw":
		c, err := net.Dial("unix", addr)
		if err == nil {
			buf := make([]byte, 4096)
			n, _ := c.Read(buf)
			os.Stdout.Write(buf[:n])
		}
		os.Exit(0)
	case "serve":
		ln, err := net.Listen("unix", addr)
		if err != nil {
			os.Exit(1)
		}
		os.Stdout.WriteString("ready")
		os.Stdout.Close()
		ln.Accept()
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// stranger prepares a process of another user.
func stranger(t *testing.T, what, addr string) *exec.Cmd {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	// The test binary lies where only its owner may look.
	exe, err := os.Executable()
	require.NoError(t, err)
	data, err := os.ReadFile(exe)
	require.NoError(t, err)
	f, err := os.CreateTemp("", "usvs-api-stranger")
	require.NoError(t, err)
	t.Cleanup(func() { os.Remove(f.Name()) })
	_, err = f.Write(data)
	require.NoError(t, err)
	require.NoError(t, f.Chmod(0o755))
	require.NoError(t, f.Close())
	cmd := exec.Command(f.Name())
	cmd.Env = append(os.Environ(), asStranger+"="+what+" "+addr)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: strangerUID, Gid: strangerUID}}
	return cmd
}

// Root's server does not obey another user, who is told so in ipvsadm's words.
func TestStrangerIsRefused(t *testing.T) {
	addr := uniqueName()
	f := &fake{}
	serveAt(t, addr, f)
	out, err := stranger(t, "call", addr).Output()
	require.NoError(t, err)
	require.Equal(t, "director unreachable: permission denied", string(out))
	out, err = stranger(t, "raw", addr).Output()
	require.NoError(t, err)
	require.Equal(t, refusal, string(out))
	require.Empty(t, f.calls)
	_, err = Dial(addr).Info()
	require.NoError(t, err, "the server goes on")
}

// Root does not believe a server that another user runs under the name.
func TestImpostorIsNotBelieved(t *testing.T) {
	addr := uniqueName()
	cmd := stranger(t, "serve", addr)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	ready := make([]byte, 5)
	_, err = out.Read(ready)
	require.NoError(t, err)
	_, err = Dial(addr).Info()
	require.ErrorIs(t, err, ipvsadm.ErrUnreachable)
	require.ErrorContains(t, err, "belongs to user 12345, neither root nor you")
	require.NotErrorIs(t, err, ipvs.ErrPermission)
	in.Close()
	cmd.Wait()
}
