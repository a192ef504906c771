package stage

import (
	"fmt"

	"golang.org/x/sys/unix"

	"usvs/link/netlab"
	"usvs/wire"
)

// The director's links: c towards the clients, s towards the servers.
var links = []struct {
	name, device, far string
	mac               wire.MAC
}{
	{"c", "eth0", "w0", wire.MAC{2, 0, 0, 0, 0, 1}},
	{"s", "eth1", "w1", wire.MAC{2, 0, 0, 0, 0, 2}},
}

// defaultMTU is a link's, and jumbo is what its far end may send.
const (
	defaultMTU = 1500
	jumbo      = 9000
)

// set is the two namespaces of a job and the sockets on the wires.
type set struct {
	director, wires *netlab.Namespace
	sockets         map[string]int
}

// quiet keeps the kernel from saying anything by itself.
var quiet = []string{
	"net/ipv6/conf/all/disable_ipv6=1",
	"net/ipv6/conf/default/disable_ipv6=1",
}

// router makes the director a router that answers every error.
var router = []string{
	"net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1",
	"net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/default/rp_filter=0",
	"net/ipv4/conf/all/send_redirects=0", "net/ipv4/conf/default/send_redirects=0",
	"net/ipv4/icmp_ratelimit=0", "net/ipv6/icmp/ratelimit=0",
	"net/ipv6/conf/default/accept_dad=0", "net/ipv6/conf/default/router_solicitations=0",
	"net/ipv6/conf/default/addr_gen_mode=1",
}

func newSet(mtu map[string]int) (s *set, err error) {
	s = &set{sockets: map[string]int{}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.director, err = netlab.New("director"); err != nil {
		return s, err
	}
	if s.wires, err = netlab.New("wires"); err != nil {
		return s, err
	}
	s.wires.TrySysctls(quiet...)
	s.director.TrySysctls(router...)
	for _, l := range links {
		size := mtu[l.name]
		if size == 0 {
			size = defaultMTU
		}
		if err := s.connect(l.device, l.far, l.mac, size); err != nil {
			return s, err
		}
	}
	return s, s.wires.Do(s.open)
}

func (s *set) connect(device, far string, mac wire.MAC, mtu int) error {
	if err := s.director.Veth(device, mac, s.wires, far); err != nil {
		return err
	}
	if err := s.wires.SetMTU(far, max(jumbo, mtu)); err != nil {
		return err
	}
	if err := s.director.SetMTU(device, mtu); err != nil {
		return err
	}
	if err := s.director.NoOffload(device); err != nil {
		return err
	}
	if err := s.wires.SetUp(far); err != nil {
		return err
	}
	return s.director.SetUp(device)
}

// receiveBuffer holds the frames of a long wait.
const receiveBuffer = 8 << 20

// open opens a packet socket on every wire.
func (s *set) open() error {
	for _, l := range links {
		index, err := s.wires.Netlink().LinkByName(l.far)
		if err != nil {
			return err
		}
		all := uint16(unix.ETH_P_ALL)<<8 | unix.ETH_P_ALL>>8
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all))
		if err != nil {
			return err
		}
		s.sockets[l.name] = fd
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index.Attrs().Index}); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return err
		}
	}
	return nil
}

func (s *set) close() {
	for _, fd := range s.sockets {
		unix.Close(fd)
	}
	for _, ns := range []*netlab.Namespace{s.director, s.wires} {
		if ns != nil {
			ns.Close()
		}
	}
}

// send puts a frame on a link's wire. A link does not take a frame longer than
// its MTU: sent is false then.
func (s *set) send(link string, frame []byte) (sent bool, err error) {
	fd, ok := s.sockets[link]
	if !ok {
		return false, fmt.Errorf("there is no link %q", link)
	}
	_, err = unix.Write(fd, frame)
	if err == unix.EMSGSIZE || err == unix.ENOBUFS { // the sender's limit, or the receiver's
		return false, nil
	}
	return err == nil, err
}

// receive adds to out what is there, in the order of the links.
func (s *set) receive(out []Emission) []Emission {
	buf := make([]byte, 1<<16)
	for _, l := range links {
		for {
			n, _, err := unix.Recvfrom(s.sockets[l.name], buf, 0)
			if err != nil {
				break
			}
			if frame := buf[:n]; !chatter(frame) {
				out = append(out, Emission{l.name, append([]byte(nil), frame...)})
			}
		}
	}
	return out
}

// chatter is what the kernel says by itself: IGMP, MLD and neighbour discovery's
// questions about routers.
func chatter(frame []byte) bool {
	var p wire.Packet
	if p.Parse(frame, wire.Ethernet) != wire.None {
		return false
	}
	const igmp = 2
	if p.Proto == igmp {
		return true
	}
	if p.Proto != wire.ProtoICMPv6 || p.L4 >= len(frame) {
		return false
	}
	switch frame[p.L4] {
	case 130, 131, 132, 143, 133, 134: // MLD; router solicitation, advertisement
		return true
	}
	return false
}
