package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"usvs/director"
)

const (
	// elementsPerMessage keeps a list of elements below the 64 KiB that a
	// netlink attribute can hold.
	elementsPerMessage = 1000
	// elementsPerTransaction keeps a transaction below the send buffer that a
	// process without privilege in the initial user namespace gets.
	elementsPerTransaction = 3000

	// staleChainRetries is how often an interface may vanish between listing
	// the chains and changing them.
	staleChainRetries = 3
)

// port is an interface as it is now.
type port struct {
	name     string
	index    int
	ethernet bool
}

// chain names the port's ingress chain. An interface made anew has another
// index, and so gets another chain.
func (p port) chain() string { return fmt.Sprintf("%s-%d", p.name, p.index) }

// Apply makes h what the host does not see of what the named interfaces
// receive. Interfaces that do not exist are left out: call Apply again when
// they appear or are made anew, as Watcher reports. The change is one
// transaction unless it is very large; then it grows before it shrinks. Nothing
// of h may change afterwards; nil hides nothing.
func (s *Suppressor) Apply(h *director.Hidden, interfaces []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ports, err := s.findPorts(interfaces)
	if err != nil {
		return fmt.Errorf("hide packets from the host's stack: %w", err)
	}
	if h == nil {
		h = new(director.Hidden)
	}
	for range staleChainRetries {
		if err = s.apply(h, ports, true); err == nil {
			s.interfaces, s.portsNow = interfaces, ports
			return nil
		}
		s.have = nil
		if !errors.Is(err, unix.ENOENT) {
			break
		}
	}
	return fmt.Errorf("hide packets from the host's stack: nftables table %s: %w", s.table.Name, err)
}

// Update is Apply for the same interfaces as last time, none of which appeared
// or was made anew since: the kernel is not asked about them.
func (s *Suppressor) Update(h *director.Hidden) error {
	s.mu.Lock()
	if s.have != nil && s.apply(h, s.portsNow, false) == nil {
		s.mu.Unlock()
		return nil
	}
	s.have = nil
	interfaces := s.interfaces
	s.mu.Unlock()
	return s.Apply(h, interfaces)
}

