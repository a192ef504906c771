package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/link/netlab"
	"usvs/scenario"
	"usvs/wire"
)

// World is a scenario.World in network namespaces.
type World struct {
	kernel   bool              // the directors are the kernel's ip_vs
	legacy   bool              // marks are set by iptables-legacy: the kernel does not support the other
	ports    *netlab.Namespace // where the switches' ends of the cables are
	machines map[string]*machine
	fabric   *fabric
	begin    time.Duration // of the scenario, in the fabric's time

	mu   sync.Mutex
	held map[string][]*browser // guarded by mu
}

// Open returns an empty World, "netns" or "ipvs". It is to be called in a
// process that netlab.Enter has isolated.
func Open(world string, seed uint64) (scenario.World, error) {
	w := &World{
		kernel: world == "ipvs", machines: map[string]*machine{}, fabric: newFabric(seed), held: map[string][]*browser{},
	}
	if w.kernel {
		w.legacy = !canMark()
		return w, findIPVS()
	}
	return w, nil
}

// findIPVS says what is missing for the kernel to be a director.
func findIPVS() error {
	if _, err := os.Stat("/proc/net/ip_vs"); err != nil {
		return fmt.Errorf("world ipvs: this kernel has no ip_vs, or its module is not loaded (modprobe ip_vs): %w", scenario.ErrUnsupported)
	}
	if _, err := exec.LookPath("ipvsadm"); err != nil {
		return fmt.Errorf("world ipvs: ipvsadm is not installed: %w", scenario.ErrUnsupported)
	}
	return nil
}

// canMark tries whether the kernel takes rules from iptables as it is installed.
func canMark() bool {
	mangle := func(args ...string) error {
		return exec.Command("iptables", append([]string{"-t", "mangle"}, args...)...).Run()
	}
	return mangle("-N", "USVS-TRY") == nil && mangle("-X", "USVS-TRY") == nil
}

// Now is the time since Build returned.
func (w *World) Now() time.Duration { return w.fabric.now() - w.begin }

// Close ends all processes and gives up the network.
func (w *World) Close() error {
	w.mu.Lock()
	for _, list := range w.held {
		for _, b := range list {
			b.close()
		}
	}
	w.mu.Unlock()
	for _, m := range w.machines {
		m.close()
	}
	w.fabric.close()
	if w.ports != nil {
		w.ports.Close()
	}
	return nil
}

// Wait lets time pass.
func (w *World) Wait(d time.Duration) error {
	time.Sleep(d)
	return nil
}

// How long the wires must be quiet before all that was sent has arrived and
// been acted on, and how long that is waited for at most.
const (
	idle     = 100 * time.Millisecond
	patience = time.Second
)

// settle waits until nothing is on its way.
func (w *World) settle() { w.fabric.quiet(idle, patience) }

// Inject sends a frame as if the machine had.
func (w *World) Inject(from scenario.Interface, frame []byte) error {
	m := w.machines[from.Node]
	if m == nil {
		return fmt.Errorf("there is no machine %s", from.Node)
	}
	if err := m.ns.Do(func() error { return inject(from.NIC, frame) }); err != nil {
		return fmt.Errorf("inject at %v: %w", from, err)
	}
	w.settle()
	return nil
}

// inject sends a frame from an interface of the calling thread's namespace.
func inject(nic string, frame []byte) error {
	ifi, err := net.InterfaceByName(nic)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: ifi.Index, Halen: 6})
}

// Fault changes a cable, now or later.
func (w *World) Fault(f *scenario.Fault) error {
	if f.In == 0 {
		w.fabric.change(f.Link, f.Set)
		return nil
	}
	time.AfterFunc(f.In, func() { w.fabric.change(f.Link, f.Set) })
	return nil
}

// Frames are those that passed an interface since Build.
func (w *World) Frames(i scenario.Interface) ([]scenario.Frame, error) {
	var list []scenario.Frame
	for _, f := range w.fabric.seen(i) {
		if f.At -= w.begin; f.At >= 0 {
			list = append(list, f)
		}
	}
	return list, nil
}

// Counters are a director's, as `usvs status` shows them.
func (w *World) Counters(node string) (map[string]uint64, error) {
	if w.kernel {
		return nil, errors.New("the kernel has no such counters: mark the line [!ipvs]")
	}
	out, err := w.Exec(node, "usvs status", nil)
	if err != nil || out.Exit != 0 {
		return nil, fmt.Errorf("usvs status on %s: exit status %d: %s%w", node, out.Exit, out.Stderr, errOr(err))
	}
	return parseStatus(out.Stdout), nil
}

func errOr(err error) error {
	if err != nil {
		return err
	}
	return errors.New("no counters")
}

// Log is what a director has logged.
func (w *World) Log(node string) (string, error) {
	m := w.machines[node]
	if w.kernel || m == nil || m.director == nil {
		return "", errors.New("the kernel writes no such log: mark the line [!ipvs]")
	}
	return m.director.Output(), nil
}

// Neighbour looks into a machine's neighbour table.
func (w *World) Neighbour(node string, addr netip.Addr) (mac wire.MAC, ok bool, err error) {
	family := unix.AF_INET
	if addr.Is6() {
		family = unix.AF_INET6
	}
	list, err := w.machines[node].ns.Netlink().NeighList(0, family)
	if err != nil {
		return mac, false, err
	}
	const unknown = netlink.NUD_INCOMPLETE | netlink.NUD_FAILED | netlink.NUD_NONE | netlink.NUD_NOARP
	for _, n := range list {
		if a, valid := netip.AddrFromSlice(n.IP); valid && a.Unmap() == addr && n.State&unknown == 0 && len(n.HardwareAddr) == len(mac) {
			return wire.MAC(n.HardwareAddr), true, nil
		}
	}
	return mac, false, nil
}

// runArgs are the options of a director: all its interfaces are usvs's.
func runArgs(n *scenario.Node) []string {
	args := []string{"run", "--own", n.Own}
	for _, nic := range n.NICs {
		args = append(args, "-i", nic.Name)
	}
	return args
}

// firstLine is a server's name at the beginning of what it answers.
func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(b[:min(len(b), 64)]), "\n")
	return line
}

// pad makes a text so long.
func pad(text string, size int) []byte {
	b := []byte(text)
	for len(b) < size {
		b = append(b, '.')
	}
	return b
}
