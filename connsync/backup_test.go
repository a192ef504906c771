package connsync

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/conntrack"
	"usvs/ipvs"
)

// receiver is a backup and the servers it knows.
type receiver struct {
	*bench
	backup  *Backup
	servers []*ipvs.RealServer
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{bench: newBench(t)}
	r.servers = []*ipvs.RealServer{r.rs}
	r.backup = &Backup{Table: r.table, Find: func(e *Entry) *ipvs.RealServer {
		i := slices.IndexFunc(r.servers, func(rs *ipvs.RealServer) bool {
			return rs.ID.Addr == e.Real.Addr() && (rs.ID.Port == e.Real.Port() || e.Real.Port() == 0)
		})
		if i < 0 {
			return nil
		}
		return r.servers[i]
	}}
	return r
}

// tell sends entries in one message.
func (r *receiver) tell(entries ...Entry) {
	r.backup.Receive(r.now, encoded(1, 0, entries...), 3)
}

// get is what the table has for e.
func (r *receiver) get(e Entry) (c conntrack.Conn, ok bool) {
	if e.Template() {
		spec := conntrack.Spec{Protocol: e.Protocol, Template: true, Client: netip.AddrPortFrom(e.Client.Addr(), 0), Virtual: e.Virtual, PEName: e.PEName, PEData: e.PEData}
		ok = r.table.FindTemplate(r.now, &spec, &c)
		return c, ok
	}
	ok = r.table.LookupIn(r.now, e.Protocol, e.Client, e.Virtual, &c)
	return c, ok
}

func (r *receiver) counts() [3]int32 {
	return [3]int32{r.rs.Active(), r.rs.Inactive(), r.rs.Persistent()}
}

func established() Entry {
	return Entry{
		Protocol: ipvs.TCP, Method: ipvs.DirectRoute, Flags: conntrack.FlagNoOutput, State: uint16(conntrack.TCPEstablished),
		Client: netip.MustParseAddrPort("198.51.100.7:1000"), Virtual: vip80, Real: rip80, Timeout: 900,
	}
}

func templateEntry() Entry {
	e := established()
	e.Flags |= conntrack.FlagTemplate | conntrack.FlagInactive
	e.Client, e.State, e.Timeout = netip.MustParseAddrPort("198.51.100.0:0"), 0, 120
	return e
}

func TestNewConnection(t *testing.T) {
	r := newReceiver(t)
	e := established()
	e.Mark = 0
	r.tell(e)
	c, ok := r.get(e)
	require.True(t, ok)
	require.Equal(t, conntrack.FlagSync|conntrack.FlagHashed|conntrack.FlagNoOutput, c.Flags)
	require.Equal(t, conntrack.TCPEstablished, c.State)
	require.Equal(t, r.now.Add(900*time.Second), c.Expires)
	require.EqualValues(t, 3, c.InPackets)
	require.Equal(t, r.rs, c.Server)
	require.Equal(t, [3]int32{1, 0, 0}, r.counts())
	require.EqualValues(t, conntrack.TCPEstablished, r.table.Advert(c.Ref).State(), "a master here has no news of it")
}

// TestStatesFollow: the message rules over state, activity and time.
func TestStatesFollow(t *testing.T) {
	r := newReceiver(t)
	e := established()
	r.tell(e)
	first, _ := r.get(e)
	r.now = r.now.Add(time.Minute)
	e.State, e.Timeout = uint16(conntrack.TCPFinWait), 120
	e.Flags |= conntrack.FlagInactive
	r.tell(e)
	c, ok := r.get(e)
	require.True(t, ok)
	require.Equal(t, first.Ref, c.Ref)
	require.Equal(t, conntrack.TCPFinWait, c.State)
	require.Equal(t, r.now.Add(2*time.Minute), c.Expires)
	require.Equal(t, [3]int32{0, 1, 0}, r.counts())
	e.State, e.Flags = uint16(conntrack.TCPEstablished), e.Flags&^conntrack.FlagInactive
	r.tell(e)
	require.Equal(t, [3]int32{1, 0, 0}, r.counts())
	r.now = r.now.Add(time.Hour)
	r.table.Tick(r.now, 100)
	require.Equal(t, [3]int32{}, r.counts())
	require.Zero(t, r.table.Len())
}

