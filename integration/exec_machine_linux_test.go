package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link/netnstest"
	"usvs/oracle"
	"usvs/wire"
)

// recordings is where the oracle's are.
const recordings = "../testdata/oracle"

// recordedLinks are the recorded machine's: the names of a link inside and
// outside, and the MAC inside.
var recordedLinks = []struct {
	inside, outside string
	mac             wire.MAC
}{
	{"eth0", "c", wire.MAC{2, 0, 0, 0, 0, 1}},
	{"eth1", "s", wire.MAC{2, 0, 0, 0, 0, 2}},
	{"eth2", "x", wire.MAC{2, 0, 0, 0, 0, 3}},
}

// neighbours makes those who the recorded machine knew by their MACs.
const neighbours = `
nft 'add table inet silent'
nft 'add chain inet silent in { type filter hook input priority 0; policy drop; }'
nft 'add rule inet silent in icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept'
for host in 11 12 13 14 15 16 17 18 fe; do
	last=$host; [ $host = fe ] && last=254
	echo "addr add 10.1.0.$last/16 dev c"
	echo "addr add 10.2.0.$last/16 dev s"
	echo "addr add fd00:1::$host/64 dev c nodad"
	echo "addr add fd00:2::$host/64 dev s nodad"
done | ip -batch -
`

// recordedMachine is the director of the oracle's recordings in a namespace of
// its own, its links' far ends in another. There are the gateways and the real
// servers, who say where they are, and nothing else.
type recordedMachine struct {
	ns   *netnstest.Namespace
	send map[string]func([]byte) bool
	seen watcher
}

// newRecordedMachine makes the machine with links of an MTU, and starts usvs.
func newRecordedMachine(t *testing.T, lab *netnstest.Lab, mtu int) *recordedMachine {
	t.Helper()
	outside := lab.Namespace("outside")
	m := &recordedMachine{
		ns:   lab.Namespace("director"),
		send: map[string]func([]byte) bool{}, seen: watcher{buf: make([]byte, 1<<17)},
	}
	for _, l := range recordedLinks {
		lab.Veth(m.ns, l.inside, outside, l.outside)
		m.ns.SetMAC(l.inside, l.mac)
		m.ns.SetMTU(l.inside, mtu)
		outside.SetMTU(l.outside, mtu)
		m.send[l.outside] = openRaw(t, outside, l.outside)
		m.seen.add(t, outside, l.outside)
	}
	outside.Run("/bin/sh", "-ec", neighbours)
	topology, err := os.ReadFile("../oracle/topology.txt")
	require.NoError(t, err)
	for line := range strings.Lines(string(topology)) {
		if command, ok := strings.CutPrefix(line, "% "); ok {
			m.ns.Run("/bin/sh", "-c", command)
		}
	}
	startDirector(t, m.ns, "-i eth0 -i eth1 -i eth2 --own host")
	return m
}

// watcher sees the frames that come in on some links.
type watcher struct {
	sockets []unix.PollFd
	buf     []byte
}

// add opens a packet socket for what comes in on a link.
func (w *watcher) add(t *testing.T, ns *netnstest.Namespace, dev string) {
	t.Helper()
	var fd int
	var err error
	ns.Do(func() { fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) })
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	const everything = unix.ETH_P_ALL << 8 // in network byte order
	require.NoError(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: ns.Link(dev).Attrs().Index}))
	w.sockets = append(w.sockets, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
}

// count takes what there is and counts the frames that are of the same kind and
// length as another. If there is nothing it waits a little.
func (w *watcher) count(like []byte) (n int) {
	_, _ = unix.Poll(w.sockets, 10)
	for _, s := range w.sockets {
		for {
			size, _, err := unix.Recvfrom(int(s.Fd), w.buf, 0)
			if err != nil {
				break
			}
			if size == len(like) && [2]byte(w.buf[12:]) == [2]byte(like[12:]) {
				n++
			}
		}
	}
	return n
}

// inject puts a step's frames on its link, and waits for what comes of them. A
// frame leaves as long as it came: the recordings' commands tell what else
// became of it.
func (m *recordedMachine) inject(t *testing.T, s *oracle.Step) {
	t.Helper()
	want := s.Repeated
	if !s.Counted && s.Verdict[0] != "none" {
		want = len(s.Verdict)
	}
	const window = 8 // as many as a socket's buffer surely holds
	for sent, seen := 0, 0; sent < s.Repeat || seen < want; {
		for ; sent < s.Repeat && sent < seen+window; sent++ {
			require.True(t, m.send[s.Link](s.Data), s.Text)
		}
		eventually(t, "frames leave: "+s.Text, func() bool {
			n := m.seen.count(s.Data)
			seen += n
			return n > 0 || seen >= want
		})
	}
}

// recordedNames gives the lab's processes the names that the recorded machine
// knew, and no others; the function it returns changes them.
func recordedNames(t *testing.T) (set func(hosts string)) {
	t.Helper()
	dir := t.TempDir()
	hosts, order := filepath.Join(dir, "hosts"), filepath.Join(dir, "nsswitch.conf")
	set = func(text string) {
		require.NoError(t, os.WriteFile(hosts, []byte("127.0.0.1 localhost\n"+text), 0o644))
	}
	set("")
	require.NoError(t, os.WriteFile(order, []byte("hosts: files\nservices: files\n"), 0o644))
	services, err := filepath.Abs("../oracle/services.txt")
	require.NoError(t, err)
	for target, source := range map[string]string{"/etc/hosts": hosts, "/etc/nsswitch.conf": order, "/etc/services": services} {
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			netnstest.Skip(t, "names cannot be those of the recordings: mount over %s: %v", target, err)
		}
	}
	return set
}
