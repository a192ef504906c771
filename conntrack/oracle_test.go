package conntrack

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"usvs/clock"
	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// TestOracle plays recordings of Linux 6.1 and compares the whole connection
// table, states, expiries and all, after every packet. What the director
// decides is taken from the recording.
func TestOracle(t *testing.T) {
	files, err := filepath.Glob("../testdata/oracle/state/*.trace")
	require.NoError(t, err)
	require.Len(t, files, 12)
	for _, name := range []string{"expiry", "expiry-held", "plain", "multi", "netmask", "port0", "fwmark", "thresh", "v6"} {
		files = append(files, "../testdata/oracle/persist/"+name+".trace")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".trace"), func(t *testing.T) {
			p := newPlayer(t)
			p.play(file)
			require.NotZero(t, p.listings)
			checkIndex(t, p.table)
		})
	}
}

type player struct {
	*testing.T
	table    *Table
	reg      *ipvs.Registry
	now      clock.Instant
	services []*service
	reuse    int
	listings int
	line     string
}

type service struct {
	proto   ipvs.Protocol
	virtual netip.AddrPort
	mark    uint32
	persist time.Duration
	prefix  int // of the client, for templates; 0: all
	servers []*ipvs.RealServer
}

func newPlayer(t *testing.T) *player {
	reg := new(ipvs.Registry)
	return &player{T: t, reg: reg, now: t0, reuse: 1, table: New(Config{Servers: reg})}
}

func (p *player) play(file string) {
	f, err := os.Open(file)
	require.NoError(p, err)
	defer f.Close()
	var lines []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		lines = append(lines, sc.Text())
	}
	for i, line := range lines {
		p.line = fmt.Sprintf("%s:%d: %s", file, i+1, line)
		var output []string
		for _, l := range lines[i+1:] {
			if !strings.HasPrefix(l, "|") {
				break
			}
			output = append(output, l[1:])
		}
		p.step(strings.Fields(line), output)
	}
}

func (p *player) step(f, output []string) {
	if len(f) < 2 {
		return
	}
	switch f[0] {
	case "%":
		p.sysctl(f[len(f)-1])
	case "$":
		p.command(f[2:], output)
	case "@":
		d, err := time.ParseDuration(f[1] + "s")
		require.NoError(p, err)
		end := p.now.Add(d)
		for next := p.now; next <= end; {
			p.now = next
			next = drainTicks(p.table, next, 10)
		}
		p.now = end
	case "tcp", "udp", "sctp":
		p.packet(f)
	}
}

func (p *player) sysctl(set string) {
	name, value, _ := strings.Cut(set, "=")
	n, _ := strconv.Atoi(value)
	switch name {
	case "net.ipv4.vs.conn_reuse_mode":
		p.reuse = n
	case "net.ipv4.vs.secure_tcp":
		p.table.SetSecureTCP(n > 1)
	}
}

func (p *player) command(args, output []string) {
	switch args[0] {
	case "-A":
		p.addService(args[1:])
	case "-a":
		s, opts := p.service(args[1:])
		addr, err := netip.ParseAddrPort(opts["-r"])
		if err != nil {
			addr = netip.AddrPortFrom(netip.MustParseAddr(opts["-r"]), s.virtual.Port())
		}
		m := ipvs.DirectRoute
		if _, ok := opts["-m"]; ok {
			m = ipvs.Masquerade
		}
		rs := ipvs.NewRealServer(ipvs.ServerID{Addr: addr.Addr(), Port: addr.Port()}, nil, ipvs.ServerSpec{Method: m, Weight: 1})
		p.reg.Add(rs)
		s.servers = append(s.servers, rs)
	case "-d":
		s, opts := p.service(args[1:])
		i := slices.IndexFunc(s.servers, func(rs *ipvs.RealServer) bool { return rs.ID.Addr.String() == opts["-r"] })
		s.servers[i].SetAvailable(false)
		s.servers = slices.Delete(s.servers, i, i+1)
	case "--set":
		var v [3]uint32
		for i := range v {
			n, err := strconv.Atoi(args[i+1])
			require.NoError(p, err)
			v[i] = uint32(n)
		}
		p.table.SetTimeouts(ipvs.Timeouts{TCP: v[0], TCPFin: v[1], UDP: v[2]})
	case "-Lnc":
		p.compareConns(output)
	case "-Ln":
		if len(args) == 1 {
			p.compareCounts(output, 4, 5, -1)
		} else {
			p.compareCounts(output, 4, 5, 3)
		}
	}
}

// options splits the arguments of ipvsadm into options and values.
func options(args []string) map[string]string {
	opts := map[string]string{}
	for i, a := range args {
		if strings.HasPrefix(a, "-") {
			opts[a] = ""
			if i+1 < len(args) {
				opts[a] = args[i+1]
			}
		}
	}
	return opts
}

