package vrrp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"usvs/clock"
	"usvs/wire"
)

// received is an IP packet with VRRP in it, cut into its parts. Every length
// has been checked: header is complete, msg at least headerLen long.
type received struct {
	iface    string
	packet   []byte // from the IP header to the end of what came in
	hlen     int    // of the IPv4 header; 0 over IPv6, where it does not count
	ah       []byte // authentication header, nil if there is none
	msg      []byte // VRRP message, its trailer included
	src, dst netip.Addr
	ttl      int
}

func (p *received) v6() bool { return p.dst.Is6() }
func (p *received) vrid() int {
	return int(p.msg[1])
}

// unpack cuts a packet into its parts. Packets that are not VRRP it refuses in
// silence, VRRP that is too short with what to say about it.
func unpack(iface string, b []byte) (p received, complaint string, ok bool) {
	p = received{iface: iface, packet: b}
	if len(b) > 0 && b[0]>>4 == 6 {
		return unpack6(p)
	}
	return unpack4(p)
}

func unpack4(p received) (received, string, bool) {
	b := wire.IPv4(p.packet)
	if len(b) < wire.IPv4Len || b[0]>>4 != 4 || b.HeaderLen() < wire.IPv4Len || b.FragWord()&0x3fff != 0 {
		return p, "", false
	}
	p.hlen, p.src, p.dst, p.ttl = b.HeaderLen(), b.Src(), b.Dst(), int(b.TTL())
	behind := p.hlen
	switch b.Proto() {
	case protoVRRP:
		if len(b) < behind+headerLen {
			return p, fmt.Sprintf("IPv4 VRRP packet too short - %d bytes", len(b)), false
		}
	case wire.ProtoAH:
		behind += ahLen
		if len(b) < behind+headerLen {
			return p, fmt.Sprintf("IPv4 VRRP packet with AH too short - %d bytes", len(b)), false
		}
		p.ah = b[p.hlen:behind]
		if p.ah[0] != protoVRRP {
			return p, "", false
		}
	default:
		return p, "", false
	}
	p.msg = b[behind:]
	return p, "", true
}

func unpack6(p received) (received, string, bool) {
	b := wire.IPv6(p.packet)
	if len(b) < wire.IPv6Len || b.NextHeader() != protoVRRP {
		return p, "", false
	}
	if len(b) < wire.IPv6Len+headerLen {
		return p, fmt.Sprintf("IPv6 VRRP packet too short - %d bytes", len(b)-wire.IPv6Len), false
	}
	p.src, p.dst, p.ttl, p.msg = b.Src(), b.Dst(), int(b.HopLimit()), b[wire.IPv6Len:]
	return p, "", true
}

// decode reads a message's fields; what is checked is check's affair.
func (p *received) decode() advert {
	m := p.msg
	a := advert{
		version: int(m[0] >> 4), vrid: int(m[1]), priority: int(m[2]),
		src: p.src, dst: p.dst, ttl: p.ttl,
	}
	if a.version == 2 {
		a.auth, a.interval = Auth(m[4]), time.Duration(m[5])*time.Second
	} else {
		a.interval = time.Duration(binary.BigEndian.Uint16(m[4:])&0xfff) * 10 * time.Millisecond
	}
	size := 4
	if p.v6() {
		size = 16
	}
	for rest := m[headerLen:]; len(a.addrs) < int(m[3]) && len(rest) >= size; rest = rest[size:] {
		addr, _ := netip.AddrFromSlice(rest[:size])
		a.addrs = append(a.addrs, addr)
	}
	if p.ah != nil {
		a.seq = binary.BigEndian.Uint32(p.ah[8:])
	}
	return a
}

// rejection is why an instance does not believe a packet: what it counts and
// what it says. The zero rejection is none.
type rejection struct {
	count *uint64
	level Level
	text  string
}

// check holds a packet against the instance, in keepalived's order, and
// returns the advert if the instance believes it.
func (i *instance) check(now clock.Instant, p *received) (a advert, ok bool) {
	a = p.decode()
	for _, step := range checks {
		if no := step(i, p, &a); no.count != nil {
			*no.count++
			if no.text != "" {
				i.remark(now, no.level, "%s", no.text)
			}
			return a, false
		}
	}
	i.stats.Received++
	return a, true
}

// checks in the order in which keepalived makes them.
var checks = []func(*instance, *received, *advert) rejection{
	(*instance).checkState,
	(*instance).checkKind6,
	(*instance).checkAH,
	(*instance).checkLength,
	(*instance).checkTTL,
	(*instance).checkVersion,
	(*instance).checkAuth,
	(*instance).checkInterval,
	(*instance).checkType,
	(*instance).checkCount,
	(*instance).checkTotal,
	(*instance).checkSum,
	(*instance).checkKind,
	(*instance).checkAddresses,
	(*instance).checkPeer,
}

func reject(count *uint64, format string, args ...any) rejection {
	return rejection{count, Info, fmt.Sprintf(format, args...)}
}

func (i *instance) checkState(*received, *advert) rejection {
	if i.state != Backup && i.state != Master {
		return rejection{count: &i.stats.Inactive}
	}
	return rejection{}
}

func (i *instance) checkKind6(p *received, _ *advert) rejection {
	if !p.v6() || p.dst.IsMulticast() != i.unicast() {
		return rejection{}
	}
	return rejection{&i.stats.Destination, Detail,
		fmt.Sprintf("discarding %sicast packet on %sicast instance", kind(!p.dst.IsMulticast()), kind(i.unicast()))}
}

