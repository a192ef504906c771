package vrrp

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"usvs/wire"
)

// reseal makes an IPv4 packet's checksums right after a change to it.
func reseal(b []byte) {
	msg := b[wire.IPv4Len:]
	binary.BigEndian.PutUint16(msg[6:], 0)
	p := wire.IPv4(b)
	binary.BigEndian.PutUint16(msg[6:], checksum(msg, int(msg[0]>>4), p.Src(), p.Dst()))
}

func TestReceiveChecksInOrder(t *testing.T) {
	pass := func(i *Instance) { i.Auth, i.Password = Pass, "1111" }
	ah := func(i *Instance) { i.Auth, i.Password = AH, "1111" }
	v3 := func(i *Instance) { i.Version = 3 }
	unicast := func(i *Instance) {
		i.Source = netip.MustParseAddr("10.9.0.5")
		i.Peers = []Peer{{Addr: netip.MustParseAddr("10.9.0.4"), MinTTL: 250, MaxTTL: 253}}
	}
	toUs := func(a *advert) { a.dst, a.unicast = netip.MustParseAddr("10.9.0.5"), true }
	both := func(f ...func(*advert)) func(*advert) {
		return func(a *advert) {
			for _, g := range f {
				g(a)
			}
		}
	}
	ttl := func(n int) func(*advert) { return func(a *advert) { a.ttl = n } }
	for _, c := range []struct {
		name   string
		own    func(*Instance)
		send   func(*advert)
		spoil  func([]byte) []byte
		log    string // empty: accepted
		counts func(Stats) uint64
	}{
		{name: "good"},
		{name: "good PASS", own: pass},
		{name: "good AH", own: ah},
		{name: "good version 3", own: v3},
		{name: "good unicast", own: unicast, send: both(toUs, ttl(251))},
		{name: "AH header not wanted", send: func(a *advert) { a.auth = AH },
			log: "(VI_1) Received AH header but auth type not AH", counts: func(s Stats) uint64 { return s.AuthType }},
		{name: "AH header missing", own: ah, send: func(a *advert) { a.auth = NoAuth },
			log: "(VI_1) No AH header but auth type is AH", counts: func(s Stats) uint64 { return s.AuthType }},
		{name: "too long", spoil: func(b []byte) []byte { return append(b, 0) },
			log: "(VI_1) vrrp packet too long, length 45 and expect 44", counts: func(s Stats) uint64 { return s.PacketLength }},
		{name: "too short", spoil: func(b []byte) []byte { return b[:len(b)-1] },
			log: "(VI_1) vrrp packet too short, length 43 and expect 44", counts: func(s Stats) uint64 { return s.PacketLength }},
		{name: "fewer addresses than said", spoil: func(b []byte) []byte { b[23] = 255; return b },
			log: "(VI_1) vrrp packet too short, length 44 and expect 1056", counts: func(s Stats) uint64 { return s.PacketLength }},
		{name: "routed", send: ttl(254),
			log: "(VI_1) invalid TTL/HL. Received 254 and expect 255", counts: func(s Stats) uint64 { return s.TTL }},
		{name: "version 3 for 2", send: func(a *advert) { a.version = 3 },
			log: "(VI_1) wrong version. Received 3 and expect 2", counts: func(s Stats) uint64 { return s.Version }},
		{name: "version 2 for 3", own: v3, send: func(a *advert) { a.version = 2 },
			log: "(VI_1) wrong version. Received 2 and expect 3", counts: func(s Stats) uint64 { return s.Version }},
		{name: "no password", own: pass, send: func(a *advert) { a.auth = NoAuth },
			log: "(VI_1) received a 0 auth, expecting 1!", counts: func(s Stats) uint64 { return s.AuthType }},
		{name: "unknown authentication", send: func(a *advert) { a.auth = 9 },
			log: "(VI_1) received a 9 auth, expecting 0!", counts: func(s Stats) uint64 { return s.AuthType }},
		{name: "wrong password", own: pass, send: func(a *advert) { a.password = keyOf("1112") },
			log: "(VI_1) received an invalid passwd!", counts: func(s Stats) uint64 { return s.AuthFailure }},
		{name: "forged", own: ah, spoil: func(b []byte) []byte { b[35] ^= 1; return b },
			log: "(VI_1) IPSEC-AH : invalid IPSEC HMAC-MD5 value. Due to fields mutation or bad password !", counts: func(s Stats) uint64 { return s.AuthFailure }},
		{name: "replayed", own: ah, send: func(a *advert) { a.seq = 0 },
			log: "(VI_1) IPSEC-AH : sequence number 0 already processed. Packet dropped. Local(0)", counts: func(s Stats) uint64 { return s.AuthFailure }},
		{name: "another interval", send: func(a *advert) { a.interval = 2 * time.Second },
			log: "(VI_1) advertisement interval mismatch mine=1 sec rcv'd=2 sec", counts: func(s Stats) uint64 { return s.AdvertInterval }},
		{name: "another type", spoil: func(b []byte) []byte { b[20] = 0x22; reseal(b); return b },
			log: "(VI_1) Invalid packet type. 2 and expect 1", counts: func(s Stats) uint64 { return s.Type }},
		{name: "another count", send: func(a *advert) { a.addrs = a.addrs[:1] },
			log: "(VI_1) received an unexpected ip number count 1, expected 2!", counts: func(s Stats) uint64 { return s.AddressList }},
		{name: "another total length", spoil: func(b []byte) []byte { wire.IPv4(b).SetTotalLen(40); return b },
			log: "(VI_1) ip_tot_len mismatch against received length. 40 and received 44", counts: func(s Stats) uint64 { return s.PacketLength }},
		{name: "damaged", spoil: func(b []byte) []byte { b[30] ^= 4; return b },
			log: "(VI_1) Invalid VRRPv2 checksum", counts: func(s Stats) uint64 { return s.Checksum }},
		{name: "damaged version 3", own: v3, spoil: func(b []byte) []byte { b[30] ^= 4; return b },
			log: "(VI_1) Invalid VRRPv3 checksum", counts: func(s Stats) uint64 { return s.Checksum }},
		{name: "multicast for unicast", own: unicast,
			log: "(VI_1) Expected unicast packet but received multicast packet", counts: func(s Stats) uint64 { return s.Destination }},
		{name: "unicast for multicast", send: toUs,
			log: "(VI_1) Expected multicast packet but received unicast packet", counts: func(s Stats) uint64 { return s.Destination }},
		{name: "another address", send: func(a *advert) { a.addrs = addrs("10.9.0.100", "10.9.0.102") },
			log: "(VI_1) ip address associated with VRID 51 not present in MASTER advert: 10.9.0.101", counts: func(s Stats) uint64 { return s.AddressList }},
		{name: "not a peer", own: unicast, send: both(toUs, func(a *advert) { a.src = netip.MustParseAddr("10.9.0.3") }),
			log: "(VI_1) unicast source address 10.9.0.3 not a unicast peer", counts: func(s Stats) uint64 { return s.Peer }},
		{name: "peer too far", own: unicast, send: both(toUs, ttl(249)),
			log: "(VI_1) TTL/HL 249 not in range 250 - 253", counts: func(s Stats) uint64 { return s.TTL }},
		{name: "peer too near", own: unicast, send: both(toUs, ttl(254)),
			log: "(VI_1) TTL/HL 254 not in range 250 - 253", counts: func(s Stats) uint64 { return s.TTL }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Backup, c.own)
			i := r.instances[0]
			cfg := i.Instance
			a := advert{
				version: cfg.Version, vrid: 51, priority: 200, auth: cfg.Auth, interval: time.Second,
				src: netip.MustParseAddr("10.9.0.4"), dst: multicast4, ttl: 255, id: 7, seq: 1,
				addrs: addrs("10.9.0.100", "10.9.0.101"),
			}
			if a.auth == Pass {
				a.password = cfg.key()
			}
			if c.send != nil {
				c.send(&a)
			}
			b := a.packet(cfg.key())
			if c.spoil != nil {
				b = c.spoil(b)
			}
			r.log, i.deadline = nil, 1<<60
			r.Handle(r.now, Packet{Interface: "eth0", IP: b})
			if c.log == "" {
				require.Empty(t, r.log)
				require.EqualValues(t, 1, i.stats.Received)
				require.Less(t, i.deadline, r.now.Add(5*time.Second), "believed")
				return
			}
			require.Equal(t, []string{c.log}, r.log)
			require.EqualValues(t, 1, c.counts(i.stats))
			require.Zero(t, i.stats.Received)
			require.EqualValues(t, 1<<60, i.deadline, "an invalid packet does not move the deadline")
		})
	}
}

