package forward

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
	"usvs/wire"
)

// recorded is one frame given to the recorded director and what it sent.
type recorded struct {
	line int
	link string
	in   []byte
	out  []recordedFrame

	pmtuDisc bool // as the sysctl was at the time
}

type recordedFrame struct {
	link  string
	bytes []byte
}

// service is one of the recorded director's, with its only real server.
type service struct {
	proto    uint8
	vip, rip netip.AddrPort
	method   ipvs.ForwardMethod
	tunnel   ipvs.TunnelParams
}

// trace is a recording as far as this package has a say in it.
type trace struct {
	services []service
	mtu      map[string]int
	steps    []recorded
}

func readTrace(t *testing.T, name string) *trace {
	t.Helper()
	file, err := os.Open("testdata/oracle/" + name + ".trace")
	require.NoError(t, err)
	defer file.Close()
	tr := &trace{mtu: map[string]int{"c": 1500, "s": 1500}}
	pmtuDisc := true
	sc := bufio.NewScanner(file)
	sc.Buffer(nil, 1<<20)
	for line := 1; sc.Scan(); line++ {
		words := strings.Fields(sc.Text())
		switch words[0] {
		case "mtu":
			var n int
			_, err := fmt.Sscan(words[2], &n)
			require.NoError(t, err)
			tr.mtu[words[1]] = n
		case "$":
			tr.configure(t, words[2:])
		case "%":
			pmtuDisc = words[3] == "net.ipv4.vs.pmtu_disc=1"
		case ">":
			tr.steps = append(tr.steps, recorded{line: line, link: words[1], in: unhex(t, words[2]), pmtuDisc: pmtuDisc})
		case "<":
			s := &tr.steps[len(tr.steps)-1]
			s.out = append(s.out, recordedFrame{words[1], unhex(t, words[2])})
		}
	}
	require.NoError(t, sc.Err())
	return tr
}

// configure understands as much of ipvsadm as the recordings use.
func (tr *trace) configure(t *testing.T, args []string) {
	t.Helper()
	var s service
	for i := 1; i < len(args); i++ {
		switch args[i] {
		case "-t", "-u", "--sctp-service":
			s.proto = map[string]uint8{"-t": wire.ProtoTCP, "-u": wire.ProtoUDP, "--sctp-service": wire.ProtoSCTP}[args[i]]
			i++
			s.vip = netip.MustParseAddrPort(args[i])
		case "-r":
			i++
			if a, err := netip.ParseAddr(args[i]); err == nil {
				s.rip = netip.AddrPortFrom(a, s.vip.Port())
			} else {
				s.rip = netip.MustParseAddrPort(args[i])
			}
		case "-m":
			s.method = ipvs.Masquerade
		case "-g":
			s.method = ipvs.DirectRoute
		case "-i":
			s.method = ipvs.Tunnel
		case "--tun-type":
			i++
			s.tunnel.Type = map[string]ipvs.TunnelType{"ipip": ipvs.IPIP, "gue": ipvs.GUE, "gre": ipvs.GRE}[args[i]]
		case "--tun-port":
			i++
			_, err := fmt.Sscan(args[i], &s.tunnel.Port)
			require.NoError(t, err)
		case "--tun-csum":
			s.tunnel.Flags |= ipvs.TunnelCsum
		case "--tun-remcsum":
			s.tunnel.Flags |= ipvs.TunnelRemCsum
		}
	}
	if args[0] == "-a" {
		tr.services = append(tr.services, s)
	}
}

// replay is just enough of a director to hand every recorded frame to the
// functions of this package in the right order. What the local stack or the
// connection table would decide, it leaves unclaimed.
type replay struct {
	t     *testing.T
	tr    *trace
	re    *Reassembler
	conns map[string]bool // protocol and client
	step  *recorded

	f *wire.Frame
	p *wire.Packet

	compared, cut, tooBig, related, reassembled int
}

func newReplay(t *testing.T, name string) *replay {
	return &replay{t: t, tr: readTrace(t, name), re: NewReassembler(Limits{Datagrams: 8, Bytes: 1}, 1), conns: map[string]bool{}}
}

func (r *replay) run() {
	for i := range r.tr.steps {
		r.step = &r.tr.steps[i]
		r.f = newFrame()
		r.f.SetBytes(r.step.in)
		r.p = new(wire.Packet)
		if r.p.Parse(r.f.Bytes(), r.f.Medium) == wire.None && r.whole() {
			r.handle()
		}
	}
}

func (r *replay) where() string { return fmt.Sprintf("line %d", r.step.line) }

// whole reassembles.
func (r *replay) whole() bool {
	if !r.p.Fragment {
		return true
	}
	out := newFrame()
	if r.re.Add(0, r.f, r.p, out) != Complete {
		require.Empty(r.t, r.step.out, r.where())
		return false
	}
	r.reassembled++
	r.f, r.p = out, parse(r.t, out)
	if r.step.link == "c" {
		MergePieces(r.f, r.p) // it is addressed to the director
	}
	// The kernel chooses the identification of IPv6 fragments anew.
	if b := r.step.out[0].bytes; r.p.Version == 6 {
		r.f.FragID = uint32(be16(b[58:]))<<16 | uint32(be16(b[60:]))
	}
	return true
}

