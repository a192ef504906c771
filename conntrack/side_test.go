package conntrack

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
)

var (
	sipVIP = ap("10.9.0.1:5060")
	ftpVIP = ap("10.9.0.1:21")
)

// callSpec is client n's template for a call.
func callSpec(n int, data string, rs *ipvs.RealServer) *Spec {
	return &Spec{
		Protocol: ipvs.UDP, Client: masked(client(n * 60000)), Virtual: sipVIP, Real: serverAddr(rs), Method: rs.Method(),
		Server: rs, Template: true, Timeout: time.Minute, PEName: "sip", PEData: []byte(data),
	}
}

// ftpSpec is client n's control connection.
func ftpSpec(n int, rs *ipvs.RealServer) *Spec {
	spec := tcpSpec(n, rs)
	spec.Virtual = ftpVIP
	return spec
}

// expectedSpec is a connection to be expected from client n, whose port is not known.
func expectedSpec(n int, port uint16, rs *ipvs.RealServer, control Ref) *Spec {
	spec := tcpSpec(n, rs)
	spec.Client, spec.Virtual = masked(spec.Client), netip.AddrPortFrom(ftpVIP.Addr(), port)
	spec.Real = netip.AddrPortFrom(spec.Real.Addr(), port)
	spec.Control, spec.Flags = control, FlagNoCPort
	return spec
}

// helperTable has the FTP helper, and masquerading servers.
func helperTable(n int) (*Table, []*ipvs.RealServer) {
	reg, all := servers(n, ipvs.Masquerade)
	return New(Config{Seed: 7, Shards: 2, MaxEntries: 5000, Servers: reg, FTPPorts: []uint16{21, 2121}}), all
}

func TestEngineTemplates(t *testing.T) {
	table, all := helperTable(2)
	var c Conn
	data := []string{"", "a", "b", "ab", "a\x00", "12345678", "123456789", strings.Repeat("x", 255), strings.Repeat("x", 254) + "y"}
	for i, d := range data {
		require.Equal(t, Inserted, table.Insert(t0, callSpec(1, d, all[i%2]), &c), "%q", d)
		require.Equal(t, "sip", c.PEName)
		require.Equal(t, d, string(c.PEData))
		require.Equal(t, Exists, table.Insert(t0, callSpec(1, d, all[i%2]), &c), "%q", d)
	}
	plain := callSpec(1, "", all[0])
	plain.PEName, plain.PEData = "", nil
	require.False(t, table.FindTemplate(t0, plain, &c), "not one of an engine")
	require.Equal(t, Inserted, table.Insert(t0, plain, &c))
	require.Empty(t, c.PEName)
	require.Empty(t, c.PEData)

	for i, d := range data {
		require.True(t, table.FindTemplate(t0, callSpec(1, d, all[0]), &c))
		require.Equal(t, d, string(c.PEData))
		require.Same(t, all[i%2], c.Server)
		require.False(t, table.FindTemplate(t0, callSpec(2, d, all[0]), &c), "another client's")
	}
	require.True(t, table.LookupTemplate(t0, ipvs.UDP, plain.Client.Addr(), sipVIP, &c), "the plain one")
	require.Empty(t, c.PEName)

	var listed []string
	table.List(t0, func(e *ipvs.ConnEntry) bool {
		if e.PEName != "" {
			listed = append(listed, e.PEData)
		}
		return true
	})
	require.ElementsMatch(t, data, listed)

	require.True(t, table.FindTemplate(t0, callSpec(1, "ab", all[0]), &c))
	require.True(t, table.Invalidate(c.Ref))
	require.False(t, table.FindTemplate(t0, callSpec(1, "ab", all[0]), &c))
	require.Equal(t, Inserted, table.Insert(t0, callSpec(1, "ab", all[0]), &c))
	require.True(t, table.Expire(t0, c.Ref))
	require.False(t, table.FindTemplate(t0, callSpec(1, "ab", all[0]), &c))
	checkIndex(t, table)
	checkEmpty(t, table, at(time.Hour), all)
}

