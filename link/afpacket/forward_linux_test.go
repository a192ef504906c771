package afpacket

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
	"usvs/wire"
)

const bulk = 50 << 20

// stream is reproducible noise.
func stream(seed uint64, n int64) io.Reader {
	var key [32]byte
	key[0] = byte(seed)
	return io.LimitReader(rand.NewChaCha8(key), n)
}

func digest(r io.Reader) (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return fmt.Sprintf("%d bytes %x", n, h.Sum(nil)), err
}

// serveStreams serves ln: it sends a stream on each connection, and the digest
// of what it received to the channel.
func serveStreams(ln net.Listener, n int64) <-chan string {
	got := make(chan string, 16)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serveStream(conn, n, got)
		}
	}()
	return got
}

func serveStream(conn net.Conn, n int64, got chan<- string) {
	defer conn.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, stream(2, n))
		sent <- errors.Join(err, conn.(*net.TCPConn).CloseWrite())
	}()
	d, err := digest(conn)
	got <- fmt.Sprint(d, errors.Join(err, <-sent))
}

// transfer exchanges streams in both directions at once and compares digests.
func transfer(t *testing.T, client *netnstest.Namespace, addr string, n int64, serverGot <-chan string) {
	t.Helper()
	conn, err := client.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, stream(1, n))
		sent <- errors.Join(err, conn.(*net.TCPConn).CloseWrite())
	}()
	got, err := digest(conn)
	require.NoError(t, err)
	require.NoError(t, <-sent)
	want, _ := digest(stream(2, n))
	assert.Equal(t, want, got, "server to client")
	want, _ = digest(stream(1, n))
	assert.Equal(t, want+"<nil>", <-serverGot, "client to server")
}

func TestTCPThroughForwarder(t *testing.T) {
	for _, addr := range []string{"10.0.0.2:80", "[2001:db8::2]:80"} {
		t.Run(addr, func(t *testing.T) {
			eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
				tr := newTriangle(t, lab, Options{})
				got := serveStreams(tr.server.Listen("tcp", addr), bulk)
				transfer(t, tr.client, addr, bulk, got)
				for port := range tr.fw.super {
					assert.Positive(t, tr.fw.super[port].Load(), "super-frames from port %d", port)
					drops := tr.fw.devs[port].Stats().Drops
					assert.Zero(t, drops[link.DropTooLong]+drops[link.DropRefused]+drops[link.DropNoMemory])
				}
			})
		})
	}
}

// A connection outlives a link that goes down and up, an MTU that shrinks, and
// an interface that is replaced, all while data is under way.
func TestTCPSurvivesLinkChanges(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		tr := newTriangle(t, lab, Options{})
		ln := tr.server.Listen("tcp", "10.0.0.2:7")
		go func() {
			if conn, err := ln.Accept(); err == nil {
				_, _ = io.Copy(conn, conn)
			}
		}()
		conn, err := tr.client.Dial("tcp", "10.0.0.2:7")
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))

		echoDuring(t, conn, func() {})
		echoDuring(t, conn, func() {
			tr.router.SetDown("eth1")
			time.Sleep(10 * time.Millisecond)
			tr.router.SetUp("eth1")
		})
		echoDuring(t, conn, func() {
			// Everywhere: the forwarder sends no ICMP, so the ends have to know.
			tr.client.SetMTU("eth0", 1300)
			tr.server.SetMTU("eth0", 1300)
			tr.router.SetMTU("eth0", 1300)
			tr.router.SetMTU("eth1", 1300)
		})
		old := tr.fw.devs[0].Index()
		echoDuring(t, conn, func() {
			mac, routerMAC := tr.client.MAC("eth0"), tr.router.MAC("eth0")
			tr.client.Delete("eth0")
			lab.Veth(tr.client, "eth0", tr.router, "eth0")
			tr.client.SetMTU("eth0", 1300)
			tr.client.SetMAC("eth0", mac)
			tr.router.SetMAC("eth0", routerMAC)
			tr.configureClient()
		})
		echoDuring(t, conn, func() {}) // through the new interface in any case
		assert.NotEqual(t, old, tr.fw.devs[0].Index(), "a new interface")
	})
}

// echoDuring sends data to an echo server, makes a change meanwhile, and
// compares what comes back.
func echoDuring(t *testing.T, conn net.Conn, change func()) {
	t.Helper()
	const n = 4 << 20
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, stream(4, n))
		sent <- err
	}()
	change()
	got, err := digest(io.LimitReader(conn, n))
	require.NoError(t, err)
	require.NoError(t, <-sent)
	want, _ := digest(stream(4, n))
	assert.Equal(t, want, got)
}

// UDP segmentation: the client's kernel sends one super-frame, the server gets
// its datagrams.
func TestUDPSegmentsThroughForwarder(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		tr := newTriangle(t, lab, Options{})
		server := tr.server.ListenPacket("udp", "10.0.0.2:53")
		client := tr.client.ListenPacket("udp", "10.0.0.1:0").(*net.UDPConn)
		raw, err := client.SyscallConn()
		require.NoError(t, err)
		var optErr error
		require.NoError(t, raw.Control(func(fd uintptr) {
			optErr = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, 1000)
		}))
		if optErr != nil {
			netnstest.Skip(t, "UDP_SEGMENT: %v", optErr)
		}
		payload, err := io.ReadAll(stream(3, 20_500))
		require.NoError(t, err)
		_, err = client.WriteTo(payload, server.LocalAddr())
		require.NoError(t, err)
		require.NoError(t, server.SetReadDeadline(time.Now().Add(patience)))
		var got []byte
		buf := make([]byte, 65536)
		for len(got) < len(payload) {
			n, _, err := server.ReadFrom(buf)
			require.NoError(t, err)
			assert.LessOrEqual(t, n, 1000)
			got = append(got, buf[:n]...)
		}
		assert.True(t, bytes.Equal(payload, got))
		assert.Positive(t, tr.fw.super[0].Load())
	})
}

