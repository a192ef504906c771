package arp

import (
	"encoding/binary"
	"net/netip"
	"time"

	"usvs/clock"
	"usvs/wire"
)

// Announcements go out in bursts of at most burst per burstGap, so that a
// failover of very many addresses overruns neither sink nor switch.
const (
	burst    = 128
	burstGap = time.Millisecond
)

// MLDv2 record types (RFC 3810 section 5.2.12): the two ways to say that a
// group is listened to, as a current state and as a change.
const (
	modeIsExclude       = 2
	changeToExcludeMode = 4
)

// announcement is an address that still has to be announced.
type announcement struct {
	left   int  // times
	report bool // only an MLD report, in answer to a query
}

// member is an address on a port.
type member struct {
	port int
	addr netip.Addr
}

// membership is a member in the stack of those whose groups we joined.
type membership struct {
	member
	below *membership
}

// Announce makes Tick tell the port's network that addr is ours: gratuitous
// ARP requests (RFC 5227 section 3, the form Linux and keepalived send), or
// for IPv6 an MLD report and unsolicited advertisements (RFC 4861 section
// 7.2.6). It stops by itself when the address is no longer owned.
func (c *Cache) Announce(now clock.Instant, port int, addr netip.Addr) {
	m := member{port, addr}
	if addr.Is6() {
		c.join(m)
	}
	c.schedule(m, now, announcement{left: c.cfg.AnnounceCount})
}

func (c *Cache) schedule(m member, due clock.Instant, a announcement) {
	c.wakeAt(c.announcing.add(&item[announcement]{member: m, due: due, what: a}))
}

// join remembers an address whose group queries are answered for.
func (c *Cache) join(m member) {
	for {
		top := c.members.Load()
		for o := top; o != nil; o = o.below {
			if o.member == m {
				return
			}
		}
		if c.members.CompareAndSwap(top, &membership{m, top}) {
			return
		}
	}
}

// joined returns the memberships after those are gone whose address we lost.
func (c *Cache) joined() *membership {
	old := c.members.Load()
	var top *membership
	for o := old; o != nil; o = o.below {
		if c.local.Owned(o.port, o.addr) {
			top = &membership{o.member, top}
		}
	}
	c.members.CompareAndSwap(old, top) // else one joined meanwhile: the next query prunes
	return top
}

// announce sends what is due.
func (c *Cache) announce(now clock.Instant, out Sink) {
	budget := burst
	for next := reverse(c.announcing.take()); next != nil; {
		a := next
		next = a.below
		if !c.local.Owned(a.port, a.addr) {
			continue
		}
		if !now.Before(a.due) {
			if budget == 0 || !c.say(a.member, a.what.report, out) {
				a.due, budget = now.Add(burstGap), 0
			} else {
				a.due = now.Add(c.cfg.AnnounceInterval)
				a.what.left--
				budget--
			}
		}
		if a.what.left > 0 {
			c.wakeAt(c.announcing.add(a))
		}
	}
}

// say sends one announcement and reports whether the sink had frames for it.
func (c *Cache) say(m member, report bool, out Sink) bool {
	port, addr := m.port, m.addr
	sent := false
	switch {
	case report:
		sent = c.sendReport(port, addr, modeIsExclude, out)
	case addr.Is4():
		mac := c.local.MAC(port, addr)
		sent = c.sendARP(port, arpMessage{
			op: opRequest, sha: mac, spa: addr, tpa: addr, linkTarget: wire.Broadcast,
		}, out)
	default:
		sent = c.sendReport(port, addr, changeToExcludeMode, out) && c.sendND(port, ndMessage{
			kind:       wire.ICMPv6NeighAdv,
			flags:      c.routerFlag() | flagOverride,
			target:     addr,
			src:        addr,
			dst:        allNodes,
			link:       c.local.MAC(port, addr),
			linkTarget: GroupMAC(allNodes),
		}, out)
	}
	if sent {
		c.count(Announcements)
	}
	return sent
}

// handleQuery schedules the reports an MLD query asks for (RFC 3810 section
// 6.2). Delays are spread by the address's hash instead of chance; a query for
// the same group within a second is not heard, which bounds the work.
func (c *Cache) handleQuery(now clock.Instant, port int, p *wire.Packet, m []byte) {
	if !p.Src.IsLinkLocalUnicast() {
		c.count(NDMalformed)
		return
	}
	group := netip.AddrFrom16([16]byte(m[8:24]))
	if !c.spaced(&c.queries, now, port, group, time.Second) {
		return
	}
	within := maxResponse(binary.BigEndian.Uint16(m[4:]))
	for o := c.joined(); o != nil; o = o.below {
		if o.port != port || !group.IsUnspecified() && group != SolicitedNode(o.addr) {
			continue
		}
		delay := time.Duration(c.hash(o.port, o.addr) % uint64(within))
		c.schedule(o.member, now.Add(delay), announcement{left: 1, report: true})
	}
}

// maxResponse decodes the Maximum Response Code (RFC 3810 section 5.1.3), held
// between a millisecond and ten seconds.
func maxResponse(code uint16) time.Duration {
	ms := time.Duration(code)
	if code >= 0x8000 {
		ms = time.Duration(code&0xfff|0x1000) << (code>>12&7 + 3)
	}
	return min(max(ms, 1), 10_000) * time.Millisecond
}
