package host

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"usvs/wire"
)

// family is what of the table belongs to one address family: a chain that
// drops what is hidden, and the sets it looks into.
type family struct {
	chain     *nftables.Chain
	fragments *nftables.Chain // later fragments continue here

	addrs, services, anyPort, anyAddr, laterFrag, prefixes   *nftables.Set
	servers, serverAnyPort, serverLaterFrag, icmpErrors, l4s *nftables.Set

	addrType             nftables.SetDatatype
	addrLen, src, dst    uint32 // length and offsets of addresses in the IP header
	icmp                 byte
	etherType            []byte
	port                 uint32 // register behind protocol and address
	laterFragment        []expr.Any
	hasExtensionToIgnore []expr.Any // nil in IPv4
}

func newFamilies(table *nftables.Table) [2]*family {
	v4 := &family{
		addrType: nftables.TypeIPAddr, addrLen: 4, src: 12, dst: 16, icmp: wire.ProtoICMP, etherType: []byte{0x08, 0x00},
		laterFragment: append([]expr.Any{loadNetwork(reg0, 6, 2)}, maskedNonZero(reg0, 0x1f, 0xff)...),
	}
	v6 := &family{
		addrType: nftables.TypeIP6Addr, addrLen: 16, src: 8, dst: 24, icmp: wire.ProtoICMPv6, etherType: []byte{0x86, 0xdd},
		laterFragment: append([]expr.Any{loadExtension(wire.ProtoFragment, 2, 2)}, maskedNonZero(reg0, 0xff, 0xf8)...),
		// The kernel finds the transport header behind an authentication
		// header, the director does not look there.
		hasExtensionToIgnore: []expr.Any{hasExtension(wire.ProtoAH), equals(reg0, 1)},
	}
	for i, f := range []*family{v4, v6} {
		suffix := []string{"4", "6"}[i]
		f.port = reg1 + f.addrLen/4
		f.chain = &nftables.Chain{Name: "hidden" + suffix, Table: table}
		f.fragments = &nftables.Chain{Name: "fragments" + suffix, Table: table}
		f.newSets(table, suffix, uint32(1+i*16))
	}
	return [2]*family{v4, v6}
}

func (f *family) newSets(table *nftables.Table, suffix string, firstID uint32) {
	addr := f.addrType
	endpoint := nftables.MustConcatSetType(nftables.TypeInetProto, addr)
	endpointPort := nftables.MustConcatSetType(nftables.TypeInetProto, addr, nftables.TypeInetService)
	for i, s := range []struct {
		set  **nftables.Set
		name string
		key  nftables.SetDatatype
	}{
		{&f.addrs, "addrs", addr},
		{&f.services, "services", endpointPort},
		{&f.anyPort, "any_port", endpoint},
		{&f.laterFrag, "later_fragments", endpoint},
		{&f.prefixes, "prefixes", addr},
		{&f.servers, "servers", endpointPort},
		{&f.serverAnyPort, "server_any_port", endpoint},
		{&f.serverLaterFrag, "server_later_fragments", endpoint},
		{&f.icmpErrors, "icmp_errors", nftables.TypeICMPType},
		{&f.l4s, "balanced", nftables.TypeInetProto},
		{&f.anyAddr, "any_address", nftables.TypeInetProto},
	} {
		concat := s.key.Bytes > addr.Bytes
		*s.set = &nftables.Set{
			Table: table, Name: s.name + suffix, ID: firstID + uint32(i), KeyType: s.key,
			Concatenation: concat, Interval: s.set == &f.prefixes,
		}
	}
}

// sets pairs the family's sets with what is to be in them, intervals apart.
func (f *family) sets(h *hiddenSets) map[*nftables.Set]elements {
	return map[*nftables.Set]elements{
		f.addrs: h.addrs, f.services: h.services, f.anyPort: h.anyPort, f.laterFrag: h.laterFrag,
		f.servers: h.servers, f.serverAnyPort: h.serverAnyPort, f.serverLaterFrag: h.serverLaterFrag,
		f.icmpErrors: h.icmpErrors, f.anyAddr: h.anyAddr,
	}
}

// rules are the chain's, in the words of director.Hidden. Later fragments are
// told apart before any port is looked at: older kernels would read their data.
func (f *family) rules() (chain, fragments [][]expr.Any) {
	servicesTail := func(set *nftables.Set) []expr.Any {
		return append(append([]expr.Any{inSet(reg0, set)}, toHost()...), drop())
	}
	serversTail := func(set *nftables.Set) []expr.Any {
		return append(append([]expr.Any{inSet(reg0, set)}, notToHost()...), drop())
	}
	chain = [][]expr.Any{
		{f.load(reg0, f.dst), inSet(reg0, f.addrs), drop()},
		append(f.hasExtensionToIgnore, verdict(expr.VerdictReturn, "")),
		append([]expr.Any{loadMeta(reg0, expr.MetaKeyL4PROTO), f.load(reg1, f.dst)}, servicesTail(f.anyPort)...),
		append([]expr.Any{loadMeta(reg0, expr.MetaKeyL4PROTO)}, servicesTail(f.anyAddr)...),
		{f.load(reg0, f.dst), inSet(reg0, f.prefixes), loadMeta(reg0, expr.MetaKeyL4PROTO), inSet(reg0, f.l4s), drop()},
		append(f.laterFragment, verdict(expr.VerdictGoto, f.fragments.Name)),
		append([]expr.Any{loadMeta(reg0, expr.MetaKeyL4PROTO), f.load(reg1, f.dst), loadTransport(f.port, 2, 2)}, servicesTail(f.services)...),
		append([]expr.Any{loadMeta(reg0, expr.MetaKeyL4PROTO), f.load(reg1, f.src)}, serversTail(f.serverAnyPort)...),
		append([]expr.Any{loadMeta(reg0, expr.MetaKeyL4PROTO), f.load(reg1, f.src), loadTransport(f.port, 0, 2)}, serversTail(f.servers)...),
		append([]expr.Any{loadMeta(reg0, expr.MetaKeyL4PROTO), equals(reg0, f.icmp), loadTransport(reg0, 0, 1)}, serversTail(f.icmpErrors)...),
	}
	if f.hasExtensionToIgnore == nil {
		chain = append(chain[:1], chain[2:]...)
	}
	fragments = [][]expr.Any{
		append([]expr.Any{loadMeta(reg0, expr.MetaKeyL4PROTO), f.load(reg1, f.dst)}, servicesTail(f.laterFrag)...),
		append([]expr.Any{loadMeta(reg0, expr.MetaKeyL4PROTO), f.load(reg1, f.src)}, serversTail(f.serverLaterFrag)...),
	}
	return chain, fragments
}

// load loads an address of the IP header.
func (f *family) load(reg, offset uint32) expr.Any { return loadNetwork(reg, offset, f.addrLen) }

// loadExtension loads a part of an IPv6 extension header; a packet without
// that header does not match.
func loadExtension(header uint8, offset, size uint32) expr.Any {
	return &expr.Exthdr{DestRegister: reg0, Type: header, Offset: offset, Len: size, Op: expr.ExthdrOpIpv6}
}

// hasExtension loads 1 if the packet has an IPv6 extension header, else 0.
func hasExtension(header uint8) expr.Any {
	return &expr.Exthdr{DestRegister: reg0, Type: header, Len: 1, Flags: unix.NFT_EXTHDR_F_PRESENT, Op: expr.ExthdrOpIpv6}
}
