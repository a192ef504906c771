package arp

import (
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"usvs/wire"
)

// FuzzHandle: no frame makes the cache panic, answer for what it does not own,
// or emit something gopacket cannot read.
func FuzzHandle(f *testing.F) {
	f.Add(request(peerMAC, rip, vip))
	f.Add(reply(peerMAC, rip, dip))
	f.Add(solicitation().bytes())
	f.Add(advertisement().bytes())
	f.Add(query(zero6, link6.Next(), 1))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 2000 {
			return
		}
		c, out, _ := newCache(t, Config{Capacity: 16})
		c.Announce(start, 0, vip6)
		c.Resolve(start, 0, rip, payload(0), out)
		c.Resolve(start, 0, rip6, payload(0), out)
		out.take()
		receive(c, start, raw, out)
		now := start
		for range 20 {
			now = max(c.Tick(now, out), now) // ends at Never
			if now > start.Add(time.Hour) {
				break
			}
		}
		for _, f := range out.sent {
			checkEmitted(t, f)
		}
	})
}

func checkEmitted(t *testing.T, f *wire.Frame) {
	b := f.Bytes()
	if wire.EthernetHeader(b).Type() == wire.TypeIPv4 {
		return // the queued payload
	}
	pkt := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
	if e := pkt.ErrorLayer(); e != nil {
		t.Fatalf("emitted %x: %v", b, e.Error())
	}
	if a, ok := pkt.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
		if a.Operation == opReply && string(a.SourceProtAddress) != string(vip.AsSlice()) {
			t.Fatalf("answered for %v", a.SourceProtAddress)
		}
		return
	}
	if na, ok := pkt.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement); ok {
		if string(na.TargetAddress) != string(vip6.AsSlice()) {
			t.Fatalf("answered for %v", na.TargetAddress)
		}
	}
	var p wire.Packet
	if m := p.Parse(b, wire.Ethernet); m != wire.None {
		t.Fatalf("emitted %x: %v", b, m)
	}
	sum := wire.PseudoSum(p.Src, p.Dst, wire.ProtoICMPv6, len(p.Transport()))
	if wire.Fold(wire.Sum(p.Transport(), sum)) != 0xffff {
		t.Fatalf("emitted %x with a wrong checksum", b)
	}
}
