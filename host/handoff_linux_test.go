package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/director"
	"usvs/link"
	"usvs/link/afpacket"
	"usvs/link/netnstest"
	"usvs/wire"
)

// miniDirector reads eth0 and hands back, of what is hidden, everything but
// TCP port 80, which it swallows: what a director does for a host of its own.
type miniDirector struct {
	dev     *afpacket.Device
	handoff *Handoff
	stop    context.CancelFunc
	done    chan struct{}
}

func startMiniDirector(t *testing.T, handoff *Handoff, hidden *director.Hidden, table interface{ local(netip.Addr) bool }) *miniDirector {
	dev, err := afpacket.Open("eth0", afpacket.Options{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	d := &miniDirector{dev: dev, handoff: handoff, stop: cancel, done: make(chan struct{})}
	go d.run(ctx, hidden, table.local)
	t.Cleanup(func() {
		cancel()
		dev.Wake()
		<-d.done
		dev.Close()
	})
	return d
}

func (d *miniDirector) run(ctx context.Context, hidden *director.Hidden, local func(netip.Addr) bool) {
	defer close(d.done)
	frames := make([]*link.Frame, link.BatchSize)
	for i := range frames {
		frames[i] = wire.NewFrame(wire.MaxFrame)
	}
	w := d.handoff.NewWriter()
	var back []*link.Frame
	for ctx.Err() == nil {
		n, err := d.dev.ReadBatch(frames, 50*time.Millisecond)
		if err != nil {
			return
		}
		back = back[:0]
		for _, f := range frames[:n] {
			var p wire.Packet
			if p.Parse(f.Bytes(), f.Medium) == wire.None && hidden.Hides(&p, local) && !(p.Proto == wire.ProtoTCP && p.DstPort == 80) {
				back = append(back, f)
			}
		}
		if len(back) > 0 {
			_, _ = w.WriteBatch(back)
		}
	}
}

type localAddrs []netip.Addr

func (l localAddrs) local(a netip.Addr) bool {
	for _, x := range l {
		if x == a {
			return true
		}
	}
	return false
}

// serveUpload answers every connection with the checksum of what it sent.
func serveUpload(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			sum := sha256.New()
			_, _ = io.Copy(sum, conn)
			_, _ = conn.Write(sum.Sum(nil))
		}()
	}
}

// upload sends 4 MB to addr, and reports whether they arrived whole.
func upload(ns *netnstest.Namespace, addr string) error {
	conn, err := ns.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	data := bytes.Repeat([]byte("usvs hand-off "), 300_000)
	if _, err := conn.Write(data); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(conn)
	want := sha256.Sum256(data)
	if err == nil && !bytes.Equal(got, want[:]) {
		err = fmt.Errorf("checksum %x, want %x", got, want)
	}
	return err
}

// echoOnce sends data in one datagram and waits for it to come back.
func echoOnce(ns *netnstest.Namespace, addr string, data []byte) error {
	conn, err := ns.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(data); err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	n, err := conn.Read(buf)
	if err == nil && !bytes.Equal(buf[:n], data) {
		err = errors.New("another datagram came back")
	}
	return err
}

func serveEcho(conn net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = conn.WriteTo(buf[:n], from)
	}
}

// TestHandoff: a director whose host carries the VIP itself. Port 80 is a
// service; everything else on the VIP is the host's, though all of the VIP's
// datagrams, and here all of its packets, are hidden and come back.
func TestHandoff(t *testing.T) {
	for name, open := range handoffKinds {
		for _, rpFilter := range []string{"0", "1", "2"} {
			if name == "tun" && rpFilter == "2" {
				continue // as 1
			}
			t.Run(name+" with rp_filter "+rpFilter, func(t *testing.T) {
				netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
					lab.Home.Sysctl("net.ipv4.conf.all.rp_filter", rpFilter)
					w := newWireLab(t, lab)
					handoff := mustOpen(t, open)
					defer handoff.Close()
					testHandoff(t, w, handoff, hookIngress)
				})
			})
		}
	}
}

var handoffKinds = map[string]func() (*Handoff, error){"veth": openVethHandoff, "tun": openTunHandoff}

func mustOpen(t *testing.T, open func() (*Handoff, error)) *Handoff {
	t.Helper()
	h, err := open()
	needTun(t, err)
	return h
}

// needTun skips a test for want of /dev/net/tun.
func needTun(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		netnstest.Skip(t, "%v", err)
	}
	require.NoError(t, err)
}

