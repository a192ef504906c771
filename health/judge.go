package health

import (
	"time"

	"usvs/clock"
)

// judge makes of an attempt's result what it means for the check, and has the
// next attempt wait.
func (m *Monitor) judge(now clock.Instant, c *check, r Result) {
	c.last, c.ended = r, now
	switch {
	case r.Outcome == LocalError:
		m.reschedule(now, c, r)
	case c.cfg.Probe.Kind == File:
		m.judgeFile(now, c, r)
	case c.cfg.Probe.Kind == BFD:
		m.judgeBFD(now, c, r)
	case r.Outcome == Success || c.cfg.Dynamic && c.setsWeight(r):
		m.succeed(now, c, r)
	default:
		m.fail(now, c, r)
	}
	if c.last.Outcome == Failure {
		c.failures++
	}
}

// reschedule is for an attempt that could not be made.
func (m *Monitor) reschedule(now clock.Instant, c *check, r Result) {
	m.logf(Info, "%s", c.rescheduled(r))
	if !c.cfg.Probe.Kind.Watch() {
		m.wait(now, c, c.cfg.DelayLoop)
	}
}

// succeed goes on to the next page, or if there is none finds the server well.
// The page because of which the server is down opens the way only: all have to
// be there once again.
func (m *Monitor) succeed(now clock.Instant, c *check, r Result) {
	if c.retries = 0; c.strict {
		c.retries = c.cfg.Retry // until all pages have been looked at
	}
	if len(c.cfg.URLs) > 0 {
		if !c.up {
			m.logf(Info, "%s", c.pageLine())
		}
		c.url++
		if c.blocked || c.url < len(c.cfg.URLs) {
			if c.blocked {
				c.blocked, c.url = false, 0
			}
			m.wait(now, c, c.nextPage())
			return
		}
		c.url = 0
	}
	c.retries = 0
	m.pass(now, c, r)
	m.waitAfter(now, c, c.cfg.DelayLoop)
}

// nextPage is how long after a page the next one is looked at.
func (c *check) nextPage() time.Duration {
	if c.cfg.FastRecovery && (!c.up || !c.hasRun) {
		return 0
	}
	return c.cfg.DelayLoop
}

// fail puts up with the failure if there are retries left, else it finds the
// server not well.
func (m *Monitor) fail(now clock.Instant, c *check, r Result) {
	if c.retries < c.cfg.Retry && c.retriesNow() {
		if c.logsAttempt() {
			m.log(c, c.attemptLine(r, true), r)
		}
		c.retries++
		m.waitAfter(now, c, c.cfg.DelayBeforeRetry)
		return
	}
	m.giveUp(now, c, r)
	delay := c.cfg.DelayLoop
	if c.web() {
		// The retries are used up until a page is there.
		c.blocked = true
		delay = max(delay, c.cfg.DelayBeforeRetry)
	} else {
		c.retries = 0
	}
	m.waitAfter(now, c, delay)
}

// retriesNow reports whether failures in a row count now. Of a server that is
// down they still do with keepalived's TCP_CHECK, SMTP_CHECK and HTTP_GET: so
// these come back to it at both intervals in turn.
func (c *check) retriesNow() bool {
	k := c.cfg.Probe.Kind
	return c.wouldChange() || k == TCP || k == SMTP || c.web()
}

// wouldChange reports whether a failure now is news.
func (c *check) wouldChange() bool { return c.up || !c.hasRun }

// logsAttempt reports whether a failed attempt is worth a line of its own.
func (c *check) logsAttempt() bool {
	return c.cfg.LogAllFailures && (c.up || !c.hasRun && c.web())
}

// web is for HTTP_GET and SSL_GET. keepalived's says nothing when the server does
// not come up at all in alpha mode.
func (c *check) web() bool {
	return c.cfg.Probe.Kind == HTTP || c.cfg.Probe.Kind == SSL
}

