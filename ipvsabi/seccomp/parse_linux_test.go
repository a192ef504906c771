package seccomp

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/ipvsabi"
)

func TestTargetOf(t *testing.T) {
	for path, want := range map[string]target{
		"/proc/net/ip_vs":                          {procFile, "ip_vs", 0},
		"/proc/net/ip_vs_conn":                     {procFile, "ip_vs_conn", 0},
		"//proc/./net//ip_vs_stats":                {procFile, "ip_vs_stats", 0},
		"/proc/self/net/ip_vs":                     {procFile, "ip_vs", 0},
		"/proc/thread-self/net/ip_vs":              {procFile, "ip_vs", 0},
		"/proc/17/net/ip_vs":                       {procFile, "ip_vs", 17},
		"/proc/17/task/18/net/ip_vs":               {procFile, "ip_vs", 18},
		"/proc/sys/net/ipv4/vs/conntrack":          {setting, "conntrack", 0},
		"/proc/sys/net/ipv4/vs/../vs/am_droprate":  {setting, "am_droprate", 0},
		"/proc/sys/net/ipv4/vs":                    {settingsDir, "", 0},
		"/proc/sys/net/ipv4/vs/":                   {settingsDir, "", 0},
		"/proc/self/task/1/net/ip_vs_stats_percpu": {procFile, "ip_vs_stats_percpu", 1},
	} {
		got, ok := targetOf(path)
		assert.True(t, ok, path)
		assert.Equal(t, want, got, path)
	}
	for _, path := range []string{
		"", "/", "/proc", "/proc/net", "/proc/net/dev", "/proc/ip_vs", "/net/ip_vs", "/tmp/proc/net/ip_vs",
		"/proc/net/ip_vs/x", "/proc/x/net/ip_vs", "/proc/-1/net/ip_vs", "/proc/0/net/ip_vs", "/proc/1/fd/net/ip_vs",
		"/proc/sys/net/ipv4/vs/nosuch", "/proc/sys/net/ipv4/conntrack", "/proc/net/../ip_vs", "ip_vs",
	} {
		_, ok := targetOf(path)
		assert.False(t, ok, path)
	}
}

func TestMayBeOurs(t *testing.T) {
	for path, want := range map[string]bool{
		"/proc/net/ip_vs": true, "/proc/cpuinfo": true, "/usr/lib/libc.so": false, "": false,
		"ip_vs": true, "net/ip_vs_conn": true, "conntrack": true, "./x": false, "dev": false,
	} {
		assert.Equal(t, want, mayBeOurs([]byte(path)), path)
	}
}

// What the quick test sorts out is never one of ours.
func FuzzTargetOf(f *testing.F) {
	f.Add("/proc/net/ip_vs")
	f.Add("/proc/self/task/9/net/ip_vs")
	f.Add("/proc/sys/net/ipv4/vs/conntrack")
	f.Fuzz(func(t *testing.T, path string) {
		got, ok := targetOf(path)
		if !ok {
			return
		}
		assert.GreaterOrEqual(t, got.pid, 0)
		if strings.HasPrefix(path, "/proc/") && !mayBeOurs([]byte(path)) {
			t.Errorf("%q is ours, but was sorted out", path)
		}
	})
}

func TestParseStatus(t *testing.T) {
	s, err := parseStatus([]byte("Name:\tx\nTgid:\t42\nPid:\t43\nUid:\t1000\t1001\t1002\t1003\nCapEff:\t000001ffffffffff\n"))
	require.NoError(t, err)
	assert.Equal(t, threadStatus{42, 1001, 0x1ffffffffff}, s)
	for _, bad := range []string{"", "Tgid:\n", "Tgid:\tx\n", "Tgid:\t1\nUid:\t1\n", "Tgid:\t1\nCapEff:\n", "Tgid:\t1\nCapEff:\tzz\n", "Pid:\t1\n"} {
		_, err := parseStatus([]byte(bad))
		assert.Error(t, err, bad)
	}
	own, err := readStatus(os.Getpid())
	require.NoError(t, err)
	assert.Equal(t, os.Getpid(), own.tgid)
	assert.Equal(t, uint32(os.Geteuid()), own.uid)
}

func FuzzParseStatus(f *testing.F) {
	text, _ := os.ReadFile("/proc/self/status")
	f.Add(text)
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = parseStatus(text) })
}

func TestParentOf(t *testing.T) {
	assert.Equal(t, 12, parentOf([]byte("34 (a) b) (c) S 12 34 34 0")))
	for _, bad := range []string{"", "34 (x)", "34 (x) S", "34 (x) S y"} {
		assert.Zero(t, parentOf([]byte(bad)), bad)
	}
	text, err := os.ReadFile("/proc/self/stat")
	require.NoError(t, err)
	assert.Equal(t, os.Getppid(), parentOf(text))
}

// request is a netlink message of a generic netlink family.
func request(family, flags uint16, seq uint32, cmd byte, body ...byte) []byte {
	b := make([]byte, 20, 20+len(body))
	b = append(b, body...)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], family)
	binary.NativeEndian.PutUint16(b[6:], flags)
	binary.NativeEndian.PutUint32(b[8:], seq)
	b[16], b[17] = cmd, 1
	return b
}

// resolve asks for the family IPVS.
func resolve(seq uint32) []byte {
	return request(unix.GENL_ID_CTRL, unix.NLM_F_REQUEST|unix.NLM_F_ACK, seq, unix.CTRL_CMD_GETFAMILY,
		9, 0, unix.CTRL_ATTR_FAMILY_NAME, 0, 'I', 'P', 'V', 'S', 0, 0, 0, 0)
}

func TestNotFound(t *testing.T) {
	q := resolve(77)
	require.True(t, resolves(q))
	_, handled := ipvsabi.NewServer(nil).Netlink(q, 5, false)
	require.True(t, handled)
	a := notFound(q, 5)
	assert.Equal(t, uint32(len(a)), binary.NativeEndian.Uint32(a))
	assert.Equal(t, uint16(unix.NLMSG_ERROR), binary.NativeEndian.Uint16(a[4:]))
	assert.Equal(t, uint32(77), binary.NativeEndian.Uint32(a[8:]))
	assert.Equal(t, uint32(5), binary.NativeEndian.Uint32(a[12:]))
	assert.Equal(t, -int32(unix.ENOENT), int32(binary.NativeEndian.Uint32(a[16:])))
	assert.Equal(t, q, a[20:])
	assert.False(t, resolves(request(ipvsabi.FamilyID, 1, 1, 1)))
	assert.False(t, resolves(q[:10]))
}
