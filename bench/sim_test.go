package bench

import (
	"net/netip"
	"testing"
	"time"

	"usvs/netsim"
)

// lan is a client, a director and a real server at one switch, with a UDP
// service of the given forwarding method.
func lan(tb testing.TB, method string) (n *netsim.Net, client *netsim.UDPSocket, arrived *int) {
	n = netsim.New(1)
	sw, c, rs, lvs := n.Switch("sw"), n.Host("client"), n.Host("rs"), n.Director("lvs")
	wire := netsim.LinkOptions{Delay: 10 * time.Microsecond}
	n.Link(c.NIC("eth0", "10.0.0.9/24"), sw.Port("1"), wire)
	n.Link(lvs.NIC("eth0", "10.0.0.1/24"), sw.Port("2"), wire)
	n.Link(rs.NIC("eth0", "10.0.0.2/24"), sw.Port("3"), wire)
	rs.MustExec("usvs realserver up --vip 10.0.0.100 --mode tun")
	lvs.MustExec("ipvsadm -A -u 10.0.0.100:53 -s rr")
	lvs.MustExec("ipvsadm -a -u 10.0.0.100:53 -r 10.0.0.2 " + method)
	server, err := rs.UDP(netip.MustParseAddrPort("0.0.0.0:53"))
	if err != nil {
		tb.Fatal(err)
	}
	arrived = new(int)
	server.OnReceive = func(netsim.Datagram) { *arrived++ }
	if client, err = c.UDP(netip.AddrPort{}); err != nil {
		tb.Fatal(err)
	}
	return n, client, arrived
}

// BenchmarkSimulatedDR measures frames from a client by way of a switch, a
// director and the switch again to a real server: four link deliveries each.
func BenchmarkSimulatedDR(b *testing.B) { simulate(b, "-g") }

// BenchmarkSimulatedNAT is the same with masquerading, one way.
func BenchmarkSimulatedNAT(b *testing.B) { simulate(b, "-m") }

// BenchmarkSimulatedTUN is the same with IP in IP.
func BenchmarkSimulatedTUN(b *testing.B) { simulate(b, "-i") }

func simulate(b *testing.B, method string) {
	n, client, arrived := lan(b, method)
	vip := netip.MustParseAddrPort("10.0.0.100:53")
	payload := make([]byte, 64)
	send := func() {
		if err := client.Send(vip, payload); err != nil {
			b.Fatal(err)
		}
	}
	send()
	n.Run(time.Second)
	*arrived = 0
	before := n.Stats().Deliveries
	start := time.Now()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		send()
		n.Run(time.Microsecond)
	}
	n.Run(time.Millisecond)
	b.StopTimer()
	if *arrived != b.N {
		b.Fatalf("%d of %d frames arrived", *arrived, b.N)
	}
	seconds := time.Since(start).Seconds()
	b.ReportMetric(float64(b.N)/seconds, "frames/s")
	b.ReportMetric(float64(n.Stats().Deliveries-before)/seconds, "deliveries/s")
}

// BenchmarkStart measures how long a network of 3 directors and 100 servers
// takes to be built and to make its first second of virtual time.
func BenchmarkStart(b *testing.B) {
	for range b.N {
		n := netsim.New(1)
		sw := n.Switch("sw")
		for i := range 100 {
			h := n.Host("rs" + string(rune('A'+i/10)) + string(rune('0'+i%10)))
			addr := netip.AddrFrom4([4]byte{10, 0, 1, byte(i + 1)})
			n.Link(h.NIC("eth0", addr.String()+"/16"), sw.NextPort())
			h.MustExec("usvs realserver up --vip 10.0.0.100")
		}
		for _, name := range []string{"lvs1", "lvs2", "lvs3"} {
			d := n.Director(name)
			n.Link(d.NIC("eth0", "10.0.0."+name[3:]+"/16"), sw.NextPort())
		}
		n.Run(time.Second)
	}
}