// TestOtherServer: a client's port that was used again for another server.
func TestOtherServer(t *testing.T) {
	r := newReceiver(t)
	other := server("10.1.0.12", 80, ipvs.DirectRoute)
	other.Index = 0
	e := established()
	r.tell(e)
	e.Real = netip.MustParseAddrPort("10.1.0.12:80")
	e.Flags |= conntrack.FlagInactive
	r.tell(e)
	c, _ := r.get(e)
	require.Equal(t, rip80, c.Real, "the end of what was there before")
	e.Flags &^= conntrack.FlagInactive
	r.tell(e)
	c, _ = r.get(e)
	require.Equal(t, e.Real, c.Real)
	require.Equal(t, [3]int32{}, r.counts(), "the old one is gone")
	require.Equal(t, 1, r.table.Len())
}

// TestUnbound: entries of servers that are not known here, and what becomes of
// them when they are.
func TestUnbound(t *testing.T) {
	r := newReceiver(t)
	r.servers = nil
	e, tmpl := established(), templateEntry()
	e.Method, e.Flags = ipvs.Tunnel, e.Flags|conntrack.FlagInactive
	r.tell(e, tmpl)
	c, ok := r.get(e)
	require.True(t, ok)
	require.Nil(t, c.Server)
	require.Equal(t, ipvs.Tunnel, c.Method)
	require.Equal(t, conntrack.FlagSync|conntrack.FlagHashed|conntrack.FlagNoOutput|conntrack.FlagInactive, c.Flags)
	require.True(t, r.table.Packet(r.now, &c, conntrack.DirIn, conntrack.TCPEvent(ack)), "it can be used")
	require.Equal(t, [3]int32{}, r.counts())

	r.servers = []*ipvs.RealServer{r.rs}
	r.tell(e, tmpl)
	c, ok = r.get(e)
	require.True(t, ok)
	require.Equal(t, r.rs, c.Server)
	require.Equal(t, ipvs.DirectRoute, c.Method, "the server's own method counts")
	require.Equal(t, [3]int32{0, 1, 1}, r.counts())
	require.Equal(t, 2, r.table.Len())
}

func TestTemplates(t *testing.T) {
	r := newReceiver(t)
	e := templateEntry()
	r.tell(e)
	c, ok := r.get(e)
	require.True(t, ok)
	require.Equal(t, "NONE", c.StateName())
	require.Equal(t, [3]int32{0, 0, 1}, r.counts())
	e.State, e.Timeout = uint16(conntrack.TemplateAssured), 60
	r.tell(e)
	c, _ = r.get(e)
	require.Equal(t, "ASSURED", c.StateName())
	require.Equal(t, r.now.Add(time.Minute), c.Expires)
	require.Equal(t, [3]int32{0, 0, 1}, r.counts())

	mark := templateEntry()
	mark.Protocol, mark.Mark, mark.Virtual, mark.Real = ipvs.ProtoIP, 3, netip.MustParseAddrPort("0.0.0.3:0"), netip.MustParseAddrPort("10.1.0.11:0")
	sip := templateEntry()
	sip.PEName, sip.PEData = "sip", []byte("call-1@example.test")
	r.tell(mark, sip)
	_, ok = r.get(mark)
	require.True(t, ok)
	c, ok = r.get(sip)
	require.True(t, ok)
	require.Equal(t, "call-1@example.test", string(c.PEData))
	sip.PEData = []byte("call-2@example.test")
	_, ok = r.get(sip)
	require.False(t, ok)
	require.Equal(t, 3, r.table.Len())
}

