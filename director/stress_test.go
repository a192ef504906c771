package director

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/link"
	"usvs/marks"
	"usvs/sched"
	"usvs/wire"
)

// everything adds services of every method and kind.
func (b *testbed) everything() {
	b.service(tcpID(vip, 80), ipvs.Masquerade, "10.2.0.11:80", "10.2.0.12:80")
	b.service(tcpID(vip6, 80), ipvs.Tunnel, "[fd00:2::11]:80", "10.2.0.99:80")
	b.service(tcpID(vip, 443), ipvs.DirectRoute, "10.2.0.11:443", "10.2.0.1:443")
	b.edit(persist)
	b.service(udpID(vip, 53), ipvs.Tunnel, "10.2.0.11:53")
	b.snap.Services[3].Servers[0].SetSpec(ipvs.ServerSpec{Method: ipvs.Tunnel, Weight: 1, Tunnel: encapsulations["GUE"]})
	b.service(udpID(vip, 54), ipvs.Masquerade, "10.2.0.12:54")
	b.edit(func(s *ipvs.ServiceSpec) { s.Flags = ipvs.FlagOnePacket })
	b.service(tcpID(vip6, 81), ipvs.Masquerade, "[fd00:2::11]:80")
	b.service(ipvs.ServiceID{Family: ipvs.IPv4, Mark: 7}, ipvs.Masquerade, "10.2.0.12:0")
	b.edit(persist)
	b.snap.Marks4 = rules(b.tb, marks.IPv4, "-t mangle -A PREROUTING -d 10.9.0.1 -p tcp --dport 90:99 -j MARK --set-mark 7")
	b.snap.Sysctls.NATICMPSend, b.snap.Sysctls.SloppyTCP = 1, 1
	b.snap.Hidden = &Hidden{Servers: EndpointsOf(Endpoint{ipvs.TCP, rip1, 80})}
	b.publish()
}

// anyFrame is one of the frames that everything expects, and its port.
func anyFrame(rng *rand.Rand) (port int, data []byte) {
	from := ap(client(rng.IntN(4)), uint16(rng.IntN(20)))
	flags := []uint8{wire.FlagSYN, wire.FlagACK, wire.FlagFIN | wire.FlagACK, wire.FlagRST}[rng.IntN(4)]
	server := []netip.Addr{rip1, rip2}[rng.IntN(2)]
	switch rng.IntN(9) {
	case 0:
		return 0, segment(from, ap(vip, []uint16{80, 443, 95}[rng.IntN(3)]), flags, rng.IntN(1460))
	case 1:
		return 1, segment(ap(server, 80), from, flags, rng.IntN(1460))
	case 2:
		return 0, udp(from, ap(vip, uint16(53+rng.IntN(3))), rng.IntN(1400))
	case 3:
		list := fragments(udp(from, ap(vip, 53), 200), 104)
		return 0, list[rng.IntN(len(list))]
	case 4:
		return 0, segment(ap(cip6, from.Port()), ap(vip6, uint16(80+rng.IntN(2))), flags, 9)
	case 5:
		return 1, segment(netip.MustParseAddrPort("[fd00:2::11]:80"), ap(cip6, from.Port()), flags, 9)
	case 6:
		return 1, icmp(server, from.Addr(), 3, 1, 0, bare(segment(from, ap(server, 80), wire.FlagSYN, 0)))
	case 7:
		return 0, icmp(from.Addr(), vip, 3, 3, 0, bare(segment(ap(vip, 80), from, wire.FlagACK, 0)))
	}
	inner := bare(udp(from, ap(vip, 53), 4))
	outer := packet(dip1, rip1, wire.ProtoUDP, head{}, append(datagram(ap(dip1, 9), ap(rip1, 6080), 0), append([]byte{0, 4, 0, 0}, inner...)...))
	return 1, icmp(server, dip1, 3, uint8(rng.IntN(5)), 1000, outer)
}

