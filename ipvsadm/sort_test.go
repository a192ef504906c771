package ipvsadm

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"usvs/ipvs"

	"github.com/stretchr/testify/require"
)

func serverEntries(list ...string) []ipvs.ServerEntry {
	var entries []ipvs.ServerEntry
	for _, s := range list {
		ap := netip.MustParseAddrPort(s)
		entries = append(entries, ipvs.ServerEntry{ID: ipvs.ServerID{Addr: ap.Addr(), Port: ap.Port()}})
	}
	return entries
}

func serverOrder(entries []ipvs.ServerEntry) []string {
	var list []string
	for _, e := range sorted([]ipvs.ServiceEntry{{Servers: entries}})[0].Servers {
		list = append(list, e.ID.String())
	}
	return list
}

// A mixed pool as the original ordered it: the comparison wraps around.
func TestServerOrderWraps(t *testing.T) {
	require.Equal(t, []string{
		"192.168.41.31:80", "192.168.41.31:8080", "255.255.255.255:80",
		"9.9.9.9:80", "9.9.9.10:80", "9.9.9.11:80", "9.9.9.12:80", "9.9.9.13:80", "9.9.9.14:80",
		"[2001:db8::99]:80", "127.0.0.1:80",
	}, serverOrder(serverEntries(
		"192.168.41.31:8080", "192.168.41.31:80", "127.0.0.1:80",
		"9.9.9.9:80", "9.9.9.10:80", "9.9.9.11:80", "9.9.9.12:80", "9.9.9.13:80", "9.9.9.14:80",
		"[2001:db8::99]:80", "255.255.255.255:80")))
}

func TestCompareWrapped(t *testing.T) {
	for _, c := range []struct {
		a, b uint32
		want int
	}{
		{1, 2, -1}, {2, 1, 1}, {2, 2, 0},
		{0, 1<<31 - 1, -1}, {0, 1 << 31, -1}, {1 << 31, 0, -1}, {0, 1<<31 + 1, 1},
		{0xffffffff, 1, -1}, {1, 0xffffffff, 1},
	} {
		require.Equal(t, c.want, compareWrapped(c.a, c.b), c)
	}
}

func TestServiceOrder(t *testing.T) {
	a := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	want := []ipvs.ServiceID{
		{Family: ipvs.IPv4, Mark: 4294967295},
		{Family: ipvs.IPv4, Protocol: ipvs.TCP, Addr: a("192.168.40.17"), Port: 80},
		{Family: ipvs.IPv4, Protocol: ipvs.TCP, Addr: a("10.0.0.1"), Port: 80},
		{Family: ipvs.IPv4, Protocol: ipvs.TCP, Addr: a("10.0.0.1"), Port: 443},
		{Family: ipvs.IPv4, Protocol: ipvs.UDP, Addr: a("10.0.0.1"), Port: 53},
		{Family: ipvs.IPv4, Protocol: ipvs.SCTP, Addr: a("10.0.0.1"), Port: 80},
		{Family: ipvs.IPv6, Protocol: ipvs.TCP, Addr: a("2001:db8::1"), Port: 80},
		{Family: ipvs.IPv4, Mark: 3},
		{Family: ipvs.IPv6, Mark: 3},
		{Family: ipvs.IPv4, Mark: 9},
	}
	var entries []ipvs.ServiceEntry
	for _, id := range want {
		entries = append(entries, ipvs.ServiceEntry{ID: id})
	}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		r.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		before := slices.Clone(entries)
		var got []ipvs.ServiceID
		for _, e := range sorted(entries) {
			got = append(got, e.ID)
		}
		require.Equal(t, want, got, "seed %d", seed)
		require.Equal(t, before, entries, "the argument is left alone")
	}
}

// slowMergeSort is mergeSort as one would explain it.
func slowMergeSort(s []int, compare func(a, b *int) int) []int {
	if len(s) < 2 {
		return s
	}
	a := slowMergeSort(s[:len(s)/2], compare)
	b := slowMergeSort(s[len(s)/2:], compare)
	var out []int
	for len(a)+len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && compare(&a[0], &b[0]) <= 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return out
}

func TestMergeSort(t *testing.T) {
	plain := func(a, b *int) int { return *a/4 - *b/4 } // equal in fours: stability shows
	wraps := func(a, b *int) int { return int(int8(*a - *b)) }
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := make([]int, r.IntN(40))
		for i := range s {
			s[i] = r.IntN(256)
		}
		for _, compare := range []func(a, b *int) int{plain, wraps} {
			got := slices.Clone(s)
			mergeSort(got, make([]int, len(s)), compare)
			require.True(t, slices.Equal(slowMergeSort(slices.Clone(s), compare), got), "seed %d", seed)
		}
		stable := slices.Clone(s)
		slices.SortStableFunc(stable, func(a, b int) int { return plain(&a, &b) })
		mergeSort(s, make([]int, len(s)), plain)
		require.True(t, slices.Equal(stable, s), "seed %d", seed)
	}
}
