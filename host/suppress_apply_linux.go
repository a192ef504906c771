package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
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
// transaction unless it is very large; then it grows before it shrinks.
func (s *Suppressor) Apply(h *director.Hidden, interfaces []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ports, err := s.findPorts(interfaces)
	if err != nil {
		return fmt.Errorf("hide packets from the host's stack: %w", err)
	}
	for range staleChainRetries {
		if err = s.apply(setsOf(h), ports); err == nil {
			return nil
		}
		s.have = nil
		if !errors.Is(err, unix.ENOENT) {
			break
		}
	}
	return fmt.Errorf("hide packets from the host's stack: nftables table %s: %w", s.table.Name, err)
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

func (s *Suppressor) apply(wanted [2]hiddenSets, ports []port) error {
	sets := map[*nftables.Set]elements{}
	for i, f := range s.families {
		maps.Copy(sets, f.sets(&wanted[i]))
	}
	if s.hook == hookPrerouting {
		sets[s.ports] = portElements(ports)
	}
	s.pending = 0
	if s.have == nil {
		s.flushSets(sets)
	}
	if err := s.addElements(sets); err != nil {
		return err
	}
	for i, f := range s.families {
		if err := s.replacePrefixes(f.prefixes, &s.prefixes[i], wanted[i].prefixes); err != nil {
			return err
		}
	}
	if err := s.replaceChains(ports); err != nil {
		return err
	}
	if err := s.removeElements(sets); err != nil {
		return err
	}
	if err := s.conn.Flush(); err != nil {
		return err
	}
	s.have = sets
	for i := range s.prefixes {
		s.prefixes[i] = wanted[i].prefixes
	}
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
func (s *Suppressor) flushSets(sets map[*nftables.Set]elements) {
	for set := range sets {
		s.conn.FlushSet(set)
	}
	for i, f := range s.families {
		s.conn.FlushSet(f.prefixes)
		s.prefixes[i] = nil
	}
}

func (s *Suppressor) addElements(sets map[*nftables.Set]elements) error {
	for set, want := range sets {
		if err := s.send(set, minus(want, s.have[set]), s.conn.SetAddElements); err != nil {
			return err
		}
	}
	return nil
}

func (s *Suppressor) removeElements(sets map[*nftables.Set]elements) error {
	for set, want := range sets {
		if err := s.send(set, minus(s.have[set], want), s.conn.SetDeleteElements); err != nil {
			return err
		}
	}
	return nil
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

// send queues a change of elements, and commits what is queued when it is much.
func (s *Suppressor) send(set *nftables.Set, keys []string, change func(*nftables.Set, []nftables.SetElement) error) error {
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

// replacePrefixes exchanges the intervals of a set. They are few, and a
// difference of intervals is not worth its trouble.
func (s *Suppressor) replacePrefixes(set *nftables.Set, have *[]addrRange, want []addrRange) error {
	if slices.Equal(*have, want) {
		return nil
	}
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
