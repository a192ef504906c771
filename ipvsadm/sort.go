package ipvsadm

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"usvs/ipvs"
)

// sorted returns the services, and the servers in each, in ipvsadm's order.
// The arguments are left alone.
func sorted(entries []ipvs.ServiceEntry) []ipvs.ServiceEntry {
	entries = slices.Clone(entries)
	for i := range entries {
		servers := slices.Clone(entries[i].Servers)
		mergeSort(servers, make([]ipvs.ServerEntry, len(servers)), compareServers)
		entries[i].Servers = servers
	}
	mergeSort(entries, make([]ipvs.ServiceEntry, len(entries)), compareServices)
	return entries
}

// mergeSort is a top-down merge sort into halves of n/2 and the rest. Which
// sort it is can be seen from outside: the comparison wraps around, so there
// are sets without an order, and their result depends on who met whom.
func mergeSort[T any](s, spare []T, compare func(a, b *T) int) {
	if len(s) < 2 {
		return
	}
	half := len(s) / 2
	a, b := s[:half], s[half:]
	mergeSort(a, spare, compare)
	mergeSort(b, spare, compare)
	out := spare[:0]
	for len(a) > 0 && len(b) > 0 {
		if compare(&a[0], &b[0]) <= 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	out = append(append(out, a...), b...)
	copy(s, out)
}

func compareServices(a, b *ipvs.ServiceEntry) int {
	return cmp.Or(
		compareWrapped(a.ID.Mark, b.ID.Mark),
		cmp.Compare(a.ID.Family, b.ID.Family),
		cmp.Compare(a.ID.Protocol, b.ID.Protocol),
		compareAddrs(a.ID.Addr, b.ID.Addr),
		cmp.Compare(a.ID.Port, b.ID.Port),
	)
}

func compareServers(a, b *ipvs.ServerEntry) int {
	return cmp.Or(
		compareAddrs(a.ID.Addr, b.ID.Addr),
		cmp.Compare(a.ID.Port, b.ID.Port),
	)
}

// compareWrapped is the sign of a-b in 32 bits, as the original computes it:
// the order turns around when the two are 2^31 or more apart.
func compareWrapped(a, b uint32) int { return cmp.Compare(int32(a-b), 0) }

// compareAddrs compares 32-bit words, without looking at the family first.
func compareAddrs(a, b netip.Addr) int {
	x, y := addrWords(a), addrWords(b)
	for i := range x {
		if c := compareWrapped(x[i], y[i]); c != 0 {
			return c
		}
	}
	return 0
}

// addrWords puts an IPv4 address into the first word.
func addrWords(a netip.Addr) (w [4]uint32) {
	b := a.AsSlice()
	for i := 0; len(b) >= 4; i, b = i+1, b[4:] {
		w[i] = binary.BigEndian.Uint32(b)
	}
	return w
}