func TestEngineRefusals(t *testing.T) {
	require.True(t, HasEngine("sip"))
	require.False(t, HasEngine(""))
	require.False(t, HasEngine("sap"))
	table, all := helperTable(1)
	var c Conn
	spec := callSpec(1, strings.Repeat("x", 256), all[0])
	require.Panics(t, func() { table.Insert(t0, spec, &c) })
	spec = callSpec(1, "x", all[0])
	spec.PEName = "sap"
	require.Panics(t, func() { table.Insert(t0, spec, &c) })
}

// TestEngineModel compares templates with a map, whatever their data's hash.
func TestEngineModel(t *testing.T) {
	table, all := helperTable(2)
	rng := rand.New(rand.NewPCG(3, 4))
	model := map[string]Ref{}
	var c Conn
	for range 20000 {
		n, data := rng.IntN(3), fmt.Sprint(rng.IntN(60))
		k, spec := fmt.Sprint(n, " ", data), callSpec(n, data, all[n%2])
		ref, ok := model[k]
		require.Equal(t, ok, table.FindTemplate(t0, spec, &c))
		if ok {
			require.Equal(t, ref, c.Ref)
			require.Equal(t, data, string(c.PEData))
		}
		switch {
		case !ok:
			require.Equal(t, Inserted, table.Insert(t0, spec, &c))
			model[k] = c.Ref
		case rng.IntN(2) == 0:
			require.True(t, table.Expire(t0, ref))
			delete(model, k)
		case rng.IntN(4) == 0:
			require.True(t, table.Invalidate(ref))
			delete(model, k)
		}
	}
	checkIndex(t, table)
	checkEmpty(t, table, at(time.Hour), all)
}

// TestHelperState: what a helper remembers is stored, and lost with its connection.
func TestHelperState(t *testing.T) {
	table, all := helperTable(1)
	var c, d Conn
	require.Equal(t, Inserted, table.Insert(t0, tcpSpec(1, all[0]), &c))
	require.Equal(t, AppNone, c.App)
	require.False(t, table.StoreApp(&c), "it has no helper")

	require.Equal(t, Inserted, table.Insert(t0, ftpSpec(1, all[0]), &c))
	require.Equal(t, AppFTP, c.App)
	c.AppMode, c.AppSeq, c.OutSeq = 3, 0xdeadbeef, Seq{Init: 0xfffffff0, Delta: -70000, Previous: 5}
	c.InSeq = Seq{Init: 1, Delta: 2, Previous: 3}
	old := c
	require.True(t, table.StoreApp(&c))
	require.True(t, table.LookupIn(t0, ipvs.TCP, client(1), ftpVIP, &d))
	require.Equal(t, c, d)
	require.True(t, table.LookupOut(t0, ipvs.TCP, serverAddr(all[0]), client(1), &d))

	old.AppMode = 1
	require.False(t, table.StoreApp(&old), "somebody else was faster")
	require.True(t, table.LookupIn(t0, ipvs.TCP, client(1), ftpVIP, &d))
	require.EqualValues(t, 3, d.AppMode)

	require.True(t, table.LookupIn(t0, ipvs.TCP, client(1), testVIP, &d), "the plain one, into the same copy")
	require.Zero(t, d.OutSeq)
	require.Equal(t, AppNone, d.App)

	require.True(t, table.Expire(t0, c.Ref))
	require.False(t, table.StoreApp(&c))
	require.Equal(t, Inserted, table.Insert(t0, ftpSpec(1, all[0]), &d))
	require.False(t, table.StoreApp(&c), "another incarnation")
	require.Zero(t, d.OutSeq)
	for range 2000 { // more changes than a link counts
		d.AppMode++
		require.True(t, table.StoreApp(&d))
	}
	checkEmpty(t, table, at(time.Hour), all)
}

