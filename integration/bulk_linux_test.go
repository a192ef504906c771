package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// bulkMode is a forwarding mode as the tests of whole connections need it.
type bulkMode struct {
	name, flag, interfaces string
	vip, dip               string // the director's address is the one on the client's LAN
	servers                []string
	site                   func(*testing.T, *netnstest.Lab) *site
	prepare                string // mode of `usvs realserver up`
	repliesPass            bool   // through the director
}

var bulkModes = []bulkMode{
	{"DirectRoute", "-g", "-i eth0", "10.10.100.107", "10.10.100.1", []string{"10.10.100.111", "10.10.100.112"}, directRoute, "dr", false},
	{"Masquerade", "-m", "-i eth0 -i eth1", "10.1.1.77", "192.168.40.1", []string{"10.1.1.78", "10.1.1.79"}, masquerade, "", true},
	{"Tunnel", "-i", "-i eth0", "10.10.100.107", "10.10.100.1", []string{"172.16.52.61", "172.16.52.62"}, tunnel, "tun", false},
}

var bulkModes6 = []bulkMode{
	{"DirectRoute6", "-g", "-i eth0", "2001:db8::80", "2001:db8::1", []string{"2001:db8::11", "2001:db8::12"}, directRoute6, "dr", false},
	{"Masquerade6", "-m", "-i eth0 -i eth1", "2001:db8::80", "2001:db8:1::1", []string{"2001:db8::11", "2001:db8::12"}, masquerade6, "", true},
	{"Tunnel6", "-i", "-i eth0", "2001:db8::80", "2001:db8::1", []string{"2001:db8:2::11", "2001:db8:2::12"}, tunnel6, "tun", false},
}

// service adds a service with all of the mode's servers.
func (m *bulkMode) service(d *director, port int, options string) {
	d.t.Helper()
	d.ipvsadm(fmt.Sprintf("-A -t %s %s", m.endpoint(port), options))
	for _, rs := range m.servers {
		d.ipvsadm(fmt.Sprintf("-a -t %s -r %s %s", m.endpoint(port), net.JoinHostPort(rs, fmt.Sprint(port)), m.flag))
	}
}

// start makes the mode's network and starts its director.
func (m *bulkMode) start(t *testing.T, lab *netnstest.Lab) (*site, *director) {
	t.Helper()
	s := m.site(t, lab)
	if m.prepare != "" {
		s.realServersUp(m.vip, m.prepare)
	}
	if receives == tunDevice {
		return s, m.startOnTUN(t, s)
	}
	return s, startDirector(t, s.director, m.interfaces)
}

// bytesEnv is how much a transfer moves, in MiB, if not a short slice of it.
const bytesEnv = "USVS_BYTES"

func bulkBytes(t *testing.T) int64 {
	text := os.Getenv(bytesEnv)
	if text == "" {
		if testing.Short() || raceEnabled {
			return 16 << 20
		}
		return 64 << 20
	}
	n, err := strconv.ParseInt(text, 10, 64)
	require.NoError(t, err, bytesEnv)
	return n << 20
}

// Every byte arrives as it was sent, whichever way it takes.
func TestBytes(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "nginx", "curl", "nstat")
	for _, m := range bulkModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			eachBackend(t, m.backends(), func(t *testing.T, lab *netnstest.Lab) { testBytes(t, lab, &m) })
		})
	}
}

func testBytes(t *testing.T, lab *netnstest.Lab, m *bulkMode) {
	s, d := m.start(t, lab)
	var dirs []string
	for _, rs := range s.servers {
		dirs = append(dirs, startNginx(t, rs, 80))
	}
	m.service(d, 80, "-s rr")
	health := watchTCP(t, s.ends()...)
	size := bulkBytes(t)
	blob, want := makeBlob(t, size)
	for _, dir := range dirs {
		require.NoError(t, os.Mkdir(filepath.Join(dir, "www"), 0o755))
		require.NoError(t, os.Link(blob, filepath.Join(dir, "www", "blob")))
	}

	began := time.Now()
	down := sha256.New()
	curl(t, s.client, down, "http://"+m.vip+"/www/blob")
	assert.Equal(t, want, hex.EncodeToString(down.Sum(nil)), "downloaded")
	downloaded := time.Now()
	curl(t, s.client, io.Discard, "--upload-file", blob, "http://"+m.vip+"/up/blob")
	uploaded := time.Now()
	assert.Equal(t, want, hashUpload(t, dirs), "uploaded")

	rows := d.counted(m.vip+":80", 2)
	eventually(t, "all bytes are counted", func() bool {
		rows = d.stats()
		row := rows[m.vip+":80"]
		return row.inBytes >= uint64(size) && (!m.repliesPass || row.outBytes >= uint64(size))
	})
	row := rows[m.vip+":80"]
	t.Logf("%s, %s: %d bytes down in %.1f s, up in %.1f s; counted %d in, %d out", m.name, receives, size,
		downloaded.Sub(began).Seconds(), uploaded.Sub(downloaded).Seconds(), row.inBytes, row.outBytes)
	if !m.repliesPass { // ICMP errors about the tunnel's MTU count
		assert.Less(t, rows[m.vip+":80"].outBytes, uint64(10_000))
	}
	assert.Zero(t, d.count("drop_segment"))
	health.assertUnchanged(append(damage, resets...)...)
}

