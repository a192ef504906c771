package director

import (
	"sync/atomic"

	"usvs/arp"
	"usvs/clock"
	"usvs/connsync"
	"usvs/conntrack"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/localstack"
	"usvs/wire"
)

// Config is what a Director is made from.
type Config struct {
	Table     *conntrack.Table
	ARP       arp.Config
	Fragments *forward.Reassembler
	Answers   *localstack.Stack
	// Conflict hears that another host claims an owned address. It is called
	// by workers and must not block; nil: nobody listens.
	Conflict func(arp.Conflict)
	// Wraps says whether an interface takes super-frames within tunnels
	// (wire.Frame.Wrapped) now. It is called by workers, for such frames only, and
	// must not block; nil: none does.
	Wraps func(port int) bool
	// Seed of the lots that drop_entry draws.
	Seed uint64
}

// Director forwards packets for virtual services. Its Workers do the work.
type Director struct {
	Table      *conntrack.Table
	Neighbours *arp.Cache
	Totals     ipvs.Counters // over all services

	fragments *forward.Reassembler
	answers   *localstack.Stack
	conflict  func(arp.Conflict)
	wraps     func(port int) bool // nil: none does
	upkeep    upkeep
	snap      atomic.Pointer[Snapshot]
	observers atomic.Pointer[[]*Observer]
	workers   atomic.Pointer[[]*Worker]
	master    atomic.Pointer[connsync.Master] // nil: connections are not synchronised
}

// New returns a director with an empty snapshot.
func New(cfg Config) *Director {
	d := &Director{Table: cfg.Table, fragments: cfg.Fragments, answers: cfg.Answers, conflict: cfg.Conflict, wraps: cfg.Wraps}
	d.Neighbours = arp.New(cfg.ARP, local{d})
	d.upkeep.random.Store(cfg.Seed)
	d.snap.Store((&Snapshot{Sysctls: ipvs.DefaultSysctls()}).Seal())
	d.workers.Store(&[]*Worker{})
	return d
}

// Publish makes s the snapshot that frames meet from now on, and announces the
// addresses that became the director's to answer for, and all of them where an
// interface came up or got another MAC: neighbours remember the old one for
// half a minute. s must be sealed. One caller at a time.
func (d *Director) Publish(now clock.Instant, s *Snapshot) {
	d.Table.SetSecureTCP(s.Sysctls.SecureTCP > 1)
	old := d.snap.Swap(s)
	d.upkeep.publish(now, old, s)
	gained, _ := s.AnsweredSince(old)
	for port := range s.Routes.Interfaces {
		if s.Routes.Interfaces[port].Medium != wire.Ethernet {
			continue
		}
		announced := gained
		if s.stationChanged(old, port) {
			announced = s.Answered()
		}
		for _, a := range announced {
			if s.announces(port, a) {
				d.Neighbours.Announce(now, port, a)
			}
		}
	}
}

// Snapshot is the one last published.
func (d *Director) Snapshot() *Snapshot { return d.snap.Load() }

// NewWorker returns a worker for one goroutine. Workers are made before traffic
// starts or while it runs; they are never removed.
func (d *Director) NewWorker() *Worker {
	w := &Worker{d: d}
	w.alloc = w.New
	w.piece = func(g *wire.Frame) { w.emit(g, &w.hop) }
	w.cut = w.cutPiece
	w.wrap = w.wrapSegment
	w.host = w.give
	w.orphan = w.endOrphan
	for {
		old := d.workers.Load()
		w.number = len(*old)
		w.ipID = uint32(w.number) * idStride
		all := append(append([]*Worker{}, *old...), w)
		if d.workers.CompareAndSwap(old, &all) {
			d.Table.Join(w.number)
			return w
		}
	}
}

// idStride keeps the identifications that workers count up apart.
const idStride = 0x9e3779b1

// Counters returns how many frames ended for each reason that occurred, and why
// fragments were not put together.
func (d *Director) Counters() map[string]uint64 {
	out := map[string]uint64{}
	add := func(name string, n uint64) {
		if n > 0 {
			out[name] += n
		}
	}
	for _, w := range *d.workers.Load() {
		for r := range w.count.reason {
			add(Reason(r).String(), w.count.reason[r].Load())
		}
		for m := range w.count.malformed {
			add("malformed: "+wire.Malformed(m).String(), w.count.malformed[m].Load())
		}
	}
	for i, n := range d.fragments.Stats().Drops {
		add(forward.FragmentDrop(i).String(), n)
	}
	return out
}
