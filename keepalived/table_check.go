package keepalived

import (
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

var dnsTypes = []string{"A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY"}

// checkerRows are the blocks of checks that a real server may have.
var checkerRows = []*keyword{
	checker("TCP_CHECK", endConnect, connectRows("TCP_CHECK")),
	checker("HTTP_GET", endHTTP, connectRows(""), httpRows),
	checker("SSL_GET", endHTTP, connectRows(""), httpRows),
	checker("SMTP_CHECK", endConnect, connectRows("SMTP_CHECK"), smtpRows),
	checker("DNS_CHECK", endConnect, connectRows("DNS_CHECK"), dnsRows),
	checker("MISC_CHECK", endMisc, retryRows("MISC_CHECK"), miscRows),
	checker("UDP_CHECK", endUDP, connectRows("UDP_CHECK"), udpRows),
	checker("PING_CHECK", endConnect, connectRows("PING_CHECK")),
	checkerOf(inertTable("BFD_CHECK", alphaRow(), custom("name", 0, "NAME of a bfd_instance", bfdName)), endBFDCheck).inert(),
	checker("FILE_CHECK", endFileCheck, fileCheckRows),
}

func checker(name string, end func(*parser, statement), rows ...[]*keyword) *keyword {
	return checkerOf(newTable(name, rows...), end)
}

func checkerOf(t *table, end func(*parser, statement)) *keyword {
	begin := func(p *parser, s statement) {
		p.check = &Checker{Type: t.name, At: s.at}
		switch t.name {
		case "HTTP_GET", "SSL_GET":
			p.check.HTTP = new(HTTPCheck)
		case "DNS_CHECK":
			p.check.DNS = new(DNSCheck)
		case "MISC_CHECK":
			p.check.Misc = new(MiscCheck)
		case "UDP_CHECK":
			p.check.UDP = new(UDPCheck)
		}
		p.rs.Checkers = append(p.rs.Checkers, p.check)
	}
	return nested(t.name, 0, "", begin, t, end)
}

func alphaRow() *keyword {
	return onoff("alpha", func(p *parser) *Value[bool] { return &p.check.Alpha })
}

// retryRows are the keywords of every check that runs by itself.
func retryRows(name string) []*keyword {
	rows := []*keyword{
		seconds("delay_loop", microsecond, longest, func(p *parser) *Value[time.Duration] { return &p.check.DelayLoop }),
		number("retry", 0, math.MaxUint32, func(p *parser) *Value[int] { return &p.check.Retry }),
		seconds("delay_before_retry", 0, longest, func(p *parser) *Value[time.Duration] { return &p.check.DelayBeforeRetry }),
		seconds("warmup", 0, longest, func(p *parser) *Value[time.Duration] { return &p.check.Warmup }),
		alphaRow(),
		onoff("log_all_failures", func(p *parser) *Value[bool] { return &p.check.LogAllFailures }),
	}
	if name != "" {
		rows = append(rows, oldRetry(fmt.Sprintf("nb_get_retry is not a keyword of %s; usvs takes it for retry, keepalived ignores it", name)).lenient())
	}
	return rows
}

// oldRetry is what retry was called in keepalived 1's HTTP_GET.
func oldRetry(what string) *keyword {
	return custom("nb_get_retry", 1, "NUMBER", func(p *parser, s statement) {
		p.invalid(what, "write retry")
		if v, err := strconv.ParseUint(s.arg(1), 10, 31); err == nil {
			p.check.Retry.set(int(v), s.at)
		}
	})
}

// connectRows are the keywords of checks that talk to the server.
func connectRows(name string) []*keyword {
	return append(retryRows(name),
		checkPath(func(p *parser) *Value[string] { return &p.check.CheckPath }),
		custom("connect_ip", 1, "ADDRESS", checkAddress(func(p *parser) (*Value[netip.Addr], netip.Addr) {
			return &p.check.ConnectIP, p.check.BindTo.V
		})),
		portKeyword("connect_port", func(p *parser) *Value[uint16] { return &p.check.ConnectPort }),
		custom("bindto", 1, "ADDRESS", checkAddress(func(p *parser) (*Value[netip.Addr], netip.Addr) {
			return &p.check.BindTo, p.check.target(p.rs)
		})),
		portKeyword("bind_port", func(p *parser) *Value[uint16] { return &p.check.BindPort }),
		custom("bind_if", 1, "INTERFACE", func(p *parser, s statement) {
			if len(s.arg(1)) > maxInterfaceName {
				p.invalid("bind_if "+shown(s.arg(1))+": the name is too long", "15 bytes at most")
				return
			}
			p.check.BindIf.set(s.arg(1), s.at)
		}),
		seconds("connect_timeout", microsecond, maxTimer, func(p *parser) *Value[time.Duration] { return &p.check.ConnectTimeout }),
		number("fwmark", 0, math.MaxUint32, func(p *parser) *Value[int] { return &p.check.Mark }),
	)
}

// target is the address that a check connects to.
func (c *Checker) target(rs *RealServer) netip.Addr {
	if c.ConnectIP.Set() {
		return c.ConnectIP.V
	}
	return rs.RIP
}

func portKeyword(name string, field func(*parser) *Value[uint16]) *keyword {
	return custom(name, 1, "1 to 65535", func(p *parser, s statement) {
		if v, ok := p.integer(s.arg(1), 1, math.MaxUint16, name); ok {
			field(p).set(uint16(v), s.at)
		}
	})
}

// checkAddress sets one end of a check's connection, which must be of the
// family of the other.
func checkAddress(ends func(*parser) (*Value[netip.Addr], netip.Addr)) func(*parser, statement) {
	return func(p *parser, s statement) {
		a, ok := p.address(s.arg(1), s.words[0])
		if !ok {
			return
		}
		field, other := ends(p)
		if other.IsValid() && other.Is6() != a.Is6() {
			p.invalid(fmt.Sprintf("%s %v: the other end of the connection is %v", s.words[0], a, other), "")
			return
		}
		field.set(a, s.at)
	}
}

// endConnect looks at a check's connection as a whole.
func endConnect(p *parser, s statement) {
	if to := p.check.target(p.rs); to.Is6() && to.IsLinkLocalUnicast() && !p.check.BindIf.Set() {
		p.invalid(fmt.Sprintf("%s to the link-local address %v without bind_if", p.check.Type, to), "")
	}
}

var smtpRows = []*keyword{
	word("helo_name", "NAME", func(p *parser) *Value[string] { return &p.check.HeloName }).lenient(),
	{name: "host", missing: Fatal, block: newTable("host", connectRows("")), note: "deprecated: write further checks"},
}

var dnsRows = []*keyword{
	custom("type", 1, strings.Join(dnsTypes, " "), func(p *parser, s statement) {
		if t := strings.ToUpper(s.arg(1)); slices.Contains(dnsTypes, t) {
			p.check.DNS.Type.set(t, s.at)
		} else {
			p.invalid("type "+shown(s.arg(1)), suggestion(t, dnsTypes))
		}
	}),
	custom("name", 1, "NAME", func(p *parser, s statement) {
		name := s.arg(1)
		switch {
		case p.check.DNS.Name.Set():
			p.invalid("name again; the first counts", "")
		case name != "." && slices.Contains(strings.Split(name, "."), ""):
			p.invalid("name "+shown(name)+": a part of it is empty", "")
		default:
			p.check.DNS.Name.set(name, s.at)
		}
	}),
}

var miscRows = []*keyword{
	miscPath(),
	wholeSeconds("misc_timeout", 0, maxTimerSecs, func(p *parser) *Value[time.Duration] { return &p.check.Misc.Timeout }),
	present("misc_dynamic", func(p *parser) *Value[bool] { return &p.check.Misc.Dynamic }),
	custom("user", 1, "USER [GROUP]", func(p *parser, s statement) { p.check.Misc.User.set(User{s.arg(1), s.arg(2)}, s.at) }).lenient(),
}

// miscPath is the script; keepalived keeps the last.
func miscPath() *keyword {
	k := custom("misc_path", 0, "COMMAND", func(p *parser, s statement) {
		if v, ok := p.command(s); ok {
			p.check.Misc.Path.set(v, s.at)
		}
	})
	k.free = true
	return k
}

func endMisc(p *parser, s statement) {
	misc := p.check.Misc
	if !misc.Path.Set() {
		p.dropCheck("MISC_CHECK without misc_path")
		return
	}
	misc.Path.V.User, misc.Path.V.Group = misc.User.V.Name, misc.User.V.Group
	p.scripts = append(p.scripts, mentioned{misc.Path.V, misc.Path.At, p.at})
}

// dropCheck leaves a check out that lacks what it cannot be without.
func (p *parser) dropCheck(why string) {
	p.invalid(why, "")
	p.rs.Checkers = without(p.rs.Checkers, p.check)
}

var udpRows = []*keyword{
	custom("payload", 1, "HEXADECIMAL", func(p *parser, s statement) {
		if p.hexadecimal(s.arg(1), "payload", "") {
			p.check.UDP.Payload.set(s.arg(1), s.at)
		}
	}).lenient(),
	custom("require_reply", 0, "[HEXADECIMAL, X for any digit]", func(p *parser, s statement) {
		if p.hexadecimal(s.arg(1), "require_reply", "xX") {
			p.check.UDP.RequireReply.set(s.arg(1), s.at)
		}
	}),
	number("min_reply_length", 0, math.MaxUint16, func(p *parser) *Value[int] { return &p.check.UDP.MinReplyLength }),
	number("max_reply_length", 0, math.MaxUint16, func(p *parser) *Value[int] { return &p.check.UDP.MaxReplyLength }),
}

func (p *parser) hexadecimal(text, what, also string) bool {
	if strings.Trim(text, "0123456789abcdefABCDEF"+blanks+also) != "" {
		p.invalid(what+" "+shown(text), "valid are hexadecimal digits")
		return false
	}
	return true
}

func endUDP(p *parser, s statement) {
	u := p.check.UDP
	u.MaxReplyLength.orDefault(255)
	if u.MinReplyLength.V > u.MaxReplyLength.V {
		p.invalid(fmt.Sprintf("min_reply_length %d is greater than max_reply_length %d: the check can only fail", u.MinReplyLength.V, u.MaxReplyLength.V), "")
	}
	endConnect(p, s)
}

func bfdName(p *parser, s statement) {
	name := s.arg(1)
	p.context = true
	switch {
	case len(s.words) != 2:
		p.invalid(fmt.Sprintf("name has %d words after it", len(s.words)-1), "valid is one")
	case !named(p.config.BFDInstances, func(b *BFDInstance) string { return b.Name }, name):
		p.invalid("name "+shown(name)+": no such bfd_instance before this line", "")
		p.check.BFD.set("", s.at)
	default:
		p.check.BFD.set(name, s.at)
	}
}

func endBFDCheck(p *parser, s statement) {
	switch {
	case !p.check.BFD.Set():
		p.dropCheck("BFD_CHECK without name")
	case p.check.BFD.V == "":
		p.rs.Checkers = without(p.rs.Checkers, p.check)
	}
}

var fileCheckRows = []*keyword{
	custom("track_file", 1, "NAME of a track_file", func(p *parser, s statement) {
		name := s.arg(1)
		p.context = true
		if !named(p.config.TrackFiles, func(f *TrackFile) string { return f.Name }, name) {
			p.invalid("track_file "+shown(name)+": not defined before this line", "")
			return
		}
		p.check.TrackFile.set(name, s.at)
	}),
	weightKeyword(math.MaxInt32, func(p *parser) *Value[Weight] { return &p.check.FileWeight }).lenient(),
}

func endFileCheck(p *parser, s statement) {
	if !p.check.TrackFile.Set() {
		p.dropCheck("FILE_CHECK without track_file")
	}
}

var httpRows = []*keyword{
	oldRetry("nb_get_retry is deprecated"),
	nested("url", 0, "", beginURL, urlTable, endURL),
	custom("http_protocol", 1, "1.0, 1.0C or 1.1", func(p *parser, s statement) {
		if p.oneOf(s, "1.0", "1.1", "1.0C", "1.0c") {
			p.check.HTTP.Protocol.set(strings.ToUpper(s.arg(1)), s.at)
		}
	}).lenient(),
	word("virtualhost", "NAME", func(p *parser) *Value[string] { return &p.check.HTTP.Virtualhost }).lenient(),
	onoff("enable_sni", func(p *parser) *Value[bool] { return &p.check.HTTP.EnableSNI }),
	onoff("fast_recovery", func(p *parser) *Value[bool] { return &p.check.HTTP.FastRecovery }),
}

var urlTable = newTable("url", []*keyword{
	word("path", "PATH", func(p *parser) *Value[string] { return &p.url.Path }),
	custom("digest", 1, "32 hexadecimal digits", func(p *parser, s statement) {
		if b, err := hex.DecodeString(s.arg(1)); err != nil || len(b) != 16 {
			p.invalid("digest "+shown(s.arg(1)), "valid are 32 hexadecimal digits")
			return
		}
		p.url.Digest.set(strings.ToLower(s.arg(1)), s.at)
	}),
	custom("status_code", 0, "CODE or CODE-CODE, 100 to 599", statusCodes).counting(),
	word("virtualhost", "NAME", func(p *parser) *Value[string] { return &p.url.Virtualhost }).lenient(),
	regexKeyword(),
	present("regex_no_match", func(p *parser) *Value[bool] { return &p.url.RegexNot }),
}, ignored(anything, "regex_options", "regex_min_offset", "regex_max_offset", "regex_stack"))

func regexKeyword() *keyword {
	k := custom("regex", 0, "REGULAR EXPRESSION", func(p *parser, s statement) {
		p.unchecked("regex: the regular expression is not checked: keepalived's are Perl's")
		p.url.Regex.set(s.arg(1), s.at)
	})
	k.free = true
	return k
}

func statusCodes(p *parser, s statement) {
	var codes []StatusRange
	for _, w := range s.words[1:] {
		first, last, ranged := strings.Cut(w, "-")
		if !ranged {
			last = first
		}
		a, err1 := strconv.ParseUint(first, 10, 16)
		b, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || a < 100 || b > 599 || a > b {
			p.invalid("status_code "+shown(w), "valid is CODE or CODE-CODE, 100 to 599")
			return
		}
		codes = append(codes, StatusRange{int(a), int(b)})
	}
	p.url.StatusCodes.set(codes, s.at)
}

func beginURL(p *parser, s statement) {
	p.url = &URL{At: s.at}
	p.check.HTTP.URLs = append(p.check.HTTP.URLs, p.url)
}

func endURL(p *parser, s statement) {
	if !p.url.Path.Set() {
		p.invalid("url without path", "")
		p.check.HTTP.URLs = without(p.check.HTTP.URLs, p.url)
		return
	}
	if !p.url.StatusCodes.Set() {
		p.url.StatusCodes.V = []StatusRange{{200, 299}}
	}
}

func endHTTP(p *parser, s statement) {
	if len(p.check.HTTP.URLs) == 0 {
		p.dropCheck(p.check.Type + " without url")
		return
	}
	endConnect(p, s)
}