func identity(opts map[string]string) (s service) {
	for opt, proto := range map[string]ipvs.Protocol{"-t": ipvs.TCP, "-u": ipvs.UDP, "--sctp-service": ipvs.SCTP} {
		if v, ok := opts[opt]; ok {
			s.proto, s.virtual = proto, netip.MustParseAddrPort(v)
		}
	}
	n, _ := strconv.Atoi(opts["-f"])
	s.mark = uint32(n)
	return s
}

func (p *player) addService(args []string) {
	opts := options(args)
	s := identity(opts)
	if v, ok := opts["-p"]; ok {
		secs, err := strconv.Atoi(v)
		if err != nil {
			secs = 360
		}
		s.persist = time.Duration(secs) * time.Second
	}
	switch m := opts["-M"]; m {
	case "":
	case "255.255.255.0":
		s.prefix = 24
	default:
		s.prefix, _ = strconv.Atoi(m)
	}
	p.services = append(p.services, &s)
}

func (p *player) service(args []string) (*service, map[string]string) {
	opts := options(args)
	id := identity(opts)
	i := slices.IndexFunc(p.services, func(s *service) bool {
		return s.proto == id.proto && s.virtual == id.virtual && s.mark == id.mark
	})
	require.GreaterOrEqual(p, i, 0, p.line)
	return p.services[i], opts
}

var tcpLetters = map[rune]uint8{'F': 1, 'S': 2, 'R': 4, 'P': 8, 'A': 16, 'U': 32}

var sctpTypes = map[string]byte{"DATA": 0, "INIT": 1, "INIT_ACK": 2, "SACK": 3, "HEARTBEAT": 4, "HEARTBEAT_ACK": 5, "ABORT": 6,
	"SHUTDOWN": 7, "SHUTDOWN_ACK": 8, "ERROR": 9, "COOKIE_ECHO": 10, "COOKIE_ACK": 11, "SHUTDOWN_COMPLETE": 14}

// packet plays a line: protocol, perhaps a link, what, source, destination,
// arrow, verdict.
func (p *player) packet(f []string) {
	proto := map[string]ipvs.Protocol{"tcp": ipvs.TCP, "udp": ipvs.UDP, "sctp": ipvs.SCTP}[f[0]]
	f = f[1:]
	out := f[0] == "s"
	if out || f[0] == "c" {
		f = f[1:]
	}
	ev, first := EventUDP, true
	switch proto {
	case ipvs.TCP:
		flags := uint8(0)
		for _, r := range f[0] {
			flags |= tcpLetters[r]
		}
		ev, first = TCPEvent(flags), flags&2 != 0
		f = f[1:]
	case ipvs.SCTP:
		kind, ok := sctpTypes[f[0]]
		require.True(p, ok, p.line)
		ev, first = SCTPEvent([]byte{kind, 0, 0, 4}), kind == 1
		f = f[1:]
	}
	src, dst := netip.MustParseAddrPort(f[0]), netip.MustParseAddrPort(f[1])
	verdict := f[slices.Index(f, "->")+1]
	if out {
		p.output(proto, src, dst, ev)
		return
	}
	p.input(proto, src, dst, ev, first, verdict)
}

func (p *player) output(proto ipvs.Protocol, server, client netip.AddrPort, ev Event) {
	var c Conn
	if p.table.LookupOut(p.now, proto, server, client, &c) {
		require.True(p, p.table.Packet(p.now, &c, DirOut, ev), p.line)
	}
}

func (p *player) input(proto ipvs.Protocol, cl, virtual netip.AddrPort, ev Event, first bool, verdict string) {
	var c Conn
	found := p.table.LookupIn(p.now, proto, cl, virtual, &c)
	if found && first && proto != ipvs.UDP && p.reuse != 0 && Reusable(&c, p.reuse) {
		require.True(p, p.table.Expire(p.now, c.Ref), p.line)
		found = false
	}
	if !found {
		rs := p.chosen(proto, virtual, verdict)
		if rs == nil {
			return
		}
		p.open(proto, cl, virtual, rs, &c)
	}
	require.True(p, p.table.Packet(p.now, &c, DirIn, ev), p.line)
}

// chosen is the server the recording says a new connection got.
func (p *player) chosen(proto ipvs.Protocol, virtual netip.AddrPort, verdict string) *ipvs.RealServer {
	for _, rs := range p.serviceOf(proto, virtual).servers {
		if rs.ID.Addr.String() == verdict || "mac:"+linkHost(rs.ID.Addr) == verdict {
			return rs
		}
	}
	return nil
}

// linkHost is how a recording names an IPv6 server: fd00:N::D is NNNNDDDD.
func linkHost(a netip.Addr) string {
	b := a.As16()
	return fmt.Sprintf("%04x%04x", binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint16(b[14:]))
}

func (p *player) serviceOf(proto ipvs.Protocol, virtual netip.AddrPort) *service {
	for _, s := range p.services {
		if s.mark != 0 || s.proto == proto && s.virtual.Addr() == virtual.Addr() && (s.virtual.Port() == virtual.Port() || s.virtual.Port() == 0) {
			return s
		}
	}
	return &service{}
}

