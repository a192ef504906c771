package properties

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/conntrack"
	"usvs/ipvs"
)

// state is a row of testdata/states.txt.
type state struct {
	code, name string
	secs       int
	active     bool
}

// machines is testdata/states.txt, which was transcribed from the tables of
// ipvs.md section 3 apart from those in package conntrack.
type machines struct {
	states map[string][]state             // by protocol
	next   map[string]map[string][]string // by "protocol via", event: codes by state
}

func readMachines(t *testing.T) machines {
	f, err := os.Open("testdata/states.txt")
	require.NoError(t, err)
	defer f.Close()
	m := machines{map[string][]state{}, map[string]map[string][]string{}}
	var section []string
	for in := bufio.NewScanner(f); in.Scan(); {
		w := strings.Fields(in.Text())
		switch {
		case len(w) == 0 || w[0] == "#":
			section = nil
		case section == nil:
			if section = w; w[0] == "table" {
				m.next[w[1]+" "+w[2]] = map[string][]string{}
			}
		case section[0] == "states":
			secs, err := strconv.Atoi(w[2])
			require.NoError(t, err)
			m.states[section[1]] = append(m.states[section[1]], state{w[0], w[1], secs, w[3] == "active"})
		default:
			m.next[section[1]+" "+section[2]][w[0]] = w[1:]
		}
	}
	require.Len(t, m.states["tcp"], 11)
	require.Len(t, m.states["sctp"], 14)
	require.Len(t, m.next, 9)
	return m
}

// after is the state that an event leads to.
func (m machines) after(proto string, secure bool, via, event string, from int) int {
	table := proto
	if proto == "tcp" && secure {
		table = "secure_tcp"
	}
	to := "CL" // what no row is for: a segment without flags
	if row := m.next[table+" "+via][event]; row != nil {
		to = row[from]
	}
	return slices.IndexFunc(m.states[proto], func(s state) bool { return s.code == to })
}

// tcpEvent and sctpEvent name the rows.
func tcpEvent(flags uint8) string {
	for _, f := range []struct {
		bit  uint8
		name string
	}{{rst, "RST"}, {syn, "SYN"}, {fin, "FIN"}, {ack, "ACK"}} {
		if flags&f.bit != 0 {
			return f.name
		}
	}
	return "none"
}

func sctpEvent(chunk uint8) string {
	name := map[uint8]string{
		1: "INIT", 2: "INIT-ACK", 6: "ABORT", 7: "SHUTDOWN", 8: "SHUTDOWN-ACK", 9: "ERROR",
		10: "COOKIE-ECHO", 11: "COOKIE-ACK", 14: "SHUTDOWN-COMPLETE",
	}[chunk]
	if name == "" {
		return "DATA"
	}
	return name
}

// kind is a protocol with all the events there are.
type kind struct {
	name   string
	proto  ipvs.Protocol
	events []uint8 // flags, or types of chunks
	event  func(uint8) string
	first  func(uint8) bool // asks for a new connection
	body   func(src, dst uint16, ev uint8) []byte
}

func kinds() []kind {
	var flags, types []uint8
	for i := range 64 {
		flags = append(flags, uint8(i))
	}
	for i := range 256 {
		if !testing.Short() || i < 16 || i == 255 { // the first ones have names
			types = append(types, uint8(i))
		}
	}
	return []kind{
		{"tcp", ipvs.TCP, flags, tcpEvent, func(f uint8) bool { return f&syn != 0 },
			func(src, dst uint16, ev uint8) []byte { return segment(src, dst, ev, nil) }},
		{"sctp", ipvs.SCTP, types, sctpEvent, func(c uint8) bool { return c == 1 },
			func(src, dst uint16, ev uint8) []byte { return chunks(src, dst, []byte{ev, 0, 0, 4}) }},
	}
}

// Who takes part, with a port of its own for each kind of server.
var (
	someone     = at(addr("198.51.100.7"), 40000)
	masqueraded = at(server(false, false, 1), 8080)
	routed      = at(server(false, false, 2), 80)
	instead     = at(server(false, false, 3), 80)
)

// stateSite is a site with one service of the protocol, whose only server
// takes new connections; others have connections.
type stateSite struct {
	*site
	m              machines
	k              kind
	masq, dr, next *ipvs.RealServer
}

