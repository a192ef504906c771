package conntrack

import (
	"net/netip"
	"testing"
	"time"

	"usvs/clock"
	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

// flood inserts n connections, every seventh of IPv6, every fifth with a mark.
func flood(t testing.TB, table *Table, rs *ipvs.RealServer, now clock.Instant, first, n int) (refs []Ref) {
	var c Conn
	for i := first; i < first+n; i++ {
		spec := tcpSpec(i, rs)
		if i%7 == 0 {
			spec.Client = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0xfd, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}), 99)
		}
		if i%5 == 0 {
			spec.Mark = uint32(i)
		}
		require.Equal(t, Inserted, table.Insert(now, spec, &c))
		refs = append(refs, c.Ref)
	}
	return refs
}

// trim calls Trim until there is no more to do.
func trim(t testing.TB, table *Table) (dropped int) {
	for range 10_000 {
		n, more := table.Trim(50_000)
		dropped += n
		if !more && n == 0 {
			return dropped
		}
	}
	t.Fatal("there is no end of it")
	return 0
}

// TestTrim: what a flood took is given back once it has ended, and used again;
// nobody takes an entry of then for one of now.
func TestTrim(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	many := 20 * chunkSize
	if testing.Short() {
		many = 9 * chunkSize
	}
	now, stale := t0, []Ref(nil)
	stay := flood(t, table, all[0], now, 0, 10)
	for round := range 2 {
		refs := flood(t, table, all[0], now, 100, many)
		require.Zero(t, trim(t, table), "all is in use")
		for _, r := range stale {
			_, _, found := table.Controller(r)
			require.False(t, found, "round %d: an entry of an earlier one", round)
			require.False(t, table.Expire(now, r))
		}
		for i, r := range refs {
			if i%1000 == 0 {
				table.Advertise(r, 0, NewAdvert(1, 0, now))
			}
			require.True(t, table.Expire(now, r))
		}
		trim(t, table) // their timers are yet to fire
		for i := range stay {
			var c Conn
			require.True(t, table.Get(stay[i], &c))
			require.True(t, table.Packet(now, &c, DirIn, tcpACK))
		}
		now = now.Add(newTimeout)
		drainTicks(table, now, 1<<20)
		entries := int(table.entries.turned.Load())
		require.GreaterOrEqual(t, trim(t, table), 2*(entries-trimLeast/chunkSize), "with the records of their timers")
		require.LessOrEqual(t, int(table.entries.turned.Load()), trimLeast/chunkSize)
		require.LessOrEqual(t, int(table.records.turned.Load()), trimLeast/chunkSize)
		require.Equal(t, 10, table.Len())
		stale = append(stale, refs...)
	}
	checkIndex(t, table)
	checkEmpty(t, table, now, all)
}

// TestTrimKeepsTheLimit: a table has room for its limit again, neither more nor
// less, after its chunks have come and gone.
func TestTrimKeepsTheLimit(t *testing.T) {
	const limit = 9*chunkSize + 100
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg, MaxEntries: limit})
	now := t0
	for range 2 {
		flood(t, table, all[0], now, 0, limit)
		var c Conn
		require.Equal(t, Full, table.Insert(now, tcpSpec(limit+1, all[0]), &c))
		require.Equal(t, limit, table.Len())
		require.LessOrEqual(t, limit, int(table.Slots()))
		now = now.Add(newTimeout + time.Second)
		drainTicks(table, now, 1<<20)
		require.Zero(t, table.Len())
		require.Greater(t, trim(t, table), 3)
	}
	checkEmpty(t, table, now, all)
}

// TestTrimLeavesSmallTablesAlone: a table that breathes does not come and go.
func TestTrimLeavesSmallTablesAlone(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	for _, r := range flood(t, table, all[0], t0, 0, trimLeast/2) {
		table.Expire(t0, r)
	}
	dropped, more := table.Trim(1 << 20)
	require.Zero(t, dropped)
	require.False(t, more)
}

// TestPoolHome: items that were sent home are given out again, from the lowest
// chunk on, and none twice.
func TestPoolHome(t *testing.T) {
	const n = 3 * chunkSize
	p := newPool[wide](n, 2, new(growth))
	held := map[uint32]bool{}
	for i := p.get(0, 0); i != 0; i = p.get(0, 0) {
		require.False(t, held[i])
		held[i] = true
	}
	require.Len(t, held, n)
	for i := range held {
		p.put(i%2, i)
	}
	budget := 2 * n
	p.sendHome(&budget)
	require.Equal(t, n, freeItems(p))
	require.Equal(t, uint32(0), p.get(0, 1)>>chunkBits)
	for range n - 1 {
		require.NotZero(t, p.get(0, 1))
	}
	require.Zero(t, p.get(0, 1))
}
