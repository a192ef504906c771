package host

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"usvs/wire"
)

// beforeFilters is where keepalived's rules stand, too: in front of the host's
// own filters, which may not let packets pass again (NF_IP_PRI_FILTER - 1).
const beforeFilters = -1

// refuser does what no_accept asks for (RFC 5798, 6.1, Accept_Mode): the host's
// stack takes no packets to some addresses that it has, and sends none from them,
// but neighbour discovery. Packets that a director takes from an interface, and
// those it sends, do not come by here. The table goes when the process ends.
type refuser struct {
	conn  *nftables.Conn
	table *nftables.Table
	sets  [2]*nftables.Set // IPv4, IPv6
	users map[Address]bool
}

// refuseLocked has packets to and from the address dropped, if it is to be so.
func (a *Addresses) refuseLocked(addr Address) error {
	if !addr.Refused {
		return nil
	}
	if a.refused == nil {
		r, err := newRefuser()
		if err != nil {
			return err
		}
		a.refused = r
	}
	return a.refused.add(addr)
}

// acceptLocked undoes refuseLocked.
func (a *Addresses) acceptLocked(addr Address) {
	if a.refused == nil || !a.refused.users[addr] {
		return
	}
	if err := a.refused.remove(addr); err != nil || len(a.refused.users) == 0 {
		_ = a.refused.close() // with the table goes what is in it
		a.refused = nil
	}
}

func newRefuser() (*refuser, error) {
	r := &refuser{users: map[Address]bool{}}
	var err error
	if r.conn, r.table, err = openOwnedTable(nftables.TableFamilyINet, tableName()+"-no-accept"); err != nil {
		return nil, err
	}
	if err := r.build(); err != nil {
		_ = r.close()
		return nil, fmt.Errorf("nftables table %s: %w", r.table.Name, err)
	}
	return r, nil
}

func (r *refuser) build() error {
	for i, f := range newFamilies(r.table) {
		r.sets[i] = &nftables.Set{Table: r.table, Name: fmt.Sprintf("vips%d", 4+2*i), ID: uint32(1 + i), KeyType: f.addrType}
		if err := r.conn.AddSet(r.sets[i], nil); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		name    string
		hook    *nftables.ChainHook
		address func(*family) uint32
	}{
		{"in", nftables.ChainHookInput, func(f *family) uint32 { return f.dst }},
		{"out", nftables.ChainHookOutput, func(f *family) uint32 { return f.src }},
	} {
		chain := r.conn.AddChain(&nftables.Chain{
			Name: c.name, Table: r.table, Type: nftables.ChainTypeFilter, Hooknum: c.hook, Priority: nftables.ChainPriorityRef(beforeFilters),
		})
		for _, rule := range r.rules(c.address) {
			r.conn.AddRule(&nftables.Rule{Table: r.table, Chain: chain, Exprs: rule})
		}
	}
	return r.conn.Flush()
}

// rules let neighbour discovery pass, by which others find the address, and drop
// the rest. address is the offset in the IP header of the one that matters.
func (r *refuser) rules(address func(*family) uint32) (rules [][]expr.Any) {
	for _, kind := range []byte{wire.ICMPv6NeighSol, wire.ICMPv6NeighAdv} {
		rules = append(rules, []expr.Any{
			loadMeta(reg0, expr.MetaKeyNFPROTO), equals(reg0, unix.NFPROTO_IPV6),
			loadMeta(reg0, expr.MetaKeyL4PROTO), equals(reg0, wire.ProtoICMPv6),
			loadTransport(reg0, 0, 1), equals(reg0, kind), verdict(expr.VerdictAccept, ""),
		})
	}
	for i, f := range newFamilies(r.table) {
		rules = append(rules, []expr.Any{
			loadMeta(reg0, expr.MetaKeyNFPROTO), equals(reg0, []byte{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6}[i]),
			f.load(reg0, address(f)), inSet(reg0, r.sets[i]), drop(),
		})
	}
	return rules
}

// add may be told of an address twice: on two interfaces, or with two prefixes.
func (r *refuser) add(addr Address) error {
	if r.users[addr] {
		return nil
	}
	if !r.has(addr) {
		if err := r.change(addr, r.conn.SetAddElements); err != nil {
			return err
		}
	}
	r.users[addr] = true
	return nil
}

func (r *refuser) remove(addr Address) error {
	delete(r.users, addr)
	if r.has(addr) {
		return nil
	}
	return r.change(addr, r.conn.SetDeleteElements)
}

func (r *refuser) has(addr Address) bool {
	for u := range r.users {
		if u.Prefix.Addr() == addr.Prefix.Addr() {
			return true
		}
	}
	return false
}

func (r *refuser) change(addr Address, change setChange) error {
	ip := addr.Prefix.Addr()
	if err := change(r.sets[familyIndex(ip)], []nftables.SetElement{{Key: ip.AsSlice()}}); err != nil {
		return err
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("nftables table %s: %w", r.table.Name, err)
	}
	return nil
}

func (r *refuser) close() error {
	if r == nil {
		return nil
	}
	return r.conn.CloseLasting()
}