// TestHandoffPastPrerouting: with the other hook, packets handed over pass it too.
func TestHandoffPastPrerouting(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		w := newWireLab(t, lab)
		handoff, err := OpenHandoff()
		require.NoError(t, err)
		defer handoff.Close()
		testHandoff(t, w, handoff, hookPrerouting)
	})
}

func testHandoff(t *testing.T, w *wireLab, handoff *Handoff, at hook) {
	w.Home.AddAddr("lo", vip4.String()+"/32")
	w.Home.AddAddr("lo", vip6.String()+"/128")
	w.client.AddRoute(vip4.String()+"/32", "10.0.0.1")
	w.client.AddRoute(vip6.String()+"/128", "2001:db8::1")
	hidden := &director.Hidden{Addrs: director.AddrsOf(vip4, vip6)}
	s, err := newSuppressor(at)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Apply(hidden, []string{"eth0"}))

	var listening []string
	for _, vip := range []netip.Addr{vip4, vip6} {
		ssh := netip.AddrPortFrom(vip, 22).String()
		go serveUpload(w.Home.Listen("tcp", ssh))
		go serveUpload(w.Home.Listen("tcp", netip.AddrPortFrom(vip, 80).String()))
		go serveEcho(w.Home.ListenPacket("udp", ssh))
		listening = append(listening, ssh)
	}
	conn, err := w.client.Dial("udp", listening[0])
	require.NoError(t, err)
	conn.Close()
	require.Error(t, quickEcho(w.client, listening[0]), "hidden, and nobody hands it back yet")

	startMiniDirector(t, handoff, hidden, localAddrs{host4, host6, vip4, vip6})
	for _, addr := range listening {
		assert.NoError(t, upload(w.client, addr), "TCP to %s through %s", addr, handoff.name)
		assert.NoError(t, echoOnce(w.client, addr, bytes.Repeat([]byte{1}, 100)), addr)
		assert.NoError(t, echoOnce(w.client, addr, bytes.Repeat([]byte("4 KB"), 1024)), "fragments to %s", addr)
	}
	port80 := netip.AddrPortFrom(vip4, 80).String()
	w.client.Do(func() {
		_, err := net.DialTimeout("tcp", port80, 300*time.Millisecond)
		assert.Error(t, err, "the service's packets stay hidden")
	})
}

func quickEcho(ns *netnstest.Namespace, addr string) error {
	conn, err := ns.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(200 * time.Millisecond))
	_, _ = conn.Write([]byte("x"))
	_, err = conn.Read(make([]byte, 1))
	return err
}

// TestHandoffMedia: frames with and without link header, by both kinds.
func TestHandoffMedia(t *testing.T) {
	for name, open := range handoffKinds {
		t.Run(name, func(t *testing.T) {
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
				handoff := mustOpen(t, open)
				defer handoff.Close()
				lab.Home.AddAddr("lo", vip4.String()+"/32")
				lab.Home.AddAddr("lo", vip6.String()+"/128")
				w := handoff.NewWriter()
				for _, medium := range []wire.Medium{wire.IP, wire.Ethernet} {
					deliver(t, lab, w, medium, peer4, vip4)
					deliver(t, lab, w, medium, peer6, vip6)
				}
			})
		})
	}
}

// deliver hands over a tagged frame, runts and a datagram, of which the last
// is for a socket. A new IPv6 address takes a moment, hence the repetitions.
func deliver(t *testing.T, lab *netnstest.Lab, w link.Writer, medium wire.Medium, src, vip netip.Addr) {
	t.Helper()
	conn := lab.Home.ListenPacket("udp", netip.AddrPortFrom(vip, 53).String())
	defer conn.Close()
	datagram := udpPacket(src, vip, 1234, 53, []byte("hello"))
	if medium == wire.Ethernet {
		head := packet{src: src, dst: vip}.frame(wire.MAC{2, 9})[:wire.EthernetLen]
		datagram = slices.Concat(head, datagram)
	}
	require.Eventually(t, func() bool {
		var fs []*link.Frame
		for _, b := range [][]byte{{}, {0x45}, bytes.Repeat([]byte{0x81, 0}, 40), datagram} {
			f := wire.NewFrame(2000)
			f.SetBytes(b)
			f.Medium = medium
			fs = append(fs, f)
		}
		_, _ = w.WriteBatch(fs) // some are refused
		buf := make([]byte, 100)
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, from, err := conn.ReadFrom(buf)
		return err == nil && string(buf[:n]) == "hello" && from.String() == netip.AddrPortFrom(src, 1234).String()
	}, 10*time.Second, time.Millisecond)
}

