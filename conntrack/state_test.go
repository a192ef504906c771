package conntrack

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"usvs/ipvs"
	"usvs/wire"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// events are the rows of testdata/transitions.txt.
var events = map[string]Event{
	"SYN": TCPEvent(wire.FlagSYN), "FIN": TCPEvent(wire.FlagFIN), "ACK": TCPEvent(wire.FlagACK), "RST": TCPEvent(wire.FlagRST),
	"DATA": SCTPEvent([]byte{0, 0, 0, 4}), "INIT": SCTPEvent([]byte{1, 0, 0, 4}), "INIT-ACK": SCTPEvent([]byte{2, 0, 0, 4}),
	"COOKIE-ECHO": SCTPEvent([]byte{10, 0, 0, 4}), "COOKIE-ACK": SCTPEvent([]byte{11, 0, 0, 4}),
	"SHUTDOWN": SCTPEvent([]byte{7, 0, 0, 4}), "SHUTDOWN-ACK": SCTPEvent([]byte{8, 0, 0, 4}),
	"SHUTDOWN-COMPLETE": SCTPEvent([]byte{14, 0, 0, 4}), "ERROR": SCTPEvent([]byte{9, 0, 0, 4}), "ABORT": SCTPEvent([]byte{6, 0, 0, 4}),
}

// TestTransitions compares every cell with the table as it is written down.
func TestTransitions(t *testing.T) {
	f, err := os.Open("testdata/transitions.txt")
	require.NoError(t, err)
	defer f.Close()
	var kind, via string
	var states []string
	cells := 0
	for sc := bufio.NewScanner(f); sc.Scan(); {
		head, rest, isHead := strings.Cut(sc.Text(), ":")
		if isHead {
			kind, via, _ = strings.Cut(head, " ")
			states = strings.Fields(rest)
			continue
		}
		w := strings.Fields(sc.Text())
		if len(w) == 0 {
			continue
		}
		require.Len(t, w, len(states)+1)
		for from, name := range w[1:] {
			to := slices.Index(states, name)
			require.GreaterOrEqual(t, to, 0)
			got := transitOnce(kind, via, events[w[0]], uint8(from))
			assert.Equal(t, uint8(to), got.state(), "%s %s: %s in %s", kind, via, w[0], states[from])
			cells++
		}
	}
	require.Equal(t, 6*4*11+3*10*14, cells)
}

func transitOnce(kind, via string, ev Event, from uint8) control {
	c := alive.with(from) | ctlInactive
	dir := DirIn
	switch via {
	case "OUTPUT":
		dir = DirOut
	case "INPUT-ONLY":
		c |= ctlNoOutput
	}
	proto := ipvs.TCP
	if kind == "sctp" {
		proto = ipvs.SCTP
	}
	return c.transition(proto, dir, ev, kind == "secure_tcp")
}

func TestNoTCPFlagsCloses(t *testing.T) {
	for _, kind := range []string{"tcp", "secure_tcp"} {
		for _, via := range []string{"INPUT", "OUTPUT", "INPUT-ONLY"} {
			for from := TCPNone; from <= TCPSynACK; from++ {
				assert.Equal(t, TCPClose, transitOnce(kind, via, TCPEvent(wire.FlagPSH|wire.FlagURG), from).state())
			}
		}
	}
}

func TestOutputClearsNoOutput(t *testing.T) {
	c := alive | ctlNoOutput | ctlInactive
	assert.False(t, c.transition(ipvs.TCP, DirOut, TCPEvent(wire.FlagACK), false).has(ctlNoOutput))
	assert.True(t, c.transition(ipvs.TCP, DirIn, TCPEvent(wire.FlagACK), false).has(ctlNoOutput))
	assert.False(t, c.transition(ipvs.SCTP, DirOut, sctpData, false).has(ctlNoOutput))
	assert.True(t, c.transition(ipvs.UDP, DirOut, EventUDP, false).has(ctlNoOutput), "UDP has no state to keep")
}

func TestForeignEventChangesNothing(t *testing.T) {
	c := alive.with(TCPEstablished)
	for _, ev := range []Event{EventUDP, sctpData, sctpAbort, 200} {
		assert.Equal(t, c, c.transition(ipvs.TCP, DirIn, ev, false), ev)
	}
	assert.Equal(t, c, c.transition(ipvs.SCTP, DirIn, tcpRST, false))
	assert.Equal(t, c, c.transition(50, DirIn, tcpRST, false))
}

