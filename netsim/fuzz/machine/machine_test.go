package machine

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/ipvs"
)

// Every cell has a next state, and there are as many cells as the tables have.
func TestTablesAreWhole(t *testing.T) {
	for _, m := range Machines {
		n := 0
		for _, via := range Vias {
			for _, ev := range m.Events {
				for _, from := range m.States {
					to := m.Next(Cell{m.Name, via, ev, from})
					require.Contains(t, m.States, to)
					n++
				}
			}
		}
		require.Equal(t, len(m.next)+3*len(m.States)*(len(m.Events)-len(m.next)/3/len(m.States)), n)
	}
	require.Panics(t, func() { TCP.Next(Cell{"TCP", Input, "PSH", None}) })
}

func TestTCPEvent(t *testing.T) {
	for flags, want := range map[uint8]string{0x02: "SYN", 0x12: "SYN", 0x10: "ACK", 0x11: "FIN", 0x07: "RST", 0x08: "no-flag", 0: "no-flag"} {
		require.Equal(t, want, TCPEvent(flags), flags)
	}
}

func TestSCTPEvent(t *testing.T) {
	for _, c := range []struct {
		chunks []byte
		want   string
	}{
		{nil, ""}, {[]byte{1, 0, 0}, ""},
		{[]byte{1, 0, 0, 20}, "INIT"}, {[]byte{0, 3, 0, 16}, "DATA"}, {[]byte{3, 0, 0, 16}, "DATA"}, {[]byte{200, 0, 0, 4}, "DATA"},
		{[]byte{10, 0, 0, 4, 6, 0, 0, 4}, "ABORT"}, {[]byte{11, 0, 0, 6, 1, 1, 0, 0, 6, 0, 0, 4}, "ABORT"},
		{[]byte{11, 0, 0, 6, 1, 1, 0, 0, 6, 0, 0}, "COOKIE-ACK"}, {[]byte{1, 0, 0, 4, 6, 0, 0, 4}, "INIT"},
		{[]byte{10, 0, 0, 0, 6, 0, 0, 4}, "COOKIE-ECHO"}, {[]byte{14, 0, 0, 4}, "SHUTDOWN-COMPLETE"},
	} {
		require.Equal(t, c.want, SCTPEvent(c.chunks), c.chunks)
	}
}

// What no connection reaches is not among the cells of a walk.
func TestWalks(t *testing.T) {
	for _, w := range []*Walk{WalkTCP(), WalkSCTP()} {
		require.Greater(t, len(w.Cells), 200)
		for _, c := range w.Cells {
			require.NotContains(t, []string{"LISTEN", "LAST_ACK"}, c.From)
			require.False(t, c.From == None && c.Via == Output, "a server does not open connections")
			require.Equal(t, c, follow(w.To(c)))
		}
	}
}

// follow goes a way and returns its last cell.
func follow(w Way) (last Cell) {
	c := Conn{State: None, Silent: w.Silent}
	for _, m := range w.Moves {
		last = c.Packet(m.Machine, m.Out, m.Event)
	}
	return last
}

// The two state machines, written twice, agree in every cell that can be met.
func TestAgreesWithConntrack(t *testing.T) {
	for proto, w := range map[ipvs.Protocol]*Walk{ipvs.TCP: WalkTCP(), ipvs.SCTP: WalkSCTP()} {
		for _, cell := range w.Cells {
			way := w.To(cell)
			servers := new(ipvs.Registry)
			table := conntrack.New(conntrack.Config{Shards: 1, MaxEntries: 64, Servers: servers})
			spec := conntrack.Spec{
				Protocol: proto, Client: netip.MustParseAddrPort("10.0.0.9:1024"), Method: ipvs.Masquerade,
				Virtual: netip.MustParseAddrPort("10.0.0.100:80"), Real: netip.MustParseAddrPort("10.1.0.21:80"),
			}
			if way.Silent {
				spec.Method = ipvs.DirectRoute
			}
			spec.Server = server(servers)
			var c conntrack.Conn
			require.Equal(t, conntrack.Inserted, table.Insert(0, &spec, &c))
			model := Conn{State: None, Silent: way.Silent, Inactive: true}
			for _, m := range way.Moves {
				model.Packet(m.Machine, m.Out, m.Event)
				table.SetSecureTCP(m.Machine == SecureTCP)
				dir := conntrack.DirIn
				if m.Out {
					dir = conntrack.DirOut
				}
				require.True(t, table.Packet(0, &c, dir, event(m)))
				require.Equal(t, model.State, c.StateName(), cell)
				require.Equal(t, model.Silent, c.Flags&conntrack.FlagNoOutput != 0, cell)
				require.Equal(t, model.Inactive, c.Flags&conntrack.FlagInactive != 0, cell)
				if seconds := m.Machine.Seconds(model.State); model.State != "ESTABLISHED" && model.State != "FIN_WAIT" {
					require.Equal(t, time.Duration(seconds)*time.Second, c.Expires.Sub(clock.Instant(0)), cell)
				}
			}
		}
	}
}

func server(list *ipvs.Registry) *ipvs.RealServer {
	rs := ipvs.NewRealServer(ipvs.ServerID{Addr: netip.MustParseAddr("10.1.0.21"), Port: 80}, nil, ipvs.ServerSpec{Weight: 1})
	list.Add(rs)
	return rs
}

func event(m Move) conntrack.Event {
	if m.Machine == SCTP {
		return conntrack.SCTPEvent([]byte{Chunk(m.Event), 0, 0, 4})
	}
	return conntrack.TCPEvent(Flags(m.Event))
}

func TestFlagsAndChunks(t *testing.T) {
	for _, ev := range TCP.Events {
		require.Equal(t, ev, TCPEvent(Flags(ev)))
	}
	for _, ev := range SCTP.Events {
		require.Equal(t, ev, SCTPEvent([]byte{Chunk(ev), 0, 0, 4}))
	}
}
