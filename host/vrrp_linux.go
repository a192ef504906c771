package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/arp"
	"usvs/wire"
)

// IP protocols that carry VRRP.
const (
	ProtocolVRRP = 112
	ProtocolAH   = 51 // RFC 2402, around VRRP
)

// VRRPEndpoint is where VRRP is spoken.
type VRRPEndpoint struct {
	Interface string // empty: unicast by whatever the routes say
	Protocol  int    // ProtocolVRRP or ProtocolAH
	IPv6      bool
	Groups    []netip.Addr // joined; none where only unicast is spoken
}

func (e VRRPEndpoint) equal(o VRRPEndpoint) bool {
	return e.Interface == o.Interface && e.Protocol == o.Protocol && e.IPv6 == o.IPv6 && slices.Equal(e.Groups, o.Groups)
}

// VRRPSockets sends and receives VRRP packets, complete with their IP header.
type VRRPSockets struct {
	receive func(iface string, packet []byte)
	frames  *Frames
	nl      *netlink.Handle

	mu      sync.Mutex // guards what follows
	sockets []*vrrpSocket
	readers sync.WaitGroup
}

// OpenVRRP returns sockets for no endpoint yet. receive is called by one
// goroutine per endpoint; the packet is the callee's.
func OpenVRRP(frames *Frames, receive func(iface string, packet []byte)) (*VRRPSockets, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	return &VRRPSockets{receive: receive, frames: frames, nl: handle}, nil
}

// Set makes endpoints the ones that are listened to. It is called again, with
// the same ones too, when interfaces have changed: an interface that was made
// anew gets a new socket. One that does not exist yet waits for the next call.
func (v *VRRPSockets) Set(endpoints []VRRPEndpoint) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var keep []*vrrpSocket
	var errs []error
	for _, e := range endpoints {
		index, err := v.index(e.Interface)
		if err != nil {
			continue
		}
		if at := slices.IndexFunc(v.sockets, func(s *vrrpSocket) bool { return s.index == index && s.endpoint.equal(e) }); at >= 0 {
			keep = append(keep, v.sockets[at])
			continue
		}
		s, err := openVRRPSocket(e, index)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		keep = append(keep, s)
		v.readers.Go(func() { s.read(v.receive) })
	}
	for _, s := range v.sockets {
		if !slices.Contains(keep, s) {
			s.file.Close()
		}
	}
	v.sockets = keep
	return errors.Join(errs...)
}

func (v *VRRPSockets) index(iface string) (int, error) {
	if iface == "" {
		return 0, nil
	}
	link, err := v.nl.LinkByName(iface)
	if err != nil {
		return 0, err
	}
	return link.Attrs().Index, nil
}

// Close closes every socket.
func (v *VRRPSockets) Close() error {
	_ = v.Set(nil)
	v.readers.Wait()
	v.nl.Close()
	return nil
}

// Send sends a complete packet by an interface. With a source MAC it leaves in
// a frame from that address, which only packets to a group can.
func (v *VRRPSockets) Send(iface string, packet []byte, src wire.MAC) error {
	dst, protocol, err := addressed(packet)
	if err != nil {
		return err
	}
	if src != (wire.MAC{}) && dst.IsMulticast() {
		return v.frames.Send(iface, groupFrame(packet, dst, src))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.sockets {
		if e := s.endpoint; e.Interface == iface && e.Protocol == protocol && e.IPv6 == dst.Is6() {
			return s.send(packet, dst)
		}
	}
	return fmt.Errorf("send VRRP by %q: %w", iface, unix.ENETDOWN)
}

// addressed reads where a packet goes, and its protocol.
func addressed(packet []byte) (dst netip.Addr, protocol int, err error) {
	switch {
	case len(packet) >= wire.IPv4Len && packet[0]>>4 == 4:
		return wire.IPv4(packet).Dst(), int(packet[9]), nil
	case len(packet) >= wire.IPv6Len && packet[0]>>4 == 6:
		return wire.IPv6(packet).Dst(), int(packet[6]), nil
	}
	return dst, 0, fmt.Errorf("send VRRP: %d bytes are no IP packet: %w", len(packet), unix.EINVAL)
}

// groupFrame puts an Ethernet header in front of a packet to a group.
func groupFrame(packet []byte, group netip.Addr, src wire.MAC) []byte {
	frame := make([]byte, wire.EthernetLen, wire.EthernetLen+len(packet))
	h := wire.EthernetHeader(frame)
	h.SetDst(arp.GroupMAC(group))
	h.SetSrc(src)
	h.SetType(wire.TypeIPv4)
	if group.Is6() {
		h.SetType(wire.TypeIPv6)
	}
	return append(frame, packet...)
}

// vrrpSocket is a raw socket of one endpoint.
type vrrpSocket struct {
	endpoint VRRPEndpoint
	index    int // of the interface when it was opened
	file     *os.File
}

func openVRRPSocket(e VRRPEndpoint, index int) (*vrrpSocket, error) {
	domain := unix.AF_INET
	if e.IPv6 {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, e.Protocol)
	if err != nil {
		return nil, fmt.Errorf("open a socket for VRRP: %w", err)
	}
	if err := configureVRRP(fd, e, index); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("VRRP on %q: %w", e.Interface, err)
	}
	return &vrrpSocket{endpoint: e, index: index, file: os.NewFile(uintptr(fd), "vrrp")}, nil
}

