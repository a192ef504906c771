package sched

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
)

// TestOracle plays what a Linux 6.1 kernel was recorded to do: every new
// connection must get the recorded server, and every recorded listing must
// show the counters of the model beneath.
func TestOracle(t *testing.T) {
	files, err := filepath.Glob("../testdata/oracle/sched/*.trace")
	require.NoError(t, err)
	require.Len(t, files, 65)
	seen := map[string]bool{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".trace")
		t.Run(name, func(t *testing.T) {
			p := newPlayer(t)
			p.play(file)
			require.GreaterOrEqual(t, p.decisions, 200, "decisions")
			for s := range p.schedulers {
				seen[s] = true
			}
		})
	}
	require.Len(t, seen, len(names)-1, "all but twos, which the recorded kernel did not have")
}

// player is a director reduced to one service in front of one scheduler.
type player struct {
	t    *testing.T
	line int
	now  clock.Instant

	id      string // the service as ipvsadm was told
	s       Scheduler
	name    string
	flags   ipvs.ServiceFlags
	servers []*ipvs.RealServer
	deleted map[ipvs.ServerID]*ipvs.RealServer
	sysctls ipvs.Sysctls
	finWait time.Duration

	conns      map[connKey]*playerConn
	decisions  int
	schedulers map[string]bool
}

type connKey struct{ client, virtual netip.AddrPort }

type playerConn struct {
	rs      *ipvs.RealServer
	state   tcpState // of a UDP connection: udpState
	expires clock.Instant
}

func newPlayer(t *testing.T) *player {
	return &player{
		t:          t,
		now:        clock.Instant(time.Second),
		deleted:    map[ipvs.ServerID]*ipvs.RealServer{},
		sysctls:    ipvs.DefaultSysctls(),
		finWait:    120 * time.Second,
		conns:      map[connKey]*playerConn{},
		schedulers: map[string]bool{},
	}
}

func (p *player) play(file string) {
	f, err := os.Open(file)
	require.NoError(p.t, err)
	defer f.Close()
	var listing []string
	for in := bufio.NewScanner(f); in.Scan(); {
		p.line++
		kind, rest, _ := strings.Cut(in.Text(), " ")
		switch {
		case strings.HasPrefix(kind, "|"):
			listing = append(listing, in.Text()[1:])
			continue
		case kind == "=":
			require.Equal(p.t, "0", rest, p.at())
			p.compare(listing)
			listing = nil
		case kind == "$":
			p.command(strings.Fields(rest))
		case kind == "%":
			p.setUp(rest)
		case kind == "@":
			p.sleep(time.Duration(p.number(rest)) * time.Second)
		case kind == "tcp" || kind == "udp":
			p.packet(kind, strings.Fields(rest))
		case kind == "brief" || strings.HasPrefix(kind, "#"):
		default:
			p.t.Fatalf("%s: %q", p.at(), in.Text())
		}
	}
}

func (p *player) at() string { return fmt.Sprintf("line %d", p.line) }

// setUp notices the sysctls that matter here; the rest is topology.
func (p *player) setUp(command string) {
	if v, ok := strings.CutPrefix(command, "sysctl -qw net.ipv4.vs.lblc_expiration="); ok {
		p.sysctls.LBLCExpiration = time.Duration(p.number(v)) * time.Second
	}
	if v, ok := strings.CutPrefix(command, "sysctl -qw net.ipv4.vs.lblcr_expiration="); ok {
		p.sysctls.LBLCRExpiration = time.Duration(p.number(v)) * time.Second
	}
}

// command carries out the ipvsadm commands of the recordings.
func (p *player) command(words []string) {
	if words[0] != "ipvsadm" {
		require.Contains(p.t, []string{"modprobe", "sysctl", "uname"}, words[0], p.at())
		return
	}
	o := p.options(words[2:])
	switch words[1] {
	case "--set":
		require.Equal(p.t, []string{"0", "10", "0"}, words[2:], p.at())
		p.finWait = 10 * time.Second
	case "-A", "-E":
		require.True(p.t, words[1] == "-A" || o.service == p.id, p.at())
		p.id = o.service
		p.schedule(o)
	case "-a":
		p.add(o)
	case "-e":
		rs := p.server(o.server)
		rs.SetSpec(o.spec)
		p.update(Edit, rs)
	case "-d":
		p.remove(p.server(o.server))
	case "-Ln":
	default:
		p.t.Fatalf("%s: ipvsadm %s", p.at(), words[1])
	}
}