func (r *replay) handle() {
	for i := range r.tr.services {
		s := &r.tr.services[i]
		switch {
		case r.p.IsICMPError():
			if r.icmp(s) {
				return
			}
		case r.p.Proto == s.proto && netip.AddrPortFrom(r.p.Dst, r.p.DstPort) == s.vip:
			r.fromClient(s)
			return
		case r.p.Proto == s.proto && netip.AddrPortFrom(r.p.Src, r.p.SrcPort) == s.rip && r.known(s, r.p.Dst, r.p.DstPort):
			r.fromServer(s)
			return
		}
	}
}

func (r *replay) known(s *service, a netip.Addr, port uint16) bool {
	return r.conns[fmt.Sprint(s.proto, netip.AddrPortFrom(a, port))]
}

func (r *replay) fromClient(s *service) {
	p := r.p
	if !p.Full {
		require.Empty(r.t, r.step.out, r.where())
		return
	}
	client := fmt.Sprint(s.proto, netip.AddrPortFrom(p.Src, p.SrcPort))
	starts := s.proto != wire.ProtoTCP || p.TCPFlags&wire.FlagSYN != 0 && p.TCPFlags&wire.FlagRST == 0
	if !r.conns[client] && !starts || p.TTL <= 1 || len(r.step.out) > 0 && r.noDestination() {
		return
	}
	r.conns[client] = true
	RecordRoute(p, p.Dst)
	r.transmit(s, func() { RewriteDst(r.f, p, s.rip) })
}

// noDestination: the last frames of v6-dr find a server of weight 0.
func (r *replay) noDestination() bool {
	b := r.step.out[0].bytes
	return b[20] == wire.ProtoICMPv6 && b[54] == wire.ICMPv6Unreachable
}

func (r *replay) fromServer(s *service) {
	if r.p.TTL <= 1 {
		return
	}
	DecrementTTL(r.p)
	if tooBig, fragment := ExceedsMTU(r.f, r.p, r.tr.mtu["c"]); !tooBig {
		RewriteSrc(r.f, r.p, s.vip)
		r.send("c", fragment, r.tr.mtu["c"])
		return
	}
	r.t.Fatal("no reply in the recordings is too big")
}

func (r *replay) icmp(s *service) bool {
	var q wire.Packet
	r.learnMTU(s)
	if !ParseQuote(r.p, &q) || q.Proto != s.proto {
		return false
	}
	inbound := netip.AddrPortFrom(q.Src, q.SrcPort) == s.vip && r.known(s, q.Dst, q.DstPort)
	outbound := netip.AddrPortFrom(q.Dst, q.DstPort) == s.rip && r.known(s, q.Src, q.SrcPort)
	if !inbound && !outbound {
		return false
	}
	r.related++
	if !ICMPChecksumOK(r.f, r.p, outbound) || r.p.TTL <= 1 {
		require.Empty(r.t, r.step.out, r.where())
		return true
	}
	if inbound {
		r.transmit(s, func() { RewriteRelatedIn(r.f, r.p, &q, s.rip) })
		return true
	}
	DecrementTTL(r.p)
	RewriteRelatedOut(r.f, r.p, &q, s.vip)
	r.send("c", false, 1500)
	return true
}

// learnMTU does what the director will do when a router says that a tunnel's
// packet was too long and quotes enough of it.
func (r *replay) learnMTU(s *service) {
	m := r.p.Transport()
	if r.p.Version == 4 && m[0] == wire.ICMPUnreachable && m[1] == 4 && len(m) >= 8+20+20+8 &&
		wire.IPv4(m[8:]).Dst() == s.rip.Addr() && wire.IPv4(m[8:]).Proto() == wire.ProtoIPIP {
		r.tr.mtu["s"] = int(be16(m[6:]))
	}
}

// transmit sends a packet to the real server, rewritten for NAT.
func (r *replay) transmit(s *service, rewrite func()) {
	link := r.linkTo(s)
	mtu, overhead := r.tr.mtu[link], 0
	tun := Tunnel{Params: s.tunnel, Src: netip.MustParseAddr("10.2.0.1"), Dst: s.rip.Addr()}
	if tun.Dst.Is6() {
		tun.Src = netip.MustParseAddr("fd00:2::1")
	}
	if s.method == ipvs.Tunnel {
		overhead = Overhead(&tun, r.f)
	}
	DecrementTTL(r.p)
	tooBig, fragment := ExceedsMTU(r.f, r.p, mtu-overhead)
	if tooBig && (r.step.pmtuDisc || s.method != ipvs.Tunnel) {
		r.requireTooBig(mtu - overhead)
		return
	}
	switch s.method {
	case ipvs.Masquerade:
		rewrite()
	case ipvs.Tunnel:
		require.True(r.t, Encapsulate(r.f, r.p, &tun, r.step.pmtuDisc, r.recordedID(&tun)), r.where())
		r.borrowFlowPort(s)
		_, fragment = ExceedsMTU(r.f, r.p, mtu)
	}
	r.send(link, fragment, mtu)
}

