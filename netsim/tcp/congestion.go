package tcp

import (
	"time"

	"usvs/clock"
)

// congestion is the congestion control of RFC 5681 with the NewReno recovery
// of RFC 6582. Windows are in bytes.
type congestion struct {
	cwnd, ssthresh uint32
	dupACKs        int
	recovering     bool
	recover        uint32 // what was sent when the last loss was noticed
	lastSent       clock.Instant
}

const (
	dupThreshold = 3
	maxCwnd      = 1 << 28
)

// initialWindow is RFC 6928's.
func initialWindow(mss int) uint32 { return uint32(min(10*mss, max(2*mss, 14600))) }

// start sets the windows when the connection is established. A handshake that
// lost segments starts small (RFC 5681 section 3.1).
func (g *congestion) start(mss int, lost bool) {
	g.cwnd, g.ssthresh = initialWindow(mss), 1<<30
	if lost {
		g.cwnd = uint32(mss)
	}
}

// acked takes in that acked bytes left the network for good, by an
// acknowledgement of new data up to una. It reports whether the first
// unacknowledged segment is lost too and must go again.
func (g *congestion) acked(acked, una, flight uint32, mss int) (again bool) {
	m := uint32(mss)
	g.dupACKs = 0
	if !g.recovering {
		g.open(acked, m)
		return false
	}
	if seqLT(una, g.recover) { // a partial acknowledgement
		g.cwnd -= min(acked, g.cwnd)
		if acked >= m {
			g.cwnd += m
		}
		g.cwnd = max(g.cwnd, m)
		return true
	}
	g.recovering = false
	g.cwnd = min(g.ssthresh, max(flight, m)+m)
	return false
}

func (g *congestion) open(acked, mss uint32) {
	if g.cwnd < g.ssthresh {
		g.cwnd += min(acked, mss) // slow start
	} else {
		g.cwnd += max(mss*mss/g.cwnd, 1) // congestion avoidance
	}
	g.cwnd = min(g.cwnd, maxCwnd)
}

// duplicate takes in one duplicate acknowledgement of una. It reports whether
// the segment there is to be sent again: fast retransmit.
func (g *congestion) duplicate(una, max, flight uint32, mss int) (again bool) {
	m := uint32(mss)
	g.dupACKs++
	switch {
	case g.recovering:
		g.cwnd = min(g.cwnd+m, maxCwnd)
		return false
	case g.dupACKs != dupThreshold || seqLT(una, g.recover):
		return false
	}
	g.loss(flight, m, max)
	g.recovering = true
	g.cwnd = g.ssthresh + dupThreshold*m
	return true
}

// timeout is what a retransmission timer that ran out does.
func (g *congestion) timeout(max, flight uint32, mss int) {
	g.loss(flight, uint32(mss), max)
	g.recovering, g.dupACKs = false, 0
	g.cwnd = uint32(mss)
}

func (g *congestion) loss(flight, mss, sent uint32) {
	g.ssthresh = max(flight/2, 2*mss) // RFC 5681 eqn. 4
	g.recover = sent
}

// idle shrinks the window when nothing was sent for a while (RFC 5681 section 4.1).
func (g *congestion) idle(now clock.Instant, rto time.Duration, mss int) {
	if now.Sub(g.lastSent) > rto {
		g.cwnd = min(g.cwnd, initialWindow(mss))
	}
}

// rtoEstimator is RFC 6298, with one segment timed at a time.
type rtoEstimator struct {
	srtt, rttvar, rto time.Duration
	timing            bool
	timedEnd          uint32
	timedAt           clock.Instant
}

const (
	initialRTO     = time.Second
	rtoAfterSYN    = 3 * time.Second // RFC 6298 (5.7)
	rtoGranularity = time.Millisecond
)

func (r *rtoEstimator) init() { r.rto = initialRTO }

// sent starts timing a new segment unless another one is being timed.
func (r *rtoEstimator) sent(now clock.Instant, end uint32) {
	if !r.timing {
		r.timing, r.timedEnd, r.timedAt = true, end, now
	}
}

// resent drops the measurement: which copy would be acknowledged is unknown (Karn).
func (r *rtoEstimator) resent() { r.timing = false }

// acked takes the measurement if ack covers the timed segment.
func (r *rtoEstimator) acked(now clock.Instant, ack uint32, least, most time.Duration) {
	if !r.timing || seqLT(ack, r.timedEnd) {
		return
	}
	r.timing = false
	rtt := now.Sub(r.timedAt)
	if r.srtt == 0 {
		r.srtt, r.rttvar = max(rtt, 1), rtt/2
	} else {
		r.rttvar += ((r.srtt - rtt).Abs() - r.rttvar) / 4
		r.srtt += (rtt - r.srtt) / 8
	}
	r.rto = min(max(r.srtt+max(rtoGranularity, 4*r.rttvar), least), most)
}

// backOff doubles the timeout.
func (r *rtoEstimator) backOff(most time.Duration) { r.rto = min(2*r.rto, most) }
