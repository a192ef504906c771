package tun

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/clock"
	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
	"usvs/wire"
)

const patience = 10 * time.Second

// run is netnstest.Run for tests that need /dev/net/tun.
func run(t *testing.T, f func(t *testing.T, lab *netnstest.Lab)) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		fd, err := unix.Open(devicePath, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			netnstest.Skip(t, "%s: %v", devicePath, err)
		}
		unix.Close(fd)
		f(t, lab)
	})
}

func openIn(t *testing.T, ns *netnstest.Namespace, name string, opts Options) *Device {
	t.Helper()
	var d *Device
	var err error
	ns.Do(func() { d, err = Open(name, opts) })
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func prefixes(ss ...string) (ps []netip.Prefix) {
	for _, s := range ss {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// cross is a handler that passes packets from one device to the other.
type cross struct{ super, partial atomic.Int64 }

func (c *cross) Handle(_ clock.Instant, batch []*link.Frame, out *link.Output) clock.Instant {
	for _, f := range batch {
		if f.GSO != wire.GSONone {
			c.super.Add(1)
		}
		if f.Partial {
			c.partial.Add(1)
		}
		f.Port = 1 - f.Port
		out.Tx = append(out.Tx, f)
	}
	return clock.Never
}

func (c *cross) Tick(clock.Instant, *link.Output) clock.Instant { return clock.Never }

// connect pumps packets between two devices until the test ends.
func connect(t *testing.T, a, b *Device) *cross {
	c := &cross{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for port, d := range []*Device{a, b} {
		p := link.NewPump(link.PumpConfig{
			Device: d, Handler: c, Clock: clock.NewSystem(), Port: port,
			Writers: []link.Writer{a.NewWriter(), b.NewWriter()},
		})
		wg.Go(func() { assert.NoError(t, p.Run(ctx)) })
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return c
}

// echo sends noise to an echo server and compares what comes back.
func echo(t *testing.T, client, server *netnstest.Namespace, addr string, n int64) {
	t.Helper()
	ln := server.Listen("tcp", addr)
	go func() {
		if conn, err := ln.Accept(); err == nil {
			_, _ = io.Copy(conn, conn)
		}
	}()
	conn, err := client.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	noise := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{}), n) }
	sent := make(chan error, 1)
	go func() { _, err := io.Copy(conn, noise()); sent <- err }()
	want, got := make([]byte, 64<<10), make([]byte, 64<<10)
	for in := noise(); n > 0; n -= int64(len(want)) {
		_, err := io.ReadFull(in, want)
		require.NoError(t, err)
		_, err = io.ReadFull(conn, got)
		require.NoError(t, err)
		require.True(t, string(want) == string(got), "%d bytes before the end", n)
	}
	require.NoError(t, <-sent)
}

func TestTCPBetweenTunnels(t *testing.T) {
	for _, plain := range []bool{false, true} {
		name, size := "virtio", int64(50<<20)
		if plain {
			name, size = "plain", 5<<20
		}
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, lab *netnstest.Lab) {
				client, server := lab.Namespace("client"), lab.Namespace("server")
				a := openIn(t, client, "tun0", Options{Plain: plain, Addresses: prefixes("10.0.0.1/32", "2001:db8::1/128"),
					Routes: prefixes("10.0.0.0/24", "2001:db8::/64")})
				b := openIn(t, server, "tun0", Options{Plain: plain, Addresses: prefixes("10.0.0.2/24", "2001:db8::2/64")})
				c := connect(t, a, b)
				echo(t, client, server, "10.0.0.2:7", size)
				echo(t, client, server, "[2001:db8::2]:7", size)
				assert.Equal(t, !plain, c.super.Load() > 0, "super-frames")
				assert.Equal(t, !plain, c.partial.Load() > 0, "partial checksums")
				for _, d := range []*Device{a, b} {
					s := d.Stats()
					assert.Positive(t, s.RxFrames)
					assert.Positive(t, s.TxBytes)
					assert.Equal(t, [link.NumDrops]uint64{}, s.Drops)
				}
			})
		})
	}
}

// A plain device completes checksums, and refuses what it cannot cut.
func TestPlainWriter(t *testing.T) {
	run(t, func(t *testing.T, lab *netnstest.Lab) {
		d := openIn(t, lab.Home, "tun0", Options{Plain: true, Addresses: prefixes("10.0.0.1/24")})
		server := lab.Home.ListenPacket("udp", "10.0.0.1:53")
		half, super, broken := datagram("half"), datagram("super"), datagram("broken")
		super.GSO, super.GSOSize = wire.GSOUDP, 2
		broken.CsumStart = 1000
		sent, err := d.NewWriter().WriteBatch([]*link.Frame{super, half, broken})
		assert.Equal(t, 1, sent)
		assert.ErrorIs(t, err, unix.EINVAL)
		assert.EqualValues(t, 2, d.Stats().Drops[link.DropRefused])
		assert.Equal(t, "half", receiveDatagram(t, server))
	})
}