func TestWhoHasAHelper(t *testing.T) {
	table, all := helperTable(1)
	_, direct := servers(1, ipvs.DirectRoute)
	table.servers.Add(direct[0])
	for i, c := range []struct {
		change func(*Spec)
		want   App
	}{
		{func(*Spec) {}, AppFTP},
		{func(s *Spec) { s.Virtual = ap("10.9.0.1:2121") }, AppFTP},
		{func(s *Spec) { s.Virtual = ap("10.9.0.1:20") }, AppNone},
		{func(s *Spec) { s.Protocol = ipvs.UDP }, AppNone},
		{func(s *Spec) { s.Server, s.Method = direct[0], ipvs.DirectRoute }, AppNone},
		{func(s *Spec) { s.Template, s.Timeout, s.Client = true, time.Minute, masked(s.Client) }, AppNone},
	} {
		spec, conn := ftpSpec(i, all[0]), Conn{}
		c.change(spec)
		require.Equal(t, Inserted, table.Insert(t0, spec, &conn))
		require.Equal(t, c.want, conn.App, "%+v", spec)
	}
}

// TestFTPPortsChange: connections keep the helper they were opened with, as
// with modprobe and rmmod.
func TestFTPPortsChange(t *testing.T) {
	table, all := helperTable(1)
	var with, without Conn
	require.Equal(t, Inserted, table.Insert(t0, ftpSpec(1, all[0]), &with))
	require.Equal(t, []Helper{{21, 1}, {2121, 0}}, table.Helpers(t0))
	table.SetFTPPorts(nil)
	require.Empty(t, table.Helpers(t0))
	require.Equal(t, Inserted, table.Insert(t0, ftpSpec(2, all[0]), &without))
	table.SetFTPPorts([]uint16{21})
	require.True(t, table.LookupIn(t0, ipvs.TCP, client(1), ftpVIP, &with))
	require.Equal(t, AppFTP, with.App)
	require.True(t, table.LookupIn(t0, ipvs.TCP, client(2), ftpVIP, &without))
	require.Equal(t, AppNone, without.App)
	require.Equal(t, []Helper{{21, 1}}, table.Helpers(t0))
}

func TestSeq(t *testing.T) {
	var q Seq
	require.True(t, q.Zero())
	q.Grow(5001, -1) // as recorded: fwd/nat-ftp
	require.Equal(t, Seq{5001, -1, 0}, q)
	require.False(t, q.Zero())
	require.EqualValues(t, 0, q.Offset(5001))
	require.EqualValues(t, -1, q.Offset(5002))
	require.EqualValues(t, 0, q.AckOffset(5001))
	require.EqualValues(t, -1, q.AckOffset(5020))
	q.Grow(5001, -1)
	require.Equal(t, Seq{5001, -1, 0}, q, "sent again")
	q.Grow(9000, 0)
	require.Equal(t, Seq{5001, -1, 0}, q, "nothing grew")
	q.Grow(4000, -1)
	require.Equal(t, Seq{5001, -1, 0}, q, "sent before")
	q.Grow(0x80000000, 3)
	require.Equal(t, Seq{0x80000000, 2, -1}, q)
	require.EqualValues(t, -1, q.AckOffset(0x80000000-1))
	require.EqualValues(t, 2, q.AckOffset(0x80000000+1))
	q = Seq{Init: 0xffffffff, Delta: 9}
	require.EqualValues(t, 9, q.Offset(3), "numbers wrap")
}

