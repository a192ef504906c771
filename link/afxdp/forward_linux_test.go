package afxdp

import (
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/link"
	"usvs/link/linktest"
	"usvs/link/netnstest"
	"usvs/wire"
)

// forwarder is the simplest router: what one device receives leaves by the
// other, with the MAC addresses of that side.
type forwarder struct{ own, peers [2]wire.MAC }

func (fw *forwarder) Handle(_ clock.Instant, batch []*link.Frame, out *link.Output) clock.Instant {
	for _, f := range batch {
		h := wire.EthernetHeader(f.Bytes())
		if len(h) < wire.EthernetLen || h.Dst().IsMulticast() {
			continue
		}
		f.Port = 1 - f.Port
		h.SetSrc(fw.own[f.Port])
		h.SetDst(fw.peers[f.Port])
		out.Tx = append(out.Tx, f)
	}
	return clock.Never
}

func (fw *forwarder) Tick(clock.Instant, *link.Output) clock.Instant { return clock.Never }

// triangle is a client and a server with a forwarder between them that is
// reached by decree.
type triangle struct {
	client, router, server *netnstest.Namespace
	devs                   [2]*Device
}

func newTriangle(t *testing.T, lab *netnstest.Lab) *triangle {
	t.Helper()
	tr := &triangle{client: lab.Namespace("client"), router: lab.Namespace("router"), server: lab.Namespace("server")}
	lab.Veth(tr.client, "eth0", tr.router, "eth0")
	lab.Veth(tr.server, "eth0", tr.router, "eth1")
	tr.configure(tr.client, "1", "2", tr.router.MAC("eth0"))
	tr.configure(tr.server, "2", "1", tr.router.MAC("eth1"))
	fw := &forwarder{
		own:   [2]wire.MAC{tr.router.MAC("eth0"), tr.router.MAC("eth1")},
		peers: [2]wire.MAC{tr.client.MAC("eth0"), tr.server.MAC("eth0")},
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i, name := range []string{"eth0", "eth1"} {
		tr.devs[i] = openIn(t, tr.router, name, Options{})
		var ends []netip.Addr
		for _, a := range []string{"10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2"} {
			ends = append(ends, netip.MustParseAddr(a))
		}
		require.NoError(t, tr.devs[i].Change(Wanted{Addrs: ends}, Wanted{}))
	}
	for i, d := range tr.devs {
		p := link.NewPump(link.PumpConfig{
			Device: d, Handler: fw, Clock: clock.NewSystem(), Port: i,
			Writers: []link.Writer{tr.devs[0].NewWriter(), tr.devs[1].NewWriter()},
		})
		wg.Go(func() { _ = p.Run(ctx) })
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return tr
}

func (tr *triangle) configure(ns *netnstest.Namespace, own, peer string, via wire.MAC) {
	for _, prefix := range []string{"10.0.0.", "2001:db8::"} {
		ns.AddAddr("eth0", prefix+own+map[string]string{"10.0.0.": "/24", "2001:db8::": "/64"}[prefix])
		ns.AddNeighbor("eth0", prefix+peer, via)
	}
}

// Datagrams leave the client with half made checksums and arrive whole.
func TestUDPThroughForwarder(t *testing.T) {
	eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
		tr := newTriangle(t, lab)
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
		linktest.Eventually(t, "all are counted, as the XDP sockets' frames", func() bool {
			return tr.devs[0].counters.Read().RxFrames >= 20 && tr.devs[1].counters.Read().TxFrames >= 20
		})
	})
}

// A stream between local stacks, super-frames and all, arrives whole.
func TestTCPThroughForwarder(t *testing.T) {
	const n = 8 << 20
	stream := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{7}), n) }
	digest := func(r io.Reader) (sum [32]byte, err error) {
		h := sha256.New()
		_, err = io.Copy(h, r)
		return [32]byte(h.Sum(nil)), err
	}
	for _, addr := range []string{"10.0.0.2:80", "[2001:db8::2]:80"} {
		t.Run(addr, func(t *testing.T) {
			eachWay(t, func(t *testing.T, lab *netnstest.Lab) {
				tr := newTriangle(t, lab)
				ln := tr.server.Listen("tcp", addr)
				go func() {
					if conn, err := ln.Accept(); err == nil {
						_, _ = io.Copy(conn, conn)
						conn.Close()
					}
				}()
				conn, err := tr.client.Dial("tcp", addr)
				require.NoError(t, err)
				defer conn.Close()
				require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
				sent := make(chan error, 1)
				go func() {
					_, err := io.Copy(conn, stream())
					sent <- err
				}()
				got, err := digest(io.LimitReader(conn, n))
				require.NoError(t, err)
				require.NoError(t, <-sent)
				want, _ := digest(stream())
				assert.Equal(t, want, got)
				assert.Positive(t, tr.devs[0].counters.Read().RxFrames, "by the XDP socket")
			})
		})
	}
}
