package control

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/director"
	"usvs/ipvs"
	"usvs/ipvsadm"
	"usvs/marks"
	"usvs/route"
)

// Connections is what control needs of the connection table;
// *conntrack.Table is one.
type Connections interface {
	List(now clock.Instant, yield func(*ipvs.ConnEntry) bool)
	SetTimeouts(ipvs.Timeouts)
	Timeouts() ipvs.Timeouts
	Buckets() int
	Helpers(now clock.Instant) []conntrack.Helper
}

// Own says which addresses the director takes for its own.
type Own uint8

const (
	// OwnServices: the addresses of virtual services and mark rules, whether
	// or not the host carries them.
	OwnServices Own = iota
	// OwnHost: of these, only those the host carries, as with the kernel.
	OwnHost
)

// Config is what a Control is made from. Clock, Rand and Servers are required.
type Config struct {
	Clock    clock.Clock
	Rand     *rand.Rand       // seeds the schedulers that draw lots
	Servers  *ipvs.Registry   // shared with the connection table
	Conns    Connections      // nil: none, for a Control without a data plane
	Totals   *ipvs.Counters   // counters over all services; nil: none
	Sysctls  ipvs.Sysctls     // initial settings
	Own      Own              //
	VIPs     []netip.Addr     // owned besides the services' own addresses
	Resolver ipvsadm.Resolver // names in rules files; nil: numbers only
	Log      *slog.Logger     // nil: silent
	// FreePages is how many pages of memory are free or hold buffers, which
	// drop_entry, drop_packet and secure_tcp go by in their automatic modes;
	// nil: a constant 100,000.
	FreePages func() int
	// Director is whose connections the synchronisation daemons tell of and learn,
	// by Sync; nil: daemons are remembered and listed only.
	Director *director.Director
	Sync     SyncTransport
	// Publish is given every new snapshot, one at a time; nil: nobody.
	Publish func(*director.Snapshot)
}

// Control is the owner of the wanted state. Its methods may be called by
// anyone at any time.
type Control struct {
	cfg Config

	mu       sync.Mutex // guards everything below
	services []*service // oldest first
	byID     map[ipvs.ServiceID]*service
	trash    trash
	trashRun clock.Instant
	foldRun  clock.Instant
	totals   estimator
	sysctls  ipvs.Sysctls
	named    map[string]struct{} // settings that were set by name
	defence  defence
	routes   *route.Table
	marks4   *marks.Ruleset
	marks6   *marks.Ruleset
	snap     *director.Snapshot
	held     int                       // transactions under way, the last of which publishes
	pending  bool                      // there is something to publish then
	backup   bool                      // a backup daemon runs
	daemons  [2]atomic.Pointer[daemon] // master and backup; changed under mu

	isScratch bool // nothing is published, ever: own, index and the registry are left alone
	own       ownership
	index     *director.Index
	views     []*director.Service // of services that were published, oldest first
	shared    bool                // a snapshot has views, so that they are only appended to
	touched   []*service          // whose views are out of date

	deletions uint64 // of servers, while expire_nodest_conn was set
	additions uint64 // of servers
}

var _ ipvsadm.Backend = (*Control)(nil)

// New returns a Control without services and publishes its first snapshot.
func New(cfg Config) *Control {
	if cfg.Conns == nil {
		cfg.Conns = &noConnections{timeouts: ipvs.DefaultTimeouts}
	}
	if cfg.Totals == nil {
		cfg.Totals = new(ipvs.Counters)
	}
	if cfg.Resolver == nil {
		cfg.Resolver = numeric{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	c := &Control{
		cfg:      cfg,
		byID:     map[ipvs.ServiceID]*service{},
		trashRun: clock.Never,
		foldRun:  cfg.Clock.Now().Add(foldPeriod),
		sysctls:  cfg.Sysctls,
		named:    map[string]struct{}{},
		marks4:   marks.New(marks.IPv4),
		marks6:   marks.New(marks.IPv6),
		own:      newOwnership(cfg.Own),
		index:    director.NewIndex(),
	}
	c.defendLocked()
	c.publishLocked()
	return c
}

// Snapshot is the one last published.
func (c *Control) Snapshot() *director.Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.snap
}

// SetRoutes makes t the picture of the host's network and publishes.
func (c *Control) SetRoutes(t *route.Table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.routes = t
	c.publishLocked()
}

// SetHost is SetRoutes with the host's first port that needs no privilege, which
// tells FTP's data connections from services.
func (c *Control) SetHost(t *route.Table, unprivilegedPortStart uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.routes, c.sysctls.UnprivilegedPortStart = t, unprivilegedPortStart
	c.publishLocked()
}

// Tick folds counters and empties the trash as far as they are due, and
// returns when it wants to be called again.
func (c *Control) Tick(now clock.Instant) clock.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now >= c.foldRun {
		c.foldLocked()
		c.foldRun = following(c.foldRun, now)
	}
	if now >= c.trashRun {
		c.collectTrashLocked(now)
	}
	if now >= c.defence.run && c.defendLocked() {
		c.publishLocked()
	}
	return c.foldRun.Min(c.trashRun).Min(c.defence.run)
}

// following returns the next run after due: one period on, without making up
// for runs that were missed.
func following(due, now clock.Instant) clock.Instant {
	if next := due.Add(foldPeriod); next > now {
		return next
	}
	return now.Add(foldPeriod)
}

// numeric resolves no names.
type numeric struct{}

func (numeric) LookupAddr(netip.Addr) (string, bool)             { return "", false }
func (numeric) LookupHost(string) (netip.Addr, bool)             { return netip.Addr{}, false }
func (numeric) ServiceName(uint16, ipvs.Protocol) (string, bool) { return "", false }
func (numeric) ServicePort(string, ipvs.Protocol) (uint16, bool) { return 0, false }

// noConnections stands in for the table of a Control without a data plane. It
// remembers the timeouts it is given.
type noConnections struct{ timeouts ipvs.Timeouts }

func (*noConnections) List(clock.Instant, func(*ipvs.ConnEntry) bool) {}
func (n *noConnections) Timeouts() ipvs.Timeouts                      { return n.timeouts }
func (*noConnections) Buckets() int                                   { return 0 }
func (*noConnections) Helpers(clock.Instant) []conntrack.Helper       { return nil }

func (n *noConnections) SetTimeouts(t ipvs.Timeouts) { n.timeouts = t }