// TestRefused: entries that are understood but cannot be believed.
func TestRefused(t *testing.T) {
	change := func(f func(*Entry)) Entry { e := established(); f(&e); return e }
	for _, tt := range []struct {
		name string
		e    Entry
		want Problem
	}{
		{"fine", established(), None},
		{"last TCP state", change(func(e *Entry) { e.State = uint16(conntrack.TCPSynACK) }), None},
		{"TCP state", change(func(e *Entry) { e.State = uint16(conntrack.TCPSynACK) + 1 }), BadState},
		{"huge state", change(func(e *Entry) { e.State = 0xffff }), BadState},
		{"UDP state", change(func(e *Entry) { e.Protocol, e.State = ipvs.UDP, 1 }), BadState},
		{"SCTP", change(func(e *Entry) { e.Protocol, e.State = ipvs.SCTP, uint16(conntrack.SCTPClosed) }), None},
		{"SCTP state", change(func(e *Entry) { e.Protocol, e.State = ipvs.SCTP, uint16(conntrack.SCTPClosed)+1 }), BadState},
		{"ICMP", change(func(e *Entry) { e.Protocol = 1 }), BadProtocol},
		{"protocol 0", change(func(e *Entry) { e.Protocol = 0 }), BadProtocol},
		{"template's state", change(func(e *Entry) { e.Flags |= conntrack.FlagTemplate; e.State = 2 }), None},
		{"one packet", change(func(e *Entry) { e.Flags |= conntrack.FlagOnePacket }), None},
		{"forwarding method", change(func(e *Entry) { e.Method = ipvs.Bypass + 1 }), BadMethod},
		{"template without a client's port", change(func(e *Entry) { e.Flags |= conntrack.FlagTemplate | conntrack.FlagNoCPort }), None},
		{"engine of a connection", change(func(e *Entry) { e.PEName, e.PEData = "sip", []byte("x") }), None},
		{"name of an engine, no data", change(func(e *Entry) { e.Flags |= conntrack.FlagTemplate; e.PEName = "nosuch" }), None},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newReceiver(t)
			r.tell(tt.e)
			n := r.backup.Counters()
			if tt.want == None {
				require.EqualValues(t, 1, n["entries"])
				require.Equal(t, 1, r.table.Len())
				return
			}
			require.EqualValues(t, 1, n["drop_"+tt.want.String()], n)
			require.Zero(t, r.table.Len())
		})
	}
	r := newReceiver(t)
	unknown := templateEntry()
	unknown.PEName, unknown.PEData = "nosuch", []byte("x")
	r.tell(unknown)
	require.EqualValues(t, 1, r.backup.Counters()["drop_no_engine"])
}

// TestFlagsAreMasked: bits that mean nothing here do not get in.
func TestFlagsAreMasked(t *testing.T) {
	r := newReceiver(t)
	e := established()
	e.Flags |= 0xfffe0000 | conntrack.FlagHashed | conntrack.FlagNFCT | 0x18
	r.tell(e)
	c, ok := r.get(e)
	require.True(t, ok)
	require.Equal(t, conntrack.FlagSync|conntrack.FlagHashed|conntrack.FlagNoOutput, c.Flags)
}

// TestTimeouts: version 0 does not say how long.
func TestTimeouts(t *testing.T) {
	for _, tt := range []struct {
		e    Entry
		want time.Duration
	}{
		{established(), 15 * time.Minute},
		{Entry{Protocol: ipvs.TCP, State: uint16(conntrack.TCPFinWait)}, 2 * time.Minute},
		{Entry{Protocol: ipvs.UDP}, 5 * time.Minute},
		{Entry{Protocol: ipvs.SCTP, State: uint16(conntrack.SCTPEstablished)}, 15 * time.Minute},
		{Entry{Protocol: protoESP}, 3 * time.Minute},
		{Entry{Protocol: ipvs.TCP, Flags: conntrack.FlagTemplate}, 3 * time.Minute},
	} {
		r := newReceiver(t)
		tt.e.Client, tt.e.Virtual, tt.e.Real, tt.e.Timeout = netip.MustParseAddrPort("198.51.100.7:9"), vip80, rip80, 0
		r.backup.Receive(r.now, encoded(0, 0, tt.e), 3)
		c, ok := r.get(tt.e)
		if !tt.e.Template() {
			require.True(t, ok)
			require.Equal(t, tt.want, c.Timeout)
			continue
		}
		r.table.Walk(r.now, func(c *conntrack.Conn) bool { require.Equal(t, tt.want, c.Timeout); return true })
	}
	r := newReceiver(t)
	e := established()
	e.Timeout = 1<<32 - 1 // as long as entries may last
	r.tell(e)
	c, _ := r.get(e)
	require.Positive(t, c.Timeout)
}

