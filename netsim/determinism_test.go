package netsim

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/netsim/tcp"
)

var update = flag.Bool("update", false, "write the recorded hashes anew")

var noEvents tcp.Events

// everything runs a network with two directors, every kind of node and fault,
// UDP and TCP, and returns all that can be seen of it.
func everything(t testing.TB, seed uint64) (log, text, pcap []byte) {
	n := New(seed)
	rec := n.Record()
	rough := LinkOptions{
		Delay: 300 * time.Microsecond, Jitter: 200 * time.Microsecond, Bandwidth: 100e6,
		Loss: 0.03, Duplicate: 0.02, Reorder: 0.03, Corrupt: 0.01,
	}
	front, back, r := n.Switch("front"), n.Switch("back"), n.Router("r")
	n.Link(r.NIC("eth0", "198.51.100.254/24", "2001:db8:1::254/64"), front.NextPort(), rough)
	client := n.Host("client")
	n.Link(client.NIC("eth0", "203.0.113.9/24", "2001:db8:9::9/64"), r.NIC("eth1", "203.0.113.1/24", "2001:db8:9::1/64"), rough)
	client.MustExec("ip route add default via 203.0.113.1")
	client.MustExec("ip -6 route add default via 2001:db8:9::1")
	for i, name := range []string{"lvs1", "lvs2"} {
		d := n.Director(name)
		k := fmt.Sprint(i + 1)
		n.Link(d.NIC("eth0", "198.51.100."+k+"/24", "2001:db8:1::"+k+"/64"), front.NextPort(), rough)
		n.Link(d.NIC("eth1", "10.0.0."+k+"/24"), back.NextPort(), rough)
		d.MustExec("ip route add default via 198.51.100.254")
		d.MustExec("ip -6 route add default via 2001:db8:1::254")
		for _, service := range [][2]string{{"80", "wlc"}, {"53", "sh"}} {
			port, sched := service[0], service[1]
			vip := "198.51.100.10" + k + ":" + port
			for _, flag := range []string{"-t", "-u"} {
				d.MustExec("ipvsadm -A " + flag + " " + vip + " -s " + sched)
				for j := range 3 {
					d.MustExec(fmt.Sprintf("ipvsadm -a %s %s -r 10.0.0.1%d:%s -m -w %d", flag, vip, j, port, j+1))
				}
			}
		}
	}
	for j := range 3 {
		h := n.Host(fmt.Sprintf("rs%d", j))
		n.Link(h.NIC("eth0", fmt.Sprintf("10.0.0.1%d/24", j)), back.NextPort(), rough)
		h.MustExec(fmt.Sprintf("ip route add default via 10.0.0.%d", 1+j%2))
		echo(t, h, "0.0.0.0:53")
		_, err := h.ListenTCP(addrPort("0.0.0.0:80"), func(clock.Instant, *tcp.Conn) tcp.Events {
			return tcp.Events{Readable: func(now clock.Instant, c *tcp.Conn) {
				b := make([]byte, 4096)
				for {
					k, err := c.Read(now, b)
					if err != nil {
						if err != tcp.ErrWouldBlock {
							c.Close(now)
						}
						return
					}
					_, _ = c.Write(now, bytes.ToUpper(b[:k]))
				}
			}}
		})
		require.NoError(t, err)
	}
	n.After(700*time.Millisecond, func() { n.Links()[0].SetUp(false) })
	n.After(900*time.Millisecond, func() { n.Links()[0].SetUp(true) })
	for i := range 40 {
		n.After(time.Duration(i)*30*time.Millisecond, func() {
			k := fmt.Sprint(1 + i%2)
			_, _ = client.DialTCP(netip.AddrPort{}, addrPort("198.51.100.10"+k+":80"), tcp.Events{
				Connected: func(now clock.Instant, c *tcp.Conn) {
					_, _ = c.Write(now, bytes.Repeat([]byte("hello "), 1000))
					c.CloseWrite(now)
				},
				Readable: func(now clock.Instant, c *tcp.Conn) {
					b := make([]byte, 1000)
					for {
						if _, err := c.Read(now, b); err != nil {
							return
						}
					}
				},
			})
			u, err := client.UDP(netip.AddrPort{})
			require.NoError(t, err)
			_ = u.Send(addrPort("198.51.100.10"+k+":53"), []byte("datagram"))
			_ = client.Ping(addrPort("198.51.100.10"+k+":0").Addr(), PingOptions{Size: 2000}, func(PingReply) {})
		})
	}
	n.Run(5 * time.Second)
	for _, name := range []string{"lvs1", "lvs2"} {
		n.logf(name, "%s", n.Node(name).(Executor).Exec("ipvsadm -Lnc").Stdout)
		n.logf(name, "%s", n.Node(name).(Executor).Exec("ipvsadm -Ln --stats").Stdout)
	}
	var a, c bytes.Buffer
	_, err := n.WriteLog(&a)
	require.NoError(t, err)
	require.NoError(t, n.WritePcapng(&c, rec.Records))
	return a.Bytes(), []byte(textOf(rec.Records)), c.Bytes()
}

const hashFile = "testdata/hashes.txt"

// TestRecordedHashes: the same seed gives the same bytes at any number of
// processors and on every platform.
func TestRecordedHashes(t *testing.T) {
	var got strings.Builder
	for _, procs := range []int{1, 8} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		var now strings.Builder
		for seed := uint64(1); seed <= 3; seed++ {
			log, text, pcap := everything(t, seed)
			for _, x := range []struct {
				name string
				data []byte
			}{{"log", log}, {"text", text}, {"pcapng", pcap}} {
				sum := sha256.Sum256(x.data)
				fmt.Fprintf(&now, "seed %d %s %s\n", seed, x.name, hex.EncodeToString(sum[:]))
			}
		}
		if got.Len() > 0 {
			require.Equal(t, got.String(), now.String(), "GOMAXPROCS changed the result")
		}
		got = now
	}
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(hashFile, []byte(got.String()), 0o644))
	}
	want, err := os.ReadFile(hashFile)
	require.NoError(t, err)
	require.Equal(t, string(want), got.String(), "the run is another than the recorded one; if that is meant: go test ./netsim -run RecordedHashes -update")
}

func TestSameSeedSameRun(t *testing.T) {
	log1, text1, pcap1 := everything(t, 42)
	log2, text2, pcap2 := everything(t, 42)
	require.Equal(t, string(log1), string(log2))
	require.Equal(t, firstDifference(text1, text2), "")
	require.True(t, bytes.Equal(pcap1, pcap2))
	_, text3, _ := everything(t, 43)
	require.NotEqual(t, firstDifference(text1, text3), "")
}

func firstDifference(a, b []byte) string {
	x, y := strings.Split(string(a), "\n"), strings.Split(string(b), "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Sprintf("line %d:\n%s\n%s", i+1, x[i], y[i])
		}
	}
	if len(x) != len(y) {
		return "one is longer"
	}
	return ""
}