func TestTCPEventPriority(t *testing.T) {
	const fin, syn, rst, psh, ack, urg = wire.FlagFIN, wire.FlagSYN, wire.FlagRST, wire.FlagPSH, wire.FlagACK, wire.FlagURG
	for flags, want := range map[uint8]Event{
		rst | syn | fin | ack: tcpRST, syn | fin | ack: tcpSYN, fin | ack: tcpFIN, fin: tcpFIN, ack: tcpACK,
		ack | psh: tcpACK, psh | urg: tcpNone, 0: tcpNone, 0xff: tcpRST, 0xc0: tcpNone,
	} {
		assert.Equal(t, want, TCPEvent(flags), "%#x", flags)
	}
}

func TestSCTPEvent(t *testing.T) {
	for _, c := range []struct {
		name   string
		chunks []byte
		want   Event
	}{
		{"nothing", nil, EventNone},
		{"half a header", []byte{1, 0, 0}, EventNone},
		{"SACK", []byte{3, 0, 0, 16}, sctpData},
		{"ECNE", []byte{12, 0, 0, 8}, sctpData},
		{"unknown", []byte{0xc0, 0, 0, 8}, sctpData},
		{"length is nobody's business", []byte{1, 0, 0xff, 0xff}, sctpInit},
		{"echo, abort", []byte{10, 0, 0, 5, 1, 0, 0, 0, 6, 0, 0, 4}, sctpAbort},
		{"ack, abort", []byte{11, 0, 0, 4, 6, 0, 0, 4}, sctpAbort},
		{"echo, data", []byte{10, 0, 0, 4, 0, 0, 0, 4}, sctpCookieEcho},
		{"echo, half an abort", []byte{10, 0, 0, 4, 6, 0, 0}, sctpCookieEcho},
		{"echo without a length, abort", []byte{10, 0, 0, 0, 6, 0, 0, 4}, sctpCookieEcho},
		{"echo too long", []byte{10, 0, 0xff, 0xff, 6, 0, 0, 4}, sctpCookieEcho},
		{"data, abort", []byte{0, 0, 0, 4, 6, 0, 0, 4}, sctpData},
	} {
		assert.Equal(t, c.want, SCTPEvent(c.chunks), c.name)
	}
}

func FuzzSCTPEvent(f *testing.F) {
	f.Add([]byte{10, 0, 0, 5, 1, 0, 0, 0, 6, 0, 0, 4})
	f.Add([]byte{11, 0, 0xff, 0xfd, 6})
	f.Fuzz(func(t *testing.T, b []byte) {
		ev := SCTPEvent(b)
		if ev != EventNone && (ev < firstSCTP || ev > lastSCTP) {
			t.Fatalf("event %d", ev)
		}
		if (ev == EventNone) != (len(b) < 4) {
			t.Fatalf("event %d of %d bytes", ev, len(b))
		}
	})
}

