package netsim

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/netsim/tcp"
)

// TestTCPThroughDirectors: streams arrive whole through every method at 5 %
// loss, and the connections are spread evenly.
func TestTCPThroughDirectors(t *testing.T) {
	lossy := LinkOptions{Delay: time.Millisecond, Loss: 0.05}
	const conversations = 8 // the first two fill the neighbour caches
	for _, test := range []struct{ name, flag, up string }{
		{"DR", "-g", "usvs realserver up --vip 10.0.0.100"},
		{"TUN", "-i", "usvs realserver up --vip 10.0.0.100 --mode tun"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(1, LinkOptions{})
			served := map[string]int{}
			for _, h := range l.servers {
				h.MustExec(test.up)
				upper(t, h, served)
			}
			l.lvs.MustExec("ipvsadm -A -t 10.0.0.100:80 -s rr")
			l.lvs.MustExec("ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.11 " + test.flag)
			l.lvs.MustExec("ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.12 " + test.flag)
			for i := range conversations {
				if i == 2 {
					l.worsen(lossy)
				}
				text := bytes.Repeat([]byte(fmt.Sprintf("line %d\n", i)), 2000)
				require.Equal(t, string(bytes.ToUpper(text)), string(l.converse(t, "10.0.0.100:80", text)), l.LogText())
			}
			require.Equal(t, map[string]int{"rs1": 4, "rs2": 4}, served)
		})
	}
}

// upper makes a host answer TCP on port 80 with what it gets in capitals.
func upper(t *testing.T, h *Host, served map[string]int) {
	_, err := h.ListenTCP(addrPort("0.0.0.0:80"), func(clock.Instant, *tcp.Conn) tcp.Events {
		served[h.Name()]++
		return tcp.Events{Readable: func(now clock.Instant, c *tcp.Conn) {
			b := make([]byte, 4096)
			for {
				k, err := c.Read(now, b)
				if err != nil {
					if err != tcp.ErrWouldBlock {
						c.CloseWrite(now)
					}
					return
				}
				_, _ = c.Write(now, bytes.ToUpper(b[:k]))
			}
		}}
	})
	require.NoError(t, err)
}

// converse sends text and returns what comes back until the end of the stream.
func (l *lab) converse(t *testing.T, to string, text []byte) (got []byte) {
	done := false
	_, err := l.client.DialTCP(netip.AddrPort{}, addrPort(to), tcp.Events{
		Connected: func(now clock.Instant, c *tcp.Conn) {
			_, _ = c.Write(now, text)
			c.CloseWrite(now)
		},
		Readable: func(now clock.Instant, c *tcp.Conn) {
			b := make([]byte, 4096)
			for {
				k, err := c.Read(now, b)
				got = append(got, b[:k]...)
				if err != nil {
					return
				}
			}
		},
		Closed: func(clock.Instant, *tcp.Conn, error) { done = true },
	})
	require.NoError(t, err)
	l.RunWhile(10*time.Minute, func() bool { return !done })
	return got
}

// TestForwardingDoesNotAllocate holds the path of a frame through switch,
// director, switch and server to that.
func TestForwardingDoesNotAllocate(t *testing.T) {
	l := newLab(1, LinkOptions{Delay: 10 * time.Microsecond, Bandwidth: 1e9, Jitter: time.Microsecond})
	l.servers[0].MustExec("usvs realserver up --vip 10.0.0.100")
	in, err := l.servers[0].UDP(addrPort("0.0.0.0:53"))
	require.NoError(t, err)
	arrived := 0
	in.OnReceive = func(Datagram) { arrived++ }
	l.service("10.0.0.100:53", "-g", "10.0.0.11")
	u, err := l.client.UDP(netip.AddrPort{})
	require.NoError(t, err)
	payload := make([]byte, 100)
	once := func() {
		_ = u.Send(addrPort("10.0.0.100:53"), payload)
		l.Run(100 * time.Microsecond)
	}
	for range 100 {
		once()
	}
	l.Run(time.Second)
	require.Zero(t, testing.AllocsPerRun(1000, once))
	require.Equal(t, 1101, arrived)
}

// TestRecordedHashesInWasm runs the determinism tests as js/wasm, if there is
// a Node.js to run them in.
func TestRecordedHashesInWasm(t *testing.T) {
	runner := filepath.Join(goroot(t), "lib", "wasm", "wasm_exec_node.js")
	node, err := exec.LookPath("node")
	if _, missing := os.Stat(runner); err != nil || missing != nil || testing.Short() {
		t.Skip("needs Node.js, and takes a while")
	}
	binary := filepath.Join(t.TempDir(), "netsim.wasm")
	build := exec.Command("go", "test", "-c", "-o", binary, ".")
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	run := exec.Command(node, runner, binary, "-test.run", "^TestRecordedHashes$")
	run.Env = append(os.Environ(), "GOMAXPROCS=1")
	out, err = run.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "PASS")
}

func goroot(t *testing.T) string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}
