package host

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/director"
	"usvs/link"
	"usvs/link/netnstest"
	"usvs/link/tun"
	"usvs/wire"
)

// wireLab is a director and a client joined by a wire, eth0 at both ends.
type wireLab struct {
	*netnstest.Lab
	client *netnstest.Namespace
	mac    wire.MAC // of the director
	out    int      // packet socket of the client
}

func newWireLab(t *testing.T, lab *netnstest.Lab) *wireLab {
	w := &wireLab{Lab: lab, client: lab.Namespace("client")}
	w.connect(t)
	return w
}

func (w *wireLab) connect(t *testing.T) {
	w.Veth(w.Home, "eth0", w.client, "eth0")
	w.Home.AddAddr("eth0", "10.0.0.1/24")
	w.Home.AddAddr("eth0", "2001:db8::1/64")
	w.Home.AddAddr("eth0", hostLink.String()+"/64")
	w.client.AddAddr("eth0", "10.0.0.2/24")
	w.client.AddAddr("eth0", "2001:db8::2/64")
	w.mac = w.Home.MAC("eth0")
	w.client.Do(func() { w.out = packetSocket(t, "eth0", 0) })
}

// packetSocket opens a packet socket in the thread's namespace.
func packetSocket(t *testing.T, device string, proto uint16) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	index, err := indexOf(device)
	require.NoError(t, err)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto<<8 | proto>>8, Ifindex: index}))
	require.NoError(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
	return fd
}

func indexOf(device string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(device)
	if err != nil {
		return 0, err
	}
	err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req)
	return int(req.Uint32()), err
}

func (w *wireLab) send(t *testing.T, frame []byte) {
	t.Helper()
	require.NoError(t, unix.Send(w.out, frame, 0))
}

// seenTable records, where the host's IP stacks begin, the IPv4 identification
// and the IPv6 flow label of what got through.
const seenTable = `table inet seen {
	set v4 { typeof ip id; size 65535; flags dynamic; }
	set v6 { typeof ip6 flowlabel; size 65535; flags dynamic; }
	chain pre {
		type filter hook prerouting priority -440;
		iifname != "eth0" return
		add @v4 { ip id }
		add @v6 { ip6 flowlabel }
	}
}`

func watchStack(t *testing.T, ns *netnstest.Namespace) {
	file := t.TempDir() + "/seen.nft"
	require.NoError(t, os.WriteFile(file, []byte(seenTable), 0o600))
	ns.Run("nft", "-f", file)
}

var number = regexp.MustCompile(`\d+`)

func seen(ns *netnstest.Namespace, set string) map[uint16]bool {
	out := ns.Run("nft", "list", "set", "inet", "seen", set)
	_, list, _ := strings.Cut(out, "elements = {")
	ids := map[uint16]bool{}
	for _, s := range number.FindAllString(list, -1) {
		n, _ := strconv.Atoi(s)
		ids[uint16(n)] = true
	}
	return ids
}

// awaitSeen waits for a packet to reach the stack; those sent before it have
// reached it, or never will.
func awaitSeen(t *testing.T, ns *netnstest.Namespace, set string, id uint16) {
	t.Helper()
	require.Eventually(t, func() bool { return seen(ns, set)[id] }, 10*time.Second, time.Millisecond)
}

var testServices = []director.Endpoint{
	{Protocol: 6, Addr: host4, Port: 80}, {Protocol: 6, Addr: host6, Port: 80},
	{Protocol: 17, Addr: host4, Port: 53}, {Protocol: 0, Addr: host6, Port: 53},
	{Protocol: 132, Addr: host4},
	{Protocol: 6, Addr: away4, Port: 80}, {Protocol: 0, Addr: away6},
}

func testHidden(withServers bool) *director.Hidden {
	h := &director.Hidden{
		Addrs:    director.AddrsOf(vip4, vip6),
		Services: director.EndpointsOf(testServices...),
		Prefixes: []netip.Prefix{
			netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("198.51.100.0/28"),
			netip.MustParsePrefix("255.0.0.0/8"), netip.MustParsePrefix("2001:db8:7::/48"),
		},
	}
	if withServers {
		h.Servers = director.EndpointsOf([]director.Endpoint{
			{Protocol: 6, Addr: rs4, Port: 80}, {Protocol: 6, Addr: rs6, Port: 80}, {Protocol: 0, Addr: rs6},
		}...)
	}
	return h
}

