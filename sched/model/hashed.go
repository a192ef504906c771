package model

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"

	"usvs/ipvs"
	"usvs/sched"
)

const (
	slots  = 256  // of dh and sh
	maglev = 4093 // slots of mh
	key1   = 2654435761
	key2   = 2654446892
)

// dh is section 1.6.
type dh struct{ table [slots]*ipvs.RealServer }

// Schedule asks the slot of the destination.
func (m *dh) Schedule(req *sched.Request) *ipvs.RealServer {
	rs := m.table[golden(fold(req.Dst), 8)]
	if rs == nil || !rs.Available() || !usable(rs) {
		return nil
	}
	return rs
}

// Update deals the slots in turn, except after an edit.
func (m *dh) Update(change sched.Change, servers []*ipvs.RealServer, _ *ipvs.RealServer) error {
	if change == sched.Edit {
		return nil
	}
	m.table = [slots]*ipvs.RealServer{}
	for i := 0; i < slots && len(servers) > 0; i++ {
		m.table[i] = servers[i%len(servers)]
	}
	return nil
}

// sh is section 1.7.
type sh struct{ table [slots]*ipvs.RealServer }

// Schedule asks the slot of the client, and then the fallback's.
func (m *sh) Schedule(req *sched.Request) *ipvs.RealServer {
	slot := func(offset uint32) uint32 {
		return (offset + golden(port(req)+fold(req.Client), 8)) % slots
	}
	h0 := slot(0)
	if rs := m.table[h0]; rs == nil || usable(rs) {
		return rs
	}
	if req.Flags&ipvs.FlagSched1 == 0 {
		return nil
	}
	for k := range uint32(slots) {
		if rs := m.table[slot((k+h0)%slots)]; rs == nil || usable(rs) {
			return rs
		}
	}
	return nil
}

// Update lays the servers' slots down, lap after lap.
func (m *sh) Update(_ sched.Change, servers []*ipvs.RealServer, _ *ipvs.RealServer) error {
	m.table = [slots]*ipvs.RealServer{}
	for slot := 0; slot < slots && len(servers) > 0; {
		for _, rs := range servers {
			for n := 0; n < max(1, int(rs.Weight())) && slot < slots; n++ {
				m.table[slot] = rs
				slot++
			}
		}
	}
	return nil
}

// mh is section 1.8. The table is nil while nobody ever had a weight.
type mh struct{ table []*ipvs.RealServer }

// Schedule asks the slot of the client, and then the fallback's.
func (m *mh) Schedule(req *sched.Request) *ipvs.RealServer {
	if m.table == nil {
		return nil
	}
	slot := func(offset uint32) uint32 {
		return hsiphash(offset+port(req)+fold(req.Client), key1) % maglev
	}
	h0 := slot(0)
	if rs := m.table[h0]; rs.Available() && usable(rs) {
		return rs
	}
	if req.Flags&ipvs.FlagSched1 == 0 {
		return nil
	}
	for k := range uint32(maglev) {
		if rs := m.table[slot((k+h0)%maglev)]; rs.Available() && usable(rs) {
			return rs
		}
	}
	return nil
}

// Update fills the table as Maglev is explained: everyone writes his whole
// permutation down, then they take turns crossing out.
func (m *mh) Update(change sched.Change, servers []*ipvs.RealServer, _ *ipvs.RealServer) error {
	if len(servers) > maglev {
		if change == sched.Bind {
			return fmt.Errorf("%d servers: %w", len(servers), ipvs.ErrInvalid)
		}
		return nil
	}
	m.table = nil
	turns, any := mhTurns(servers)
	if !any {
		return nil
	}
	lists := make([][]uint32, len(servers))
	for i, rs := range servers {
		lists[i] = permutation(rs)
	}
	m.table = make([]*ipvs.RealServer, maglev)
	for free := maglev; free > 0; {
		for i, rs := range servers {
			for n := 0; n < turns[i] && free > 0; n++ {
				for m.table[lists[i][0]] != nil {
					lists[i] = lists[i][1:]
				}
				m.table[lists[i][0]] = rs
				free--
			}
		}
	}
	return nil
}

// permutation is the order in which a server asks for slots.
func permutation(rs *ipvs.RealServer) []uint32 {
	address := fold(rs.ID.Addr)
	if vs := rs.Service(); vs != nil && vs.ID.Family == ipvs.IPv4 && !rs.ID.Addr.Is4() {
		address = binary.BigEndian.Uint32(rs.ID.Addr.AsSlice()) // read as one of IPv4
	}
	x := address + uint32(rs.ID.Port)
	offset, skip := hsiphash(x, key1)%maglev, hsiphash(x, key2)%(maglev-1)+1
	list := make([]uint32, maglev)
	for j := range list {
		list[j] = (offset + uint32(j)*skip) % maglev
	}
	return list
}

// mhTurns is how many slots each server takes per visit, and whether anyone
// takes any.
func mhTurns(servers []*ipvs.RealServer) (turns []int, any bool) {
	heaviest := 0
	for _, rs := range servers {
		heaviest = max(heaviest, int(rs.LastWeight()))
	}
	g := divisor(servers, (*ipvs.RealServer).LastWeight)
	shift := max(0, bits.Len(uint(heaviest/g))-6)
	turns = make([]int, len(servers))
	for i, rs := range servers {
		if w := int(rs.LastWeight()); w > 0 {
			turns[i] = max(1, w/g>>shift)
		}
	}
	return turns, heaviest > 0
}

// port is the client's where the service hashes ports too.
func port(req *sched.Request) uint32 {
	known := req.Protocol == ipvs.TCP || req.Protocol == ipvs.UDP || req.Protocol == ipvs.SCTP
	if req.Flags&ipvs.FlagSched2 == 0 || !known {
		return 0
	}
	return uint32(req.ClientPort)
}

// fold is the XOR of an address's words, in host order.
func fold(a netip.Addr) (x uint32) {
	for b := a.AsSlice(); len(b) > 0; b = b[4:] {
		x ^= binary.BigEndian.Uint32(b)
	}
	return x
}

// golden is hash32 of section 1.1.
func golden(x uint32, n int) uint32 {
	return uint32(uint64(x)*0x61C88647&0xffffffff) >> (32 - n)
}

// hsiphash hashes the little-endian bytes of x.
func hsiphash(x uint32, key uint64) uint32 {
	return uint32(sipHash(binary.LittleEndian.AppendUint32(nil, x), key, key, 1, 3))
}

// sipHash is SipHash-c-d of any message (Aumasson and Bernstein, 2012).
func sipHash(message []byte, k0, k1 uint64, c, d int) uint64 {
	v := [4]uint64{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
	rounds := func(n int) {
		for range n {
			v[0], v[2] = v[0]+v[1], v[2]+v[3]
			v[1], v[3] = bits.RotateLeft64(v[1], 13)^v[0], bits.RotateLeft64(v[3], 16)^v[2]
			v[0] = bits.RotateLeft64(v[0], 32)
			v[2], v[0] = v[2]+v[1], v[0]+v[3]
			v[1], v[3] = bits.RotateLeft64(v[1], 17)^v[2], bits.RotateLeft64(v[3], 21)^v[0]
			v[2] = bits.RotateLeft64(v[2], 32)
		}
	}
	length := len(message)
	for last := false; !last; {
		block := make([]byte, 8)
		if last = len(message) < 8; last {
			block[7] = byte(length)
		}
		message = message[copy(block, message):]
		word := binary.LittleEndian.Uint64(block)
		v[3] ^= word
		rounds(c)
		v[0] ^= word
	}
	v[2] ^= 0xff
	rounds(d)
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}