// udpPacket is a bare IP packet with a complete checksum.
func udpPacket(src, dst netip.Addr, sport, dport uint16, data []byte) []byte {
	u := append([]byte{byte(sport >> 8), byte(sport), byte(dport >> 8), byte(dport), 0, 0, 0, 0}, data...)
	wire.UDP(u).SetLength(len(u))
	sum := ^wire.Fold(wire.Sum(u, wire.PseudoSum(src, dst, wire.ProtoUDP, len(u))))
	wire.UDP(u).SetChecksum(sum)
	return packet{src: src, dst: dst, proto: wire.ProtoUDP, payload: u}.ip()
}

// TestHandoffsComeAndGo: several at a time, and after a kill.
func TestHandoffsComeAndGo(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		links := func() string { return lab.Home.Run("ip", "-o", "link") }
		first, err := OpenHandoff()
		require.NoError(t, err)
		second, err := OpenHandoff()
		require.NoError(t, err)
		assert.Equal(t, "usvs0b", first.name)
		assert.Equal(t, "usvs1b", second.name)
		assert.Contains(t, links(), "alias usvs handoff pid")
		require.NoError(t, first.Close())
		assert.NotContains(t, links(), "usvs0")

		child := lab.Home.StartCmd(helper("handoff"))
		require.Eventually(t, func() bool { return strings.Contains(child.Output(), "ready") }, 10*time.Second, 10*time.Millisecond)
		assert.Contains(t, links(), "usvs0b")
		third, err := OpenHandoff()
		require.NoError(t, err)
		assert.Equal(t, "usvs2b", third.name, "the others are alive")
		require.NoError(t, second.Close())
		require.NoError(t, unix.Kill(child.Pid(), unix.SIGKILL))
		<-child.Done()
		assert.Contains(t, links(), "usvs0b", "left behind")
		fourth, err := OpenHandoff()
		require.NoError(t, err)
		assert.Equal(t, "usvs0b", fourth.name)
		assert.NotContains(t, links(), "usvs1")
		require.NoError(t, third.Close())
		require.NoError(t, fourth.Close())
		assert.NotContains(t, links(), "usvs")
	})
}

// helpHandoff opens a hand-off and waits to be killed.
func helpHandoff() error {
	if _, err := OpenHandoff(); err != nil {
		return err
	}
	fmt.Println("ready")
	select {}
}

// countWriter is a device that takes everything.
type countWriter int

func (w *countWriter) WriteBatch(fs []*link.Frame) (int, error) {
	*w += countWriter(len(fs))
	return len(fs), nil
}

type countDevice struct{ countWriter }

func (d *countDevice) NewWriter() link.Writer { return &d.countWriter }
func (d *countDevice) Close() error           { return nil }

// TestHandoffRewrites: link headers come and go, the packet and its metadata
// stay, and nothing is allocated.
func TestHandoffRewrites(t *testing.T) {
	mac := wire.MAC{2, 0, 0, 0, 0, 7}
	for _, medium := range []wire.Medium{wire.Ethernet, wire.IP} {
		dev := &countDevice{}
		w := (&Handoff{dev: dev, medium: medium, mac: mac}).NewWriter()
		ether, bare := wire.NewFrame(2000), wire.NewFrame(2000)
		p := packet{src: other6, dst: vip6, proto: wire.ProtoTCP}
		etherBytes, bareBytes := p.frame(wire.MAC{2, 1}), p.ip()
		fs := []*link.Frame{ether, bare}
		write := func() {
			ether.Reset()
			ether.SetBytes(etherBytes)
			ether.Partial, ether.CsumStart, ether.CsumOffset = true, wire.EthernetLen+wire.IPv6Len, 16
			ether.GSO, ether.GSOSize = wire.GSOTCP6, 1000
			bare.Reset()
			bare.Medium = wire.IP
			bare.SetBytes(bareBytes)
			bare.Partial, bare.CsumStart, bare.CsumOffset = true, wire.IPv6Len, 16
			_, _ = w.WriteBatch(fs)
		}
		write()
		assert.Equal(t, countWriter(2), dev.countWriter)
		assert.Equal(t, wire.GSOTCP6, ether.GSO)
		for _, f := range fs {
			assert.Equal(t, medium, f.Medium)
			start := len(f.Bytes()) - len(bareBytes)
			assert.Equal(t, bareBytes, f.Bytes()[start:])
			assert.Equal(t, start+wire.IPv6Len, int(f.CsumStart))
			if medium == wire.Ethernet {
				assert.Equal(t, mac, wire.EthernetHeader(f.Bytes()).Dst())
				assert.Equal(t, uint16(wire.TypeIPv6), wire.EthernetHeader(f.Bytes()).Type())
			}
		}
		assert.Zero(t, testing.AllocsPerRun(100, write))
	}
}
