package afpacket

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"usvs/wire"
)

// rejectAll keeps frames out of a socket that is not set up yet.
var rejectAll = []bpf.RawInstruction{{Op: unix.BPF_RET | unix.BPF_K}}

// receiver is a socket that receives, and its ring if it has one.
type receiver struct {
	fd   int
	ring *ring
}

func (r receiver) close() {
	if r.ring != nil {
		r.ring.close()
	}
	unix.Close(r.fd)
}

// openReceiver returns a socket that is bound to the interface and will receive,
// with metadata, what a filter admits that is set later: it rejects all frames.
func openReceiver(ifi *net.Interface, opts Options) (receiver, error) {
	fd, err := listen(ifi)
	if err != nil {
		return receiver{}, err
	}
	ring, err := setUpReceiver(fd, ifi.Index, opts)
	if err != nil {
		unix.Close(fd)
		return receiver{}, err
	}
	return receiver{fd, ring}, nil
}

// listen returns a socket that is bound to the interface and rejects all frames.
func listen(ifi *net.Interface) (fd int, err error) {
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, &packet.Config{Filter: rejectAll})
	if err != nil {
		return -1, err
	}
	defer conn.Close()
	// The duplicate is ours alone. Closing the original takes the socket out
	// of the Go poller, which would wake up for every frame otherwise.
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dupErr error
	err = raw.Control(func(orig uintptr) { fd, dupErr = unix.FcntlInt(orig, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dupErr); err != nil {
		return -1, fmt.Errorf("duplicate the socket: %w", err)
	}
	return fd, nil
}

func setUpReceiver(fd, index int, opts Options) (*ring, error) {
	b, err := boundTo(fd)
	if err != nil {
		return nil, err
	}
	if b.hatype != unix.ARPHRD_ETHER && b.hatype != unix.ARPHRD_LOOPBACK {
		return nil, fmt.Errorf("not an Ethernet interface (hardware type %d)", b.hatype)
	}
	if err := setPacketOption(fd, unix.PACKET_VNET_HDR); err != nil {
		return nil, err
	}
	if err := setPacketOption(fd, unix.PACKET_AUXDATA); err != nil {
		return nil, err
	}
	// Kernels before 4.20 do not know this; what it keeps out is dropped here.
	err = setPacketOption(fd, unix.PACKET_IGNORE_OUTGOING)
	if err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
		return nil, err
	}
	if opts.Promiscuous {
		err := setMembership(fd, unix.PACKET_ADD_MEMBERSHIP, unix.PACKET_MR_PROMISC, index, wire.MAC{})
		if err != nil {
			return nil, fmt.Errorf("promiscuous mode: %w", err)
		}
	}
	setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, opts.ReceiveBuffer, defaultReceiveBuffer)
	if !opts.Ring {
		return nil, nil
	}
	ring, err := openRing(fd, cmp.Or(max(opts.ReceiveBuffer, 0), defaultReceiveBuffer))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoRing, err)
	}
	return ring, nil
}

// openSender returns a socket that sends on the interface and receives nothing.
func openSender(index int, opts Options) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err := setPacketOption(fd, unix.PACKET_VNET_HDR); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if err := bindTo(fd, index, nothing); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind: %w", err)
	}
	setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, opts.SendBuffer, defaultSendBuffer)
	return fd, nil
}

func setPacketOption(fd, option int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, option, 1); err != nil {
		return fmt.Errorf("packet socket option %#x: %w", option, err)
	}
	return nil
}

// setBuffer asks for more than the system's limit, for which CAP_NET_ADMIN is
// needed, and settles for the limit.
func setBuffer(fd, force, option, size, fallback int) {
	if size <= 0 {
		size = fallback
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, size)
	}
}

func setFilter(fd int, filter []bpf.RawInstruction) error {
	if len(filter) == 0 {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	}
	if err := setProgram(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, filter); err != nil {
		return fmt.Errorf("attach the BPF filter: %w", err)
	}
	return nil
}

// setProgram sets an option whose value is a classic BPF program.
func setProgram(fd, level, option int, program []bpf.RawInstruction) error {
	prog := make([]unix.SockFilter, len(program))
	for i, ins := range program {
		prog[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	return unix.SetsockoptSockFprog(fd, level, option, &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]})
}

func setMembership(fd, change, kind, index int, mac wire.MAC) error {
	req := unix.PacketMreq{Ifindex: int32(index), Type: uint16(kind)}
	if kind != unix.PACKET_MR_PROMISC {
		req.Alen = uint16(copy(req.Address[:], mac[:]))
	}
	return unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, change, &req)
}

// binding is what a packet socket is bound to.
type binding struct {
	index  int // 0 or less: nothing, the interface is gone
	hatype uint16
	mac    wire.MAC
}

func boundTo(fd int) (binding, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return binding{}, fmt.Errorf("getsockname: %w", err)
	}
	ll, ok := sa.(*unix.SockaddrLinklayer)
	if !ok {
		return binding{}, errors.New("getsockname: not a packet socket")
	}
	return binding{index: ll.Ifindex, hatype: ll.Hatype, mac: wire.MAC(ll.Addr[:6])}, nil
}

// What a bound socket receives, as the kernel's protocol numbers.
const (
	everything = unix.ETH_P_ALL
	nothing    = 0
)

// bindTo binds a packet socket to an interface.
func bindTo(fd, index int, receive uint8) error {
	proto := binary.NativeEndian.Uint16([]byte{0, receive}) // network byte order
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: index})
}

// The interface queries below go through a socket, and so to its namespace.

func interfaceIndex(fd int, name string) (int, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req)
	return int(req.Uint32()), err
}

func interfaceUp(fd, index int) (bool, error) {
	req, err := interfaceByIndex(fd, index)
	if err != nil {
		return false, err
	}
	err = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req)
	return req.Uint16()&unix.IFF_UP != 0, err
}

func interfaceMTU(fd, index int) (int, error) {
	req, err := interfaceByIndex(fd, index)
	if err != nil {
		return 0, err
	}
	err = unix.IoctlIfreq(fd, unix.SIOCGIFMTU, req)
	return int(req.Uint32()), err
}

// interfaceByIndex returns a request that carries the interface's present name.
func interfaceByIndex(fd, index int) (*unix.Ifreq, error) {
	req, err := unix.NewIfreq("")
	if err != nil {
		return nil, err
	}
	req.SetUint32(uint32(index))
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFNAME, req); err != nil {
		return nil, err
	}
	return unix.NewIfreq(req.Name())
}