// TestExpected: a connection whose client's port is unknown is found by its
// first packet only, and becomes one like any other.
func TestExpected(t *testing.T) {
	table, all := helperTable(1)
	rs := all[0]
	var control, c, d Conn
	require.Equal(t, Inserted, table.Insert(t0, ftpSpec(1, rs), &control))
	vip := netip.AddrPortFrom(ftpVIP.Addr(), 5001)
	require.Equal(t, Inserted, table.Expect(t0, expectedSpec(1, 5001, rs, control.Ref), &c))
	require.Equal(t, "LISTEN", c.StateName())
	require.Equal(t, at(120*time.Second), c.Expires)
	require.EqualValues(t, 2, rs.Inactive())

	other := netip.AddrPortFrom(client(60000*5).Addr(), 4000)
	require.False(t, table.LookupIn(t0, ipvs.TCP, other, vip, &d), "another client")
	require.False(t, table.LookupIn(t0, ipvs.TCP, client(1), testVIP, &d), "another port")
	rip := netip.AddrPortFrom(serverAddr(rs).Addr(), 5001)
	require.False(t, table.LookupOut(t0, ipvs.TCP, rip, client(1), &d), "the server does not know it either")
	require.True(t, table.LookupIn(t0, ipvs.TCP, client(1), vip, &d))
	require.NotZero(t, d.Flags&FlagNoCPort)
	require.Equal(t, c.Ref, d.Ref)

	require.True(t, table.FillPort(t0, &d, client(1).Port()))
	require.Zero(t, d.Flags&FlagNoCPort)
	require.Equal(t, client(1), d.Client)
	require.Equal(t, control.Ref, d.Control)
	require.EqualValues(t, TCPListen, d.State)
	require.EqualValues(t, 2, rs.Inactive(), "it counts once")
	require.Zero(t, table.noCPort.Load())
	require.False(t, table.LookupIn(t0, ipvs.TCP, netip.AddrPortFrom(client(1).Addr(), 9), vip, &c), "it was the last")
	require.True(t, table.LookupOut(t0, ipvs.TCP, rip, client(1), &c))

	table.Packet(t0, &d, DirIn, TCPEvent(2))
	table.Packet(t0, &d, DirOut, TCPEvent(0x12))
	table.Packet(t0, &d, DirIn, TCPEvent(0x10))
	require.Equal(t, "ESTABLISHED", d.StateName())
	require.EqualValues(t, 1, rs.Active())
	require.False(t, table.Expire(t0, control.Ref), "it controls one")

	// Announced again, it is expected again, and counts as it did (Linux 6.1).
	n := tcpSpec(1, rs)
	n.Client, n.Virtual, n.Control = d.Client, vip, control.Ref
	require.Equal(t, Exists, table.Expect(t0, n, &c))
	require.Equal(t, "LISTEN", c.StateName())
	require.Equal(t, at(120*time.Second), c.Expires)
	require.EqualValues(t, 1, rs.Active())
	checkEmpty(t, table, at(time.Hour), all)
}

// TestFillPortRaces: two clients' packets, or the end of the expected one.
func TestFillPortRaces(t *testing.T) {
	table, all := helperTable(1)
	rs := all[0]
	var c, a, b Conn
	expect := func() {
		require.Equal(t, Inserted, table.Expect(t0, expectedSpec(1, 5001, rs, Ref{}), &c))
		a, b = c, c
	}
	expect()
	require.True(t, table.FillPort(t0, &a, 1000))
	require.True(t, table.FillPort(t0, &b, 1001))
	require.EqualValues(t, 2, rs.Inactive())
	expect()
	require.True(t, table.FillPort(t0, &a, 1002))
	require.True(t, table.FillPort(t0, &b, 1002))
	require.Equal(t, a.Ref, b.Ref)
	require.EqualValues(t, 3, rs.Inactive())
	expect()
	require.True(t, table.Expire(t0, c.Ref))
	require.True(t, table.FillPort(t0, &a, 1003))
	require.EqualValues(t, 4, rs.Inactive())
	expect()
	require.True(t, table.FillPort(t0, &a, 0), "a port is a port")
	require.NotZero(t, a.Flags&FlagNoCPort)
	checkEmpty(t, table, at(time.Hour), all)
	require.Zero(t, table.noCPort.Load())
}

// TestFillPortThreshold: filling in a port must not overload a server for a moment.
func TestFillPortThreshold(t *testing.T) {
	table, all := helperTable(1)
	rs := all[0]
	rs.SetSpec(ipvs.ServerSpec{Method: ipvs.Masquerade, Weight: 1, UpperThreshold: 2, LowerThreshold: 1})
	var c Conn
	require.Equal(t, Inserted, table.Expect(t0, expectedSpec(1, 5001, rs, Ref{}), &c))
	require.True(t, table.FillPort(t0, &c, 1000))
	require.False(t, rs.Overloaded())
	checkEmpty(t, table, at(time.Hour), all)
}

