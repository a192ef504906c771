package oracle

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"usvs/route"
	"usvs/wire"
)

// socket is a UDP socket of a program on the machine, which answers each
// datagram with before, the datagram, and after.
type socket struct {
	addr          netip.AddrPort // unspecified: any address of the machine
	dual          bool           // an IPv6 socket that takes IPv4, too
	before, after string
	echo          bool // the datagram itself is part of the answer
}

// The parts of a responder's source: s=socket.socket(2,2), s.bind((ADDR,PORT))
// and s.sendto(EXPRESSION, address).
var (
	pySocket = regexp.MustCompile(`(\w+)\s*=\s*socket\.socket\(([^)]*)\)`)
	pyBind   = regexp.MustCompile(`(\w+)\.bind\(\s*\(\s*(?:'([^']*)'|"([^"]*)")\s*,\s*(\d+)\s*(?:,[^)]*)?\)\s*\)`)
	pySendto = regexp.MustCompile(`(\w+)\.sendto\(\s*((?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^,'"()])+)\s*,`)
	pyTerm   = regexp.MustCompile(`^\s*(?:b?'((?:\\.|[^'\\])*)'|b?"((?:\\.|[^"\\])*)"|(\w+)(?:\[0\])?)\s*`)
)

var errProgram = errors.New("a program that the player cannot be")

// background starts a program that answers UDP datagrams: the sockets that its
// source binds and what it sends from them is all there is to know.
func (w *world) background(args []string) error {
	if len(args) != 3 || args[0] != "python3" || args[1] != "-c" {
		return fmt.Errorf("%w: %q", errProgram, args)
	}
	src := args[2]
	binds := pyBind.FindAllStringSubmatch(src, -1)
	if len(binds) == 0 {
		return fmt.Errorf("%w: it binds no socket: %s", errProgram, src)
	}
	for _, m := range binds {
		s, err := newSocket(src, m)
		if err != nil {
			return err
		}
		w.sockets = append(w.sockets, s)
	}
	return nil
}

func newSocket(src string, bind []string) (socket, error) {
	name := bind[1]
	six, err := socketKind(src, name)
	if err != nil {
		return socket{}, err
	}
	addr := netip.IPv4Unspecified()
	if six {
		addr = netip.IPv6Unspecified()
	}
	if text := bind[2] + bind[3]; text != "" {
		if addr, err = netip.ParseAddr(text); err != nil {
			return socket{}, fmt.Errorf("%w: bound to %q", errProgram, text)
		}
	}
	port, err := strconv.ParseUint(bind[4], 10, 16)
	if err != nil {
		return socket{}, fmt.Errorf("%w: port %s", errProgram, bind[4])
	}
	s := socket{addr: netip.AddrPortFrom(addr, uint16(port)), dual: six}
	for _, m := range pySendto.FindAllStringSubmatch(src, -1) {
		if m[1] == name {
			return s, s.answers(m[2])
		}
	}
	return socket{}, fmt.Errorf("%w: nothing is sent from %s", errProgram, name)
}

// socketKind reports whether a socket is an IPv6 one. Only datagram sockets
// can be played.
func socketKind(src, name string) (six bool, err error) {
	for _, m := range pySocket.FindAllStringSubmatch(src, -1) {
		if m[1] != name {
			continue
		}
		family, kind, _ := strings.Cut(m[2], ",")
		family, kind = strings.TrimSpace(family), strings.TrimSpace(kind)
		if kind != "2" && !strings.HasSuffix(kind, "SOCK_DGRAM") {
			return false, fmt.Errorf("%w: socket(%s) is not for datagrams", errProgram, m[2])
		}
		return family == "10" || strings.HasSuffix(family, "AF_INET6"), nil
	}
	return false, nil
}

// answers reads the expression that is sent: byte strings and one variable,
// joined by +.
func (s *socket) answers(expr string) error {
	rest := expr
	for rest != "" {
		m := pyTerm.FindStringSubmatch(rest)
		if m == nil {
			return fmt.Errorf("%w: it sends %s", errProgram, expr)
		}
		rest = strings.TrimPrefix(rest[len(m[0]):], "+")
		text, err := pyBytes(m[1] + m[2])
		switch {
		case err != nil:
			return fmt.Errorf("%w: it sends %s", errProgram, expr)
		case m[3] != "" && s.echo:
			return fmt.Errorf("%w: it sends the datagram twice", errProgram)
		case m[3] != "":
			s.echo = true
		case s.echo:
			s.after += text
		default:
			s.before += text
		}
	}
	return nil
}

