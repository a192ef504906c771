package host

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
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

	// beforeDefrag is in front of everything else on the prerouting hook, so
	// that fragments are still seen as they came (NF_IP_PRI_RAW_BEFORE_DEFRAG).
	beforeDefrag = -450
	// ingressPriority is in front of the ingress rules others may have.
	ingressPriority = -500

	// staleChainRetries is how often an interface may vanish between listing
	// the chains and changing them.
	staleChainRetries = 3
)

// ErrNoSuppression is returned where the kernel offers no way to keep frames
// from the host's own stack.
var ErrNoSuppression = errors.New("the host's own stack cannot be kept from answering and forwarding virtual services' packets")

// hook is where in the kernel the rules are applied.
type hook uint8

const (
	hookIngress    hook = iota // a chain for each interface, in front of everything but packet sockets
	hookPrerouting             // one chain for all interfaces, where the IP stacks begin
)

// Suppressor keeps received packets from the host's own stack. Packet sockets
// for all protocols still see them.
type Suppressor struct {
	nl    *netlink.Handle
	conn  *nftables.Conn
	table *nftables.Table
	hook  hook

	families [2]*family
	ports    *nftables.Set // hookPrerouting: interface indexes

	mu sync.Mutex // guards the rest, and conn
	// have is what the kernel's sets contain; nil when that is not certain.
	have     map[*nftables.Set]elements
	prefixes [2][]addrRange
	pending  int // elements queued since the last commit
}

// NewSuppressor makes the table, which hides nothing yet. It lives until Close
// or the end of the process, however it ends.
func NewSuppressor() (*Suppressor, error) {
	s, err := newSuppressor(hookIngress)
	if err == nil {
		return s, nil
	}
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("%w: CAP_NET_ADMIN is missing: %w", ErrNoSuppression, err)
	}
	s, err2 := newSuppressor(hookPrerouting)
	if err2 == nil {
		slog.Warn("host: no nftables ingress hook; using prerouting", "err", err)
		return s, nil
	}
	return nil, fmt.Errorf("%w: it needs Linux 5.12 with nf_tables (CONFIG_NF_TABLES_NETDEV or CONFIG_NF_TABLES_INET, and CONFIG_NFT_FIB): %w",
		ErrNoSuppression, errors.Join(err, err2))
}

func newSuppressor(at hook) (*Suppressor, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	s := &Suppressor{nl: handle, hook: at}
	family := nftables.TableFamilyNetdev
	if at == hookPrerouting {
		family = nftables.TableFamilyINet
	}
	if s.conn, s.table, err = openOwnedTable(family, tableName()); err != nil {
		handle.Close()
		return nil, err
	}
	if err := s.build(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// tableName is unique, and says whose table it is.
func tableName() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("usvs-%d-%s", os.Getpid(), hex.EncodeToString(b[:]))
}

// Table is the name of the nftables table.
func (s *Suppressor) Table() string { return s.table.Name }

// Close removes the table: the host's stack sees everything again.
func (s *Suppressor) Close() error {
	s.nl.Close()
	return s.conn.CloseLasting()
}

// build fills the table with everything but interfaces and elements.
func (s *Suppressor) build() error {
	s.families = newFamilies(s.table)
	for _, f := range s.families {
		if err := s.buildFamily(f); err != nil {
			return err
		}
	}
	if s.hook == hookPrerouting {
		return s.buildPrerouting()
	}
	return s.probeIngress()
}

func (s *Suppressor) buildFamily(f *family) error {
	sets := f.sets(&hiddenSets{})
	sets[f.prefixes], sets[f.l4s] = nil, nil
	for set := range sets {
		if err := s.conn.AddSet(set, nil); err != nil {
			return err
		}
	}
	l4s := elements{}
	for _, p := range balanced {
		l4s.add([]byte{byte(p)})
	}
	if err := s.conn.SetAddElements(f.l4s, setElements(slices.Collect(maps.Keys(l4s)))); err != nil {
		return err
	}
	s.conn.AddChain(f.chain)
	s.conn.AddChain(f.fragments)
	rules, fragments := f.rules()
	s.addRules(f.chain, rules)
	s.addRules(f.fragments, fragments)
	if err := s.conn.Flush(); err != nil {
		return fmt.Errorf("fill nftables table %s: %w", s.table.Name, err)
	}
	return nil
}

func (s *Suppressor) addRules(chain *nftables.Chain, rules [][]expr.Any) {
	for _, r := range rules {
		s.conn.AddRule(&nftables.Rule{Table: s.table, Chain: chain, Exprs: r})
	}
}

// probeIngress hooks a chain to the loopback interface and removes it again:
// whether the kernel has the ingress hook shows only then.
func (s *Suppressor) probeIngress() error {
	probe := s.ingressChain("probe", "lo")
	s.conn.AddChain(probe)
	err := s.conn.Flush()
	if err == nil {
		s.conn.DelChain(probe)
		err = s.conn.Flush()
	}
	if err != nil {
		return fmt.Errorf("nftables ingress hook: %w", err)
	}
	return nil
}

func (s *Suppressor) ingressChain(name, device string) *nftables.Chain {
	return &nftables.Chain{
		Name: name, Table: s.table, Type: nftables.ChainTypeFilter, Device: device,
		Hooknum: nftables.ChainHookIngress, Priority: nftables.ChainPriorityRef(ingressPriority),
	}
}

func (s *Suppressor) buildPrerouting() error {
	s.ports = &nftables.Set{Table: s.table, Name: "ports", ID: 100, KeyType: nftables.TypeIFIndex}
	if err := s.conn.AddSet(s.ports, nil); err != nil {
		return err
	}
	chain := &nftables.Chain{
		Name: "prerouting", Table: s.table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRef(beforeDefrag),
	}
	s.conn.AddChain(chain)
	rules := [][]expr.Any{
		otherStations(),
		{loadMeta(reg0, expr.MetaKeyIIF), &expr.Lookup{SourceRegister: reg0, SetName: s.ports.Name, SetID: s.ports.ID, Invert: true}, verdict(expr.VerdictReturn, "")},
	}
	for i, proto := range []byte{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} {
		goToFamily := verdict(expr.VerdictGoto, s.families[i].chain.Name)
		rules = append(rules, []expr.Any{loadMeta(reg0, expr.MetaKeyNFPROTO), equals(reg0, proto), goToFamily})
	}
	s.addRules(chain, rules)
	if err := s.conn.Flush(); err != nil {
		return fmt.Errorf("nftables prerouting hook: %w", err)
	}
	return nil
}

// otherStations ends a chain for frames that are not to the interface's own
// MAC: the director leaves them alone, and a bridge or macvlan may want them.
func otherStations() []expr.Any {
	return []expr.Any{loadMeta(reg0, expr.MetaKeyPKTTYPE), differs(reg0, unix.PACKET_HOST), verdict(expr.VerdictReturn, "")}
}

// ingressRules send packets to their family's chain. On Ethernet the type
// field is read from the frame, because there a VLAN tag shows.
func (s *Suppressor) ingressRules(ethernet bool) [][]expr.Any {
	etherType := loadMeta(reg0, expr.MetaKeyPROTOCOL)
	if ethernet {
		etherType = &expr.Payload{DestRegister: reg0, Base: expr.PayloadBaseLLHeader, Offset: 12, Len: 2}
	}
	rules := [][]expr.Any{otherStations()}
	for _, f := range s.families {
		rules = append(rules, []expr.Any{etherType, equals(reg0, f.etherType...), verdict(expr.VerdictGoto, f.chain.Name)})
	}
	return rules
}

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