// randomPacket draws from few values, so that every rule is hit often.
func randomPacket(r *rand.Rand, id uint16) packet {
	pick := func(v ...uint16) uint16 { return v[r.IntN(len(v))] }
	p := packet{
		id: id, sport: pick(80, 53, 1024), dport: pick(80, 53, 22, 0),
		proto: uint8(pick(6, 6, 17, 17, 132, 1, 47)), icmpType: uint8(pick(0, 3, 4, 5, 8, 11, 12)),
		src: peer4, dst: host4,
	}
	v6 := r.IntN(2) == 1
	src := []netip.Addr{peer4, rs4}
	dst := []netip.Addr{host4, vip4, away4, other4, peer4, netip.MustParseAddr("198.51.101.1")}
	if v6 {
		src = []netip.Addr{peer6, rs6}
		dst = []netip.Addr{host6, hostLink, vip6, away6, other6, peer6, netip.MustParseAddr("2001:db8:8::1")}
		if p.proto == wire.ProtoICMP {
			p.proto, p.icmpType = wire.ProtoICMPv6, uint8(pick(1, 2, 3, 4, 127, 128, 129, 200))
		}
		p.extensions = [][]uint8{nil, nil, nil, {0}, {60}, {0, 60}, {51}, {60, 51}}[r.IntN(8)]
	}
	p.src, p.dst = src[r.IntN(len(src))], dst[r.IntN(len(dst))]
	switch r.IntN(4) {
	case 0:
		p.moreFrags = true
	case 1:
		p.fragOffset, p.moreFrags = 8*(1+r.IntN(100)), r.IntN(2) == 1
	}
	return p
}

// TestSuppressorModel compares what the kernel drops with what Hidden says, on
// random packets, for both hooks.
func TestSuppressorModel(t *testing.T) {
	netnstest.NeedCommands(t, "nft")
	for _, tc := range []struct {
		name    string
		hook    hook
		servers bool
	}{{"ingress", hookIngress, true}, {"ingress without servers", hookIngress, false}, {"prerouting", hookPrerouting, true}} {
		t.Run(tc.name, func(t *testing.T) {
			netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
				w := newWireLab(t, lab)
				watchStack(t, w.Home)
				s, err := newSuppressor(tc.hook)
				require.NoError(t, err)
				defer s.Close()
				h := testHidden(tc.servers)
				require.NoError(t, s.Apply(h, []string{"missing", "eth0"}))
				compareWithModel(t, w, h, 0)
				for _, a := range []netip.Addr{away4, away6} { // nobody is told
					w.Home.AddAddr("eth0", netip.PrefixFrom(a, a.BitLen()).String())
				}
				compareWithModel(t, w, h, 20000, away4, away6)

				next := *h
				next.Services = director.EndpointsOf(append(slices.Clone(testServices), director.Endpoint{Protocol: 17, Addr: host4, Port: 22})...)
				next.Addrs = director.AddrsOf(vip4)
				next.Prefixes = append(slices.Clone(h.Prefixes[1:]), netip.MustParsePrefix("198.51.101.0/24"))
				require.NoError(t, s.Apply(&next, []string{"eth0"}))
				compareWithModel(t, w, &next, 40000, away4, away6)

				next4, next6 := next, next
				next4.Local4, next6.Local6 = true, true
				require.NoError(t, s.Update(&next4))
				compareWithModel(t, w, &next4, 50000, away4, away6)
				require.NoError(t, s.Update(&next6))
				compareWithModel(t, w, &next6, 60000, away4, away6)
			})
		})
	}
}