func (s *Suppressor) findPorts(interfaces []string) ([]port, error) {
	links, err := s.nl.LinkList()
	if err != nil && !interrupted(err) {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var ports []port
	for _, l := range links {
		if a := l.Attrs(); slices.Contains(interfaces, a.Name) {
			ports = append(ports, port{a.Name, a.Index, a.EncapType == "ether" || a.EncapType == "loopback"})
		}
	}
	return ports, nil
}

// apply changes the sets and, if asked to, the chains.
func (s *Suppressor) apply(h *director.Hidden, ports []port, chains bool) error {
	s.pending = 0
	old, had := s.have, s.havePorts
	if old == nil {
		s.flushSets()
		old, had = new(director.Hidden), nil
	}
	changed, wanted := difference(old, h), portElements(ports)
	if err := s.addElements(changed, minus(wanted, had)); err != nil {
		return err
	}
	if err := s.replacePrefixes(old.Prefixes, h.Prefixes); err != nil {
		return err
	}
	if chains {
		if err := s.replaceChains(ports); err != nil {
			return err
		}
	}
	if err := s.removeElements(changed, minus(had, wanted)); err != nil {
		return err
	}
	if err := s.conn.Flush(); err != nil {
		return err
	}
	s.have, s.havePorts = h, wanted
	return nil
}

func portElements(ports []port) elements {
	e := elements{}
	for _, p := range ports {
		e.add(binary.NativeEndian.AppendUint32(nil, uint32(p.index)))
	}
	return e
}

// flushSets empties every set, for a start from known ground.
func (s *Suppressor) flushSets() {
	for _, f := range s.families {
		for set := range f.sets(newHiddenSets()) {
			s.conn.FlushSet(set)
		}
		s.conn.FlushSet(f.prefixes)
	}
	if s.hook == hookPrerouting {
		s.conn.FlushSet(s.ports)
	}
}

func (s *Suppressor) addElements(c *change, ports []string) error {
	return s.changeElements(&c.added, ports, s.conn.SetAddElements)
}

func (s *Suppressor) removeElements(c *change, ports []string) error {
	return s.changeElements(&c.removed, ports, s.conn.SetDeleteElements)
}

func (s *Suppressor) changeElements(hidden *[2]*hiddenSets, ports []string, change setChange) error {
	for i, f := range s.families {
		for set, keys := range f.sets(hidden[i]) {
			if err := s.send(set, slices.Collect(maps.Keys(keys)), change); err != nil {
				return err
			}
		}
	}
	if s.hook != hookPrerouting {
		return nil
	}
	return s.send(s.ports, ports, change)
}

// minus returns the keys of a that are not in b.
func minus(a, b elements) []string {
	var keys []string
	for k := range a {
		if _, ok := b[k]; !ok {
			keys = append(keys, k)
		}
	}
	return keys
}

// setChange is a call that changes the elements of a set.
type setChange = func(*nftables.Set, []nftables.SetElement) error

// send queues a change of elements, and commits what is queued when it is much.
func (s *Suppressor) send(set *nftables.Set, keys []string, change setChange) error {
	for chunk := range slices.Chunk(keys, elementsPerMessage) {
		if err := change(set, setElements(chunk)); err != nil {
			return err
		}
		if s.pending += len(chunk); s.pending < elementsPerTransaction {
			continue
		}
		s.pending = 0
		if err := s.conn.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func setElements(keys []string) []nftables.SetElement {
	out := make([]nftables.SetElement, len(keys))
	for i, k := range keys {
		out[i].Key = []byte(k)
	}
	return out
}

// replacePrefixes exchanges the intervals of sets. They are few, and a
// difference of intervals is not worth its trouble.
func (s *Suppressor) replacePrefixes(old, is []netip.Prefix) error {
	if slices.Equal(old, is) {
		return nil
	}
	had, wanted := mergeRanges(old), mergeRanges(is)
	for i, f := range s.families {
		if slices.Equal(had[i], wanted[i]) {
			continue
		}
		if err := s.replaceRanges(f.prefixes, wanted[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Suppressor) replaceRanges(set *nftables.Set, want []addrRange) error {
	s.conn.FlushSet(set)
	var list []nftables.SetElement
	for _, r := range want {
		list = append(list, nftables.SetElement{Key: r.from.AsSlice()})
		if end := r.to.Next(); end.IsValid() {
			list = append(list, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	for chunk := range slices.Chunk(list, elementsPerMessage) {
		if err := s.conn.SetAddElements(set, chunk); err != nil {
			return err
		}
	}
	return nil
}

// replaceChains queues what makes the ingress chains those of ports. Chains
// come and go with their interfaces, in ways that differ between kernels, so
// the kernel is asked which there are.
func (s *Suppressor) replaceChains(ports []port) error {
	if s.hook != hookIngress {
		return nil
	}
	have, err := s.listIngressChains()
	if err != nil {
		return err
	}
	var want []string
	for _, p := range ports {
		want = append(want, p.chain())
		if !slices.Contains(have, p.chain()) {
			chain := s.ingressChain(p.chain(), p.name)
			s.conn.AddChain(chain)
			s.addRules(chain, s.ingressRules(p.ethernet))
		}
	}
	for _, name := range have {
		if !slices.Contains(want, name) {
			s.conn.DelChain(&nftables.Chain{Name: name, Table: s.table})
		}
	}
	return nil
}

func (s *Suppressor) listIngressChains() ([]string, error) {
	all, err := s.conn.ListChainsOfTableFamily(nftables.TableFamilyNetdev)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	var names []string
	for _, c := range all {
		if c.Table.Name == s.table.Name && c.Hooknum != nil && strings.Contains(c.Name, "-") {
			names = append(names, c.Name)
		}
	}
	return names, nil
}
