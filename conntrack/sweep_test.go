package conntrack

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// Sweeping in slices shows the same entries as Walk does at once.
func TestSweepInSlices(t *testing.T) {
	reg, all := servers(3, ipvs.DirectRoute)
	table := New(Config{Servers: reg, Shards: 4})
	var c Conn
	for i := range 5000 {
		require.Equal(t, Inserted, table.Insert(t0, tcpSpec(i, all[i%3]), &c))
		if i%7 == 0 {
			table.Expire(t0, c.Ref)
		}
	}
	want := map[Ref]bool{}
	table.Walk(t0, func(c *Conn) bool { want[c.Ref] = true; return true })
	for first := uint32(0); first <= table.Slots(); first += 77 {
		table.Sweep(t0, first, first+77, &c, func(c *Conn) {
			require.True(t, want[c.Ref])
			delete(want, c.Ref)
		})
	}
	require.Empty(t, want)
}

// All buckets together are the table, and every entry is in the bucket that
// its hash says.
func TestBucketsArePartition(t *testing.T) {
	for _, shards := range []int{1, 8} {
		reg, all := servers(1, ipvs.DirectRoute)
		table := newTable(Config{Servers: reg, Shards: shards}, 64)
		require.Empty(t, table.Bucket(5, nil))
		want := map[Ref]bool{}
		var c Conn
		for i := range 3000 {
			require.Equal(t, Inserted, table.Insert(t0, tcpSpec(i, all[0]), &c))
			want[c.Ref] = true
		}
		require.Greater(t, table.Buckets(), 1000, "it has grown")
		var refs []Ref
		for n := range table.Buckets() {
			refs = table.Bucket(uint32(n), refs[:0])
			for _, r := range refs {
				require.True(t, want[r], "seen twice, or never inserted")
				delete(want, r)
			}
		}
		require.Empty(t, want)
		require.Len(t, table.Bucket(7, nil), len(table.Bucket(7+uint32(table.Buckets()), nil)), "numbers wrap")
	}
}

func TestBucketIsBounded(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := newTable(Config{Servers: reg, Shards: 1}, 1)
	var c Conn
	for i := range 2 * maxRun {
		n := tcpSpec(0, all[0])
		n.Protocol, n.Template = ipvs.UDP, true // of one client: one place in the order
		n.Virtual = netip.AddrPortFrom(testVIP.Addr(), uint16(i+1))
		n.Timeout = 1 << 40
		require.Equal(t, Inserted, table.Insert(t0, n, &c))
	}
	for n := range table.Buckets() {
		require.LessOrEqual(t, len(table.Bucket(uint32(n), nil)), maxRun)
	}
}

func TestRemoveTakesTheControllerAlong(t *testing.T) {
	for name, assured := range map[string]bool{"template nobody confirmed": false, "assured template": true} {
		t.Run(name, func(t *testing.T) {
			reg, all := servers(1, ipvs.DirectRoute)
			table := New(Config{Servers: reg})
			tmpl := tcpSpec(0, all[0])
			tmpl.Template, tmpl.Timeout = true, 1<<40
			var parent, a, b Conn
			require.Equal(t, Inserted, table.Insert(t0, tmpl, &parent))
			for i, c := range []*Conn{&a, &b} {
				n := tcpSpec(i+1, all[0])
				n.Control = parent.Ref
				require.Equal(t, Inserted, table.Insert(t0, n, c))
			}
			if assured {
				table.Packet(t0, &a, DirIn, tcpACK)
			}
			require.True(t, table.Controls(parent.Ref))
			require.False(t, table.Remove(t0, &parent), "it controls others")
			require.True(t, table.Remove(t0, &a))
			require.Equal(t, 2, table.Len())
			require.True(t, table.Remove(t0, &b))
			require.False(t, table.Remove(t0, &b))
			require.Equal(t, assured, table.Len() == 1)
			require.False(t, table.Controls(parent.Ref))
		})
	}
}
