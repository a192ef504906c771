package afpacket

import (
	"fmt"
	"net"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/wire"
)

const (
	// urgentRing is the size of the ring for urgent frames, in bytes.
	urgentRing = 256 << 10

	// maxUrgent is how many of them one batch takes: they must not keep out all
	// others either.
	maxUrgent = link.BatchSize / 4

	// urgentBytes is what is kept of an urgent frame: less than a slot's size, so
	// that none is queued besides.
	urgentBytes = 1536
)

// openUrgent returns the socket for ARP and neighbour discovery, bound to the
// interface.
func openUrgent(ifi *net.Interface) (receiver, error) {
	r, err := openReceiver(ifi, Options{Ring: true, ReceiveBuffer: urgentRing})
	if err != nil {
		return receiver{fd: -1}, fmt.Errorf("socket for neighbours: %w", err)
	}
	if err := setFilter(r.fd, neighbours(urgentBytes, 0)); err != nil {
		r.close()
		return receiver{fd: -1}, err
	}
	return r, nil
}

// filter is what the device's main socket admits.
func (o *Options) filter() []bpf.RawInstruction {
	if o.Urgent {
		return neighbours(0, wire.MaxFrame+wire.Headroom)
	}
	return o.Filter
}

// neighbours is a program that takes these many bytes of the frames of ARP and
// neighbour discovery (RFC 4861), and those many of others.
func neighbours(these, others uint32) []bpf.RawInstruction {
	// From SKF_NET_OFF older kernels read only what is not in pages of its own.
	const network = wire.EthernetLen
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtProto},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(wire.TypeARP), SkipTrue: 6},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(wire.TypeIPv6), SkipFalse: 6},
		bpf.LoadAbsolute{Off: network + 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(wire.ProtoICMPv6), SkipFalse: 4},
		bpf.LoadAbsolute{Off: network + wire.IPv6Len, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: wire.ICMPv6NeighSol, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: wire.ICMPv6NeighAdv, SkipTrue: 1},
		bpf.RetConstant{Val: these},
		bpf.RetConstant{Val: others},
	})
	if err != nil {
		panic(err) // it is the same every time
	}
	return raw
}

// receiveUrgent takes what waits in the urgent socket's ring. A look at it costs
// no system call.
func (d *Device) receiveUrgent(fs []*link.Frame) (n int) {
	if d.urgent.ring == nil {
		return 0
	}
	bytes := 0
	for range min(len(fs), maxUrgent) {
		s, filled := d.urgent.ring.peek()
		if !filled {
			break
		}
		fs[n].Reset()
		why, ok := d.takeSlot(fs[n], s)
		d.urgent.ring.release()
		if !ok {
			d.counters.Dropped(why, 1)
			continue
		}
		bytes += fs[n].Len()
		n++
	}
	if n == 0 && d.fds[urgentAt].Revents != 0 { // the link went down: the main socket says so, too
		_, _ = unix.GetsockoptInt(d.urgent.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	}
	d.fds[urgentAt].Revents = 0
	d.counters.Received(n, bytes)
	return n
}