// options are what an ipvsadm command line says.
type options struct {
	service, scheduler string
	flags              ipvs.ServiceFlags
	server             ipvs.ServerID
	spec               ipvs.ServerSpec
}

func (p *player) options(words []string) options {
	o := options{spec: ipvs.ServerSpec{Weight: 1}}
	for i := 0; i < len(words); i++ {
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		switch words[i] {
		case "-g":
			o.spec.Method = ipvs.DirectRoute
			continue
		case "-o":
			o.flags |= ipvs.FlagOnePacket
			continue
		case "-t", "-u", "-f":
			o.service = words[i] + " " + value
		case "-s":
			o.scheduler = value
		case "-b":
			_, flag, _ := strings.Cut(value, "-")
			o.flags |= map[string]ipvs.ServiceFlags{"fallback": ipvs.FlagSched1, "port": ipvs.FlagSched2}[flag]
		case "-r":
			o.server.Addr, o.server.Port = mustClient(value)
		case "-w":
			o.spec.Weight = int32(p.number(value))
		case "-x":
			o.spec.UpperThreshold = uint32(p.number(value))
		case "-y":
			o.spec.LowerThreshold = uint32(p.number(value))
		}
		i++
	}
	return o
}

func (p *player) number(s string) int {
	n, err := strconv.Atoi(s)
	require.NoError(p.t, err, p.at())
	return n
}

// schedule sets the service's flags, and its scheduler if that is another one.
func (p *player) schedule(o options) {
	p.flags = o.flags
	if o.scheduler == p.name {
		return
	}
	s, err := New(o.scheduler, nil)
	require.NoError(p.t, err, p.at())
	p.s, p.name = s, o.scheduler
	p.schedulers[p.name] = true
	p.update(Bind, nil)
}

func (p *player) update(change Change, rs *ipvs.RealServer) {
	require.NoError(p.t, p.s.Update(change, p.servers, rs), p.at())
}

// add links a server at the head; a deleted one comes back with its counters.
func (p *player) add(o options) {
	rs := p.deleted[o.server]
	if rs == nil {
		rs = ipvs.NewRealServer(o.server, nil, o.spec)
	}
	delete(p.deleted, o.server)
	rs.SetSpec(o.spec)
	rs.SetAvailable(true)
	p.servers = append([]*ipvs.RealServer{rs}, p.servers...)
	p.update(Add, rs)
}

func (p *player) remove(rs *ipvs.RealServer) {
	rs.SetAvailable(false)
	p.deleted[rs.ID] = rs
	p.servers = slices.DeleteFunc(slices.Clone(p.servers), func(e *ipvs.RealServer) bool { return e == rs })
	p.update(Delete, rs)
}

func (p *player) server(id ipvs.ServerID) *ipvs.RealServer {
	i := slices.IndexFunc(p.servers, func(rs *ipvs.RealServer) bool { return rs.ID == id })
	require.GreaterOrEqual(p.t, i, 0, "%s: no server %v", p.at(), id)
	return p.servers[i]
}

// sleep lets time pass and connections expire.
func (p *player) sleep(d time.Duration) {
	p.now = p.now.Add(d)
	for key, c := range p.conns {
		if !p.now.Before(c.expires) {
			c.rs.Unbind(c.state.active())
			delete(p.conns, key)
		}
	}
}

