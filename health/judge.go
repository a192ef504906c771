package health

import (
	"fmt"
	"time"

	"usvs/clock"
)

// judge makes of an attempt's result what it means for the check, and has the
// next attempt wait.
func (m *Monitor) judge(now clock.Instant, c *check, r Result) {
	switch {
	case r.Outcome == LocalError:
		m.logf(Info, "%s", c.rescheduled(r))
		if !c.cfg.Probe.Kind.Watch() {
			m.wait(now, c, c.cfg.DelayLoop)
		}
	case c.cfg.Probe.Kind == File:
		m.judgeFile(now, c, r)
	case c.cfg.Probe.Kind == BFD:
		m.judgeBFD(now, c, r)
	case c.cfg.Probe.Kind == Misc:
		m.judgeScript(now, c, r)
	case r.Outcome == Success:
		m.succeed(now, c, r)
	default:
		m.fail(now, c, r)
	}
}

// succeed is for checks that talk to the server.
func (m *Monitor) succeed(now clock.Instant, c *check, r Result) {
	c.retries = 0
	if line := c.pageLine(); line != "" && (!c.up || !c.hasRun) {
		m.logf(Info, "%s", line)
	}
	if c.url+1 < len(c.cfg.URLs) {
		c.url++
		m.wait(now, c, c.nextPage())
		return
	}
	c.url = 0
	if !c.up || !c.hasRun {
		m.logf(Info, "%s", c.successLine())
	}
	m.passed(now, c, r)
	m.wait(now, c, c.cfg.DelayLoop)
}

// nextPage is how long after a page the next one is looked at.
func (c *check) nextPage() time.Duration {
	if c.cfg.FastRecovery && !c.up {
		return 0
	}
	return c.cfg.DelayLoop
}

// fail is for checks that talk to the server. A server that is up is given
// another chance; a check that has not run before gives none.
func (m *Monitor) fail(now clock.Instant, c *check, r Result) {
	if c.up && c.retries < c.cfg.Retry || c.retriesWhileDown() {
		c.retries++
		if c.cfg.LogAllFailures {
			m.logf(Info, "%s", c.attemptLine(r))
		}
		m.wait(now, c, c.cfg.DelayBeforeRetry)
		return
	}
	m.failed(now, c, r, c.failureLine(r))
	c.retries = 0
	m.wait(now, c, c.afterFailure())
}

// retriesWhileDown: TCP_CHECK of keepalived 2.2.7 keeps counting when the
// server is down, and so comes back to it at both intervals in turn.
func (c *check) retriesWhileDown() bool {
	return !c.up && c.cfg.Probe.Kind == TCP && c.retries < c.cfg.Retry
}

// afterFailure is how long after the last retry the server is looked at again.
func (c *check) afterFailure() time.Duration {
	if k := c.cfg.Probe.Kind; k == HTTP || k == SSL {
		return max(c.cfg.DelayLoop, c.cfg.DelayBeforeRetry)
	}
	return c.cfg.DelayLoop
}

// judgeScript is for MISC_CHECK, whose attempts start delay_loop after each
// other however long they take.
func (m *Monitor) judgeScript(now clock.Instant, c *check, r Result) {
	if r.Outcome == Success || c.cfg.Dynamic && r.Signal == 0 && r.Status >= 2 && r.Status <= 255 {
		c.retries = 0
		if !c.up || !c.hasRun {
			m.logf(Info, "%s", c.scriptLine(r, true))
		}
		if c.cfg.Dynamic {
			m.weigh(now, c, c.scriptWeight(r))
		}
		r.Outcome = Success
		c.last.Outcome = Success
		m.passed(now, c, r)
		m.waitSince(now, c, c.cfg.DelayLoop)
		return
	}
	if c.up && c.retries < c.cfg.Retry {
		c.retries++
		if c.cfg.LogAllFailures {
			m.logf(Info, "%s", c.scriptLine(r, false))
		}
		m.waitSince(now, c, c.cfg.DelayBeforeRetry)
		return
	}
	m.failed(now, c, r, c.scriptLine(r, false))
	c.retries = 0
	m.waitSince(now, c, c.cfg.DelayLoop)
}

// scriptWeight is what the exit status of a script with misc_dynamic adds to the
// configured weight: 2 means weight 0.
func (c *check) scriptWeight(r Result) int64 {
	if r.Status < 2 {
		return 0
	}
	return int64(r.Status) - 2 - int64(c.rs.cfg.Spec.Weight)
}

// waitSince is wait, from the beginning of the attempt on.
func (m *Monitor) waitSince(now clock.Instant, c *check, delay time.Duration) {
	m.wait(now, c, c.begun.Add(delay).Sub(now))
}

// judgeFile is for FILE_CHECK: the file's value changes the server's weight.
func (m *Monitor) judgeFile(now clock.Instant, c *check, r Result) {
	weight := int64(r.Status) * int64(c.cfg.Weight)
	if weight <= -1<<31 || c.cfg.Weight == 0 && r.Status != 0 {
		c.last.Outcome = Failure
		m.failed(now, c, r, "")
		return
	}
	m.weigh(now, c, weight)
	m.passed(now, c, r)
}

// judgeBFD is for BFD_CHECK.
func (m *Monitor) judgeBFD(now clock.Instant, c *check, r Result) {
	state := "Up"
	if r.Outcome != Success {
		state = "Down"
	}
	line := fmt.Sprintf("BFD check of [%s] RS(%s) is %s", c.cfg.Probe.Name, c.rs.name, state)
	if r.Outcome != Success {
		m.failed(now, c, r, line)
		return
	}
	if !c.up || !c.hasRun {
		m.logf(Info, "%s", line)
	}
	m.passed(now, c, r)
}

// passed notes that the check says the server is well.
func (m *Monitor) passed(now clock.Instant, c *check, r Result) {
	wasUp, wasAlive := c.up, c.rs.alive
	m.setCheck(now, c, true)
	if !wasUp {
		m.mail(c, wasAlive, true, c.mailBody(r))
	}
}

// failed notes that the check says the server is not well, and logs line if
// that is news.
func (m *Monitor) failed(now clock.Instant, c *check, r Result, line string) {
	if !c.up && c.hasRun {
		return
	}
	if line != "" {
		m.logf(Info, "%s", withCause(line, r))
	}
	wasAlive := c.rs.alive
	m.setCheck(now, c, false)
	m.mail(c, wasAlive, false, c.mailBody(r))
}

func withCause(line string, r Result) string {
	if r.Cause == "" {
		return line
	}
	return line + " (" + r.Cause + ")"
}

// mail tells of a check that changed its mind.
func (m *Monitor) mail(c *check, wasAlive, up bool, body string) {
	rs := c.rs
	if !rs.cfg.SMTPAlert || m.cfg.NoCheckerEmails && wasAlive == rs.alive {
		return
	}
	m.fx.Notify(Event{
		Kind: serverEvent(up), Service: rs.vs.name, Server: rs.name,
		Mail: m.serverMail(rs, up, body),
	})
}
