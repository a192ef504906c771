package conntrack

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
)

// A connection that moved to another table is there what it was, and goes on
// from there as in the first one.
func TestAdopt(t *testing.T) {
	now := clock.Instant(time.Hour)
	from, servers := twin()
	to, others := twin()
	rs, other := serverIn(servers), serverIn(others)
	tmpl, c := openPersistent(t, from, rs, now)
	later := now.Add(5 * time.Second)
	from.Packet(later, &c, DirIn, TCPEvent(0x10))

	movedTmpl, moved := tmpl, c
	movedTmpl.Server, moved.Server = other, other
	require.True(t, from.LookupTemplate(later, tmpl.Protocol, tmpl.Client.Addr(), tmpl.Virtual, &tmpl))
	require.True(t, to.Adopt(later, &movedTmpl))
	moved.Control = movedTmpl.Ref
	require.True(t, to.Adopt(later, &moved))
	require.False(t, to.Adopt(later, &Conn{
		Protocol: c.Protocol, Client: c.Client, Virtual: c.Virtual, Real: c.Real, Server: other}), "it is there already")

	compare := func(at clock.Instant) {
		t.Helper()
		var a, b Conn
		require.True(t, from.LookupIn(at, c.Protocol, c.Client, c.Virtual, &a))
		require.True(t, to.LookupIn(at, c.Protocol, c.Client, c.Virtual, &b))
		require.Equal(t, tmpl.Ref, a.Control)
		require.Equal(t, movedTmpl.Ref, b.Control)
		a.Ref, b.Ref, a.Control, b.Control, a.Server, b.Server = Ref{}, Ref{}, Ref{}, Ref{}, nil, nil
		require.Equal(t, a, b)
		require.Equal(t, [3]int32{rs.Active(), rs.Inactive(), rs.Persistent()},
			[3]int32{other.Active(), other.Inactive(), other.Persistent()})
	}
	compare(later)
	for _, ev := range []Event{TCPEvent(0x11), TCPEvent(0x10), TCPEvent(0x04)} {
		later = later.Add(time.Second)
		for _, x := range []*Table{from, to} {
			var d Conn
			require.True(t, x.LookupIn(later, c.Protocol, c.Client, c.Virtual, &d))
			x.Packet(later, &d, DirIn, ev)
		}
		compare(later)
	}
	end := later.Add(time.Hour)
	for range 4 {
		from.Tick(end, 1000)
		to.Tick(end, 1000)
		end = end.Add(time.Hour)
	}
	require.Zero(t, from.Len())
	require.Zero(t, to.Len())
	require.Zero(t, other.References())
}

func TestAdoptTimeouts(t *testing.T) {
	from, _ := twin()
	to, _ := twin()
	from.SetTimeouts(ipvs.Timeouts{TCP: 11, TCPFin: 12, UDP: 13})
	to.AdoptTimeouts(from)
	require.Equal(t, from.Timeouts(), to.Timeouts())
}

func twin() (*Table, *ipvs.Registry) {
	servers := new(ipvs.Registry)
	return New(Config{Servers: servers}), servers
}

func serverIn(r *ipvs.Registry) *ipvs.RealServer {
	rs := ipvs.NewRealServer(ipvs.ServerID{Addr: netip.MustParseAddr("10.1.0.1"), Port: 80}, nil, ipvs.ServerSpec{Weight: 1})
	r.Add(rs)
	return rs
}

// openPersistent makes an established connection under a template.
func openPersistent(t *testing.T, x *Table, rs *ipvs.RealServer, now clock.Instant) (tmpl, c Conn) {
	client, virtual := netip.MustParseAddrPort("192.0.2.1:4000"), netip.MustParseAddrPort("10.9.0.1:80")
	n := Spec{Protocol: ipvs.TCP, Client: netip.AddrPortFrom(client.Addr(), 0), Virtual: virtual,
		Real: netip.MustParseAddrPort("10.1.0.1:80"), Server: rs, Template: true, Timeout: time.Minute}
	require.Equal(t, Inserted, x.Insert(now, &n, &tmpl))
	n.Template, n.Client, n.Control = false, client, tmpl.Ref
	require.Equal(t, Inserted, x.Insert(now, &n, &c))
	x.Packet(now, &c, DirIn, TCPEvent(0x02))
	x.Packet(now, &c, DirOut, TCPEvent(0x12))
	x.Packet(now, &c, DirIn, TCPEvent(0x10))
	return tmpl, c
}