// datagram is an unfinished UDP packet from 10.0.0.2 to 10.0.0.1:53.
func datagram(payload string) *link.Frame {
	f := wire.NewFrame(1000)
	n := wire.UDPLen + len(payload)
	f.SetLen(wire.IPv4Len + n)
	f.Medium = wire.IP
	ip := wire.IPv4(f.Bytes())
	ip[0] = 0x45
	ip.SetTotalLen(len(ip))
	ip.SetTTL(64)
	ip.SetProto(wire.ProtoUDP)
	ip.SetSrc(netip.MustParseAddr("10.0.0.2"))
	ip.SetDst(netip.MustParseAddr("10.0.0.1"))
	ip.UpdateChecksum()
	udp := wire.UDP(ip[wire.IPv4Len:])
	copy(udp, []byte{0, 99, 0, 53})
	udp.SetLength(n)
	copy(udp[wire.UDPLen:], payload)
	udp.SetChecksum(wire.Fold(wire.PseudoSum(ip.Src(), ip.Dst(), wire.ProtoUDP, n)))
	f.Partial, f.CsumStart, f.CsumOffset = true, wire.IPv4Len, 6
	return f
}

func receiveDatagram(t *testing.T, conn net.PacketConn) string {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	b := make([]byte, 2000)
	n, _, err := conn.ReadFrom(b)
	require.NoError(t, err)
	return string(b[:n])
}

func TestRefusedPacketsAreSkipped(t *testing.T) {
	run(t, func(t *testing.T, lab *netnstest.Lab) {
		d := openIn(t, lab.Home, "", Options{Addresses: prefixes("10.0.0.1/24")})
		server := lab.Home.ListenPacket("udp", "10.0.0.1:53")
		empty, noIP, badSum := wire.NewFrame(10), datagram("x"), datagram("x")
		noIP.Bytes()[0] = 0
		badSum.CsumStart = 1000
		w := d.NewWriter()
		sent, err := w.WriteBatch([]*link.Frame{datagram("one"), empty, noIP, badSum, datagram("two")})
		assert.Equal(t, 2, sent)
		assert.Error(t, err)
		assert.Equal(t, "one", receiveDatagram(t, server))
		assert.Equal(t, "two", receiveDatagram(t, server))

		lab.Home.SetDown(d.Name())
		sent, err = w.WriteBatch([]*link.Frame{datagram("down")})
		assert.Zero(t, sent)
		assert.Error(t, err)
		assert.EqualValues(t, 1, d.Stats().Drops[link.DropLinkDown])
		lab.Home.SetUp(d.Name())
		_, err = w.WriteBatch([]*link.Frame{datagram("up")})
		assert.NoError(t, err)
		assert.Equal(t, "up", receiveDatagram(t, server))
	})
}

func TestDescriptionAndConfiguration(t *testing.T) {
	run(t, func(t *testing.T, lab *netnstest.Lab) {
		d := openIn(t, lab.Home, "dir%d", Options{MTU: 1280, Addresses: prefixes("10.0.0.1/24"), Routes: prefixes("10.9.0.0/16")})
		assert.Equal(t, "dir0", d.Name())
		assert.Equal(t, wire.IP, d.Medium())
		assert.Equal(t, lab.Home.Link("dir0").Attrs().Index, d.Index())
		assert.Equal(t, 1280, d.MTU())
		lab.Home.SetMTU("dir0", 1400)
		assert.Equal(t, 1400, d.MTU())
		routes, err := lab.Home.Netlink().RouteGet(net.IPv4(10, 9, 1, 2))
		require.NoError(t, err)
		assert.Equal(t, d.Index(), routes[0].LinkIndex)
		require.NoError(t, d.Close())
		_, err = lab.Home.Netlink().LinkByName("dir0")
		assert.Error(t, err, "gone")
		assert.Equal(t, 1400, d.MTU(), "what it was")
	})
}

// An interface that was there before is left as it was found.
func TestPersistentInterfaceIsLeftAsFound(t *testing.T) {
	run(t, func(t *testing.T, lab *netnstest.Lab) {
		nl := lab.Home.Netlink()
		err := nl.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun7"}, Mode: netlink.TUNTAP_MODE_TUN,
			Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR})
		require.NoError(t, err)
		lab.Home.AddAddr("tun7", "10.0.0.9/24")
		opts := Options{MTU: 1300, Addresses: prefixes("10.0.0.9/24", "10.1.0.1/24", "2001:db8::1/64"), Routes: prefixes("10.9.0.0/16")}
		d := openIn(t, lab.Home, "tun7", opts)
		_, err = Open("tun7", opts)
		assert.ErrorContains(t, err, "in use by another process")
		require.NoError(t, d.Close())

		attrs := lab.Home.Link("tun7").Attrs()
		assert.Equal(t, 1500, attrs.MTU)
		assert.Zero(t, attrs.Flags&net.FlagUp)
		addrs, err := nl.AddrList(lab.Home.Link("tun7"), netlink.FAMILY_V4)
		require.NoError(t, err)
		require.Len(t, addrs, 1)
		assert.Equal(t, "10.0.0.9/24", addrs[0].IPNet.String())
		routes, err := nl.RouteList(nil, netlink.FAMILY_V4)
		require.NoError(t, err)
		assert.Empty(t, routes)
	})
}

