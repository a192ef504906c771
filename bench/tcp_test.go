package bench

import (
	"net/netip"
	"testing"
	"time"

	"usvs/clock"
	"usvs/netsim"
	"usvs/netsim/tcp"
)

// BenchmarkSimulatedTCP measures an upload of a megabyte through a director
// with direct routing, the handshake and the end of the connection included.
func BenchmarkSimulatedTCP(b *testing.B) {
	const size = 1 << 20
	n, client, received := upload(b)
	text := make([]byte, size)
	b.SetBytes(size)
	b.ReportAllocs()
	before, start := n.Stats().Deliveries, time.Now()
	for range b.N {
		left := text
		push := func(now clock.Instant, c *tcp.Conn) {
			k, _ := c.Write(now, left)
			if left = left[k:]; len(left) == 0 {
				c.CloseWrite(now)
			}
		}
		_, err := client.DialTCP(netip.AddrPort{}, netip.MustParseAddrPort("10.0.0.100:80"),
			tcp.Events{Connected: push, Writable: push})
		if err != nil {
			b.Fatal(err)
		}
		*received = 0
		if !n.RunWhile(time.Minute, func() bool { return *received < size }) {
			b.Fatalf("%d of %d bytes arrived", *received, size)
		}
		n.Run(time.Second)
	}
	b.ReportMetric(float64(n.Stats().Deliveries-before)/time.Since(start).Seconds(), "deliveries/s")
}

// upload is a client and a real server that counts what it is sent.
func upload(tb testing.TB) (n *netsim.Net, client *netsim.Host, received *int) {
	n = netsim.New(1)
	sw, rs, lvs := n.Switch("sw"), n.Host("rs"), n.Director("lvs")
	client = n.Host("client")
	wire := netsim.LinkOptions{Delay: 10 * time.Microsecond}
	n.Link(client.NIC("eth0", "10.0.0.9/24"), sw.NextPort(), wire)
	n.Link(lvs.NIC("eth0", "10.0.0.1/24"), sw.NextPort(), wire)
	n.Link(rs.NIC("eth0", "10.0.0.2/24"), sw.NextPort(), wire)
	rs.MustExec("usvs realserver up --vip 10.0.0.100")
	lvs.MustExec("ipvsadm -A -t 10.0.0.100:80 -s rr")
	lvs.MustExec("ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.2 -g")
	received = new(int)
	buf := make([]byte, 1<<16)
	read := func(now clock.Instant, c *tcp.Conn) {
		for {
			k, err := c.Read(now, buf)
			*received += k
			if err == tcp.ErrWouldBlock {
				return
			}
			if err != nil {
				c.Close(now)
				return
			}
		}
	}
	_, err := rs.ListenTCP(netip.MustParseAddrPort("0.0.0.0:80"), func(clock.Instant, *tcp.Conn) tcp.Events {
		return tcp.Events{Readable: read}
	})
	if err != nil {
		tb.Fatal(err)
	}
	return n, client, received
}