// open inserts a connection, under a template if the service is persistent.
func (p *player) open(proto ipvs.Protocol, cl, virtual netip.AddrPort, rs *ipvs.RealServer, c *Conn) {
	s := p.serviceOf(proto, virtual)
	dport := rs.ID.Port
	if dport == 0 {
		dport = virtual.Port()
	}
	spec := &Spec{Protocol: proto, Client: cl, Virtual: virtual, Real: netip.AddrPortFrom(rs.ID.Addr, dport), Method: rs.Method(), Server: rs}
	if s.persist != 0 {
		spec.Control = p.template(s, proto, cl, rs)
	}
	require.Equal(p, Inserted, p.table.Insert(p.now, spec, c), p.line)
	if !spec.Control.IsZero() {
		p.table.Rearm(p.now, spec.Control)
	}
}

func (p *player) template(s *service, proto ipvs.Protocol, cl netip.AddrPort, rs *ipvs.RealServer) Ref {
	snet := cl.Addr()
	if s.prefix != 0 {
		pfx, err := snet.Prefix(s.prefix)
		require.NoError(p, err)
		snet = pfx.Addr()
	}
	virtual := s.virtual
	if s.mark != 0 {
		proto, virtual = ipvs.ProtoIP, netip.AddrPortFrom(netip.AddrFrom4([4]byte{3: byte(s.mark)}), 0)
	}
	var c Conn
	if p.table.LookupTemplate(p.now, proto, snet, virtual, &c) {
		if c.Server == rs {
			return c.Ref
		}
		require.True(p, p.table.Invalidate(c.Ref), p.line)
	}
	r := p.table.Insert(p.now, &Spec{
		Protocol: proto, Client: netip.AddrPortFrom(snet, 0), Virtual: virtual, Real: netip.AddrPortFrom(rs.ID.Addr, rs.ID.Port),
		Method: rs.Method(), Server: rs, Template: true, Timeout: s.persist,
	}, &c)
	require.Equal(p, Inserted, r, p.line)
	return c.Ref
}

// compareConns compares the table with the rows of ipvsadm -Lnc. A step takes
// no time here, so what is left may be a few seconds more than recorded.
func (p *player) compareConns(output []string) {
	p.listings++
	want := map[string]int64{}
	for _, row := range output[2:] {
		f := strings.Fields(row)
		mm, ss, ok := strings.Cut(f[1], ":")
		require.True(p, ok, row)
		m, _ := strconv.Atoi(mm)
		s, _ := strconv.Atoi(ss)
		want[strings.Join(append(f[:1], f[2:]...), " ")] = int64(m*60 + s)
	}
	got := map[string]int64{}
	p.table.List(p.now, func(e *ipvs.ConnEntry) bool {
		got[fmt.Sprintf("%v %v %v %v %v", e.Protocol, e.State, e.Client, e.Virtual, e.Real)] = e.Expires
		return true
	})
	for row, secs := range want {
		left, ok := got[row]
		require.True(p, ok, "%s: no %q in %v", p.line, row, got)
		require.True(p, left >= secs && left <= secs+5, "%s: %q expires in %d", p.line, row, left)
	}
	require.Len(p, got, len(want), p.line)
}

var serverRow = regexp.MustCompile(`^  -> (\S+)`)

// compareCounts compares the servers' counts with the rows of ipvsadm -Ln.
func (p *player) compareCounts(output []string, active, inactive, persistent int) {
	all := map[string]*ipvs.RealServer{}
	var prefix string
	for _, s := range p.services {
		for _, rs := range s.servers {
			all[serviceKey(s.proto, s.virtual, s.mark)+rs.ID.String()] = rs
		}
	}
	for _, row := range output {
		if m := serverRow.FindStringSubmatch(row); m == nil {
			if id := serviceRow(row); id != "" {
				prefix = id
			}
			continue
		} else if m[1] == "RemoteAddress:Port" {
			continue
		}
		f := strings.Fields(row)
		rs := all[prefix+f[1]]
		require.NotNil(p, rs, "%s: %q", p.line, row)
		want := []string{f[active], f[inactive]}
		got := []string{fmt.Sprint(rs.Active()), fmt.Sprint(rs.Inactive())}
		if persistent >= 0 {
			want, got = append(want, f[persistent]), append(got, fmt.Sprint(rs.Persistent()))
		}
		require.Equal(p, want, got, "%s: %q", p.line, row)
	}
}

func serviceKey(proto ipvs.Protocol, virtual netip.AddrPort, mark uint32) string {
	return fmt.Sprintf("%v %v %v ", proto, virtual, mark)
}

func serviceRow(row string) string {
	f := strings.Fields(row)
	switch f[0] {
	case "TCP", "UDP", "SCTP":
		proto := map[string]ipvs.Protocol{"TCP": ipvs.TCP, "UDP": ipvs.UDP, "SCTP": ipvs.SCTP}[f[0]]
		return serviceKey(proto, netip.MustParseAddrPort(f[1]), 0)
	case "FWM":
		n, _ := strconv.Atoi(f[1])
		return serviceKey(0, netip.AddrPort{}, uint32(n))
	}
	return ""
}
