package integration

import (
	"net/netip"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/afpacket"
	"usvs/link/netnstest"
	"usvs/wire"
)

// flood sends packets to a service from CPU 0, as many as it can, until the test
// or stop ends it.
func flood(t *testing.T, ns *netnstest.Namespace, to wire.MAC, vip string) (stop func()) {
	t.Helper()
	var dev *afpacket.Device
	var err error
	ns.Do(func() { dev, err = afpacket.Open("eth0", afpacket.Options{ReceiveBuffer: 1 << 12}) })
	require.NoError(t, err)
	fs := make([]*link.Frame, link.BatchSize)
	for i := range fs {
		fs[i] = floodFrame(ns.MAC("eth0"), to, netip.MustParseAddr(vip), uint16(1024+i))
	}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		var set unix.CPUSet
		set.Set(0)
		assert.NoError(t, unix.SchedSetaffinity(0, &set))
		for w := dev.NewWriter(); ; {
			select {
			case <-quit:
				return
			default:
				_, _ = w.WriteBatch(fs)
			}
		}
	})
	stop = sync.OnceFunc(func() { close(quit); wg.Wait(); dev.Close() })
	t.Cleanup(stop)
	return stop
}

func floodFrame(src, dst wire.MAC, vip netip.Addr, port uint16) *link.Frame {
	f := wire.NewFrame(60)
	f.SetLen(60)
	b := f.Bytes()
	h := wire.EthernetHeader(b)
	h.SetSrc(src)
	h.SetDst(dst)
	h.SetType(wire.TypeIPv4)
	ip := b[wire.EthernetLen:]
	ip[0], ip[3], ip[8], ip[9] = 0x45, 46, 64, wire.ProtoUDP
	copy(ip[12:], []byte{10, 10, 100, 2})
	copy(ip[16:], vip.AsSlice())
	sum := wire.Checksum(ip[:20])
	ip[10], ip[11] = byte(sum>>8), byte(sum)
	ip[20], ip[21], ip[23], ip[25] = byte(port>>8), byte(port), 53, 26
	return f
}

var arpingReplies = regexp.MustCompile(`Received (\d+) response`)

// More than the director can forward, from the very core that it runs on, keeps
// it neither from answering for its addresses nor from doing as it is told.
func TestFlood(t *testing.T) {
	netnstest.NeedCommands(t, "arping", "timeout")
	needCPUs(t, 2)
	for _, io := range []string{"mmsg", "ring"} {
		t.Run(io, func(t *testing.T) {
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
				const vip = "10.10.100.107"
				s := directRoute(t, lab)
				d := startDirector(t, s.director, "-i eth0 --cpus 0 --io "+io)
				d.ipvsadm("-A -u "+vip+":53 -s rr", "-a -u "+vip+":53 -r 10.10.100.111 -g")
				stop := flood(t, s.client, s.director.MAC("eth0"), vip)
				eventually(t, "there is more than can be forwarded", func() bool { return d.status()["interface eth0"]["drop overrun"] > 0 })
				const tries, most = 5, 3 // other tests want the processors, too
				done := 0
				for range tries {
					if _, err := s.director.Try("timeout", "1", program(), "ipvsadm", "-Ln"); err == nil {
						done++
					}
				}
				assert.GreaterOrEqual(t, done, most, "lists within a second")
				out, _ := s.client.Try("arping", "-c", strconv.Itoa(tries), "-w", strconv.Itoa(tries+1), "-I", "eth0", vip)
				replies := arpingReplies.FindStringSubmatch(out)
				require.NotNil(t, replies, out)
				n, _ := strconv.Atoi(replies[1])
				assert.GreaterOrEqual(t, n, most, "%s", out)
				forwarded := d.count("forwarded")
				eventually(t, "it goes on forwarding", func() bool { return d.count("forwarded") > forwarded })
				t.Logf("%v", d.status()["interface eth0"])
				stop()
			})
		})
	}
}