// TestAdoptSide: what stands beside an entry moves to another table with it.
func TestAdoptSide(t *testing.T) {
	from, all := helperTable(1)
	reg, others := servers(1, ipvs.Masquerade)
	to := New(Config{Seed: 9, Servers: reg, FTPPorts: []uint16{21}})
	var tmpl, c Conn
	require.Equal(t, Inserted, from.Insert(t0, callSpec(1, "call", all[0]), &tmpl))
	spec := ftpSpec(1, all[0])
	spec.InSeq, spec.OutSeq = Seq{1, 2, 3}, Seq{4, 5, 6}
	require.Equal(t, Inserted, from.Insert(t0, spec, &c))
	require.Equal(t, spec.OutSeq, c.OutSeq)
	tmpl.Server, c.Server = others[0], others[0]
	require.True(t, to.Adopt(t0, &tmpl))
	require.True(t, to.Adopt(t0, &c))
	require.Equal(t, "call", string(tmpl.PEData))
	require.Equal(t, spec.InSeq, c.InSeq)
	require.Equal(t, AppFTP, c.App)
	require.True(t, to.FindTemplate(t0, callSpec(1, "call", all[0]), &tmpl))
}

// TestSideStress: templates of few calls and helpers' states come and go under
// several goroutines; nothing is lost, and nobody reads another's data.
func TestSideStress(t *testing.T) {
	table, all := helperTable(2)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			var c Conn
			for range 5000 {
				n := rng.IntN(3)
				data := strings.Repeat(string(rune('a'+rng.IntN(5))), 1+rng.IntN(3))
				spec := callSpec(n, data, all[n%2])
				if r := table.Insert(t0, spec, &c); r > Exists || string(c.PEData) != data || c.Client != spec.Client {
					t.Errorf("%q: %v, %q", data, r, c.PEData)
				}
				if table.FindTemplate(t0, spec, &c) && string(c.PEData) != data {
					t.Errorf("%q, not %q", c.PEData, data)
				}
				if rng.IntN(3) == 0 {
					table.Expire(t0, c.Ref)
				}
				sideSteps(t, table, all[0], rng, g)
			}
		})
	}
	wg.Wait()
	checkIndex(t, table)
	checkEmpty(t, table, at(time.Hour), all)
	require.Zero(t, table.noCPort.Load())
}

// sideSteps uses one of few control connections, and expects connections under it.
func sideSteps(t *testing.T, table *Table, rs *ipvs.RealServer, rng *rand.Rand, g int) {
	var c, d Conn
	n := rng.IntN(4)
	if table.Insert(t0, ftpSpec(n, rs), &c) > Exists {
		t.Error("no control connection")
		return
	}
	if q := c.OutSeq; q.Delta != int32(q.Init) || q.Previous != q.Delta {
		t.Errorf("torn: %+v", q)
	}
	v := uint32(rng.IntN(1000))
	c.OutSeq = Seq{v, int32(v), int32(v)}
	table.StoreApp(&c)
	port := uint16(5000 + rng.IntN(2))
	if table.Expect(t0, expectedSpec(n, port, rs, c.Ref), &d) <= Exists {
		if table.LookupIn(t0, ipvs.TCP, client(n), d.Virtual, &d) && d.Flags&FlagNoCPort != 0 {
			table.FillPort(t0, &d, client(n+g).Port())
		}
		table.Expire(t0, d.Ref)
	}
	if rng.IntN(5) == 0 {
		table.Expire(t0, c.Ref)
	}
}

// TestSideAllocatesNothing: neither a call found nor a helper's state costs garbage.
func TestSideAllocatesNothing(t *testing.T) {
	table, all := helperTable(1)
	var c, d Conn
	spec := callSpec(1, "some-call@example.test", all[0])
	require.Equal(t, Inserted, table.Insert(t0, spec, &c))
	require.Equal(t, Inserted, table.Insert(t0, ftpSpec(1, all[0]), &d))
	now := clock.Instant(t0)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		table.FindTemplate(now, spec, &c)
		table.LookupIn(now, ipvs.TCP, client(1), ftpVIP, &d)
		d.AppMode++
		table.StoreApp(&d)
	}))
	require.True(t, bytes.Equal(spec.PEData, c.PEData))
	require.False(t, slices.Contains([]App{AppNone}, d.App))
}

// TestSidesHaveNumbers: a link has room for every record's number, however many
// entries a table has.
func TestSidesHaveNumbers(t *testing.T) {
	require.LessOrEqual(t, int(newSides(mostItems, mostItems, 1, new(growth)).records.limit), int(sideNumber))
}