// TestStates checks names, timeouts and what counts as active, by walking one
// connection through each state.
func TestStates(t *testing.T) {
	for _, c := range []struct {
		proto  ipvs.Protocol
		state  uint8
		name   string
		secs   int
		active bool
	}{
		{ipvs.TCP, TCPNone, "NONE", 2, false}, {ipvs.TCP, TCPEstablished, "ESTABLISHED", 900, true},
		{ipvs.TCP, TCPSynSent, "SYN_SENT", 120, true}, {ipvs.TCP, TCPSynReceived, "SYN_RECV", 60, true},
		{ipvs.TCP, TCPFinWait, "FIN_WAIT", 120, false}, {ipvs.TCP, TCPTimeWait, "TIME_WAIT", 120, false},
		{ipvs.TCP, TCPClose, "CLOSE", 10, false}, {ipvs.TCP, TCPCloseWait, "CLOSE_WAIT", 60, false},
		{ipvs.TCP, TCPLastACK, "LAST_ACK", 30, false}, {ipvs.TCP, TCPListen, "LISTEN", 120, false},
		{ipvs.TCP, TCPSynACK, "SYNACK", 120, true},
		{ipvs.UDP, 0, "UDP", 300, false},
		{ipvs.SCTP, SCTPNone, "NONE", 2, false}, {ipvs.SCTP, SCTPInit1, "INIT1", 4, false}, {ipvs.SCTP, SCTPInit, "INIT", 61, false},
		{ipvs.SCTP, SCTPCookieSent, "C-SENT", 61, false}, {ipvs.SCTP, SCTPCookieReplied, "C-REPLIED", 61, false},
		{ipvs.SCTP, SCTPCookieWait, "C-WAIT", 61, false}, {ipvs.SCTP, SCTPCookie, "COOKIE", 61, false},
		{ipvs.SCTP, SCTPCookieEchoed, "C-ECHOED", 61, false}, {ipvs.SCTP, SCTPEstablished, "ESTABLISHED", 900, true},
		{ipvs.SCTP, SCTPShutdownSent, "S-SENT", 61, false}, {ipvs.SCTP, SCTPShutdownReceived, "S-RECEIVED", 61, false},
		{ipvs.SCTP, SCTPShutdownACKSent, "S-ACK-SENT", 61, false}, {ipvs.SCTP, SCTPRejected, "REJECTED", 4, false},
		{ipvs.SCTP, SCTPClosed, "CLOSED", 61, false},
	} {
		table := New(Config{})
		conn := Conn{Protocol: c.proto, State: c.state}
		assert.Equal(t, c.name, stateName(&conn))
		assert.Equal(t, time.Duration(c.secs)*time.Second, table.timeout(c.proto, c.state, 0), c.name)
		switch c.proto {
		case ipvs.TCP:
			assert.Equal(t, c.active, tcpNormal.active[c.state], c.name)
			assert.Equal(t, c.active, tcpSecure.active[c.state], c.name)
		case ipvs.SCTP:
			assert.Equal(t, c.active, sctpMachine.active[c.state], c.name)
		}
	}
	tmpl := Conn{Protocol: ipvs.TCP, Flags: FlagTemplate}
	assert.Equal(t, "NONE", stateName(&tmpl))
	tmpl.State = TemplateAssured
	assert.Equal(t, "ASSURED", stateName(&tmpl))
	assert.Equal(t, "NONE", stateName(&Conn{Protocol: ipvs.ProtoIP}))
	assert.Equal(t, "ERR15!", stateName(&Conn{Protocol: ipvs.TCP, State: 15}))
	assert.Equal(t, time.Hour, New(Config{}).timeout(50, 0, time.Hour))
}

func TestReusable(t *testing.T) {
	var control Ref
	control.word = 1
	for _, c := range []struct {
		name  string
		conn  Conn
		modes [4]bool // of conn_reuse_mode 1, 2, 3; 0 is not asked
	}{
		{"time wait", Conn{Protocol: ipvs.TCP, State: TCPTimeWait}, [4]bool{1: true, 2: true, 3: true}},
		{"close", Conn{Protocol: ipvs.TCP, State: TCPClose}, [4]bool{1: true, 2: true, 3: true}},
		{"established", Conn{Protocol: ipvs.TCP, State: TCPEstablished}, [4]bool{}},
		{"fin wait, replies seen", Conn{Protocol: ipvs.TCP, State: TCPFinWait}, [4]bool{}},
		{"fin wait, no replies", Conn{Protocol: ipvs.TCP, State: TCPFinWait, Flags: FlagNoOutput}, [4]bool{2: true, 3: true}},
		{"controlled", Conn{Protocol: ipvs.TCP, State: TCPTimeWait, Control: control}, [4]bool{}},
		{"sctp closed", Conn{Protocol: ipvs.SCTP, State: SCTPClosed}, [4]bool{1: true, 2: true, 3: true}},
		{"sctp rejected", Conn{Protocol: ipvs.SCTP, State: SCTPRejected}, [4]bool{}},
		{"udp", Conn{Protocol: ipvs.UDP}, [4]bool{}},
	} {
		for mode := 1; mode < 4; mode++ {
			assert.Equal(t, c.modes[mode], Reusable(&c.conn, mode), "%s, mode %d", c.name, mode)
		}
	}
}

