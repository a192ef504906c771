package health

import "fmt"

// timedOut is the Reason of a script that ran for too long.
const timedOut = "timed out"

// What messages call the checks.
var (
	failureNames = map[Kind]string{TCP: "TCP_CHECK", HTTP: "HTTP_CHECK", SSL: "HTTP_CHECK", UDP: "UDP_CHECK", Ping: "ICMP CHECK"}
	transports   = map[Kind]string{TCP: "TCP", UDP: "UDP", Ping: "ICMP"}
	mailNames    = map[Kind]string{TCP: "TCP CHECK", UDP: "UDP CHECK", Ping: "ICMP CHECK", Misc: "MISC CHECK", DNS: "DNS_CHECK:"}
)

// successLine is what the log says when a check succeeds for the first time, or
// again. DNS_CHECK says nothing.
func (c *check) successLine() string {
	server := c.rs.name
	switch k := c.cfg.Probe.Kind; k {
	case TCP, UDP, Ping:
		return transports[k] + " connection to " + server + " success."
	case HTTP, SSL:
		return "Remote Web server " + server + " succeed on service."
	case SMTP:
		return "Remote SMTP server " + server + " succeed on service."
	case Misc:
		return c.scriptName() + " succeeded."
	}
	return ""
}

// pageLine is what the log says of a page that is there.
func (c *check) pageLine() string {
	url, what := c.cfg.URLs[c.url], "HTTP status code"
	switch {
	case url.Regex != "":
		what = "Regex match"
	case url.Digest != "":
		what = "MD5 digest"
	}
	return fmt.Sprintf("%s success to %s url(%s)", what, c.rs.name, url.Path)
}

// failureLine is what the log says when a check gives the server up.
func (c *check) failureLine(r Result) string {
	switch c.cfg.Probe.Kind {
	case DNS:
		if c.strict {
			return c.attemptLine(r, true)
		}
		return fmt.Sprintf("%s after %d retries", c.attemptLine(r, true), c.cfg.Retry)
	case SMTP:
		return c.attemptLine(r, true)
	case Misc:
		return c.scriptLine(r, c.retriesUsed())
	case Ping:
		if c.cfg.Retry > 0 && !c.strict {
			return fmt.Sprintf("ICMP CHECK on service %s of %s failed after %d retries.", c.rs.name, c.rs.vs.name, c.cfg.Retry)
		}
	}
	if c.cfg.Retry > 0 && (!c.strict || c.web()) {
		return fmt.Sprintf("%s on service %s failed after %d retries.", failureNames[c.cfg.Probe.Kind], c.rs.name, c.cfg.Retry)
	}
	return fmt.Sprintf("%s on service %s failed.", failureNames[c.cfg.Probe.Kind], c.rs.name)
}

// attemptLine is what the log says of an attempt that failed, with
// log_all_failures. Some say it only while there are retries left, since their
// failureLine is the same.
func (c *check) attemptLine(r Result, retries bool) string {
	server := c.rs.name
	switch k := c.cfg.Probe.Kind; {
	case k == Ping && r.Reason == "timeout":
		return "ICMP connection to address " + server + " timeout."
	case k == Ping:
		return "ICMP connection to " + server + " of " + c.rs.vs.name + " failed."
	case k == UDP:
		return "UDP connection to " + server + " failed."
	case k == TCP:
		return "TCP connection to " + server + " " + r.Reason + "."
	case c.web():
		return r.Reason + " server " + server + "."
	case !retries:
		return ""
	case k == DNS:
		return "DNS_CHECK (" + server + ") " + r.Reason
	case k == SMTP:
		return "SMTP_CHECK " + c.smtpFailure(r)
	case k == Misc && c.retries == 0:
		return c.scriptLine(r, fmt.Sprintf(", will do %s", retriesOf(c.cfg.Retry)))
	}
	return c.scriptLine(r, fmt.Sprintf(" on retry %d/%d", c.retries, c.cfg.Retry))
}