func TestWhatIsNotForAnInstanceIsIgnored(t *testing.T) {
	r := newRig(t, Backup, nil)
	r.Router.cfg.LogUnknownVRIDs = true
	r.log = nil
	good := func() []byte {
		a := vectors[0].a
		return a.packet([authLen]byte{})
	}
	r.Handle(r.now, Packet{Interface: "eth1", IP: good()})
	b := good()
	b[21] = 77
	r.Handle(r.now, Packet{Interface: "eth0", IP: b})
	fragment := good()
	fragment[6] = 0x20
	r.Handle(r.now, Packet{Interface: "eth0", IP: fragment})
	r.Handle(r.now, Packet{Interface: "eth0", IP: good()[:27]})
	r.Handle(r.now, Packet{Interface: "eth0"})
	require.Equal(t, []string{
		"Unknown VRID(51) received on interface(eth1). ignoring...",
		"Unknown VRID(77) received on interface(eth0). ignoring...",
		"IPv4 VRRP packet too short - 27 bytes",
	}, r.log)

	r.log = nil
	six, ah := vectors[3].a.packet(keyOf("")), vectors[4].a.packet(keyOf("abc"))
	r.Handle(r.now, Packet{Interface: "eth0", IP: six[:wire.IPv6Len+7]})
	r.Handle(r.now, Packet{Interface: "eth0", IP: six[:wire.IPv6Len-1]})
	r.Handle(r.now, Packet{Interface: "eth0", IP: ah[:51]})
	ah[20] = 50 // something else in it
	r.Handle(r.now, Packet{Interface: "eth0", IP: ah})
	other := good()
	other[9] = 6 // TCP
	r.Handle(r.now, Packet{Interface: "eth0", IP: other})
	require.Equal(t, []string{"IPv6 VRRP packet too short - 7 bytes", "IPv4 VRRP packet with AH too short - 51 bytes"}, r.log)
}