// TestCounters follows the counts of a real server through a connection's life
// (ipvs.md 3.1).
func TestCounters(t *testing.T) {
	reg, all := servers(1, ipvs.Masquerade)
	rs := all[0]
	table := New(Config{Servers: reg})
	counts := func() [3]int32 { return [3]int32{rs.Active(), rs.Inactive(), rs.Persistent()} }
	var c Conn
	require.Equal(t, Inserted, table.Insert(t0, tcpSpec(1, rs), &c))
	assert.Equal(t, [3]int32{0, 1, 0}, counts(), "every connection starts inactive")
	assert.Equal(t, FlagHashed|FlagInactive, c.Flags)
	for _, s := range []struct {
		flags  uint8
		dir    Dir
		state  uint8
		counts [3]int32
	}{
		{wire.FlagSYN, DirIn, TCPSynReceived, [3]int32{1, 0, 0}},
		{wire.FlagSYN | wire.FlagACK, DirOut, TCPSynReceived, [3]int32{1, 0, 0}},
		{wire.FlagACK, DirIn, TCPEstablished, [3]int32{1, 0, 0}},
		{wire.FlagFIN | wire.FlagACK, DirIn, TCPCloseWait, [3]int32{0, 1, 0}},
		{wire.FlagFIN | wire.FlagACK, DirOut, TCPTimeWait, [3]int32{0, 1, 0}},
		{wire.FlagSYN, DirIn, TCPSynReceived, [3]int32{1, 0, 0}},
	} {
		require.True(t, table.Packet(t0, &c, s.dir, TCPEvent(s.flags)))
		assert.Equal(t, s.state, c.State)
		assert.Equal(t, s.counts, counts())
		assert.Equal(t, s.counts[0] == 0, c.Flags&FlagInactive != 0)
	}
	assert.Equal(t, uint32(4), c.InPackets)
	require.True(t, table.Expire(t0, c.Ref))
	assert.Equal(t, [3]int32{}, counts())
}

func TestAssured(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	for _, c := range []struct {
		name  string
		proto ipvs.Protocol
		do    func(*Table, *Conn)
		want  uint8
	}{
		{"syn", ipvs.TCP, func(tb *Table, c *Conn) { tb.Packet(t0, c, DirIn, tcpSYN) }, TemplateNone},
		{"established", ipvs.TCP, func(tb *Table, c *Conn) { tb.Packet(t0, c, DirIn, tcpACK) }, TemplateAssured},
		{"sctp", ipvs.SCTP, func(tb *Table, c *Conn) { tb.Packet(t0, c, DirIn, sctpData) }, TemplateAssured},
		{"udp in", ipvs.UDP, func(tb *Table, c *Conn) { tb.Packet(t0, c, DirIn, EventUDP) }, TemplateNone},
		{"udp out", ipvs.UDP, func(tb *Table, c *Conn) { tb.Packet(t0, c, DirOut, EventUDP) }, TemplateAssured},
		{"no event", ipvs.UDP, func(tb *Table, c *Conn) { tb.Packet(t0, c, DirOut, EventNone) }, TemplateNone},
	} {
		table := New(Config{Servers: reg})
		spec := tcpSpec(1, all[0])
		spec.Protocol, spec.Client, spec.Template, spec.Timeout = c.proto, masked(spec.Client), true, time.Minute
		var tmpl, conn Conn
		require.Equal(t, Inserted, table.Insert(t0, spec, &tmpl))
		child := tcpSpec(1, all[0])
		child.Protocol, child.Control = c.proto, tmpl.Ref
		require.Equal(t, Inserted, table.Insert(t0, child, &conn))
		c.do(table, &conn)
		require.True(t, table.LookupTemplate(t0, c.proto, spec.Client.Addr(), spec.Virtual, &tmpl))
		assert.Equal(t, c.want, tmpl.State, c.name)
	}
}

// TestFirst: a connection that counts its first packet when it is inserted is
// the same as one that is inserted and then has that packet.
func TestFirst(t *testing.T) {
	events := map[ipvs.Protocol][]Event{ipvs.UDP: {EventUDP}, ipvs.TCP: {tcpNone}, ipvs.SCTP: {EventNone}}
	for ev := firstTCP; ev <= lastTCP; ev++ {
		events[ipvs.TCP] = append(events[ipvs.TCP], ev)
	}
	for ev := firstSCTP; ev <= lastSCTP; ev++ {
		events[ipvs.SCTP] = append(events[ipvs.SCTP], ev)
	}
	for proto, evs := range events {
		for _, ev := range evs {
			for _, method := range []ipvs.ForwardMethod{ipvs.Masquerade, ipvs.DirectRoute, ipvs.Bypass} {
				for _, secure := range []bool{false, true} {
					apart, counts := begun(t, proto, ev, method, secure, false)
					once, same := begun(t, proto, ev, method, secure, true)
					require.Equal(t, apart, once, "%v %v %v", proto, ev, method)
					require.Equal(t, counts, same, "%v %v %v", proto, ev, method)
				}
			}
		}
	}
}