func TestFullTable(t *testing.T) {
	b := newReceiver(t)
	b.table = conntrack.New(conntrack.Config{MaxEntries: 2, Shards: 1})
	b.backup.Table, b.servers = b.table, nil
	for i := range 4 {
		e := established()
		e.Client = netip.AddrPortFrom(e.Client.Addr(), uint16(i+1))
		b.tell(e)
	}
	require.EqualValues(t, 2, b.backup.Counters()["drop_table_full"])
}

// TestSequences: what a helper did to lengths goes along.
func TestSequences(t *testing.T) {
	r := newReceiver(t)
	e := established()
	e.Seq, e.Flags = true, e.Flags|conntrack.FlagInSeq
	e.InSeq = conntrack.Seq{Init: 7, Delta: -3, Previous: 2}
	r.tell(e)
	c, _ := r.get(e)
	require.Equal(t, e.InSeq, c.InSeq)
	e.InSeq.Delta = 9
	r.tell(e)
	c, _ = r.get(e)
	require.Equal(t, e.InSeq, c.InSeq)
	r.tell(established()) // says nothing of it
	c, _ = r.get(e)
	require.Equal(t, e.InSeq, c.InSeq)
}

// TestCountsHold sends random entries of few keys, and expects the server's
// counts to be those of the table, and nothing to be left at the end.
func TestCountsHold(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		r := newReceiver(t)
		all := r.servers
		for range 300 {
			e := established()
			if rnd.IntN(3) == 0 {
				e = templateEntry()
			}
			e.Client = netip.AddrPortFrom(e.Client.Addr(), e.Client.Port()/1000*uint16(1+rnd.IntN(4)))
			e.State = uint16(rnd.IntN(12))
			e.Flags ^= conntrack.Flags(rnd.IntN(2)) * conntrack.FlagInactive
			e.Timeout = uint32(rnd.IntN(100))
			if rnd.IntN(4) == 0 {
				e.Real = netip.MustParseAddrPort("10.1.0.99:80")
			}
			r.servers = all[:rnd.IntN(2)]
			r.tell(e)
			if rnd.IntN(5) == 0 {
				r.now = r.now.Add(time.Duration(rnd.IntN(30)) * time.Second)
				r.table.Tick(r.now, 1000)
			}
			var want [3]int32
			r.table.Walk(0, func(c *conntrack.Conn) bool {
				switch {
				case c.Server == nil:
				case c.Template():
					want[2]++
				case c.Flags&conntrack.FlagInactive != 0:
					want[1]++
				default:
					want[0]++
				}
				return true
			})
			require.Equal(t, want, r.counts(), "seed %d", seed)
		}
		r.now = r.now.Add(time.Hour)
		r.table.Tick(r.now, 1000)
		require.Zero(t, r.table.Len())
		require.Equal(t, [3]int32{}, r.counts())
	}
}

// FuzzReceive: whatever arrives, the table stays sound and forgets it in time.
func FuzzReceive(f *testing.F) {
	_, frames := recorded(f)
	for _, frame := range frames {
		_, message := payload(f, frame)
		f.Add(message)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		r := newReceiver(t)
		r.backup.Receive(r.now, message, 3)
		r.backup.Receive(r.now, message, 3)
		for _, n := range r.counts() {
			require.GreaterOrEqual(t, n, int32(0))
		}
		r.now = r.now.Add(40 * 24 * time.Hour)
		for r.table.Tick(r.now, 1000) <= r.now {
		}
		require.Zero(t, r.table.Len())
		require.Equal(t, [3]int32{}, r.counts())
	})
}