func TestSkipCheckAdvAddrTrustsTheSameMaster(t *testing.T) {
	r := newRig(t, Backup, func(i *Instance) { i.SkipCheckAdvAddr = true })
	fewer := func(a *advert) { a.addrs = a.addrs[:1] }
	r.hear("10.9.0.9", 200, fewer)
	require.EqualValues(t, 1, r.instances[0].stats.AddressList, "not known yet")
	r.hear("10.9.0.9", 200, nil)
	r.hear("10.9.0.9", 200, fewer)
	require.EqualValues(t, 2, r.instances[0].stats.Received)
	r.hear("10.9.0.8", 200, fewer)
	require.EqualValues(t, 2, r.instances[0].stats.AddressList, "another")
}

// Old keepalived summed over the multicast address in unicast.
func TestOldUnicastChecksum(t *testing.T) {
	r := newRig(t, Backup, func(i *Instance) {
		i.Version, i.Source, i.Peers = 3, netip.MustParseAddr("10.9.0.5"), []Peer{{Addr: netip.MustParseAddr("10.9.0.4")}}
	})
	r.log = nil
	r.hear("10.9.0.4", 100, func(a *advert) { a.dst, a.sumDst = netip.MustParseAddr("10.9.0.5"), multicast4 })
	require.Contains(t, r.log, "(VI_1) Setting unicast VRRPv3 checksum to old version")
	require.EqualValues(t, 1, r.instances[0].stats.Received)
	r.now = r.instances[0].deadline
	r.Tick(r.now)
	b := r.sent[0].packet
	require.Zero(t, checksum(b[wire.IPv4Len:], 3, netip.MustParseAddr("10.9.0.5"), multicast4))
}

func TestComplaintsAreLimited(t *testing.T) {
	r := newRig(t, Backup, nil)
	r.log = nil
	for range 1000 {
		r.hear("10.9.0.9", 200, func(a *advert) { a.ttl = 1 })
	}
	require.Len(t, r.log, 10)
	require.EqualValues(t, 1000, r.instances[0].stats.TTL)
	r.now = r.now.Add(time.Second)
	r.hear("10.9.0.9", 200, func(a *advert) { a.ttl = 1 })
	require.Len(t, r.log, 11)
}