// makeBlob makes a file of random bytes and returns its SHA-256.
func makeBlob(t *testing.T, size int64) (path, sum string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "blob")
	f, err := os.Create(path)
	require.NoError(t, err)
	h := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8([32]byte{1}), size)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return path, hex.EncodeToString(h.Sum(nil))
}

// curl runs curl for transfers of any length.
func curl(t *testing.T, ns *netnstest.Namespace, out io.Writer, args ...string) {
	t.Helper()
	var failed limitedBuffer
	cmd := exec.Command("curl", append([]string{"--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "120"}, args...)...)
	cmd.Stdout, cmd.Stderr = out, &failed
	require.NoError(t, ns.StartCmd(cmd).Wait(), "curl %v: %s", args, &failed)
}

// limitedBuffer keeps what a program says on its standard error.
type limitedBuffer struct{ text []byte }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.text = append(b.text, p[:min(len(p), 4096-len(b.text))]...)
	return len(p), nil
}

func (b *limitedBuffer) String() string { return string(b.text) }

// hashUpload finds the uploaded file, which one of the servers has.
func hashUpload(t *testing.T, dirs []string) string {
	t.Helper()
	for _, dir := range dirs {
		f, err := os.Open(filepath.Join(dir, "up", "blob"))
		if err != nil {
			continue
		}
		defer f.Close()
		var h hash.Hash = sha256.New()
		_, err = io.Copy(h, f)
		require.NoError(t, err)
		return hex.EncodeToString(h.Sum(nil))
	}
	t.Error("no server has the upload")
	return ""
}

// nstat reads counters of a namespace's TCP.
func nstat(t *testing.T, ns *netnstest.Namespace) map[string]uint64 {
	t.Helper()
	var reply struct{ Kernel map[string]uint64 }
	require.NoError(t, json.Unmarshal([]byte(ns.Run("nstat", "--json", "--zeros", "--noupdate", "--ignore")), &reply))
	require.NotEmpty(t, reply.Kernel)
	return reply.Kernel
}

// tcpHealth watches what the stacks of some namespaces complain about.
type tcpHealth struct {
	t      *testing.T
	before map[*netnstest.Namespace]map[string]uint64
}

// Counters that stay where they are on a network without faults: of what came
// damaged, and of connections that did not end in peace.
var (
	damage = []string{"TcpInErrs", "TcpInCsumErrors", "UdpInErrors", "UdpInCsumErrors", "IcmpInErrors", "IpInHdrErrors"}
	resets = []string{"TcpOutRsts", "TcpEstabResets"}
)

func watchTCP(t *testing.T, list ...*netnstest.Namespace) *tcpHealth {
	t.Helper()
	h := &tcpHealth{t, map[*netnstest.Namespace]map[string]uint64{}}
	for _, ns := range list {
		h.before[ns] = nstat(t, ns)
	}
	return h
}

// assertUnchanged: the stacks have nothing new to complain about.
func (h *tcpHealth) assertUnchanged(counters ...string) {
	h.t.Helper()
	for ns, before := range h.before {
		now := nstat(h.t, ns)
		for _, name := range counters {
			assert.Equal(h.t, before[name], now[name], "%s: %s", ns.Name(), name)
		}
	}
}

// ends are the machines between which connections run.
func (s *site) ends() []*netnstest.Namespace {
	return append([]*netnstest.Namespace{s.client}, s.servers...)
}
