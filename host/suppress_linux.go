package host

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/director"
)

const (
	// beforeDefrag is in front of everything else on the prerouting hook, so
	// that fragments are still seen as they came (NF_IP_PRI_RAW_BEFORE_DEFRAG).
	beforeDefrag = -450
	// ingressPriority is in front of the ingress rules others may have.
	ingressPriority = -500
)

// ErrNoSuppression is returned where the kernel offers no way to keep frames
// from the host's own stack. What that leads to depends on the host: nothing, if
// it does not forward (ip_forward=0) and does not have the virtual addresses.
var ErrNoSuppression = errors.New("the host's own stack cannot be kept from virtual services' packets: " +
	"it will reset connections to addresses it has, and forward copies of the rest if ip_forward is on")

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
	have      *director.Hidden
	havePorts elements // in ports
	pending   int      // elements queued since the last commit

	interfaces []string // as Apply was told
	portsNow   []port   // and found
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