// pyBytes reads the inside of a byte string. The escapes are Go's as well.
func pyBytes(s string) (string, error) {
	s = strings.ReplaceAll(strings.ReplaceAll(s, `\'`, `'`), `"`, `\"`)
	return strconv.Unquote(`"` + strings.ReplaceAll(s, `\\"`, `\"`) + `"`)
}

func (s *socket) takes(dst netip.AddrPort) bool {
	a := s.addr.Addr()
	family := a.Is4() == dst.Addr().Is4() || s.dual && a.IsUnspecified()
	return s.addr.Port() == dst.Port() && family && (a.IsUnspecified() || a == dst.Addr())
}

// serve gives a datagram to the program it is for, and reports whether there
// is one.
func (w *world) serve(p *wire.Packet) bool {
	if p.Proto != wire.ProtoUDP || !p.Full {
		return false
	}
	dst := netip.AddrPortFrom(p.Dst, p.DstPort)
	for i := range w.sockets {
		s := &w.sockets[i]
		if !s.takes(dst) {
			continue
		}
		if checksumOK(p) {
			w.reply(s, p)
		}
		return true
	}
	return false
}

func checksumOK(p *wire.Packet) bool {
	u := wire.UDP(p.Transport())
	if u.Checksum() == 0 {
		return p.Version == 4
	}
	n := u.Length()
	return n >= wire.UDPLen && n <= len(u) && wire.Fold(wire.Sum(u[:n], wire.PseudoSum(p.Src, p.Dst, wire.ProtoUDP, n))) == 0xffff
}

// reply sends a program's answer. A socket that is bound to no address answers
// from the one that its host would choose.
func (w *world) reply(s *socket, p *wire.Packet) {
	hop := w.routes.Lookup(p.Src)
	if hop.Kind != route.Unicast {
		return
	}
	from := s.addr.Addr()
	if from.IsUnspecified() {
		from = w.sourceTo(p.Src, &hop)
	}
	data := s.before
	if s.echo {
		u := wire.UDP(p.Transport())
		data += string(u[wire.UDPLen:u.Length()]) + s.after
	}
	src, dst := netip.AddrPortFrom(from, p.DstPort), netip.AddrPortFrom(p.Src, p.SrcPort)
	l4 := udpSegment(src, dst, []byte(data))
	o := options{}
	if from.Is4() && wire.IPv4Len+len(l4) <= hop.MTU {
		o["frag"] = dontFragment
	}
	f := wire.NewFrame(wire.MaxFrame)
	f.SetBytes(ethernet(w.net.Interfaces[hop.Port].MAC, wire.MAC{}, packet(src.Addr(), dst.Addr(), wire.ProtoUDP, l4, o)))
	f.Port = hop.Port
	w.send(f)
}

// sourceTo is the address that the host talks to dst from. Of IPv6 addresses
// it prefers the longest common prefix (RFC 6724 rule 8), then the newest.
func (w *world) sourceTo(dst netip.Addr, hop *route.Hop) netip.Addr {
	best, longest := hop.Src, -1
	if dst.Is4() {
		return best
	}
	for _, p := range w.net.Interfaces[hop.Port].Addrs {
		if a := p.Addr(); a.Is6() {
			if n := min(commonBits(a, dst), p.Bits()); n >= longest {
				best, longest = a, n
			}
		}
	}
	return best
}

func commonBits(a, b netip.Addr) int {
	x, y := a.As16(), b.As16()
	for i := range x {
		if d := x[i] ^ y[i]; d != 0 {
			return i*8 + bits.LeadingZeros8(d)
		}
	}
	return len(x) * 8
}

const dontFragment = 0x4000

func udpSegment(src, dst netip.AddrPort, payload []byte) []byte {
	b := append(make([]byte, wire.UDPLen), payload...)
	wire.UDP(b).SetLength(len(b))
	return sum(b, 6, wire.ProtoUDP, src, dst)
}
