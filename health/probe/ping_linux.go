package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"usvs/health"
	"usvs/health/dialog"
)

// pingPayload is how much an echo request carries, in bytes, as keepalived's.
const pingPayload = 128

// Kinds of sockets for ICMP.
const (
	pingOnly  = unix.SOCK_DGRAM
	rawSocket = unix.SOCK_RAW
)

// ICMP types.
const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
)

// echoes is PING_CHECK: an echo reply comes within the timeout.
func echoes(ctx context.Context, p *health.Probe, d dialog.Dialog) health.Result {
	c, raw, err := pingSocket(p)
	if err != nil {
		return notConnected(p, d, err)
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	return echoesBy(c, p, d, raw)
}

// echoesBy sends an echo request and waits for the reply.
func echoesBy(c net.Conn, p *health.Probe, d dialog.Dialog, raw bool) health.Result {
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(p.Timeout)); err != nil {
		return localError(err)
	}
	request := newEcho(p.Target.Addr().Unmap().Is6())
	if _, err := c.Write(request); err != nil {
		return broken(p, d, dialog.Writing, err)
	}
	buf := make([]byte, 2048)
	for {
		n, err := c.Read(buf)
		switch {
		case err != nil:
			return broken(p, d, dialog.Reading, err)
		case answers(buf[:n], request, raw):
			return d.Take(buf[:n]).Result
		}
	}
}

// newEcho is an echo request. Its payload is random, so that no other's reply
// is taken for its own. The kernel fills in what a ping socket is to have;
// a raw socket of IPv4 needs the checksum.
func newEcho(v6 bool) []byte {
	b := make([]byte, 8+pingPayload)
	rand.Read(b[4:])
	b[0] = echoRequest4
	if v6 {
		b[0] = echoRequest6
		return b
	}
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// checksum is that of RFC 1071, of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// answers reports whether a packet is the reply to a request. A raw socket of
// IPv4 delivers the IP header, too.
func answers(packet, request []byte, raw bool) bool {
	reply := byte(echoReply6)
	if request[0] == echoRequest4 {
		reply = echoReply4
		if raw {
			packet = withoutIPv4(packet)
		}
	}
	return len(packet) == len(request) && packet[0] == reply && packet[1] == 0 &&
		bytes.Equal(packet[6:], request[6:])
}

func withoutIPv4(packet []byte) []byte {
	if len(packet) < 20 {
		return nil
	}
	return packet[min(len(packet), int(packet[0]&0xf)*4):]
}

// pingSocket is a connected socket for echo requests: one that anybody may
// have, or else a raw one.
func pingSocket(p *health.Probe) (c net.Conn, raw bool, err error) {
	c, err = icmpSocket(p, pingOnly)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EPERM) {
		c, err = icmpSocket(p, rawSocket)
		return c, true, err
	}
	return c, false, err
}

func icmpSocket(p *health.Probe, kind int) (net.Conn, error) {
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	target := p.Target.Addr().Unmap()
	if target.Is6() {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "ping")
	defer f.Close() // FileConn has its own
	if err := setOptions(fd, p); err != nil {
		return nil, err
	}
	if p.Bind.Addr().IsValid() {
		if err := unix.Bind(fd, sockaddr(p.Bind.Addr())); err != nil {
			return nil, os.NewSyscallError("bind", err)
		}
	}
	if err := unix.Connect(fd, sockaddr(target)); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	return net.FileConn(f)
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	a = a.Unmap()
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	s := &unix.SockaddrInet6{Addr: a.As16()}
	if ifi, err := net.InterfaceByName(a.Zone()); err == nil {
		s.ZoneId = uint32(ifi.Index)
	}
	return s
}
