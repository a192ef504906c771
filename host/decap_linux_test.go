package host

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link"
	"usvs/link/afpacket"
	"usvs/link/netnstest"
	"usvs/link/tun"
	"usvs/wire"
)

const guePort = 6080

// encapsulation is how the test's director wraps packets.
type encapsulation struct {
	name  string
	inner []byte // header in front of the IP packet, for IPv4 and IPv6 inside
	proto uint8  // of the outer IP header; 0: 4 or 41
}

var encapsulations = []encapsulation{
	{"IPIP", nil, 0},
	{"GRE", []byte{0, 0, 8, 0}, wire.ProtoGRE},
	{"GUE", []byte{0, 4, 0, 0}, wire.ProtoUDP},
}

// wrap puts outer headers around the IP packet in f, up to Ethernet.
func (e encapsulation) wrap(f *wire.Frame, src, dst netip.Addr, mac wire.MAC) {
	v6 := f.Bytes()[0]>>4 == 6
	proto, head := e.proto, append([]byte{}, e.inner...)
	switch e.proto {
	case 0:
		proto = wire.ProtoIPIP
		if v6 {
			proto = wire.ProtoIPv6
		}
	case wire.ProtoGRE:
		if v6 {
			head[2], head[3] = 0x86, 0xdd
		}
	case wire.ProtoUDP:
		if v6 {
			head[1] = wire.ProtoIPv6
		}
		udp := make([]byte, wire.UDPLen)
		udp[0], udp[1], udp[2], udp[3] = 0xc0, 0, guePort>>8, guePort&255
		wire.UDP(udp).SetLength(wire.UDPLen + len(head) + f.Len())
		head = append(udp, head...)
	}
	body := append(head, f.Bytes()...)
	outer := packet{src: src, dst: dst, proto: proto, payload: body}.frame(mac)
	n := len(outer) - f.Len()
	f.Prepend(n)
	f.Medium = wire.Ethernet
	copy(f.Bytes()[:n], outer[:n])
}

// tunnelDirector sends what its namespace routes to the VIPs through a tunnel.
type tunnelDirector struct {
	in  *tun.Device
	out *afpacket.Device
}

func (d *tunnelDirector) run(ctx context.Context, e encapsulation, src, dst netip.Addr, mac wire.MAC) {
	frames := make([]*link.Frame, link.BatchSize)
	for i := range frames {
		frames[i] = wire.NewFrame(wire.MaxFrame)
	}
	w := d.out.NewWriter()
	for ctx.Err() == nil {
		n, err := d.in.ReadBatch(frames, 20*time.Millisecond)
		if err != nil {
			return
		}
		for _, f := range frames[:n] {
			e.wrap(f, src, dst, mac)
		}
		_, _ = w.WriteBatch(frames[:n])
	}
}

// startTunnel lets client reach the VIPs by a tunnel to dst. Plain packets have
// their checksums complete; others are as local stacks make them.
func startTunnel(t *testing.T, w *wireLab, e encapsulation, src, dst netip.Addr, plain bool) (stop func()) {
	t.Helper()
	d := &tunnelDirector{}
	w.client.Do(func() {
		var err error
		d.in, err = tun.Open("tun0", tun.Options{MTU: 1400, Plain: plain, Routes: []netip.Prefix{
			netip.PrefixFrom(vip4, 32), netip.PrefixFrom(vip6, 128)}})
		needTun(t, err)
		d.out, err = afpacket.Open("eth0", afpacket.Options{})
		require.NoError(t, err)
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.run(ctx, e, src, dst, w.mac)
	}()
	return func() {
		cancel()
		<-done
		d.in.Close()
		d.out.Close()
	}
}

func startDecapsulator(t *testing.T, opts DecapsulatorOptions) (stop func() error) {
	t.Helper()
	ready, ended := make(chan struct{}), make(chan error, 1)
	opts.Ready = func() { close(ready) }
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- RunDecapsulator(ctx, opts) }()
	select {
	case <-ready:
	case err := <-ended:
		require.NoError(t, err)
	}
	return func() error { cancel(); return <-ended }
}

// realServer puts the VIPs on the loopback interface and serves on them.
func serveVIPs(w *wireLab) {
	for _, vip := range []netip.Addr{vip4, vip6} {
		w.Home.AddAddr("lo", netip.PrefixFrom(vip, vip.BitLen()).String())
		addr := netip.AddrPortFrom(vip, 80).String()
		go serveUpload(w.Home.Listen("tcp", addr))
		go serveEcho(w.Home.ListenPacket("udp", addr))
	}
}