// packet plays `tcp FLAGS SRC DST [k=v] -> VERDICT` or the same without FLAGS for UDP.
func (p *player) packet(proto string, words []string) {
	flags := ""
	if proto == "tcp" {
		flags, words = words[0], words[1:]
	}
	key := connKey{netip.MustParseAddrPort(words[0]), netip.MustParseAddrPort(words[1])}
	require.Equal(p.t, words[len(words)-1], p.handle(key, flags), "%s: %v %s", p.at(), key.client, flags)
}

// handle is what the director does with a packet: the verdict as recorded.
// TCP packets have flags, UDP packets have none.
func (p *player) handle(key connKey, flags string) string {
	c := p.conns[key]
	switch {
	case c != nil && !c.rs.Available():
		return "none"
	case c != nil:
	case strings.Contains(flags, "R"):
		return "none" // nobody answers a reset
	case flags != "" && flags != "S":
		return "rst" // not ours: the local stack's answer
	default:
		if c = p.connect(key, flags); c == nil {
			return "icmp:3/3"
		}
	}
	p.advance(c, flags)
	if p.flags&ipvs.FlagOnePacket != 0 {
		c.rs.Unbind(false)
		return c.rs.ID.Addr.String()
	}
	p.conns[key] = c
	return c.rs.ID.Addr.String()
}

// connect asks the scheduler for a server.
func (p *player) connect(key connKey, flags string) *playerConn {
	proto := ipvs.TCP
	if flags == "" {
		proto = ipvs.UDP
	}
	rs := p.s.Schedule(&Request{
		Now: p.now, Protocol: proto,
		Client: key.client.Addr(), ClientPort: key.client.Port(), Dst: key.virtual.Addr(),
		Flags: p.flags, Sysctls: &p.sysctls,
	})
	p.decisions++
	if rs == nil {
		return nil
	}
	rs.Bind(false)
	return &playerConn{rs: rs, state: noState}
}

// tcpState is a state of the one-sided machine: the director of these
// recordings sees the clients' packets only.
type tcpState int

const (
	noState tcpState = iota
	established
	synReceived
	finWait
	timeWait
	closed
	udpState
)

func (s tcpState) active() bool { return s == established || s == synReceived }

// inputOnly is the kernel's INPUT-ONLY table for these states.
var inputOnly = map[byte][udpState]tcpState{
	//    none         established  synReceived  finWait      timeWait     closed
	'S': {synReceived, established, synReceived, synReceived, synReceived, synReceived},
	'F': {closed, finWait, timeWait, finWait, timeWait, closed},
	'A': {established, established, established, finWait, timeWait, closed},
	'R': {closed, closed, synReceived, closed, closed, closed},
}

// advance moves the connection's state, its server's counters and its timer.
func (p *player) advance(c *playerConn, flags string) {
	next := udpState
	if flags != "" {
		next = inputOnly[event(flags)][c.state]
	}
	switch {
	case next.active() && !c.state.active():
		c.rs.Promote()
	case !next.active() && c.state.active():
		c.rs.Demote()
	}
	c.state = next
	c.expires = p.now.Add(map[tcpState]time.Duration{
		established: 900 * time.Second,
		synReceived: 60 * time.Second,
		finWait:     p.finWait,
		timeWait:    120 * time.Second,
		closed:      10 * time.Second,
		udpState:    300 * time.Second,
	}[next])
}

// event is the flag that decides: RST, then SYN, FIN, ACK.
func event(flags string) byte {
	for _, f := range "RSFA" {
		if strings.ContainsRune(flags, f) {
			return byte(f)
		}
	}
	return 0
}

// compare checks a listing's server lines; other output has none.
func (p *player) compare(listing []string) {
	got := map[string]string{}
	for _, line := range listing {
		f := strings.Fields(line)
		if len(f) == 6 && f[0] == "->" && f[2] == "Route" {
			got[f[1]] = strings.Join(f[3:], " ")
		}
	}
	if len(got) == 0 {
		return
	}
	want := map[string]string{}
	for _, rs := range p.servers {
		want[rs.ID.String()] = fmt.Sprintf("%d %d %d", rs.Weight(), rs.Active(), rs.Inactive())
	}
	require.Equal(p.t, want, got, p.at())
}