func newStateSite(t *testing.T, k kind, fresh ipvs.ForwardMethod) *stateSite {
	s := &stateSite{site: newSite(t), m: readMachines(t), k: k}
	s.masq = s.server(masqueraded, ipvs.ServerSpec{Method: ipvs.Masquerade})
	s.dr = s.server(routed, ipvs.ServerSpec{Method: ipvs.DirectRoute})
	s.next = s.server(instead, ipvs.ServerSpec{Method: fresh})
	s.service(k.proto, at(vip4, 80), s.next)
	return s
}

// put makes someone's connection to rs be in a state, and nothing else.
func (s *stateSite) put(rs *ipvs.RealServer, from int, control conntrack.Ref) conntrack.Conn {
	n := conntrack.Spec{Protocol: s.k.proto, Client: someone, Virtual: at(vip4, 80), Server: rs, State: uint8(from), Control: control}
	if s.m.states[s.k.name][from].active {
		n.Flags = conntrack.FlagActive
	}
	return s.connect(n)
}

// got is someone's connection now, if there is one.
func (s *stateSite) got() (c conntrack.Conn, ok bool) {
	ok = s.table.LookupIn(s.now, s.k.proto, someone, at(vip4, 80), &c)
	return c, ok
}

func (s *stateSite) clear() {
	if c, ok := s.got(); ok {
		require.True(s.t, s.table.Expire(s.now, c.Ref))
	}
	for _, rs := range []*ipvs.RealServer{s.masq, s.dr, s.next} {
		require.Zero(s.t, rs.Active()+rs.Inactive(), "%v", rs.ID)
	}
}

// fromClient and fromServer send one event. A direct-routed server speaks as
// the virtual service.
func (s *stateSite) fromClient(ev uint8) { s.fromTo(clientSide, someone, at(vip4, 80), ev) }

func (s *stateSite) fromServer(rs netip.AddrPort, ev uint8) { s.fromTo(serverSide, rs, someone, ev) }

func (s *stateSite) fromTo(port int, src, dst netip.AddrPort, ev uint8) {
	body := s.k.body(src.Port(), dst.Port(), ev)
	s.handle(port, ethernet(port, whole(src.Addr(), dst.Addr(), uint8(s.k.proto), body)), nil)
}

// is requires that someone's connection is to rs and in a state, with all that
// follows from it.
func (s *stateSite) is(rs *ipvs.RealServer, to int, silent bool, set ipvs.Timeouts, about string) {
	c, ok := s.got()
	require.True(s.t, ok, about)
	want := s.m.states[s.k.name][to]
	require.Equal(s.t, want.name, s.m.states[s.k.name][c.State].name, about)
	secs := want.secs
	switch {
	case s.k.proto == ipvs.TCP && want.code == "ES" && set.TCP != 0:
		secs = int(set.TCP)
	case s.k.proto == ipvs.TCP && want.code == "FW" && set.TCPFin != 0:
		secs = int(set.TCPFin)
	}
	ok = rs == c.Server && time.Duration(secs)*time.Second == c.Expires.Sub(s.now) &&
		want.active == (c.Flags&conntrack.FlagInactive == 0) && silent == (c.Flags&conntrack.FlagNoOutput != 0) &&
		rs.Active()+rs.Inactive() == 1 && want.active == (rs.Active() == 1)
	if !ok {
		require.Fail(s.t, "not as it must be", "%s: %+v, active %d, inactive %d; want %+v, %d s, silent %v, server %v",
			about, c, rs.Active(), rs.Inactive(), want, secs, silent, rs.ID)
	}
}

// Every state, every event, every direction, secure_tcp on and off, timeouts
// as they are and set.
func TestEveryTransition(t *testing.T) {
	for _, k := range kinds() {
		for _, secure := range []bool{false, true} {
			for _, set := range []ipvs.Timeouts{{}, {TCP: 77, TCPFin: 33, UDP: 11}} {
				t.Run(fmt.Sprintf("%s/secure=%v/%d", k.name, secure, set.TCP), func(t *testing.T) {
					s := newStateSite(t, k, ipvs.DirectRoute)
					s.snap.Sysctls.ConnReuseMode = 0
					if secure {
						s.snap.Sysctls.SecureTCP = 3
					}
					s.publish()
					s.table.SetTimeouts(set)
					for from := range s.m.states[k.name] {
						for _, ev := range k.events {
							s.transitions(from, ev, secure, set)
						}
					}
				})
			}
		}
	}
}