func TestOpenErrors(t *testing.T) {
	run(t, func(t *testing.T, lab *netnstest.Lab) {
		lab.Veth(lab.Home, "eth0", lab.Home, "eth1")
		for _, plain := range []bool{false, true} {
			_, err := Open("eth0", Options{Plain: plain})
			assert.ErrorContains(t, err, "no TUN interface", "plain %v", plain)
		}
		_, err := Open("a-name-that-is-too-long", Options{})
		assert.ErrorContains(t, err, "interface name")
		_, err = Open("tun0", Options{MTU: 1})
		assert.ErrorContains(t, err, "MTU")
		_, err = Open("tun0", Options{Addresses: prefixes("10.0.0.1/24"), Routes: prefixes("10.0.0.0/24")})
		assert.ErrorContains(t, err, "route", "the address brings that route along")
		_, err = lab.Home.Netlink().LinkByName("tun0")
		assert.Error(t, err, "nothing is left behind")

		withoutCapability(t, unix.CAP_NET_ADMIN, func() {
			for _, plain := range []bool{false, true} {
				_, err := Open("tun0", Options{Plain: plain})
				assert.ErrorContains(t, err, "CAP_NET_ADMIN", "plain %v", plain)
			}
		})
		require.NoError(t, unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, ""))
		for _, plain := range []bool{false, true} {
			_, err = Open("tun0", Options{Plain: plain})
			assert.ErrorContains(t, err, "there is no /dev/net/tun", "plain %v", plain)
			assert.ErrorIs(t, err, os.ErrNotExist)
		}
	})
}

// withoutCapability calls f on a thread that lacks a capability.
func withoutCapability(t *testing.T, which uint, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread is spoilt
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := errors.Join(unix.Capget(&hdr, &data[0]))
		data[which/32].Effective &^= 1 << (which % 32)
		if assert.NoError(t, errors.Join(err, unix.Capset(&hdr, &data[0]))) {
			f()
		}
	}()
	<-done
}

func TestExplain(t *testing.T) {
	for _, errno := range []unix.Errno{unix.ENOENT, unix.ENODEV, unix.ENXIO, unix.EACCES, unix.EPERM, unix.EBUSY, unix.EINVAL, unix.EIO} {
		assert.ErrorIs(t, explain(errno), errno)
	}
}

func TestWaitWakeClose(t *testing.T) {
	run(t, func(t *testing.T, lab *netnstest.Lab) {
		d := openIn(t, lab.Home, "tun0", Options{})
		linktest.WaitWakeClose(t, d, datagram("x"))
	})
}

func TestDeletedInterface(t *testing.T) {
	run(t, func(t *testing.T, lab *netnstest.Lab) {
		d := openIn(t, lab.Home, "tun0", Options{Addresses: prefixes("10.0.0.1/24")})
		lab.Home.Delete("tun0")
		deadline := time.Now().Add(patience)
		for {
			_, err := d.ReadBatch(linktest.Batch(1), time.Second)
			if err != nil {
				assert.NotErrorIs(t, err, link.ErrClosed)
				break
			}
			require.True(t, time.Now().Before(deadline), "no error")
		}
		_, err := d.NewWriter().WriteBatch([]*link.Frame{datagram("x")})
		assert.Error(t, err)
		assert.NoError(t, d.Close(), "what is gone needs no undoing")
	})
}

func TestTruncatedPacket(t *testing.T) {
	run(t, func(t *testing.T, lab *netnstest.Lab) {
		d := openIn(t, lab.Home, "tun0", Options{Addresses: prefixes("10.0.0.1/24")})
		client := lab.Home.ListenPacket("udp", "10.0.0.1:0")
		_, err := client.WriteTo(make([]byte, 1000), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.2:9")))
		require.NoError(t, err)
		for deadline := time.Now().Add(patience); d.Stats().Drops[link.DropTruncated] == 0; {
			_, err := d.ReadBatch([]*link.Frame{wire.NewFrame(500)}, 10*time.Millisecond)
			require.NoError(t, err)
			require.True(t, time.Now().Before(deadline))
		}
	})
}

// Reading and writing batches allocates nothing: each datagram goes out to the
// device and comes back from it.
func TestNoAllocations(t *testing.T) {
	run(t, func(t *testing.T, lab *netnstest.Lab) {
		d := openIn(t, lab.Home, "tun0", Options{Addresses: prefixes("10.0.0.1/24")})
		// Nobody listens on the port: the host answers every datagram with an
		// ICMP error, at the rate it likes.
		lab.Home.Sysctl("net.ipv4.icmp_ratelimit", "0")
		w, in, out := d.NewWriter(), linktest.Batch(link.BatchSize), linktest.Batch(8)
		for _, f := range out {
			f.CopyFrom(datagram("x"))
		}
		got := 0
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			_, _ = w.WriteBatch(out)
			n, _ := d.ReadBatch(in, time.Millisecond)
			got += n
		}))
		assert.Positive(t, got)
	})
}