func compareWithModel(t *testing.T, w *wireLab, h *director.Hidden, firstID uint16, added ...netip.Addr) {
	t.Helper()
	const packets = 3000
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	carried := append([]netip.Addr{host4, host6, hostLink}, added...)
	local := func(a netip.Addr) bool { return slices.Contains(carried, a) }
	sent := map[uint16]packet{}
	hides := map[uint16]bool{}
	for id := firstID + 1; id <= firstID+packets; id++ {
		p := randomPacket(r, id)
		frame := p.frame(w.mac)
		var parsed wire.Packet
		require.Equal(t, wire.None, parsed.Parse(frame, wire.Ethernet), "%+v", p)
		sent[id], hides[id] = p, h.Hides(&parsed, local)
		w.send(t, frame)
	}
	hidden := 0
	for _, hides := range hides {
		if hides {
			hidden++
		}
	}
	got := w.through(t, sent, hides)
	for id, p := range sent {
		require.Equal(t, hides[id], !got[id], "seed %d: hidden, according to the model: %+v", seed, p)
	}
	assert.Greater(t, hidden, packets/10)
	assert.Less(t, hidden, packets*9/10)
}

// through returns which of the sent packets the stack got. A busy machine loses
// some on the way, so those that are missing without being hidden are sent again.
func (w *wireLab) through(t *testing.T, sent map[uint16]packet, hides map[uint16]bool) (got map[uint16]bool) {
	for range 100 {
		got = seen(w.Home, "v4")
		maps.Copy(got, seen(w.Home, "v6"))
		lost := 0
		for id, p := range sent {
			if !got[id] && !hides[id] {
				w.send(t, p.frame(w.mac))
				lost++
			}
		}
		if lost == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return got
}

// TestSuppressorLeavesAlone: frames for other stations and with VLAN tags, and
// packet sockets for all protocols.
func TestSuppressorLeavesAlone(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		w := newWireLab(t, lab)
		s, err := NewSuppressor()
		require.NoError(t, err)
		defer s.Close()
		require.NoError(t, s.Apply(testHidden(true), []string{"eth0"}))
		all := packetSocket(t, "eth0", unix.ETH_P_ALL)
		ip := packetSocket(t, "eth0", unix.ETH_P_IP)

		p := packet{src: peer4, dst: vip4, proto: 17, dport: 80}
		frame := p.frame(w.mac)
		w.send(t, frame)
		assert.Equal(t, frame, nextFrame(all, 0x0800), "ETH_P_ALL sees what is hidden")

		stranger := p.frame(wire.MAC{2, 0, 0, 0, 0, 55})
		w.send(t, stranger)
		assert.Equal(t, stranger, nextFrame(ip, 0x0800), "the stack does not, but the next frame, to another MAC")

		tagged := append(append([]byte{}, frame[:12]...), append([]byte{0x81, 0, 0, 5}, frame[12:]...)...)
		w.send(t, tagged)
		assert.NotNil(t, nextFrame(ip, 0x0800), "a tagged frame")
	})
}

// TestSuppressorOnTun: an interface without link headers.
func TestSuppressorOnTun(t *testing.T) {
	netnstest.NeedCommands(t, "nft")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		watchStack(t, lab.Home)
		dev, err := tun.Open("eth0", tun.Options{Addresses: []netip.Prefix{netip.PrefixFrom(host4, 24), netip.PrefixFrom(host6, 64)}})
		needTun(t, err)
		defer dev.Close()
		s, err := NewSuppressor()
		require.NoError(t, err)
		defer s.Close()
		require.NoError(t, s.Apply(testHidden(true), []string{"eth0"}))
		w := dev.NewWriter()
		for i, p := range []packet{
			{src: peer4, dst: vip4, proto: 17, dport: 80}, {src: peer4, dst: host4, proto: 17, dport: 80},
			{src: peer6, dst: vip6, proto: 17, dport: 80}, {src: peer6, dst: host6, proto: 17, dport: 80},
		} {
			p.id = uint16(i + 1)
			f := wire.NewFrame(2000)
			f.SetBytes(p.ip())
			f.Medium = wire.IP
			_, err := w.WriteBatch([]*link.Frame{f})
			require.NoError(t, err)
		}
		awaitSeen(t, lab.Home, "v4", 2)
		awaitSeen(t, lab.Home, "v6", 4)
		assert.Equal(t, map[uint16]bool{2: true}, seen(lab.Home, "v4"))
		assert.Equal(t, map[uint16]bool{4: true}, seen(lab.Home, "v6"))
	})
}

