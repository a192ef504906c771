package connsync

import (
	"time"

	"usvs/clock"
	"usvs/conntrack"
	"usvs/ipvs"
)

// maxControllers bounds the chain of connections and templates that control
// one another. There are three at most: FTP data, its control connection, the
// client's template.
const maxControllers = 8

// shortestHalf is what half an entry's timeout counts as at least, in judging
// whether its end moved (ipvs.md 6.5).
const shortestHalf = 10 * time.Second

// stateSet is a set of states.
type stateSet uint32

func (s stateSet) has(state uint8) bool { return s&(1<<state) != 0 }

// The states in which a connection is told of.
const (
	tcpTold stateSet = 1<<conntrack.TCPEstablished | 1<<conntrack.TCPFinWait | 1<<conntrack.TCPClose |
		1<<conntrack.TCPCloseWait | 1<<conntrack.TCPTimeWait
	sctpTold stateSet = 1<<conntrack.SCTPEstablished | 1<<conntrack.SCTPShutdownSent |
		1<<conntrack.SCTPShutdownReceived | 1<<conntrack.SCTPShutdownACKSent | 1<<conntrack.SCTPClosed
)

// wanted reports whether c's state is told of at all, and whether reaching it
// is news by itself. Entering ESTABLISHED is not.
func wanted(c *conntrack.Conn, told uint8) (ok, changed, news bool) {
	set, established := stateSet(0), uint8(0)
	switch {
	case c.Template():
		return true, false, false
	case c.Protocol == ipvs.TCP:
		set, established = tcpTold, conntrack.TCPEstablished
	case c.Protocol == ipvs.SCTP:
		set, established = sctpTold, conntrack.SCTPEstablished
	default:
		return true, false, false // UDP has one state
	}
	changed = c.State != told
	return set.has(c.State), changed, changed && c.State != established
}

// needed decides whether to tell of c after its pkts-th packet from the client,
// and remembers it in the table if so (ipvs.md 6.5).
func needed(t *conntrack.Table, now clock.Instant, sy *ipvs.Sysctls, c *conntrack.Conn, pkts uint32) bool {
	if !c.Template() && sy.SyncPersistMode != 0 && persistent(t, c.Control) {
		return false
	}
	told := t.Advert(c.Ref)
	ok, changed, news := wanted(c, told.State())
	if !ok {
		return false
	}
	retries := uint8(0)
	if !news {
		var due bool
		if retries, due = refresh(told, now, sy, c.Timeout); !due || !onSchedule(sy, c, pkts) {
			return false
		}
	}
	return t.Advertise(c.Ref, told, conntrack.NewAdvert(c.State, retries, now.Add(c.Timeout))) || changed
}

// refresh decides, where sync_refresh_period says so, whether the end of an
// entry has moved enough since it was told, or is to be told again.
func refresh(told conntrack.Advert, now clock.Instant, sy *ipvs.Sysctls, timeout time.Duration) (retries uint8, due bool) {
	period := sy.SyncRefreshPeriod
	if period <= 0 || !told.Told() {
		return 0, true
	}
	left := told.Until(now)
	if moved := (timeout - left).Abs(); moved >= min(period, max(timeout/2, shortestHalf)) {
		return 0, true
	}
	sinceTold := timeout - left
	if int(told.Retries()) >= sy.SyncRetries || sinceTold < period/8 {
		return 0, false
	}
	return told.Retries() + 1, true
}

// onSchedule reports whether this packet's number is one at which a connection
// is told of. A template's is not asked for while there is a period.
func onSchedule(sy *ipvs.Sysctls, c *conntrack.Conn, pkts uint32) bool {
	threshold, period := uint32(sy.SyncThreshold), uint32(max(sy.SyncPeriod, 0))
	if period > 0 {
		return c.Template() || pkts%period == threshold
	}
	return sy.SyncRefreshPeriod > 0 || pkts == threshold
}

// persistent reports whether a template controls what r controls.
func persistent(t *conntrack.Table, r conntrack.Ref) bool {
	for range maxControllers {
		controller, template, ok := t.Controller(r)
		if !ok || template {
			return ok
		}
		r = controller
	}
	return false
}