// The kernel's own check of what passes through: small datagrams leave the
// client with partial checksums and must arrive whole.
func TestPartialChecksums(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		tr := newTriangle(t, lab, Options{})
		for _, pair := range [][2]string{{"10.0.0.2:53", "10.0.0.1:0"}, {"[2001:db8::2]:53", "[2001:db8::1]:0"}} {
			server := tr.server.ListenPacket("udp", pair[0])
			client := tr.client.ListenPacket("udp", pair[1])
			for _, n := range []int{0, 1, 2, 3, 17, 18, 19, 1000, 1451, 1452} {
				_, err := client.WriteTo(make([]byte, n), server.LocalAddr())
				require.NoError(t, err)
				require.NoError(t, server.SetReadDeadline(time.Now().Add(patience)))
				got, _, err := server.ReadFrom(make([]byte, 2000))
				require.NoError(t, err, "%d bytes", n)
				assert.Equal(t, n, got)
			}
		}
	})
}

// A tagged super-frame keeps its tag and its metadata.
func TestSuperFrameWithVLANTag(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		_, _, a, b := wirePair(t, lab, Options{}, Options{})
		f := superFrame(t, 10_000)
		_, err := a.NewWriter().WriteBatch([]*link.Frame{f})
		require.NoError(t, err)
		fs := linktest.Batch(1)
		linktest.Eventually(t, "the super-frame", func() bool {
			n, err := b.ReadBatch(fs, time.Second)
			return err == nil && n == 1 && fs[0].GSO == wire.GSOTCP4
		})
		got := fs[0]
		assert.Equal(t, f.Bytes(), got.Bytes())
		assert.True(t, got.Partial)
		assert.Equal(t, [4]uint16{f.CsumStart, 16, 1000, 0}, [4]uint16{got.CsumStart, got.CsumOffset, got.GSOSize, 0})
	})
}

// superFrame is a TCP super-frame in VLAN 42 with n bytes of data.
func superFrame(t *testing.T, n int) *link.Frame {
	t.Helper()
	const l3, l4 = wire.EthernetLen + wire.VLANLen, wire.EthernetLen + wire.VLANLen + wire.IPv4Len
	f := wire.NewFrame(wire.MaxFrame)
	f.SetLen(l4 + wire.TCPLen + n)
	b := f.Bytes()
	wire.EthernetHeader(b).SetSrc(macA)
	wire.EthernetHeader(b).SetDst(macB)
	copy(b[12:], []byte{0x81, 0, 0, 42, 8, 0})
	ip := wire.IPv4(b[l3:])
	ip[0] = 0x45
	ip.SetTotalLen(len(ip))
	ip.SetTTL(64)
	ip.SetProto(wire.ProtoTCP)
	copy(ip[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	ip.UpdateChecksum()
	tcp := wire.TCP(b[l4:])
	tcp[12] = 5 << 4
	tcp.SetChecksum(wire.Fold(wire.PseudoSum(ip.Src(), ip.Dst(), wire.ProtoTCP, wire.TCPLen+n)))
	f.Partial, f.CsumStart, f.CsumOffset = true, l4, 16
	f.GSO, f.GSOSize = wire.GSOTCP4, 1000
	return f
}

// BenchmarkForward measures frames per second through two pumps: a flood of
// small UDP datagrams from one namespace to another.
func BenchmarkForward(b *testing.B) {
	netnstest.Bench(b, func(b *testing.B, lab *netnstest.Lab) {
		tr := newTriangle(b, lab, Options{})
		flood := openIn(b, tr.client, "eth0", Options{})
		w, fs := flood.NewWriter(), make([]*link.Frame, link.BatchSize)
		for i := range fs {
			fs[i] = raw(tr.client.MAC("eth0"), tr.router.MAC("eth0"), i, 60)
		}
		in, out := tr.fw.devs[0], tr.fw.devs[1]
		began := out.Stats().TxFrames
		b.ResetTimer()
		for sent := 0; sent < b.N; {
			// Offer no more than is taken: a flood measures the kernel's drops.
			if ahead := sent - int(out.Stats().TxFrames-began) - int(in.Stats().Drops[link.DropOverrun]); ahead < 512 {
				n, err := w.WriteBatch(fs)
				require.NoError(b, err)
				sent += n
			}
		}
		b.ReportMetric(float64(out.Stats().TxFrames-began)/b.Elapsed().Seconds(), "frames/s")
	})
}

// BenchmarkTCP measures bulk data through the forwarder.
func BenchmarkTCP(b *testing.B) {
	netnstest.Bench(b, func(b *testing.B, lab *netnstest.Lab) {
		tr := newTriangle(b, lab, Options{})
		ln := tr.server.Listen("tcp", "10.0.0.2:80")
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(io.Discard, conn) }()
			}
		}()
		conn, err := tr.client.Dial("tcp", "10.0.0.2:80")
		require.NoError(b, err)
		defer conn.Close()
		chunk := make([]byte, 1<<20)
		b.SetBytes(int64(len(chunk)))
		for b.Loop() {
			_, err := conn.Write(chunk)
			require.NoError(b, err)
		}
	})
}
