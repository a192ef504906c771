package connsync

import (
	"sync/atomic"
	"time"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/ipvs"
)

// When messages leave (ipvs.md 6.5).
const (
	// FlushDelay is how long a full message waits for others. An owner that has
	// no better way calls Tick as often.
	FlushDelay = 20 * time.Millisecond

	flushCount  = 8               // full messages that do not wait
	checkPeriod = time.Second     // how often an unfinished one is looked at
	oldest      = 2 * time.Second // how long an unfinished one may wait by then
)

// MasterConfig is what a Master is made from.
type MasterConfig struct {
	Table    *conntrack.Table
	SyncID   uint8
	MaxLen   int // of a message
	Ports    int // a power of two, at most 64
	QueueMax int // messages waiting on a port (sync_qlen_max); more are dropped
}

// Master tells other directors of the connections here.
type Master struct {
	cfg   MasterConfig
	queue *queue
	due   atomic.Int64 // when Tick is wanted
	busy  atomic.Bool  // somebody is in Tick

	// The rest belongs to whoever is in Tick.
	check clock.Instant
	ports []port
	spare [][]byte // memory of messages that were sent

	entries, overflow, messages, discarded atomic.Uint64
}

// port is what is to be sent on one of the ports.
type port struct {
	open  message // unfinished
	first clock.Instant
	full  [][]byte
	since clock.Instant // when the first of full was finished
}

// NewMaster returns a master that starts at now.
func NewMaster(now clock.Instant, cfg MasterConfig) *Master {
	m := &Master{cfg: cfg, queue: newQueue(queueLen), check: now.Add(checkPeriod), ports: make([]port, max(cfg.Ports, 1))}
	m.due.Store(int64(clock.Never))
	return m
}

// Packet considers c, and what controls it, after a packet of its client. It
// is called by workers. scratch is overwritten.
func (m *Master) Packet(now clock.Instant, sy *ipvs.Sysctls, c, scratch *conntrack.Conn) {
	pkts := c.InPackets
	for range maxControllers {
		once := c.Flags&conntrack.FlagOnePacket != 0
		switch {
		case sy.SyncVersion != 0 && once:
		case once:
			return // version 0 leaves its template out, too
		case m.consider(now, sy, c, pkts):
		case sy.SyncVersion == 0:
			return
		}
		if c.Control.IsZero() || !m.cfg.Table.Get(c.Control, scratch) {
			return
		}
		c, pkts = scratch, uint32(sy.SyncThreshold)
		if c.Template() {
			pkts = m.cfg.Table.Count(c.Ref)
			c.InPackets = pkts
		}
	}
}

// Later considers an entry whose time was over, but which controls others
// (ipvs.md 2.4). It is called by workers.
func (m *Master) Later(now clock.Instant, sy *ipvs.Sysctls, r conntrack.Ref) {
	var c, scratch conntrack.Conn
	if m.cfg.Table.Get(r, &c) {
		c.InPackets = uint32(sy.SyncThreshold)
		m.Packet(now, sy, &c, &scratch)
	}
}

// consider tells of c if it is needed.
func (m *Master) consider(now clock.Instant, sy *ipvs.Sysctls, c *conntrack.Conn, pkts uint32) bool {
	if !encodable(c, sy.SyncVersion) || !needed(m.cfg.Table, now, sy, c, pkts) {
		return false
	}
	cell, pos := m.queue.reserve()
	if cell == nil {
		m.overflow.Add(1)
		return true
	}
	var e Entry
	e.fill(c)
	cell.n = uint16(len(AppendEntry(cell.buf[:0], &e, sy.SyncVersion)))
	cell.at, cell.version, cell.spread = now, uint8(sy.SyncVersion), spread(c)
	cell.publish(pos)
	m.entries.Add(1)
	m.want(now.Add(FlushDelay))
	return true
}

// want makes Tick wanted at t, or sooner.
func (m *Master) want(t clock.Instant) {
	for {
		due := m.due.Load()
		if due <= int64(t) || m.due.CompareAndSwap(due, int64(t)) {
			return
		}
	}
}

// Deadline is when Tick is wanted. Packets bring it forward.
func (m *Master) Deadline() clock.Instant { return clock.Instant(m.due.Load()) }

// spread is a number that all entries of a connection have in common.
func spread(c *conntrack.Conn) uint32 { return uint32(c.Client.Port()) }

// Tick makes messages of what was queued and yields those that are due, with
// the number of the port they leave by. A message is valid only until yield
// returns. It returns when it wants to be called again.
func (m *Master) Tick(now clock.Instant, yield func(port int, message []byte)) clock.Instant {
	if !m.busy.CompareAndSwap(false, true) {
		return now.Add(FlushDelay)
	}
	defer m.busy.Store(false)
	m.due.Store(int64(clock.Never))
	for range queueLen {
		c := m.queue.next()
		if c == nil {
			break
		}
		m.collect(c)
		m.queue.release(c)
	}
	look := now >= m.check
	if look {
		m.check = now.Add(checkPeriod - now.Sub(m.check)%checkPeriod)
	}
	for i := range m.ports {
		p := &m.ports[i]
		if look && p.open.count > 0 && now.Sub(p.first) >= oldest {
			m.finish(p, now)
			p.since = now.Add(-FlushDelay)
		}
		m.flush(i, now, yield)
	}
	return m.Deadline()
}

// collect adds an entry to its port's message.
func (m *Master) collect(c *cell) {
	p := &m.ports[c.spread%uint32(len(m.ports))]
	if p.open.count > 0 && (p.open.version != int(c.version) || !p.open.fits(int(c.n), m.cfg.MaxLen)) {
		m.finish(p, c.at)
	}
	if p.open.count == 0 {
		if n := len(m.spare); n > 0 {
			p.open.data, m.spare = m.spare[n-1], m.spare[:n-1]
		}
		p.open.begin(int(c.version), m.cfg.SyncID)
		p.first = c.at
	}
	p.open.add(c.buf[:c.n])
}

// finish puts the unfinished message in line.
func (m *Master) finish(p *port, now clock.Instant) {
	b := p.open.finish()
	p.open.data, p.open.count = nil, 0
	if len(p.full) >= max(m.cfg.QueueMax, 1) {
		m.discarded.Add(1)
		m.spare = append(m.spare, b)
		return
	}
	if len(p.full) == 0 {
		p.since = now
	}
	p.full = append(p.full, b)
}

// flush yields what waits on port i, if it has waited long enough.
func (m *Master) flush(i int, now clock.Instant, yield func(int, []byte)) {
	p := &m.ports[i]
	if len(p.full) >= flushCount || len(p.full) > 0 && now.Sub(p.since) >= FlushDelay {
		for _, b := range p.full {
			m.messages.Add(1)
			yield(i, b)
		}
		m.spare = append(m.spare, p.full...)
		clear(p.full)
		p.full = p.full[:0]
	}
	if len(p.full) > 0 {
		m.want(p.since.Add(FlushDelay))
	}
	if p.open.count > 0 {
		m.want(m.check)
	}
}

// Counters are what the master did, by name.
func (m *Master) Counters() map[string]uint64 {
	return map[string]uint64{
		"entries": m.entries.Load(), "messages": m.messages.Load(),
		"drop_queue_full": m.overflow.Load(), "drop_sync_qlen_max": m.discarded.Load(),
	}
}