// giveUp notes that the check has failed.
func (m *Monitor) giveUp(now clock.Instant, c *check, r Result) {
	if c.logsAttempt() {
		m.log(c, c.attemptLine(r, false), Result{})
	}
	if c.up || !c.hasRun && !c.web() {
		m.log(c, c.failureLine(r), r)
	}
	c.strict = false
	if c.cfg.Dynamic {
		c.rs.weight -= c.weight
		c.weight = 0
	}
	wasUp, wasAlive := c.up, c.rs.alive
	m.setCheck(now, c, false)
	if wasUp {
		m.mail(c, wasAlive, c.mailBody(r))
	}
}

// pass notes that the check says the server is well.
func (m *Monitor) pass(now clock.Instant, c *check, r Result) {
	c.last.Outcome, r.Outcome = Success, Success
	wasUp, wasAlive, first := c.up, c.rs.alive, !c.hasRun
	c.strict = false
	if c.cfg.Dynamic {
		m.weigh(now, c, c.scriptWeight(r))
	}
	if line := c.successLine(); line != "" && (first || !wasUp) {
		m.log(c, line, Result{})
	}
	m.setCheck(now, c, true)
	// MISC_CHECK writes at its first success, too.
	if !wasUp || first && c.cfg.Probe.Kind == Misc {
		m.mail(c, wasAlive, c.mailBody(r))
	}
}

// setsWeight reports whether a script with misc_dynamic ended by saying which
// weight the server is to have.
func (c *check) setsWeight(r Result) bool {
	return r.Signal == 0 && r.Status >= 2 && r.Status <= 255 && r.Reason != timedOut
}

// scriptWeight is what the exit status of a script with misc_dynamic adds to the
// configured weight: 2 means weight 0.
func (c *check) scriptWeight(r Result) int64 {
	if r.Status < 2 {
		return 0
	}
	return int64(r.Status) - 2 - int64(c.rs.cfg.Spec.Weight)
}

// judgeFile is for FILE_CHECK: the file's value changes the server's weight, or
// says that it has failed. Who attempts it may say so, too.
func (m *Monitor) judgeFile(now clock.Instant, c *check, r Result) {
	weight := int64(r.Status) * int64(c.cfg.Weight)
	fault := r.Outcome == Failure || weight <= -1<<31 || c.cfg.Weight == 0 && r.Status != 0
	if fault == c.up {
		verb := "leaving"
		if fault {
			verb = "now"
		}
		m.logf(Detail, "(%s): tracked file %s %s FAULT state", c.rs.name, c.cfg.Track, verb)
	}
	if c.last.Outcome = Success; fault {
		c.last.Outcome = Failure
		m.setCheck(now, c, false)
		return
	}
	m.weigh(now, c, weight)
	m.setCheck(now, c, true)
}

// judgeBFD is for BFD_CHECK.
func (m *Monitor) judgeBFD(now clock.Instant, c *check, r Result) {
	up, wasAlive := r.Outcome == Success, c.rs.alive
	if up == c.up && c.hasRun {
		return
	}
	m.logf(Info, "BFD check of [%s] RS(%s) is %s", c.cfg.Probe.Name, c.rs.name, upOrDown(up))
	changed := up != c.up
	m.setCheck(now, c, up)
	if changed {
		m.mail(c, wasAlive, "=> BFD CHECK "+c.cfg.Probe.Name+" "+upOrDown(up)+" on service <=")
	}
}

// wait has a check make its next attempt after delay.
func (m *Monitor) wait(now clock.Instant, c *check, delay time.Duration) {
	m.queue.add(c, now.Add(max(delay, time.Microsecond)))
}

// waitAfter is wait after an attempt. Scripts are run delay after each other's
// start, however long they take.
func (m *Monitor) waitAfter(now clock.Instant, c *check, delay time.Duration) {
	if c.cfg.Probe.Kind == Misc {
		delay = c.begun.Add(delay).Sub(now)
	}
	m.wait(now, c, delay)
}

// log writes a line about a check. Of one by way of the VIP it says the cause of
// a failure.
func (m *Monitor) log(c *check, line string, r Result) {
	if r.Cause != "" && c.probe.Path == ViaVIP {
		line += " (" + r.Cause + ")"
	}
	if line != "" {
		m.fx.Log(Info, line)
	}
}
