package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/link"
	"usvs/route"
	"usvs/wire"
)

const (
	claimDecapsulator = "decapsulator"

	// tunnelBufferBytes is the receive buffer of each socket.
	tunnelBufferBytes = 8 << 20

	// stopPatience is how long a decapsulator may take to end.
	stopPatience = 5 * time.Second
)

// ErrDecapsulatorRuns is returned when the namespace has a decapsulator already.
var ErrDecapsulatorRuns = errors.New("a decapsulator runs already in this network namespace")

// DecapsulatorOptions say what a decapsulator unpacks besides IP in IP.
type DecapsulatorOptions struct {
	Device  string // take packets from this interface only; "": from all
	GRE     bool
	GUEPort uint16 // UDP port; 0: no GUE
	// Ready, if not nil, is called once packets are being unpacked.
	Ready func()
}

// decapsulator is what its goroutines share.
type decapsulator struct {
	handoff *Handoff
	table   atomic.Pointer[route.Table]
	counts  [refusals]atomic.Uint64
	ended   <-chan struct{} // closed when everything is given back
}

// RunDecapsulator unpacks what directors tunnel to this real server until the
// context ends or StopDecapsulator is called. It takes the place of the
// kernel's ipip, sit and ip6tnl interfaces where there are none. Only packets to
// addresses on the loopback interface, the VIPs, are let in.
//
// It reads from raw sockets: the kernel has put fragments together and checked
// the outer header, and, as there is a socket, does not answer that it does not
// know the protocol.
func RunDecapsulator(ctx context.Context, opts DecapsulatorOptions) error {
	claim, err := claimName(claimDecapsulator)
	if errors.Is(err, errClaimed) {
		return ErrDecapsulatorRuns
	}
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	defer close(ended)
	defer claim.Close()
	if err := checkTunnels(); err != nil {
		return err
	}
	d := &decapsulator{ended: ended}
	watcher, err := NewWatcher([]string{"lo"}, func(t *route.Table, _ uint16) { d.table.Store(t) })
	if err != nil {
		return err
	}
	defer watcher.Close()
	if d.handoff, err = OpenHandoff(); err != nil {
		return err
	}
	defer d.handoff.Close()
	if quiet, err := dropUnreachables(); err != nil {
		slog.Warn("host: the kernel may answer tunnelled packets with ICMP errors", "err", err)
	} else {
		defer quiet.CloseLasting()
	}
	return d.run(ctx, claim, opts)
}

func checkTunnels() error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	defer handle.Close()
	if name := tunnelInTheWay(handle); name != "" {
		return fmt.Errorf("%s is up and unpacks the same packets: no decapsulator is needed, or set it down first", name)
	}
	return nil
}

func (d *decapsulator) run(ctx context.Context, claim *net.UnixListener, opts DecapsulatorOptions) error {
	tunnels, err := openTunnels(ctx, opts)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var readers sync.WaitGroup
	for _, t := range tunnels {
		readers.Go(func() { cancel(d.read(t)) })
	}
	go d.awaitStop(claim, func() { cancel(nil) })
	if opts.Ready != nil {
		opts.Ready()
	}
	<-ctx.Done()
	for _, t := range tunnels {
		t.conn.Close()
	}
	readers.Wait()
	d.log()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (d *decapsulator) log() {
	for r := range refusals {
		if n := d.counts[r].Load(); n > 0 {
			slog.Info("host: tunnelled packets", "outcome", r.String(), "packets", n)
		}
	}
}

// tunnel is a socket that receives one kind of tunnelled packets.
type tunnel struct {
	conn   net.PacketConn
	header tunnelHeader
	outer4 bool
}

// openTunnels opens a socket for each kind, IPv6 where there is any.
func openTunnels(ctx context.Context, opts DecapsulatorOptions) (tunnels []tunnel, err error) {
	defer func() {
		if err != nil {
			for _, t := range tunnels {
				t.conn.Close()
			}
		}
	}()
	headers := map[uint8]tunnelHeader{wire.ProtoIPIP: plainHeader(wire.ProtoIPIP), wire.ProtoIPv6: plainHeader(wire.ProtoIPv6)}
	if opts.GRE {
		headers[wire.ProtoGRE] = greHeader
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return prepareTunnelSocket(c, opts.Device) }}
	for proto, header := range headers {
		for _, network := range []string{"ip4:", "ip6:"} {
			conn, err := lc.ListenPacket(ctx, network+strconv.Itoa(int(proto)), "")
			if network == "ip6:" && unsupported(err) {
				continue
			}
			if err != nil {
				return tunnels, tunnelError(err)
			}
			tunnels = append(tunnels, tunnel{conn, header, network == "ip4:"})
		}
	}
	if opts.GUEPort != 0 {
		conn, err := lc.ListenPacket(ctx, "udp", ":"+strconv.Itoa(int(opts.GUEPort)))
		if err != nil {
			return tunnels, tunnelError(err)
		}
		tunnels = append(tunnels, tunnel{conn, gueHeader, false})
	}
	return tunnels, nil
}

func tunnelError(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("receive tunnelled packets: CAP_NET_RAW is missing: %w", err)
	}
	return fmt.Errorf("receive tunnelled packets: %w", err)
}

