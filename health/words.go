package health

import "fmt"

// successLine is what the log says when a check succeeds for the first time, or
// again.
func (c *check) successLine() string {
	server := c.probe.Server
	switch c.cfg.Probe.Kind {
	case TCP:
		return fmt.Sprintf("TCP connection to %s success.", server)
	case UDP:
		return fmt.Sprintf("UDP connection to %s success.", server)
	case Ping:
		return fmt.Sprintf("ICMP connection to %s success.", server)
	case HTTP, SSL:
		return fmt.Sprintf("Remote Web server %s succeed on service.", server)
	case SMTP:
		return fmt.Sprintf("Remote SMTP server %s succeed on service.", server)
	}
	return fmt.Sprintf("%s (%s) success", c.cfg.Probe.Kind, server)
}

// pageLine is what the log says of a page that is there.
func (c *check) pageLine() string {
	if len(c.cfg.URLs) == 0 {
		return ""
	}
	url, what := c.cfg.URLs[c.url], "HTTP status code"
	switch {
	case url.Regex != "":
		what = "Regex match"
	case url.Digest != "":
		what = "MD5 digest"
	}
	return fmt.Sprintf("%s success to %s url(%s).", what, c.probe.Server, url.Path)
}

// failureLine is what the log says when a check gives the server up.
func (c *check) failureLine(r Result) string {
	name := map[Kind]string{HTTP: "HTTP_CHECK", SSL: "HTTP_CHECK", Ping: "ICMP CHECK"}[c.cfg.Probe.Kind]
	if name == "" {
		name = c.cfg.Probe.Kind.String()
	}
	if c.cfg.Probe.Kind == DNS {
		return fmt.Sprintf("%s (%s) %s", name, c.probe.Server, r.Reason)
	}
	if c.cfg.Retry > 0 && c.hasRun {
		return fmt.Sprintf("%s on service %s failed after %d retries.", name, c.probe.Server, c.cfg.Retry)
	}
	return fmt.Sprintf("%s on service %s failed.", name, c.probe.Server)
}

// attemptLine is what the log says of a failure that is put up with.
func (c *check) attemptLine(r Result) string {
	server := c.probe.Server
	switch c.cfg.Probe.Kind {
	case TCP:
		return fmt.Sprintf("TCP connection to %s %s.", server, r.Reason)
	case UDP:
		return fmt.Sprintf("UDP connection to %s %s.", server, r.Reason)
	case Ping:
		return fmt.Sprintf("ICMP connection to %s %s.", server, r.Reason)
	case HTTP, SSL:
		return fmt.Sprintf("%s server %s.", r.Reason, server)
	case DNS:
		return fmt.Sprintf("DNS_CHECK (%s) %s", server, r.Reason)
	}
	return fmt.Sprintf("%s %s", r.Reason, server)
}

// rescheduled is what the log says of an attempt that could not be made.
func (c *check) rescheduled(r Result) string {
	return fmt.Sprintf("%s on service %s: %s. Rescheduling.", c.cfg.Probe.Kind, c.probe.Server, r.Reason)
}

// scriptLine is what the log says of a MISC_CHECK's script.
func (c *check) scriptLine(r Result, ok bool) string {
	path := ""
	if s := c.cfg.Probe.Script; s != nil && len(s.Args) > 0 {
		path = s.Args[0]
	}
	what := "failed"
	if ok {
		what = "success"
	}
	return fmt.Sprintf("Misc check for [%s VS %s] by [%s] %s.", c.rs.name, c.rs.vs.name, path, what)
}

// mailBody is the text of the mail about a check that changed its mind.
func (c *check) mailBody(r Result) string {
	ok := "failed"
	if r.Outcome == Success {
		ok = "succeed"
	}
	switch c.cfg.Probe.Kind {
	case HTTP, SSL:
		if r.Outcome == Success {
			return "=> CHECK succeed on service <="
		}
		return "=> CHECK failed on service : HTTP request failed <="
	case SMTP:
		if r.Outcome == Success {
			return "=> CHECK succeed on service <="
		}
		return fmt.Sprintf("=> CHECK failed on service : %s <=", r.Reason)
	case DNS:
		return fmt.Sprintf("=> DNS_CHECK: %s on service <=", ok)
	case Ping:
		return fmt.Sprintf("=> ICMP CHECK %s on service <=", ok)
	}
	name := map[Kind]string{TCP: "TCP", UDP: "UDP", Misc: "MISC", File: "FILE", BFD: "BFD"}[c.cfg.Probe.Kind]
	return fmt.Sprintf("=> %s CHECK %s on service <=", name, ok)
}

// serverMail and serviceMail address a mail as keepalived does.
func (m *Monitor) serverMail(rs *server, up bool, body string) *Mail {
	return &Mail{
		Subject: fmt.Sprintf("[%s] Realserver %s of virtual server %s - %s", m.cfg.RouterID, rs.name, rs.vs.name, upOrDown(up)),
		Body:    body,
	}
}

func (m *Monitor) serviceMail(vs *service, up bool, body string) *Mail {
	return &Mail{
		Subject: fmt.Sprintf("[%s] Virtualserver %s - %s", m.cfg.RouterID, vs.name, upOrDown(up)),
		Body:    body,
	}
}

func upOrDown(up bool) string {
	if up {
		return "UP"
	}
	return "DOWN"
}
