package oracle

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"

	"usvs/wire"
)

var tcpFlags = map[rune]byte{'F': 1, 'S': 2, 'R': 4, 'P': 8, 'A': 16, 'U': 32}

var sctpChunks = map[string]struct {
	typ    byte
	length int
}{
	"DATA": {0, 20}, "INIT": {1, 20}, "INIT_ACK": {2, 24}, "SACK": {3, 4}, "HEARTBEAT": {4, 4},
	"HEARTBEAT_ACK": {5, 4}, "ABORT": {6, 4}, "SHUTDOWN": {7, 4}, "SHUTDOWN_ACK": {8, 4},
	"ERROR": {9, 4}, "COOKIE_ECHO": {10, 8}, "COOKIE_ACK": {11, 4}, "ECNE": {12, 4}, "CWR": {13, 4},
	"SHUTDOWN_COMPLETE": {14, 4},
}

// maxPayload is what fits an IPv4 packet besides a TCP header.
const maxPayload = 65535 - wire.IPv4Len - wire.TCPLen

// options are a macro's k=v words.
type options map[string]int

func (o options) get(key string, def int) int {
	if v, ok := o[key]; ok {
		return v
	}
	return def
}

// buildMacro makes the frame that a macro line stands for.
func buildMacro(words []string) (frame []byte, link string, err error) {
	if len(words) == 0 {
		return nil, "", errors.New("a verdict without a frame")
	}
	proto := words[0]
	words = words[1:]
	link = "c"
	if len(words) > 0 && linkNamed(words[0]) != nil {
		link, words = words[0], words[1:]
	}
	kind := ""
	if proto != "udp" && len(words) > 0 {
		kind, words = words[0], words[1:]
	}
	if len(words) < 2 {
		return nil, "", fmt.Errorf("%s wants a source and a destination", proto)
	}
	src, err1 := netip.ParseAddrPort(words[0])
	dst, err2 := netip.ParseAddrPort(words[1])
	if err1 != nil || err2 != nil {
		return nil, "", fmt.Errorf("%s: bad address in %q", proto, words)
	}
	if src.Addr().Is4() != dst.Addr().Is4() {
		return nil, "", fmt.Errorf("%s: %v and %v are of two families", proto, src, dst)
	}
	opts := options{}
	for _, w := range words[2:] {
		k, v, _ := strings.Cut(w, "=")
		n, err := strconv.ParseInt(v, 0, 64)
		if err != nil {
			return nil, "", err
		}
		opts[k] = int(n)
	}
	if n := opts.get("len", 0); n < 0 || n > maxPayload {
		return nil, "", fmt.Errorf("len=%d does not fit a packet", n)
	}
	l, num, err := segment(proto, kind, src, dst, opts)
	if err != nil {
		return nil, "", err
	}
	ip := packet(src.Addr(), dst.Addr(), num, l, opts)
	ends := linkNamed(link)
	return ethernet(ends.gateway, ends.mac, ip), link, nil
}

// ethernet puts a link header in front of a packet.
func ethernet(src, dst wire.MAC, ip []byte) []byte {
	b := make([]byte, wire.EthernetLen, wire.EthernetLen+len(ip))
	h := wire.EthernetHeader(b)
	h.SetSrc(src)
	h.SetDst(dst)
	h.SetType(wire.TypeIPv4)
	if ip[0]>>4 == 6 {
		h.SetType(wire.TypeIPv6)
	}
	return append(b, ip...)
}