func prepareTunnelSocket(c syscall.RawConn, device string) (err error) {
	ctlErr := c.Control(func(fd uintptr) {
		// GUE without checksum is allowed in IPv6 too (RFC 6935). Raw sockets
		// and IPv4 do not know the option.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_RX, 1)
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, tunnelBufferBytes) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, tunnelBufferBytes)
		}
		if device != "" {
			err = os.NewSyscallError("bind to "+device, unix.BindToDevice(int(fd), device))
		}
	})
	return errors.Join(ctlErr, err)
}

// read moves packets from a tunnel to the host's stack until the socket is
// closed.
func (d *decapsulator) read(t tunnel) error {
	raw, err := t.conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	u := unpacker{
		header: t.header, outer4: t.outer4,
		vip: d.isVIP,
		own: func(a netip.Addr) bool { return d.table.Load().IsLocal(a) },
	}
	b := newTunnelBatch()
	w := d.handoff.NewWriter()
	for {
		if err := b.fill(raw); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("receive tunnelled packets: %w", err)
		}
		keep := b.good[:0]
		for _, f := range b.frames[:b.n] {
			outcome := u.unpack(f)
			d.counts[outcome].Add(1)
			if outcome == unpacked {
				keep = append(keep, f)
			}
		}
		if len(keep) > 0 {
			_, _ = w.WriteBatch(keep) // what the stack does not take is lost, as on a wire
		}
	}
}

// isVIP reports whether the loopback interface carries a, by which real servers
// recognise their VIPs.
func (d *decapsulator) isVIP(a netip.Addr) bool {
	for _, p := range d.table.Load().Interfaces[0].Addrs {
		if p.Addr() == a && !a.IsLoopback() {
			return true
		}
	}
	return false
}

// tunnelBatch is what is read at once.
type tunnelBatch struct {
	frames []*link.Frame
	good   []*link.Frame
	n      int
	err    error
}

func newTunnelBatch() *tunnelBatch {
	b := &tunnelBatch{frames: make([]*link.Frame, link.BatchSize), good: make([]*link.Frame, 0, link.BatchSize)}
	for i := range b.frames {
		b.frames[i] = wire.NewFrame(wire.MaxFrame)
	}
	return b
}

// fill waits for a packet and takes those that are there.
func (b *tunnelBatch) fill(raw syscall.RawConn) error {
	if err := raw.Read(b.take); err != nil {
		return err
	}
	return b.err
}

// take returns false to be called again when there is something to read.
func (b *tunnelBatch) take(fd uintptr) bool {
	b.n, b.err = 0, nil
	for b.n < len(b.frames) {
		f := b.frames[b.n]
		f.Reset()
		n, err := unix.Read(int(fd), f.Space())
		switch {
		case err == nil:
			f.SetLen(n)
			b.n++
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return b.n > 0
		case b.n > 0 || transient(err): // news of a packet that somebody else sent
			return true
		default:
			b.err = err
			return true
		}
	}
	return true
}

// awaitStop calls stop when somebody with the same user id, or root, asks for it
// by connecting to the claim. The connection's end tells that all is given back.
func (d *decapsulator) awaitStop(claim *net.UnixListener, stop func()) {
	for {
		conn, err := claim.AcceptUnix()
		if err != nil {
			return
		}
		if !mayStop(conn) {
			conn.Close()
			continue
		}
		stop()
		go func() {
			<-d.ended
			conn.Close()
		}()
	}
}

func mayStop(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var cred *unix.Ucred
	_ = raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return err == nil && cred != nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid())
}

// DecapsulatorRuns reports whether the namespace has a decapsulator.
func DecapsulatorRuns() bool { return claimed(claimDecapsulator) }

// StopDecapsulator ends the namespace's decapsulator, if there is one, and waits
// until it is gone: another one can be started then.
func StopDecapsulator() error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: "@usvs/" + claimDecapsulator, Net: "unix"})
	if errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop the decapsulator: %w", err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(stopPatience)); err != nil {
		return fmt.Errorf("stop the decapsulator: %w", err)
	}
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the decapsulator has not ended after %v", stopPatience)
	}
	return nil
}

// dropUnreachables keeps the kernel from sending ICMP errors about tunnelled
// packets. Kernels with a tunnel module loaded, though no tunnel set up, send
// them even when a raw socket took the packet. The rules live as long as the
// returned connection.
func dropUnreachables() (*nftables.Conn, error) {
	conn, table, err := openOwnedTable(nftables.TableFamilyINet, tableName())
	if err != nil {
		return nil, err
	}
	chain := conn.AddChain(&nftables.Chain{
		Name: "output", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter,
	})
	quoted := func(icmp, icmpType, protoOffset byte) {
		for _, proto := range []byte{wire.ProtoIPIP, wire.ProtoIPv6, wire.ProtoGRE} {
			conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
				loadMeta(reg0, expr.MetaKeyL4PROTO), equals(reg0, icmp),
				loadTransport(reg0, 0, 1), equals(reg0, icmpType),
				loadTransport(reg0, wire.ICMPLen+uint32(protoOffset), 1), equals(reg0, proto),
				drop(),
			}})
		}
	}
	quoted(wire.ProtoICMP, wire.ICMPUnreachable, 9)
	quoted(wire.ProtoICMPv6, wire.ICMPv6Unreachable, 6)
	quoted(wire.ProtoICMPv6, wire.ICMPv6ParamProblem, 6)
	if err := conn.Flush(); err != nil {
		conn.CloseLasting()
		return nil, err
	}
	return conn, nil
}