func TestMulticastForAUnicastInstanceOverIPv6(t *testing.T) {
	r := newRig(t, Backup, func(i *Instance) {
		i.IPv6, i.Addresses, i.Peers = true, prefixes("fe80::1"), []Peer{{Addr: netip.MustParseAddr("fe80::4")}}
	})
	r.log = nil
	r.hear("fe80::4", 200, nil)
	require.Equal(t, []string{"(VI_1) discarding multicast packet on unicast instance"}, r.log)
	require.EqualValues(t, 1, r.instances[0].stats.Destination)
}

// gopacket reads what we write.
func TestGopacketReadsOurAdverts(t *testing.T) {
	for _, v := range vectors {
		if v.a.auth == AH || v.a.version != 2 {
			continue // gopacket knows version 2 only
		}
		t.Run(v.name, func(t *testing.T) {
			a := v.a
			if a.auth == Pass {
				a.password = keyOf(v.key)
			}
			p := gopacket.NewPacket(a.packet(keyOf(v.key)), layers.LayerTypeIPv4, gopacket.Default)
			require.Nil(t, p.ErrorLayer())
			l, ok := p.Layer(layers.LayerTypeVRRP).(*layers.VRRPv2)
			require.True(t, ok)
			require.EqualValues(t, a.vrid, l.VirtualRtrID)
			require.EqualValues(t, a.priority, l.Priority)
			require.EqualValues(t, a.auth, l.AuthType)
			require.EqualValues(t, 1, l.AdverInt)
			require.Len(t, l.IPAddress, len(a.addrs))
			for k, addr := range a.addrs {
				require.Equal(t, addr.String(), l.IPAddress[k].String())
			}
		})
	}
}

// FuzzHandle: no packet panics, takes anything away or is answered by much.
func FuzzHandle(f *testing.F) {
	for _, v := range vectors {
		a := v.a
		f.Add(a.packet(keyOf(v.key)), true)
		f.Add(a.packet(keyOf(v.key)), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, master bool) {
		cfg := Config{LogUnknownVRIDs: true}
		for _, v := range vectors {
			i := Instance{
				Name: v.name, Interface: "eth0", VRID: v.a.vrid, Version: v.a.version, IPv6: v.a.src.Is6(),
				Auth: v.a.auth, Password: v.key, AdvertInterval: v.a.interval, GARP: defaultGARP,
			}
			for _, a := range v.a.addrs {
				i.Addresses = append(i.Addresses, Address{Prefix: netip.PrefixFrom(a, a.BitLen())})
			}
			if v.a.unicast {
				i.Source, i.Peers = v.a.dst, []Peer{{Addr: v.a.src}}
			}
			cfg.Instances = append(cfg.Instances, i)
		}
		fx := newRecorder()
		r := New(&cfg, fx)
		face := faceOf(5)
		face.Addrs = append(face.Addrs, netip.MustParsePrefix("10.9.0.2/24"))
		r.SetInterface(second, face)
		r.Start(second)
		now := second
		if master {
			now = now.Add(10 * time.Second)
			r.Tick(now)
		}
		fx.said = nil
		r.Handle(now, Packet{Interface: "eth0", IP: b})
		said := fx.took()
		require.LessOrEqual(t, len(said), 40, "%s", strings.Join(said, "\n"))
		if p, _, ok := unpack("eth0", b); ok {
			a := p.decode()
			require.LessOrEqual(t, len(a.addrs), 255)
			requireEncodesBack(t, &p, a)
		}
		if next := r.Tick(now); next <= now {
			t.Fatalf("Tick(%d) returned %d", now, next)
		}
	})
}

// requireEncodesBack: a message of the right length and sum, with nothing in it
// that this package does not know, is what its advert encodes to.
func requireEncodesBack(t *testing.T, p *received, a advert) {
	m := p.msg
	size := headerLen + int(m[3])*4
	if p.v6() {
		size = headerLen + int(m[3])*16
	}
	plain := m[0]&0xf == advertisement && (a.version == 3 && m[4]>>4 == 0 && len(m) == size ||
		a.version == 2 && !p.v6() && len(m) == size+authLen)
	if !plain || checksum(m, a.version, p.src, p.dst) != 0 || binary.BigEndian.Uint16(m[6:]) == 0xffff {
		return
	}
	if a.version == 2 {
		a.password = [authLen]byte(m[len(m)-authLen:])
	}
	require.Equal(t, m, a.appendMessage(nil))
}