func TestDecapsulator(t *testing.T) {
	for _, rpFilter := range []string{"0", "1"} {
		t.Run("rp_filter "+rpFilter, func(t *testing.T) {
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
				lab.Home.Sysctl("net.ipv4.conf.all.rp_filter", rpFilter)
				w := newWireLab(t, lab)
				w.client.Sysctl("net.ipv4.conf.all.rp_filter", "0")
				serveVIPs(w)
				stop := startDecapsulator(t, DecapsulatorOptions{Device: "eth0", GRE: true, GUEPort: guePort})
				kinds := encapsulations
				if rpFilter != "0" {
					kinds = kinds[:1] // the way in is the same
				}
				for _, e := range kinds {
					for _, outer := range [][2]netip.Addr{{peer4, host4}, {peer6, host6}} {
						tryTunnel(t, w, e, outer[0], outer[1])
					}
				}
				assert.NoError(t, stop())
				assert.False(t, DecapsulatorRuns())
			})
		})
	}
}

func tryTunnel(t *testing.T, w *wireLab, e encapsulation, src, dst netip.Addr) {
	t.Helper()
	web4, web6 := netip.AddrPortFrom(vip4, 80).String(), netip.AddrPortFrom(vip6, 80).String()
	stop := startTunnel(t, w, e, src, dst, true)
	for _, addr := range []string{web4, web6} {
		assert.NoError(t, upload(w.client, addr), "%s to %v: TCP to %s", e.name, dst, addr)
		assert.NoError(t, echoOnce(w.client, addr, bytes.Repeat([]byte("4 KB"), 1024)), "%s to %v: inner fragments to %s", e.name, dst, addr)
	}
	stop()
	stop = startTunnel(t, w, e, src, dst, false)
	for _, addr := range []string{web4, web6} {
		assert.NoError(t, echoOnce(w.client, addr, []byte("half-made checksum")), "%s to %v: UDP to %s", e.name, dst, addr)
	}
	stop()
}

// TestDecapsulatorOuterFragments: the kernel puts them together.
func TestDecapsulatorOuterFragments(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		w := newWireLab(t, lab)
		w.Home.AddAddr("lo", vip4.String()+"/32")
		conn := w.Home.ListenPacket("udp", netip.AddrPortFrom(vip4, 80).String())
		stop := startDecapsulator(t, DecapsulatorOptions{})
		inner := udpPacket(peer4, vip4, 1234, 80, bytes.Repeat([]byte{7}, 2000))
		first := packet{src: peer4, dst: host4, proto: wire.ProtoIPIP, id: 9, moreFrags: true, payload: inner[:1200]}
		second := packet{src: peer4, dst: host4, proto: wire.ProtoIPIP, id: 9, fragOffset: 1200, payload: inner[1200:]}
		w.send(t, second.frame(w.mac))
		w.send(t, first.frame(w.mac))
		buf := make([]byte, 4000)
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, _, err := conn.ReadFrom(buf)
		require.NoError(t, err)
		assert.Equal(t, bytes.Repeat([]byte{7}, 2000), buf[:n])
		assert.NoError(t, stop())
	})
}

// TestDecapsulatorKeepsQuiet: without it the kernel complains of protocol 4.
func TestDecapsulatorKeepsQuiet(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		w := newWireLab(t, lab)
		w.Home.Sysctl("net.ipv4.icmp_ratelimit", "0")
		icmp := w.client.ListenPacket("ip4:icmp", "10.0.0.2")
		complains := func(within time.Duration) bool {
			inner := udpPacket(other4, vip4, 1234, 80, []byte("x"))
			w.send(t, packet{src: peer4, dst: host4, proto: wire.ProtoIPIP, payload: inner}.frame(w.mac))
			_ = icmp.SetReadDeadline(time.Now().Add(within))
			_, _, err := icmp.ReadFrom(make([]byte, 200))
			return err == nil
		}
		require.True(t, complains(10*time.Second))
		stop := startDecapsulator(t, DecapsulatorOptions{})
		assert.False(t, complains(200*time.Millisecond))
		require.NoError(t, stop())
		require.True(t, complains(10*time.Second))

		quiet, err := dropUnreachables()
		require.NoError(t, err)
		assert.False(t, complains(200*time.Millisecond), "also where no socket takes the packet")
		require.NoError(t, quiet.CloseLasting())
	})
}

func TestDecapsulatorIsOne(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		require.NoError(t, StopDecapsulator(), "none to stop")
		stop := startDecapsulator(t, DecapsulatorOptions{})
		assert.True(t, DecapsulatorRuns())
		assert.ErrorIs(t, RunDecapsulator(context.Background(), DecapsulatorOptions{}), ErrDecapsulatorRuns)
		require.NoError(t, StopDecapsulator())
		assert.False(t, DecapsulatorRuns(), "gone, not just going")
		_, err := net.InterfaceByName("usvs0a")
		assert.Error(t, err, "it cleans up")
		require.NoError(t, stop())
	})
}