// segment makes the transport header and payload.
func segment(proto, kind string, src, dst netip.AddrPort, o options) ([]byte, uint8, error) {
	payload := make([]byte, o.get("len", 0))
	for i := range payload {
		payload[i] = byte(i)
	}
	switch proto {
	case "tcp":
		b := make([]byte, wire.TCPLen)
		var flags byte
		for _, r := range kind {
			flags |= tcpFlags[r]
		}
		binary.BigEndian.PutUint32(b[4:], uint32(o.get("seq", 1000)))
		binary.BigEndian.PutUint32(b[8:], uint32(o.get("ack", 0)))
		b[12], b[13] = 5<<4, flags
		binary.BigEndian.PutUint16(b[14:], uint16(o.get("win", 8192)))
		return sum(append(b, payload...), 16, wire.ProtoTCP, src, dst), wire.ProtoTCP, nil
	case "udp":
		if _, ok := o["len"]; !ok {
			payload = []byte("ping")
		}
		return udpSegment(src, dst, payload), wire.ProtoUDP, nil
	case "sctp":
		c, ok := sctpChunks[kind]
		if !ok {
			return nil, 0, fmt.Errorf("unknown SCTP chunk %q", kind)
		}
		b := make([]byte, wire.SCTPLen+c.length)
		ports(b, src, dst)
		if kind != "INIT" {
			binary.BigEndian.PutUint32(b[4:], 0x11223344)
		}
		b[12] = c.typ
		if kind == "DATA" {
			b[13] = 3 // unfragmented
		}
		for i := range c.length - 4 {
			b[wire.SCTPLen+4+i] = byte(i)
		}
		binary.BigEndian.PutUint16(b[14:], uint16(c.length))
		binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
		return b, wire.ProtoSCTP, nil
	}
	return nil, 0, fmt.Errorf("unknown macro %q", proto)
}

func ports(b []byte, src, dst netip.AddrPort) {
	binary.BigEndian.PutUint16(b, src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
}

func sum(b []byte, at int, proto uint8, src, dst netip.AddrPort) []byte {
	ports(b, src, dst)
	c := ^wire.Fold(wire.Sum(b, wire.PseudoSum(src.Addr(), dst.Addr(), proto, len(b))))
	if proto == wire.ProtoUDP && c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(b[at:], c)
	return b
}

// packet puts the IP header in front.
func packet(src, dst netip.Addr, proto uint8, l4 []byte, o options) []byte {
	if src.Is6() {
		h := wire.IPv6(make([]byte, wire.IPv6Len))
		h.SetFlow(uint8(o.get("tos", 0)), 0)
		h.SetPayloadLen(len(l4))
		h.SetNextHeader(proto)
		h.SetHopLimit(uint8(o.get("ttl", 64)))
		h.SetSrc(src)
		h.SetDst(dst)
		return append(h, l4...)
	}
	h := wire.IPv4(make([]byte, wire.IPv4Len))
	h[0] = 0x45
	h.SetTOS(uint8(o.get("tos", 0)))
	h.SetTotalLen(len(h) + len(l4))
	h.SetID(uint16(o.get("id", 0)))
	h.SetFragWord(uint16(o.get("frag", 0)))
	h.SetTTL(uint8(o.get("ttl", 64)))
	h.SetProto(proto)
	h.SetSrc(src)
	h.SetDst(dst)
	h.UpdateChecksum()
	return append(h, l4...)
}

// verdict is the one word that says where a frame went.
func verdict(e Emission) string {
	var p wire.Packet
	if len(e.Data) < wire.EthernetLen || p.Parse(e.Data, wire.Ethernet) != wire.None {
		return "malformed"
	}
	h := wire.EthernetHeader(e.Data)
	if p.Version == 0 {
		return fmt.Sprintf("%s:%04x", e.Link, h.Type())
	}
	dst := h.Dst()
	if dst == linkNamed(e.Link).gateway {
		switch {
		case p.Proto == wire.ProtoICMP && p.Full:
			return fmt.Sprintf("icmp:%d/%d", e.Data[p.L4], e.Data[p.L4+1])
		case p.Proto == wire.ProtoICMPv6 && p.Full:
			return fmt.Sprintf("icmp6:%d/%d", e.Data[p.L4], e.Data[p.L4+1])
		case p.Proto == wire.ProtoTCP && p.TCPFlags&wire.FlagRST != 0:
			return "rst"
		}
	}
	switch {
	case p.Version == 4 && dst[0] == 2 && dst[1] == 0 && dst[2] != 0:
		return netip.AddrFrom4([4]byte(dst[2:])).String()
	case p.Version == 6 && dst[0] == 2 && dst[1] == 6:
		return "mac:" + hex.EncodeToString(dst[2:])
	}
	return e.Link + ":" + hex.EncodeToString(dst[:])
}