// smtpFailure is what SMTP_CHECK says, in the log and by mail.
func (c *check) smtpFailure(r Result) string {
	t := c.cfg.Probe.Target
	return fmt.Sprintf("%s [%v]:%d", r.Reason, t.Addr(), t.Port())
}

// rescheduled is what the log says of an attempt that could not be made.
func (c *check) rescheduled(r Result) string {
	return fmt.Sprintf("%s on service %s: %s. Rescheduling.", c.cfg.Probe.Kind, c.rs.name, r.Reason)
}

// scriptName is a script and its server as MISC_CHECK's lines have them.
func (c *check) scriptName() string {
	path := ""
	if s := c.cfg.Probe.Script; s != nil && len(s.Args) > 0 {
		path = s.Args[0]
	}
	return fmt.Sprintf("Misc check for [%s VS %s] by [%s]", c.rs.name, c.rs.vs.name, path)
}

// scriptLine is what the log says of a script that failed; when says at which
// retry.
func (c *check) scriptLine(r Result, when string) string {
	switch {
	case r.Reason == timedOut:
		return fmt.Sprintf("%s timed out%s.", c.scriptName(), when)
	case r.Signal != 0:
		return fmt.Sprintf("%s failed%s (due to signal %d).", c.scriptName(), when, r.Signal)
	}
	return fmt.Sprintf("%s failed%s (exited with status %d).", c.scriptName(), when, r.Status)
}

func (c *check) retriesUsed() string {
	if c.cfg.Retry == 0 {
		return " with retry disabled"
	}
	return " after " + retriesOf(c.cfg.Retry)
}

func retriesOf(n int) string {
	if n == 1 {
		return "1 retry"
	}
	return fmt.Sprintf("%d retries", n)
}

// mailBody is the text of the mail about a check that changed its mind.
func (c *check) mailBody(r Result) string {
	k, ok := c.cfg.Probe.Kind, r.Outcome == Success
	switch {
	case ok && (c.web() || k == SMTP):
		return "=> CHECK succeed on service <="
	case c.web():
		return "=> CHECK failed on service : HTTP request failed <="
	case k == SMTP:
		return "=> CHECK failed on service : " + c.smtpFailure(r) + " <="
	}
	what := "failed"
	switch {
	case ok && k == Misc:
		what = "succeeded"
	case ok:
		what = "succeed"
	case k == Misc && r.Reason == timedOut:
		what = timedOut
	}
	return "=> " + mailNames[k] + " " + what + " on service <="
}

// mail tells of a check that changed its mind. The subject is the server, which
// may be down because of another check.
func (m *Monitor) mail(c *check, wasAlive bool, body string) {
	if m.cfg.NoCheckerEmails && wasAlive == c.rs.alive {
		return
	}
	m.serverMail(c.rs, c.rs.alive, body)
}

// serverMail sends mail about a server, serviceMail about a virtual server, if
// the configuration asks for it.
func (m *Monitor) serverMail(rs *server, up bool, body string) {
	if !rs.cfg.SMTPAlert {
		return
	}
	m.fx.Notify(Event{Kind: serverEvent(up), Service: rs.vs.name, Server: rs.name, Mail: &Mail{
		Subject: fmt.Sprintf("[%s] Realserver %s of virtual server %s - %s", m.cfg.RouterID, rs.name, rs.vs.name, upOrDown(up)),
		Body:    body,
	}})
}

func (m *Monitor) serviceMail(vs *service, up bool, body string) {
	if !vs.cfg.SMTPAlert {
		return
	}
	m.fx.Notify(Event{Kind: quorumEvent(up), Service: vs.name, Mail: &Mail{
		Subject: fmt.Sprintf("[%s] Virtualserver %s - %s", m.cfg.RouterID, vs.name, upOrDown(up)),
		Body:    body,
	}})
}

func upOrDown(up bool) string {
	if up {
		return "UP"
	}
	return "DOWN"
}
