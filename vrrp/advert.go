package vrrp

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"net/netip"
	"time"

	"usvs/wire"
)

const (
	protoVRRP     = 112
	headerLen     = 8
	authLen       = 8  // behind the addresses of version 2 over IPv4, always
	ahLen         = 24 // authentication header with 12 bytes of ICV
	icvLen        = 12
	trafficClass  = 0xc0
	advertisement = 1
)

// advert is one VRRP advertisement, and what carries it.
type advert struct {
	version  int
	vrid     int
	priority int
	auth     Auth
	interval time.Duration
	addrs    []netip.Addr
	password [authLen]byte // with Pass

	src, dst netip.Addr
	ttl      int
	id       uint16 // IPv4 identification
	seq      uint32 // of the authentication header
	unicast  bool
	sumDst   netip.Addr // what the checksum has for a destination, if not dst
}

// packet is the advert as a complete IP packet. An authentication header is
// made with key.
func (a *advert) packet(key [authLen]byte) []byte {
	if a.src.Is6() {
		return a.packet6()
	}
	return a.packet4(key)
}

func (a *advert) packet6() []byte {
	b := make([]byte, wire.IPv6Len, wire.IPv6Len+headerLen+16*len(a.addrs))
	b = a.appendMessage(b)
	ip := wire.IPv6(b)
	ip.SetFlow(trafficClass, 0)
	ip.SetPayloadLen(len(b) - wire.IPv6Len)
	ip.SetNextHeader(protoVRRP)
	ip.SetHopLimit(uint8(a.ttl))
	ip.SetSrc(a.src)
	ip.SetDst(a.dst)
	return b
}

func (a *advert) packet4(key [authLen]byte) []byte {
	b := make([]byte, wire.IPv4Len, wire.IPv4Len+ahLen+headerLen+4*len(a.addrs)+authLen)
	proto := uint8(protoVRRP)
	if a.auth == AH {
		proto = wire.ProtoAH
		b = b[:wire.IPv4Len+ahLen]
	}
	b = a.appendMessage(b)
	b[0] = 0x45
	ip := wire.IPv4(b)
	ip.SetTOS(trafficClass)
	ip.SetTotalLen(len(b))
	ip.SetID(a.id)
	ip.SetTTL(uint8(a.ttl))
	ip.SetProto(proto)
	ip.SetSrc(a.src)
	ip.SetDst(a.dst)
	ip.UpdateChecksum()
	if a.auth == AH {
		a.fillAH(b, key)
	}
	return b
}

// appendMessage appends what RFC 3768, 5.1 or RFC 5798, 5.1 draws.
func (a *advert) appendMessage(b []byte) []byte {
	start := len(b)
	b = append(b, byte(a.version<<4|advertisement), byte(a.vrid), byte(a.priority), byte(len(a.addrs)))
	if a.version == 2 {
		b = append(b, byte(a.auth), byte(a.interval/time.Second), 0, 0)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(a.interval/(10*time.Millisecond))&0xfff)
		b = append(b, 0, 0)
	}
	for _, addr := range a.addrs {
		b = append(b, addr.AsSlice()...)
	}
	if a.version == 2 && a.src.Is4() {
		b = append(b, a.password[:]...)
	}
	dst := a.dst
	if a.sumDst.IsValid() {
		dst = a.sumDst
	}
	sum := checksum(b[start:], a.version, a.src, dst)
	binary.BigEndian.PutUint16(b[start+6:], sum)
	return b
}

// checksum is the Internet checksum of a message; over a correct one it is 0.
// Version 2 over IPv4 has no pseudo header (RFC 3768, 5.3.8).
func checksum(msg []byte, version int, src, dst netip.Addr) uint16 {
	if version == 2 && src.Is4() {
		return wire.Checksum(msg)
	}
	return ^wire.Fold(wire.Sum(msg, wire.PseudoSum(src, dst, protoVRRP, len(msg))))
}

// fillAH writes the authentication header behind the IPv4 header of b.
func (a *advert) fillAH(b []byte, key [authLen]byte) {
	ah := b[wire.IPv4Len:]
	ah[0], ah[1] = protoVRRP, ahLen/4-2
	copy(ah[4:8], a.src.AsSlice()) // keepalived's SPI is the source address
	binary.BigEndian.PutUint32(ah[8:], a.seq)
	icv := icvOf(b, wire.IPv4Len, key, a.unicast)
	copy(ah[icvLen:], icv[:])
}

// icvOf is the HMAC-MD5 over an IPv4 packet with a header of hlen bytes, the
// mutable fields of which count as zero (RFC 2402, 3.3.3.1.1). The TTL counts
// as sent in multicast, as keepalived has it.
func icvOf(packet []byte, hlen int, key [authLen]byte, unicast bool) (icv [icvLen]byte) {
	head := append([]byte(nil), packet[:hlen+ahLen]...)
	head[1], head[6], head[7], head[10], head[11] = 0, 0, 0, 0, 0
	if unicast {
		head[8] = 0
	}
	clear(head[hlen+icvLen:])
	mac := hmac.New(md5.New, key[:])
	mac.Write(head)
	mac.Write(packet[hlen+ahLen:])
	copy(icv[:], mac.Sum(nil))
	return icv
}
