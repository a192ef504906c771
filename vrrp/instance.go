package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"usvs/clock"
	"usvs/wire"
)

// instance is one virtual router.
type instance struct {
	*Instance
	r      *Router
	group  *group
	tracks Tracks // its own and its group's

	begun  bool // start has found a state for it
	state  State
	want   State // Master while it waits for its group to become master with it
	base   int   // configured priority
	prio   int   // effective
	faults []string
	source netip.Addr // of adverts

	interval time.Duration // the master's
	deadline clock.Instant // the master is down; for a master: the next advert
	preempt  clock.Instant // end of preempt_delay, 0 if it has not begun
	since    clock.Instant

	burstAt, lowerBurstAt, refreshAt clock.Instant // announcements due, or Never

	master     netip.Addr // whom the last advert believed came from
	masterPrio int

	farewell      []Packet // as left with Effects
	id            uint16
	seq           uint32
	oldUnicastSum bool
	checksPeers   bool

	reclaimed clock.Instant // when addresses were last announced against another master

	stats   Stats
	remarks limiter
}

func newInstance(r *Router, cfg *Instance) *instance {
	i := &instance{
		Instance: cfg, r: r, tracks: cfg.Tracks,
		want: Backup, base: cfg.Priority, prio: cfg.Priority, interval: cfg.AdvertInterval,
		deadline: clock.Never,
	}
	i.cancelBursts()
	i.checksPeers = cfg.CheckUnicastSrc || slices.ContainsFunc(cfg.Peers, func(p Peer) bool { return p.MinTTL > 0 || p.MaxTTL > 0 })
	return i
}

func (i *instance) logf(level Level, format string, args ...any) {
	i.r.fx.Log(level, "("+i.Name+") "+fmt.Sprintf(format, args...))
}

// remark logs what a packet gives cause for: no more than the limiter lets pass.
func (i *instance) remark(now clock.Instant, level Level, format string, args ...any) {
	if i.remarks.allow(now) {
		i.logf(level, format, args...)
	}
}

func (i *instance) notify(kind EventKind) {
	i.r.fx.Notify(Event{Kind: kind, Name: i.Name, State: i.state, Priority: i.prio})
}

// skew is how much later a backup of low priority takes over than one of high.
func (i *instance) skew() time.Duration {
	rest := time.Duration(ownerPriority + 1 - i.prio)
	if i.Version == 2 { // RFC 3768, 6.1
		return rest * 1000000 / 256 * time.Microsecond
	}
	cs := i.interval / (10 * time.Millisecond) // RFC 5798, 6.1
	return rest * cs * 625 / 16 * time.Microsecond
}

// masterDown is how long a backup waits for an advert.
func (i *instance) masterDown() time.Duration {
	return time.Duration(i.DownTimerAdverts)*i.interval + i.skew()
}

// owner reports whether the instance is to be master without having listened.
func (i *instance) owner() bool { return i.Master && i.base == ownerPriority }

// findSource chooses the address adverts come from: the configured one, or the
// first of the interface that no instance brings (over IPv6, a link-local one).
func (i *instance) findSource() netip.Addr {
	if i.Source.IsValid() {
		return i.Source
	}
	face := i.r.faces[i.Interface]
	if face == nil {
		return netip.Addr{}
	}
	for _, p := range face.Addrs {
		a := p.Addr()
		if a.Is4() != i.IPv6 && (a.Is4() || a.IsLinkLocalUnicast()) && !i.r.isVirtual(a) {
			return a
		}
	}
	return netip.Addr{}
}

// fit moves addresses that an advert has no room for to those that are not
// advertised.
func (i *instance) fit() {
	mtu := 1500
	if f := i.r.faces[i.Interface]; f != nil && f.MTU > 0 {
		mtu = f.MTU
	}
	room, size := mtu-wire.EthernetLen-wire.IPv4Len-headerLen, 4 // keepalived counts the Ethernet header in
	switch {
	case i.IPv6:
		room, size = mtu-wire.EthernetLen-wire.IPv6Len-headerLen, 16
	case i.Version == 2:
		room -= authLen
	}
	limit := min(max(room/size, 1), 255)
	if n := len(i.Addresses); n > limit {
		i.logf(Info, "Number of VIPs (%d) exceeds maximum/space available in packet (max %d addresses) - excess moved to eVIPs", n, limit)
		i.Excluded = slices.Concat(i.Addresses[limit:], i.Excluded)
		i.Addresses = i.Addresses[:limit]
	}
}

// addresses is every address that comes and goes with the instance.
func (i *instance) addresses() []Address {
	return append(slices.Clone(i.Addresses), i.Excluded...)
}

// send sends an advert of the priority to the group or to every peer.
func (i *instance) send(prio int) {
	if i.id++; i.id == 0 {
		i.id = 1
	}
	i.seq++
	i.stats.Sent++
	if prio == 0 {
		i.stats.PriorityZeroSent++
	} else {
		i.prepareFarewell()
	}
	a := i.advert(prio)
	i.eachReceiver(&a, i.transmit)
}

// advert is what the instance has to say now.
func (i *instance) advert(prio int) advert {
	a := advert{
		version: i.Version, vrid: i.VRID, priority: prio, auth: i.Auth, interval: i.AdvertInterval,
		src: i.source, dst: i.Multicast, ttl: 255, id: i.id, seq: i.seq, unicast: i.unicast(),
	}
	if i.Auth == Pass {
		a.password = i.key()
	}
	for _, v := range i.Addresses {
		a.addrs = append(a.addrs, v.Prefix.Addr())
	}
	if i.unicast() {
		a.ttl = i.UnicastTTL
		if i.oldUnicastSum {
			a.sumDst = multicast4
		}
	}
	return a
}

// eachReceiver calls do with the advert to the group, or to every peer.
func (i *instance) eachReceiver(a *advert, do func(*advert)) {
	if !i.unicast() {
		do(a)
		return
	}
	for _, p := range i.Peers {
		a.dst = p.Addr
		do(a)
	}
}

func (i *instance) transmit(a *advert) {
	var mac wire.MAC
	if a.dst.IsMulticast() {
		mac = i.advertMAC()
	}
	i.r.fx.Send(i.Interface, a.packet(i.key()), mac)
}

// limiter lets ten lines pass in a second: packets cost their sender nothing,
// lines of a log do.
type limiter struct {
	since clock.Instant
	used  int
}

func (l *limiter) allow(now clock.Instant) bool {
	if l.used == 0 || now.Sub(l.since) >= time.Second {
		*l = limiter{since: now}
	}
	l.used++
	return l.used <= 10
}
