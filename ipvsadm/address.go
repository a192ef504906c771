package ipvsadm

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"usvs/ipvs"
)

// endpoint is a service-address or server-address, host[:port].
type endpoint struct {
	addr    netip.Addr
	port    uint16
	hasPort bool
}

// parseEndpoint reads host[:port]. A host in brackets needs a port; a bare
// IPv6 address has none. Names resolve to IPv4 only.
func parseEndpoint(s string, proto ipvs.Protocol, r Resolver) (endpoint, bool) {
	if allDigits(s) {
		return endpoint{}, false
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		host, port, ok := strings.Cut(inner, "]")
		if !ok || !strings.HasPrefix(port, ":") {
			return endpoint{}, false
		}
		if a, ok := parseIPv6(host); ok {
			return endpoint{addr: a}.withPort(port[1:], proto, r)
		}
		s = host // what is not IPv6 counts as written without brackets, its port forgotten
	} else if a, ok := parseIPv6(s); ok {
		return endpoint{addr: a}, true
	}
	host, port, hasPort := s, "", false
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, port, hasPort = s[:i], s[i+1:], true
	}
	a, ok := parseHost(host, r)
	if !ok || !hasPort {
		return endpoint{addr: a}, ok
	}
	return endpoint{addr: a}.withPort(port, proto, r)
}

// withPort adds a port, given as a number or as the name of a service.
func (e endpoint) withPort(s string, proto ipvs.Protocol, r Resolver) (endpoint, bool) {
	e.hasPort = true
	if n, ok := parseInt(s, 0, 65535); ok {
		e.port = uint16(n)
		return e, true
	}
	if s == "" || r == nil {
		return endpoint{}, false
	}
	port, ok := r.ServicePort(s, proto)
	e.port = port
	return e, ok
}

// parseHost reads an IPv4 address in any of inet_aton's forms, or a host name.
func parseHost(s string, r Resolver) (netip.Addr, bool) {
	if a, ok := parseInetAton(s); ok {
		return a, true
	}
	if s == "" || strings.Contains(s, ":") || r == nil {
		return netip.Addr{}, false // no name has a colon; a resolver may read one as IPv6
	}
	a, ok := r.LookupHost(s)
	a = a.Unmap()
	return a, ok && a.Is4()
}

// parseIPv6 reads what inet_pton(3) accepts for AF_INET6: no zone.
func parseIPv6(s string) (netip.Addr, bool) {
	if strings.IndexByte(s, ':') == strings.LastIndexByte(s, ':') {
		return netip.Addr{}, false // it has two at least; an error would cost more
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Is6() && a.Zone() == ""
}

// parseInetAton reads what inet_aton(3) accepts: one to four numbers, decimal,
// octal or hexadecimal, of which the last fills the bytes that are left, and
// anything at all after white space.
func parseInetAton(s string) (netip.Addr, bool) {
	if a, ok := parseDotted(s); ok {
		return a, true
	}
	return parseAnyAton(s)
}

func parseAnyAton(s string) (netip.Addr, bool) {
	if i := strings.IndexAny(s, space); i >= 0 {
		s = s[:i]
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var sum uint32
	last := len(parts) - 1
	for i, part := range parts {
		bits := 8
		if i == last {
			bits = 32 - 8*last
		}
		n, ok := parseAtonPart(part, bits)
		if !ok {
			return netip.Addr{}, false
		}
		if i == last {
			sum |= n
			break
		}
		sum |= n << (24 - 8*i)
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}), true
}

// parseDotted reads the usual form: four decimal numbers.
func parseDotted(s string) (netip.Addr, bool) {
	var b [4]byte
	for i := range b {
		n, digits := 0, 0
		for ; digits < len(s) && digits < 3 && s[digits]-'0' <= 9; digits++ {
			n = n*10 + int(s[digits]-'0')
		}
		end := digits == len(s)
		if digits == 0 || n > 255 || digits > 1 && s[0] == '0' || end != (i == 3) || !end && s[digits] != '.' {
			return netip.Addr{}, false
		}
		b[i] = byte(n)
		if !end {
			s = s[digits+1:]
		}
	}
	return netip.AddrFrom4(b), true
}

// parseAtonPart reads a number of at most the given bits in C notation.
func parseAtonPart(s string, bits int) (uint32, bool) {
	base := 10
	switch {
	case strings.HasPrefix(s, "0x"), strings.HasPrefix(s, "0X"):
		s, base = s[2:], 16
	case len(s) > 1 && s[0] == '0':
		s, base = s[1:], 8
	}
	n, err := strconv.ParseUint(s, base, bits) // takes neither sign nor underscore
	return uint32(n), err == nil
}

// parseMulticast reads a multicast group, which unlike other addresses has to
// be written in full. With a colon it is IPv6, and wrong as such if it is wrong.
func parseMulticast(s string) (group netip.Addr, family string, ok bool) {
	if strings.Contains(s, ":") {
		a, ok := parseIPv6(s)
		return a, "IPv6", ok && a.AsSlice()[0] == 0xff
	}
	a, err := netip.ParseAddr(s)
	return a, "IPv4", err == nil && a.IsMulticast()
}

// formatAddr writes an address as inet_ntop(3) does, which shows IPv4
// compatible IPv6 addresses (::10.0.0.1) with dots.
func formatAddr(a netip.Addr) string {
	if a.Is6() {
		b := a.As16()
		if [12]byte(b[:12]) == [12]byte{} && binary.BigEndian.Uint16(b[12:]) != 0 {
			return "::" + netip.AddrFrom4([4]byte(b[12:])).String()
		}
	}
	return a.WithZone("").String()
}