func (i *instance) checkKind(p *received, _ *advert) rejection {
	if p.dst.IsMulticast() != i.unicast() {
		return rejection{}
	}
	return reject(&i.stats.Destination, "Expected %sicast packet but received %sicast packet",
		kind(i.unicast()), kind(!p.dst.IsMulticast()))
}

func kind(unicast bool) string {
	if unicast {
		return "un"
	}
	return "mult"
}

func (i *instance) checkAH(p *received, _ *advert) rejection {
	switch {
	case p.ah != nil && i.Auth != AH:
		return reject(&i.stats.AuthType, "Received AH header but auth type not AH")
	case p.ah == nil && i.Auth == AH:
		return reject(&i.stats.AuthType, "No AH header but auth type is AH")
	}
	return rejection{}
}

// checkLength goes by the version of the packet: that of another version is
// long enough to be told so.
func (i *instance) checkLength(p *received, _ *advert) rejection {
	want, size := p.hlen+len(p.ah)+headerLen, 4
	if p.v6() {
		size = 16
	}
	want += int(p.msg[3]) * size
	if p.msg[0]>>4 == 2 && !p.v6() {
		want += authLen
	}
	have, word := p.hlen+len(p.ah)+len(p.msg), "long"
	if have == want {
		return rejection{}
	}
	if have < want {
		word = "short"
	}
	return reject(&i.stats.PacketLength, "vrrp packet too %s, length %d and expect %d", word, have, want)
}

func (i *instance) checkTTL(p *received, _ *advert) rejection {
	if i.unicast() || p.ttl == 255 {
		return rejection{}
	}
	return reject(&i.stats.TTL, "invalid TTL/HL. Received %d and expect 255", p.ttl)
}

func (i *instance) checkVersion(_ *received, a *advert) rejection {
	if a.version == i.Version {
		return rejection{}
	}
	return reject(&i.stats.Version, "wrong version. Received %d and expect %d", a.version, i.Version)
}

func (i *instance) checkInterval(_ *received, a *advert) rejection {
	if i.Version != 2 || a.interval == i.AdvertInterval {
		return rejection{}
	}
	return reject(&i.stats.AdvertInterval, "advertisement interval mismatch mine=%d sec rcv'd=%d sec",
		i.AdvertInterval/time.Second, a.interval/time.Second)
}

func (i *instance) checkType(p *received, _ *advert) rejection {
	if t := p.msg[0] & 0xf; t != advertisement {
		return reject(&i.stats.Type, "Invalid packet type. %d and expect %d", t, advertisement)
	}
	return rejection{}
}

// trusts reports whether skip_check_adv_addr spares a packet from the checks
// of its addresses: a backup has checked the same master's before.
func (i *instance) trusts(p *received) bool {
	return i.SkipCheckAdvAddr && i.state == Backup && i.master == p.src
}

func (i *instance) checkCount(p *received, a *advert) rejection {
	if i.trusts(p) || len(a.addrs) == len(i.Addresses) {
		return rejection{}
	}
	return reject(&i.stats.AddressList, "received an unexpected ip number count %d, expected %d!", len(a.addrs), len(i.Addresses))
}

func (i *instance) checkTotal(p *received, _ *advert) rejection {
	if p.v6() {
		return rejection{}
	}
	if total := wire.IPv4(p.packet).TotalLen(); total != len(p.packet) {
		return reject(&i.stats.PacketLength, "ip_tot_len mismatch against received length. %d and received %d", total, len(p.packet))
	}
	return rejection{}
}

func (i *instance) checkSum(p *received, _ *advert) rejection {
	if checksum(p.msg, i.Version, p.src, p.dst) == 0 || i.oldSum(p) {
		return rejection{}
	}
	return reject(&i.stats.Checksum, "Invalid VRRPv%d checksum", i.Version)
}

// oldSum reports whether the sum is what keepalived up to 1.3.6 made it in
// unicast: over the multicast address. The instance then does so, too.
func (i *instance) oldSum(p *received) bool {
	if i.Version != 3 || !i.unicast() || p.v6() || checksum(p.msg, 3, p.src, multicast4) != 0 {
		return false
	}
	if !i.oldUnicastSum {
		i.oldUnicastSum = true
		i.logf(Info, "Setting unicast VRRPv3 checksum to old version")
	}
	return true
}

func (i *instance) checkAddresses(p *received, a *advert) rejection {
	if i.trusts(p) {
		return rejection{}
	}
	for _, own := range i.Addresses {
		if !slices.Contains(a.addrs, own.Prefix.Addr()) {
			return reject(&i.stats.AddressList, "ip address associated with VRID %d not present in MASTER advert: %s", i.VRID, own.Prefix.Addr())
		}
	}
	return rejection{}
}

// checkPeer holds a unicast packet's source and TTL against the peers, if any
// of that is configured.
func (i *instance) checkPeer(p *received, _ *advert) rejection {
	if !i.unicast() || !i.checksPeers || i.trusts(p) {
		return rejection{}
	}
	k := slices.IndexFunc(i.Peers, func(peer Peer) bool { return peer.Addr == p.src })
	if k < 0 {
		return reject(&i.stats.Peer, "unicast source address %s not a unicast peer", p.src)
	}
	low, high := max(i.Peers[k].MinTTL, 0), i.Peers[k].MaxTTL
	if high <= 0 {
		high = 255
	}
	if p.ttl < low || p.ttl > high {
		return reject(&i.stats.TTL, "TTL/HL %d not in range %d - %d", p.ttl, low, high)
	}
	return rejection{}
}
