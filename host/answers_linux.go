package host

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"usvs/wire"
)

// Answers receives TCP segments and UDP datagrams to a range of ports, whoever
// the addresses belong to, besides the host's own stack.
type Answers struct {
	files   []*os.File
	readers sync.WaitGroup
}

// OpenAnswers hands IP packets to ports from firstPort on to receive, which is
// called by two goroutines, and must not keep them. Fragments are left out.
func OpenAnswers(firstPort uint16, receive func(packet []byte)) (*Answers, error) {
	a := &Answers{}
	for _, family := range []struct {
		protocol uint16
		filter   []bpf.Instruction
	}{{unix.ETH_P_IP, answers4(firstPort)}, {unix.ETH_P_IPV6, answers6(firstPort)}} {
		f, err := openAnswers(family.protocol, family.filter)
		if err != nil {
			a.Close()
			return nil, fmt.Errorf("open a packet socket: %w", err)
		}
		a.files = append(a.files, f)
		a.readers.Go(func() { readAnswers(f, receive) })
	}
	return a, nil
}

// answers4 takes IPv4 packets, beginning with their headers.
func answers4(firstPort uint16) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 6},
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x3fff, SkipTrue: 4}, // a fragment
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: uint32(firstPort), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{},
	}
}

// answers6 takes IPv6 packets without extension headers.
func answers6(firstPort uint16) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 3},
		bpf.LoadAbsolute{Off: 42, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: uint32(firstPort), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{},
	}
}

// openAnswers opens a socket for all interfaces. It is bound to the protocol only
// when the filter is there, so that nothing else gets in.
func openAnswers(protocol uint16, filter []bpf.Instruction) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	raw, err := bpf.Assemble(filter)
	if err == nil {
		program := make([]unix.SockFilter, len(raw))
		for i, r := range raw {
			program[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
		}
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol<<8 | protocol>>8})
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "answers"), nil
}

// readAnswers hands over what arrives until the socket is closed.
func readAnswers(f *os.File, receive func([]byte)) {
	buf, control := make([]byte, 1<<16), make([]byte, 128)
	eachMessage(f, buf, control, func(packet, control []byte, _ unix.Sockaddr) {
		if unsummed(control) {
			finishSum(packet)
		}
		receive(packet)
	})
}

// unsummed reports whether a packet never was on a wire, so that nobody has made
// its transport checksum (packet(7), PACKET_AUXDATA).
func unsummed(control []byte) bool {
	list, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return false
	}
	for _, m := range list {
		if m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 4 {
			return binary.NativeEndian.Uint32(m.Data)&unix.TP_STATUS_CSUMNOTREADY != 0
		}
	}
	return false
}

// finishSum makes the transport checksum of an IP packet.
func finishSum(packet []byte) {
	var p wire.Packet
	if p.Parse(packet, wire.IP) != wire.None || !p.Full || p.Fragment {
		return
	}
	t := p.Transport()
	at := 16
	if p.Proto == wire.ProtoUDP {
		at = 6
	}
	if p.Proto != wire.ProtoTCP && p.Proto != wire.ProtoUDP || len(t) < at+2 {
		return
	}
	t[at], t[at+1] = 0, 0
	sum := ^wire.Fold(wire.Sum(t, wire.PseudoSum(p.Src, p.Dst, p.Proto, len(t))))
	if sum == 0 && p.Proto == wire.ProtoUDP {
		sum = 0xffff // RFC 768
	}
	binary.BigEndian.PutUint16(t[at:], sum)
}

// Close ends it and waits until nothing is handed over any more.
func (a *Answers) Close() {
	for _, f := range a.files {
		f.Close()
	}
	a.readers.Wait()
}