func configureVRRP(fd int, e VRRPEndpoint, index int) error {
	if e.Interface != "" {
		if err := unix.BindToDevice(fd, e.Interface); err != nil {
			return err
		}
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 6) // TC_PRIO_INTERACTIVE: adverts before data
	if e.IPv6 {
		return configureVRRP6(fd, e, index)
	}
	return configureVRRP4(fd, e, index)
}

func configureVRRP4(fd int, e VRRPEndpoint, index int) error {
	for option, value := range map[int]int{unix.IP_HDRINCL: 1, unix.IP_MULTICAST_LOOP: 0, unix.IP_MULTICAST_ALL: 0} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, option, value); err != nil {
			return err
		}
	}
	if len(e.Groups) == 0 {
		return nil
	}
	out := &unix.IPMreqn{Ifindex: int32(index)}
	if err := unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, out); err != nil {
		return err
	}
	for _, g := range e.Groups {
		join := &unix.IPMreqn{Multiaddr: g.As4(), Ifindex: int32(index)}
		if err := unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, join); err != nil {
			return fmt.Errorf("join %v: %w", g, err)
		}
	}
	return nil
}

func configureVRRP6(fd int, e VRRPEndpoint, index int) error {
	options := map[int]int{
		unix.IPV6_HDRINCL: 1, unix.IPV6_MULTICAST_LOOP: 0, unix.IPV6_MULTICAST_ALL: 0,
		unix.IPV6_RECVPKTINFO: 1, unix.IPV6_RECVHOPLIMIT: 1, unix.IPV6_RECVTCLASS: 1,
	}
	if index != 0 {
		options[unix.IPV6_MULTICAST_IF] = index
	}
	for option, value := range options {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, option, value); err != nil {
			return err
		}
	}
	for _, g := range e.Groups {
		join := &unix.IPv6Mreq{Multiaddr: g.As16(), Interface: uint32(index)}
		if err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, join); err != nil {
			return fmt.Errorf("join %v: %w", g, err)
		}
	}
	return nil
}

// send sends without waiting: an advertisement that cannot leave now is lost.
func (s *vrrpSocket) send(packet []byte, dst netip.Addr) error {
	flags := 0
	if dst.IsMulticast() {
		flags = unix.MSG_DONTROUTE
	}
	conn, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = conn.Control(func(fd uintptr) { sendErr = unix.Sendto(int(fd), packet, flags, s.sockaddr(dst)) })
	if err = errors.Join(err, sendErr); err != nil {
		return fmt.Errorf("send VRRP by %q: %w", s.endpoint.Interface, err)
	}
	return nil
}

func (s *vrrpSocket) sockaddr(dst netip.Addr) unix.Sockaddr {
	if dst.Is4() {
		return &unix.SockaddrInet4{Addr: dst.As4()}
	}
	return &unix.SockaddrInet6{Addr: dst.As16(), ZoneId: uint32(s.index)}
}

// maxVRRPPacket is more than 255 IPv6 addresses need.
const maxVRRPPacket = 8 << 10

// read hands over what arrives until the socket is closed: a director that hears
// nothing becomes a second master.
func (s *vrrpSocket) read(receive func(string, []byte)) {
	buf, control := make([]byte, maxVRRPPacket), make([]byte, 256)
	eachMessage(s.file, buf, control, func(packet, control []byte, from unix.Sockaddr) {
		packet = slices.Clone(packet)
		if s.endpoint.IPv6 {
			packet = withHeader(packet, s.endpoint.Protocol, from, control)
		}
		if packet != nil {
			receive(s.endpoint.Interface, packet)
		}
	})
}

// withHeader gives an IPv6 packet the header back that the kernel keeps from
// raw sockets (RFC 3542 section 3). It returns nil if something is missing.
func withHeader(payload []byte, protocol int, from unix.Sockaddr, control []byte) []byte {
	src, ok := from.(*unix.SockaddrInet6)
	messages, err := unix.ParseSocketControlMessage(control)
	if !ok || err != nil {
		return nil
	}
	packet := make([]byte, wire.IPv6Len, wire.IPv6Len+len(payload))
	h := wire.IPv6(packet)
	found := 0
	class := 0
	for _, m := range messages {
		switch {
		case m.Header.Level != unix.IPPROTO_IPV6:
		case m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 16:
			h.SetDst(netip.AddrFrom16([16]byte(m.Data[:16])))
			found++
		case m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4:
			h.SetHopLimit(uint8(int(binary.NativeEndian.Uint32(m.Data))))
			found++
		case m.Header.Type == unix.IPV6_TCLASS && len(m.Data) >= 4:
			class = int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	if found != 2 {
		return nil
	}
	h.SetFlow(uint8(class), 0)
	h.SetPayloadLen(len(payload))
	h.SetNextHeader(uint8(protocol))
	h.SetSrc(netip.AddrFrom16(src.Addr))
	return append(packet, payload...)
}