func (s *stateSite) transitions(from int, ev uint8, secure bool, set ipvs.Timeouts) {
	for _, c := range []struct {
		via    string
		server *ipvs.RealServer
		send   func()
		silent bool
	}{
		{"INPUT", s.masq, func() { s.fromClient(ev) }, false},
		{"OUTPUT", s.masq, func() { s.fromServer(masqueraded, ev) }, false},
		{"INPUT-ONLY", s.dr, func() { s.fromClient(ev) }, true},
		{"OUTPUT", s.dr, func() { s.fromServer(at(vip4, 80), ev) }, false},
	} {
		s.put(c.server, from, conntrack.Ref{})
		c.send()
		to := s.m.after(s.k.name, secure, c.via, s.k.event(ev), from)
		s.is(c.server, to, c.silent, set, fmt.Sprintf("%s of %s, event %d in %s", c.via, s.k.name, ev, s.m.states[s.k.name][from].name))
		s.clear()
	}
}

// A direct-routed connection whose server was heard follows INPUT.
func TestTransitionsOnceTheServerWasHeard(t *testing.T) {
	for _, k := range kinds() {
		s := newStateSite(t, k, ipvs.DirectRoute)
		s.snap.Sysctls.ConnReuseMode = 0
		s.publish()
		for from := range s.m.states[k.name] {
			for i := from % 5; i < len(k.events); i += 5 {
				said := k.events[i]
				for _, ev := range k.events[:min(len(k.events), 64)] {
					s.put(s.dr, from, conntrack.Ref{})
					s.fromServer(at(vip4, 80), said)
					heard := s.m.after(k.name, false, "OUTPUT", k.event(said), from)
					s.fromClient(ev)
					s.is(s.dr, s.m.after(k.name, false, "INPUT", k.event(ev), heard), false, ipvs.Timeouts{}, k.name)
					s.clear()
				}
			}
		}
	}
}

// What a first packet opens, and in which state that is then.
func TestEveryFirstPacket(t *testing.T) {
	for _, k := range kinds() {
		for _, method := range []ipvs.ForwardMethod{ipvs.Masquerade, ipvs.DirectRoute} {
			for _, secure := range []bool{false, true} {
				for sloppy := range 2 {
					s := newStateSite(t, k, method)
					s.snap.Sysctls.SloppyTCP, s.snap.Sysctls.SloppySCTP = sloppy, sloppy
					if secure {
						s.snap.Sysctls.SecureTCP = 3
					}
					s.publish()
					for _, ev := range k.events {
						s.opens(ev, secure, sloppy != 0)
					}
				}
			}
		}
	}
}

// mayOpen is section 3.1's and 3.4's rule.
func (k kind) mayOpen(ev uint8, sloppy bool) bool {
	if k.proto == ipvs.TCP {
		return ev&rst == 0 && (ev&syn != 0 || sloppy)
	}
	return ev == 1 || sloppy && ev != 6
}

func (s *stateSite) opens(ev uint8, secure, sloppy bool) {
	s.fromClient(ev)
	if s.k.mayOpen(ev, sloppy) {
		s.isFresh(ev, secure, "opened")
	} else {
		_, ok := s.got()
		require.False(s.t, ok, "%s, event %d, sloppy %v", s.k.name, ev, sloppy)
	}
	s.clear()
}

// isFresh requires a connection that this event opened.
func (s *stateSite) isFresh(ev uint8, secure bool, about string) {
	silent, via := false, "INPUT"
	if s.next.Method() != ipvs.Masquerade {
		silent, via = true, "INPUT-ONLY"
	}
	to := s.m.after(s.k.name, secure, via, s.k.event(ev), 0)
	s.is(s.next, to, silent, ipvs.Timeouts{}, fmt.Sprintf("%s by %s event %d, secure %v", about, s.k.name, ev, secure))
}

