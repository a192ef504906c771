package netnstest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Lab is the network of one test.
type Lab struct {
	// Home is the namespace the test's process was born in. What plain Go code
	// opens and starts belongs to it.
	Home *Namespace

	tb testing.TB
}

// Namespace is a network namespace of the lab.
type Namespace struct {
	tb   testing.TB
	name string
	file *os.File // the namespace itself: it lives as long as somebody holds it
	nl   *netlink.Handle
}

func newLab(tb testing.TB) *Lab {
	tb.Helper()
	isolate()
	ns, err := newNamespace(tb, "lab")
	if errors.Is(err, unix.EPERM) {
		Skip(tb, "the kernel permits no changes in a new network namespace: %v", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return &Lab{Home: ns, tb: tb}
}

// isolate gives the process its own views of what the kernel and daemons keep
// in the file system. Each may be refused, in a container for instance; then
// the old view stays, which most tests can live with.
func isolate() {
	_ = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	_ = unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	_ = unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755")
}

// Namespace makes another network namespace, with its loopback up. The name
// is for messages only.
func (l *Lab) Namespace(name string) *Namespace {
	l.tb.Helper()
	var ns *Namespace
	err := inThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		ns, err = newNamespace(l.tb, name)
		return err
	})
	if err != nil {
		l.tb.Fatalf("namespace %s: %v", name, err)
	}
	return ns
}

// newNamespace takes hold of the calling thread's namespace.
func newNamespace(tb testing.TB, name string) (*Namespace, error) {
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		file.Close()
		return nil, err
	}
	tb.Cleanup(func() { handle.Close(); file.Close() })
	ns := &Namespace{tb: tb, name: name, file: file, nl: handle}
	settle()
	lo, err := handle.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	return ns, handle.LinkSetUp(lo)
}

// settle gives the calling thread's namespace the kernel's own settings: some
// kernels let it inherit those of the machine, which may forward or filter. It
// makes IPv6 addresses usable at once and keeps routers' noise away. A
// read-only /proc/sys is no reason to fail: AddAddr asks for the same.
func settle() {
	for _, conf := range []string{"all", "default", "lo"} {
		for key, value := range map[string]string{
			"forwarding": "0", "rp_filter": "0", "arp_ignore": "0", "arp_announce": "0", "arp_filter": "0",
			"accept_local": "0", "route_localnet": "0", "accept_redirects": "1", "send_redirects": "1",
		} {
			_ = os.WriteFile("/proc/sys/net/ipv4/conf/"+conf+"/"+key, []byte(value), 0)
		}
		for _, key := range []string{"disable_ipv6", "forwarding", "accept_dad", "dad_transmits", "accept_ra", "router_solicitations"} {
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+conf+"/"+key, []byte("0"), 0)
		}
	}
}

// Name is what the namespace was called when it was made.
func (n *Namespace) Name() string { return n.name }

// Fd is a descriptor of the namespace, for setns(2) and netlink.
func (n *Namespace) Fd() int { return int(n.file.Fd()) }

// Path names the namespace in the file system, for programs that want to enter
// it, as in "nsenter --net=PATH".
func (n *Namespace) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.Fd())
}

// Do calls f in the namespace, on the calling goroutine. Goroutines that f
// starts are not in it.
func (n *Namespace) Do(f func()) {
	err := inThread(func() error {
		if err := unix.Setns(n.Fd(), unix.CLONE_NEWNET); err != nil {
			return err
		}
		f()
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("netnstest: enter namespace %s: %v", n.name, err))
	}
}

// Go calls f in the namespace on a goroutine and a thread of its own, and
// closes done when f has returned.
func (n *Namespace) Go(f func()) (done <-chan struct{}) {
	ch := make(chan struct{})
	go func() {
		defer close(ch)
		n.Do(f)
	}()
	return ch
}

// inThread calls f on a locked thread and brings the thread back to the
// namespace it was in, also when f ends the test.
func inThread(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(fmt.Sprintf("netnstest: return from a namespace: %v", err))
		}
		home.Close()
	}()
	return f()
}

// Listen opens a listener in the namespace; it is closed when the test ends.
func (n *Namespace) Listen(network, addr string) net.Listener {
	n.tb.Helper()
	var ln net.Listener
	var err error
	n.Do(func() { ln, err = net.Listen(network, addr) })
	if err != nil {
		n.tb.Fatalf("%s: %v", n.name, err)
	}
	n.tb.Cleanup(func() { ln.Close() })
	return ln
}

// ListenPacket opens a datagram socket in the namespace; it is closed when the
// test ends.
func (n *Namespace) ListenPacket(network, addr string) net.PacketConn {
	n.tb.Helper()
	var conn net.PacketConn
	var err error
	n.Do(func() { conn, err = net.ListenPacket(network, addr) })
	if err != nil {
		n.tb.Fatalf("%s: %v", n.name, err)
	}
	n.tb.Cleanup(func() { conn.Close() })
	return conn
}

// Dial connects from the namespace to a numeric address.
func (n *Namespace) Dial(network, addr string) (conn net.Conn, err error) {
	n.Do(func() { conn, err = net.DialTimeout(network, addr, dialTimeout) })
	return conn, err
}