func (r *replay) linkTo(s *service) string {
	for _, prefix := range []string{"10.1.0.0/16", "fd00:1::/64"} {
		if netip.MustParsePrefix(prefix).Contains(s.rip.Addr()) {
			return "c"
		}
	}
	return "s"
}

// recordedID is the identification the kernel happened to choose.
func (r *replay) recordedID(tun *Tunnel) uint32 {
	require.NotEmpty(r.t, r.step.out, r.where())
	b := r.step.out[0].bytes
	switch {
	case tun.Dst.Is4():
		return uint32(be16(b[18:]))
	case b[20] == wire.ProtoFragment:
		return uint32(be16(b[58:]))<<16 | uint32(be16(b[60:]))
	}
	return 0
}

// borrowFlowPort replaces a GUE tunnel's source port by the kernel's, which
// comes from a hash with a key of its own.
func (r *replay) borrowFlowPort(s *service) {
	if s.tunnel.Type != ipvs.GUE {
		return
	}
	u := wire.UDP(r.p.Transport())
	theirs := be16(r.step.out[0].bytes[34:])
	if sum := u.Checksum(); sum != 0 {
		u.SetChecksum(wire.Update16(sum, u.SrcPort(), theirs))
	}
	put16(u, theirs)
}

// requireTooBig checks that the kernel found so too, named the same MTU and
// quoted the packet with its TTL decremented.
func (r *replay) requireTooBig(mtu int) {
	r.tooBig++
	require.Len(r.t, r.step.out, 1, r.where())
	var e wire.Packet
	require.Equal(r.t, wire.None, e.Parse(r.step.out[0].bytes, wire.Ethernet))
	m := e.Transport()
	if e.Version == 4 {
		require.Equal(r.t, []byte{wire.ICMPUnreachable, 4}, m[:2], r.where())
	} else {
		require.Equal(r.t, []byte{wire.ICMPv6TooBig, 0}, m[:2], r.where())
	}
	require.Equal(r.t, mtu, int(be16(m[6:])), r.where())
	quote := m[8:]
	require.Equal(r.t, hex.EncodeToString(quote), hex.EncodeToString(r.p.Data[r.p.L3:][:len(quote)]), r.where())
}

// send compares with the recording all that is not the director's business.
func (r *replay) send(link string, fragment bool, mtu int) {
	frames := []*wire.Frame{r.f}
	if fragment {
		r.cut++
		emit, got := collect()
		require.True(r.t, Fragment(r.f, r.p, mtu, newFrame, emit), r.where())
		frames = *got
	}
	require.Len(r.t, frames, len(r.step.out), r.where())
	for i, f := range frames {
		want := r.step.out[i]
		require.Equal(r.t, want.link, link, r.where())
		require.Equal(r.t, hex.EncodeToString(want.bytes[12:]), hex.EncodeToString(f.Bytes()[12:]),
			"%s, frame %d", r.where(), i)
		r.compared++
	}
}

// TestRecordings replays what the kernel did, byte for byte behind the MAC
// addresses. Only identifications and GUE source ports, which the kernel
// draws, are taken from the recording.
func TestRecordings(t *testing.T) {
	for _, c := range []struct {
		name                                        string
		compared, cut, tooBig, related, reassembled int
	}{
		{"nat", 35, 3, 0, 9, 3},
		{"nat-mtu", 7, 2, 1, 0, 1},
		{"nat-sctp", 13, 0, 0, 0, 0},
		{"v6-nat", 17, 2, 0, 3, 2},
		{"dr", 21, 3, 0, 2, 3},
		{"dr-mtu", 7, 2, 3, 0, 1},
		{"v6-dr", 13, 1, 0, 2, 1},
		{"tun-ipip", 31, 4, 3, 0, 1},
		{"tun-ipip-mtu", 26, 3, 2, 0, 1},
		{"tun-gre", 26, 4, 3, 0, 1},
		{"tun-gre-csum", 26, 5, 4, 0, 1},
		{"tun-gue", 26, 6, 5, 0, 1},
		{"tun-gue-csum", 26, 6, 5, 0, 1},
		{"tun-gue-remcsum", 26, 6, 5, 0, 1},
		{"mixed-family", 6, 1, 2, 0, 0},
		{"v6-tun", 11, 1, 2, 2, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReplay(t, c.name)
			r.run()
			// A frame no longer compared is a test that no longer tests.
			require.Equal(t, fmt.Sprint(c.compared, c.cut, c.tooBig, c.related, c.reassembled),
				fmt.Sprint(r.compared, r.cut, r.tooBig, r.related, r.reassembled))
		})
	}
}