// Whether a connection makes way for a new one: conn_reuse_mode 0 to 3,
// expire_nodest_conn, a quiesced server, a controlled connection, a server
// that was never heard: every combination, in every state, by every event.
func TestEveryReuse(t *testing.T) {
	for _, k := range kinds() {
		s := newStateSite(t, k, ipvs.DirectRoute)
		template := s.connect(conntrack.Spec{
			Protocol: k.proto, Client: at(someone.Addr(), 0), Virtual: at(vip4, 80), Server: s.next,
			Template: true, Timeout: time.Hour,
		})
		for bits := range 64 {
			r := reuse{
				mode: bits & 3, expireNodest: bits >> 2 & 1, quiesced: bits>>3&1 != 0,
				controlled: bits>>4&1 != 0, silent: bits>>5&1 != 0,
			}
			s.snap.Sysctls.ConnReuseMode, s.snap.Sysctls.ExpireNodestConn = r.mode, r.expireNodest
			s.publish()
			for from := range s.m.states[k.name] {
				for _, ev := range k.events {
					s.reuses(r, from, ev, template.Ref)
				}
			}
		}
	}
}

// reuse is what decides, besides state and event.
type reuse struct {
	mode, expireNodest           int
	quiesced, controlled, silent bool
}

// makesWay is section 2.7.
func (r reuse) makesWay(k kind, code string, ev uint8) bool {
	switch {
	case !k.first(ev):
		return false
	case r.expireNodest != 0 && r.quiesced:
		return true
	case r.mode == 0 || r.controlled:
		return false
	case k.proto == ipvs.SCTP:
		return code == "CL"
	}
	return code == "TW" || code == "CL" || r.mode&2 != 0 && code == "FW" && r.silent
}

func (s *stateSite) reuses(r reuse, from int, ev uint8, template conntrack.Ref) {
	rs, via, control := s.masq, "INPUT", conntrack.Ref{}
	if r.silent {
		rs, via = s.dr, "INPUT-ONLY"
	}
	if r.controlled {
		control = template
	}
	spec := rs.Spec()
	if spec.Weight = 1; r.quiesced {
		spec.Weight = 0
	}
	rs.SetSpec(spec)
	before := s.put(rs, from, control)
	s.fromClient(ev)
	about := fmt.Sprintf("%+v, %s event %d in %s", r, s.k.name, ev, s.m.states[s.k.name][from].name)
	now, ok := s.got()
	switch {
	case !r.makesWay(s.k, s.m.states[s.k.name][from].code, ev):
		s.is(rs, s.m.after(s.k.name, false, via, s.k.event(ev), from), r.silent, ipvs.Timeouts{}, about)
		require.Equal(s.t, before.Ref, now.Ref, about)
	case s.k.mayOpen(ev, false):
		s.isFresh(ev, false, about)
	default: // SYN with RST ends the old one and opens none
		require.False(s.t, ok, about)
	}
	s.clear()
}

// A TCP header that is not there in full tells nothing; an SCTP chunk behind a
// cookie may be an ABORT.
func TestPacketsThatTellLess(t *testing.T) {
	tcpKind, sctpKind := kinds()[0], kinds()[1]
	s := newStateSite(t, tcpKind, ipvs.DirectRoute)
	for n := 4; n < 20; n++ {
		was := s.put(s.dr, 3, conntrack.Ref{})
		b := segment(someone.Port(), 80, rst, nil)[:n]
		s.handle(clientSide, ethernet(clientSide, header{src: someone.Addr(), dst: vip4, proto: tcp, ttl: 9}.packet(b)), nil)
		c, _ := s.got()
		require.Equal(t, was.State, c.State, "%d bytes", n)
		s.clear()
	}

	s = newStateSite(t, sctpKind, ipvs.DirectRoute)
	for _, first := range sctpKind.events {
		for _, second := range sctpKind.events {
			s.put(s.masq, 8, conntrack.Ref{})
			list := []byte{first, 0, 0, 5, 1, 0, 0, 0, second, 0, 0, 4}
			body := chunks(someone.Port(), 80, list)
			s.handle(clientSide, ethernet(clientSide, whole(someone.Addr(), vip4, sctp, body)), nil)
			event := sctpEvent(first)
			if (first == 10 || first == 11) && second == 6 {
				event = "ABORT"
			}
			s.is(s.masq, s.m.after("sctp", false, "INPUT", event, 8), false, ipvs.Timeouts{}, fmt.Sprint(first, second))
			s.clear()
		}
	}
}