// begun returns a connection that a packet opened, and what its server and its
// template count; at once if the packet is told of with the connection.
func begun(t *testing.T, proto ipvs.Protocol, ev Event, method ipvs.ForwardMethod, secure, once bool) (c Conn, counts []int32) {
	reg, all := servers(1, method)
	rs := all[0]
	table := New(Config{Seed: 1, Servers: reg})
	table.SetSecureTCP(secure)
	var tmpl Conn
	require.Equal(t, Inserted, table.Insert(t0, templateSpec(1, rs, time.Minute), &tmpl))
	n := tcpSpec(1, rs)
	n.Protocol, n.Control = proto, tmpl.Ref
	if method == ipvs.Bypass {
		n.Server = nil
	}
	if once {
		n.First = ev
	}
	require.Equal(t, Inserted, table.Insert(t0, n, &c))
	if !once || ev == EventNone {
		require.True(t, table.Packet(t0, &c, DirIn, ev))
	}
	again := c
	require.True(t, table.Get(c.Ref, &c))
	require.Equal(t, c, again, "what Insert says is so")
	require.True(t, table.Get(tmpl.Ref, &tmpl))
	c.Server = nil
	counts = []int32{int32(rs.Active()), int32(rs.Inactive()), int32(rs.Persistent()), int32(tmpl.State)}
	require.True(t, table.Expire(t0, c.Ref))
	require.True(t, table.Expire(t0, tmpl.Ref))
	checkEmpty(t, table, t0, all)
	return c, counts
}

// TestRules: a rule says what a transition and the timeout after it do, whatever
// the settings.
func TestRules(t *testing.T) {
	table := New(Config{})
	for _, v := range []ipvs.Timeouts{ipvs.DefaultTimeouts, {TCP: 17, TCPFin: 3, UDP: 5}, {TCP: 86400, TCPFin: 16383, UDP: 16382}} {
		for _, secure := range []bool{false, true} {
			table.SetTimeouts(v)
			table.SetSecureTCP(secure)
			other := New(Config{})
			other.AdoptTimeouts(table)
			require.Equal(t, table.rules.Load(), other.rules.Load())
			requireRules(t, table, secure)
		}
	}
	require.Less(t, lastSCTP, Event(allEvents), "every event has its row")
}

func requireRules(t *testing.T, table *Table, secure bool) {
	for ev := range Event(allEvents) {
		proto := ev.protocol()
		for bits := range control(1 << 12) {
			c := bits<<2 | alive
			for _, dir := range []Dir{DirIn, DirOut} {
				r := table.rules.Load().of(ev, dir, c)
				same := c.transition(proto, dir, ev, secure) == c
				for _, old := range []time.Duration{0, time.Second, 15 * time.Minute, 16382 * time.Second} {
					code, _ := shortTimeout(old)
					lasts := same && (ev == EventNone || table.timeout(proto, c.state(), old) == old)
					if lasts != table.lasts(r, 1, ev, c, makeExpiry(1, t0, code)) {
						t.Fatalf("event %d, direction %v, secure %v, %#x: rule %#x, after %v kept is %v", ev, dir, secure, c, r, old, lasts)
					}
				}
			}
		}
	}
}

// TestNoEventIsStrict: what a packet without an event leaves as it is of a TCP
// connection, it leaves so of every other.
func TestNoEventIsStrict(t *testing.T) {
	for bits := range control(1 << 12) {
		c := bits<<2 | alive
		for _, dir := range []Dir{DirIn, DirOut} {
			if c.transition(ipvs.TCP, dir, EventNone, false) != c {
				continue
			}
			for _, proto := range []ipvs.Protocol{ipvs.UDP, ipvs.SCTP, 50} {
				require.Equal(t, c, c.transition(proto, dir, EventNone, true))
			}
		}
	}
}