// Several workers at once, both directions of the same connections, snapshots
// coming and going, servers deleted and added, time passing: for the
// race detector. In the end the servers' counts are right.
func TestWorkersShareADirector(t *testing.T) {
	b := newTestbed(t)
	b.everything()
	var wg sync.WaitGroup
	for g := range 4 {
		w := b.d.NewWorker()
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 7))
			now := b.now
			var out link.Output
			batch := []*link.Frame{wire.NewFrame(3000), wire.NewFrame(3000)}
			for i := range 1500 {
				for _, f := range batch {
					port, data := anyFrame(rng)
					f.Reset()
					f.SetBytes(data)
					f.Port = port
					wire.EthernetHeader(f.Bytes()).SetDst([]wire.MAC{dirMAC0, dirMAC1}[port])
				}
				now = now.Add(1 << 24) // 17 ms
				out.Reset()
				w.Handle(now, batch, &out)
				if i%16 == 0 {
					w.Tick(now, &out)
				}
			}
		})
	}
	b.churn()
	wg.Wait()
	total := int32(0)
	for _, svc := range b.snap.Services {
		for _, rs := range svc.Servers {
			total += rs.References()
		}
	}
	require.EqualValues(t, b.d.Table.Len(), total, "every connection is counted on its server once")
}

// churn publishes snapshots with and without some of the servers, with and
// without the services, and with other settings.
func (b *testbed) churn() {
	full := b.snap
	for i := range 200 {
		b.snap = full
		b.snap.Services = slices.Clone(full.Services)
		gone := i % len(full.Services)
		svc := *full.Services[gone]
		for _, rs := range svc.Servers {
			rs.SetAvailable(i%3 != 0)
		}
		if i%3 == 0 {
			svc.Servers = nil
		}
		_ = svc.Picker.Update(sched.Bind, svc.Servers, nil)
		b.snap.Services[gone] = &svc
		if i%5 == 0 {
			b.snap.Services = b.snap.Services[:gone]
		}
		b.snap.Sysctls.ExpireNodestConn = i % 2
		b.publish()
		b.d.Counters()
	}
	b.snap = full
}

func FuzzHandle(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		port, data := anyFrame(rng)
		f.Add(data, segment(ap(client(1), 3), ap(vip, 80), wire.FlagSYN, 10), port == 1, uint16(0))
		f.Add(data, data, port == 1, uint16(1400))
	}
	f.Add([]byte{}, []byte{0x45}, false, uint16(1))
	b := newTestbed(f)
	b.everything()
	f.Fuzz(func(t *testing.T, first, second []byte, back bool, gso uint16) {
		b.now = b.now.Add(1 << 28)
		for _, data := range [][]byte{first, second, first} {
			if len(data) > wire.MaxFrame {
				return
			}
			for _, medium := range []wire.Medium{wire.Ethernet, wire.IP} {
				fr := wire.NewFrame(wire.MaxFrame)
				fr.SetBytes(data)
				fr.Medium = medium
				if medium == wire.IP {
					fr.Port = 2
				} else if back {
					fr.Port = 1
				}
				if gso > 0 {
					fr.GSO, fr.GSOSize, fr.Partial, fr.CsumStart, fr.CsumOffset = wire.GSO(gso%4), gso, true, 34, 16
				}
				b.checkVerdict(t, fr)
			}
		}
		b.out.Reset()
		b.w.Tick(b.now, &b.out)
	})
}

// checkVerdict handles a frame, which has to end once, and looks at what leaves.
func (b *testbed) checkVerdict(t *testing.T, f *link.Frame) {
	before := b.verdicts()
	b.handleFrame(f)
	if n := b.verdicts() - before; n != 1 {
		t.Fatalf("%d verdicts, the last %v", n, b.w.seen)
	}
	for _, g := range b.out.Tx {
		var p wire.Packet
		if p.Parse(g.Bytes(), g.Medium) != wire.None {
			t.Fatalf("sent a malformed frame % x", g.Bytes())
		}
		if g.Medium != b.w.medium(g.Port) {
			t.Fatalf("port %d has another medium", g.Port)
		}
	}
}

func (b *testbed) verdicts() (n uint64) {
	for r := range b.w.count.reason {
		n += b.w.count.reason[r].Load()
	}
	return n
}