// nextFrame returns the next frame of a type, nil if none comes.
func nextFrame(fd int, etherType uint16) []byte {
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR { // a read with a time limit is not restarted (signal(7))
			continue
		}
		if err != nil {
			return nil
		}
		if uint16(buf[12])<<8|uint16(buf[13]) == etherType {
			return buf[:n]
		}
	}
}

func TestSuppressorFollowsInterface(t *testing.T) {
	netnstest.NeedCommands(t, "nft")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		w := newWireLab(t, lab)
		watchStack(t, w.Home)
		s, err := NewSuppressor()
		require.NoError(t, err)
		defer s.Close()
		h := testHidden(true)
		for id := uint16(1); id <= 6; id += 2 {
			require.NoError(t, s.Apply(h, []string{"eth0"}))
			w.send(t, packet{src: peer4, dst: vip4, proto: 17, dport: 80, id: id}.frame(w.mac))
			w.send(t, packet{src: peer4, dst: host4, proto: 17, dport: 81, id: id + 1}.frame(w.mac))
			awaitSeen(t, w.Home, "v4", id+1)
			assert.False(t, seen(w.Home, "v4")[id], "hidden")
			w.Home.Delete("eth0")
			require.NoError(t, s.Apply(h, []string{"eth0"}), "without the interface")
			w.connect(t)
		}
		assert.Equal(t, 0, strings.Count(w.Home.Run("nft", "list", "tables", "netdev"), "probe"))
	})
}

// TestSuppressorMany changes many services at once, and lists what is left.
func TestSuppressorMany(t *testing.T) {
	netnstest.NeedCommands(t, "nft")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		w := newWireLab(t, lab)
		s, err := NewSuppressor()
		require.NoError(t, err)
		defer s.Close()
		services := director.NewEndpoints()
		for i := range 12000 {
			a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			services.Add(director.Endpoint{Protocol: 6, Addr: a, Port: uint16(1 + i/256)})
		}
		require.NoError(t, s.Apply(&director.Hidden{Services: services.Freeze()}, []string{"eth0"}))
		list := func() int {
			return strings.Count(w.Home.Run("nft", "list", "set", "netdev", s.table.Name, "services4"), " . 192.0.2.")
		}
		assert.Equal(t, 12000, list())
		require.NoError(t, s.Apply(nil, []string{"eth0"}))
		assert.Equal(t, 0, list())
	})
}

// TestSuppressorDiesWithProcess kills a process that hides something.
func TestSuppressorDiesWithProcess(t *testing.T) {
	netnstest.NeedCommands(t, "nft")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		newWireLab(t, lab)
		child := lab.Home.StartCmd(helper("suppress"))
		tables := func() string { return lab.Home.Run("nft", "list", "ruleset") }
		require.Eventually(t, func() bool { return strings.Contains(tables(), "eth0-") }, 10*time.Second, 10*time.Millisecond)
		out, err := lab.Home.Try("nft", "flush", "ruleset")
		assert.Contains(t, tables(), "usvs-", "nobody else can remove it: %s %v", out, err)
		require.NoError(t, unix.Kill(child.Pid(), unix.SIGKILL))
		<-child.Done()
		require.Eventually(t, func() bool { return !strings.Contains(tables(), "usvs-") }, 10*time.Second, 10*time.Millisecond)
	})
}

func TestSuppressorNeedsPermission(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		out, err := helperWithoutCapabilities(lab, "suppress")
		require.Error(t, err)
		assert.Contains(t, out, "CAP_NET_ADMIN is missing")
	})
}

// helpSuppress hides something and waits to be killed.
func helpSuppress() error {
	s, err := NewSuppressor()
	if err != nil {
		return err
	}
	if err := s.Apply(testHidden(true), []string{"eth0"}); err != nil {
		return err
	}
	select {}
}
