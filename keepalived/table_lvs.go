package keepalived

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

var schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "sh", "mh", "dh", "fo", "ovf", "lblcr", "sed", "nq", "twos"}

var virtualServerTable = newTable("virtual_server",
	timingRows(1, func(p *parser) *Timing { return &p.vs.Timing }),
	[]*keyword{
		lbAlgo("lb_algo"), lbAlgo("lvs_sched"),
		forwardingKeyword("lb_kind", func(p *parser) *Value[Forwarding] { return &p.vs.Forwarding }),
		forwardingKeyword("lvs_method", func(p *parser) *Value[Forwarding] { return &p.vs.Forwarding }),
		custom("persistence_timeout", 0, "[1 to 2678400 seconds]", persistence),
		word("persistence_engine", "sip", func(p *parser) *Value[string] { return &p.vs.PersistenceEngine }),
		custom("persistence_granularity", 1, "NETMASK, or 1 to 128 for IPv6", granularity),
		custom("protocol", 1, "TCP, UDP or SCTP", func(p *parser, s statement) {
			switch proto := strings.ToUpper(s.arg(1)); proto {
			case "TCP", "UDP", "SCTP":
				p.vs.Protocol.set(proto, s.at)
			default:
				p.invalid("protocol "+shown(s.arg(1)), suggestion(proto, []string{"TCP", "UDP", "SCTP"}))
			}
		}),
		nested("real_server", 1, "ADDRESS [PORT]", beginRealServer, realServerTable, endRealServer),
		custom("sorry_server", 1, "ADDRESS [PORT]", sorryServer),
		custom("sorry_server_inhibit", 0, "", func(p *parser, s statement) {
			if p.needsSorryServer(s) {
				p.vs.SorryServerInhibit.set(true, s.at)
			}
		}),
		sorryMethod(),
		word("virtualhost", "NAME", func(p *parser) *Value[string] { return &p.vs.Virtualhost }).lenient(),
		present("ha_suspend", func(p *parser) *Value[bool] { return &p.vs.HASuspend }),
		number("quorum", 1, math.MaxInt32, func(p *parser) *Value[int] { return &p.vs.Quorum }),
		number("hysteresis", 0, math.MaxInt32, func(p *parser) *Value[int] { return &p.vs.Hysteresis }),
		script("quorum_up", func(p *parser) *Value[Script] { return &p.vs.QuorumUp }),
		script("quorum_down", func(p *parser) *Value[Script] { return &p.vs.QuorumDown }),
		present("alpha", func(p *parser) *Value[bool] { return &p.vs.Alpha }),
		present("omega", func(p *parser) *Value[bool] { return &p.vs.Omega }),
		present("inhibit_on_failure", func(p *parser) *Value[bool] { return &p.vs.InhibitOnFailure }),
		number("weight", 1, math.MaxInt32, func(p *parser) *Value[int] { return &p.vs.Weight }),
		onoff("smtp_alert", func(p *parser) *Value[bool] { return &p.vs.SMTPAlert }),
		present("ops", func(p *parser) *Value[bool] { return &p.vs.OnePacket }),
		custom("ip_family", 1, "inet or inet6", ipFamily),
		snmpName(func(p *parser) *Value[string] { return &p.vs.SNMPName }).inert(),
		custom("nat_mask", 0, "MASK", func(p *parser, s statement) {
			p.invalid("nat_mask is a keyword of keepalived 1; it does nothing", "leave it out")
		}),
		schedulerFlag("hashed", "sh"),
		schedulerFlag("sh-port", "sh"), schedulerFlag("sh-fallback", "sh"),
		schedulerFlag("mh-port", "mh"), schedulerFlag("mh-fallback", "mh"),
		schedulerFlag("flag-1", ""), schedulerFlag("flag-2", ""), schedulerFlag("flag-3", ""),
	},
)

var realServerTable = newTable("real_server",
	timingRows(1, func(p *parser) *Timing { return &p.rs.Timing }),
	[]*keyword{
		number("weight", 0, math.MaxInt32, func(p *parser) *Value[int] { return &p.rs.Weight }),
		forwardingKeyword("lvs_method", func(p *parser) *Value[Forwarding] { return &p.rs.Forwarding }),
		onoff("inhibit_on_failure", func(p *parser) *Value[bool] { return &p.rs.InhibitOnFailure }),
		onoff("alpha", func(p *parser) *Value[bool] { return &p.rs.Alpha }),
		number("uthreshold", 0, math.MaxUint32, func(p *parser) *Value[int] { return &p.rs.UpperThreshold }),
		number("lthreshold", 0, math.MaxUint32, func(p *parser) *Value[int] { return &p.rs.LowerThreshold }),
		script("notify_up", func(p *parser) *Value[Script] { return &p.rs.NotifyUp }),
		script("notify_down", func(p *parser) *Value[Script] { return &p.rs.NotifyDown }),
		word("virtualhost", "NAME", func(p *parser) *Value[string] { return &p.rs.Virtualhost }).lenient(),
		onoff("smtp_alert", func(p *parser) *Value[bool] { return &p.rs.SMTPAlert }),
		snmpName(func(p *parser) *Value[string] { return &p.rs.SNMPName }).inert(),
	},
	checkerRows,
)

var sslTable = newTable("SSL", []*keyword{
	sslWord("password", func(p *parser) *Value[string] { return &p.ssl.Password }),
	sslWord("ca", func(p *parser) *Value[string] { return &p.ssl.CA }),
	sslWord("certificate", func(p *parser) *Value[string] { return &p.ssl.Certificate }),
	sslWord("key", func(p *parser) *Value[string] { return &p.ssl.File }),
})

func sslWord(name string, field func(*parser) *Value[string]) *keyword {
	k := word(name, "TEXT", field).lenient()
	set := k.do
	k.do = func(p *parser, s statement) {
		if f := field(p); f.Set() {
			p.invalid(name+" again; the last counts", "it was set in line "+fmt.Sprint(f.At.Line))
		}
		set(p, s)
	}
	return k
}

func beginSSL(p *parser, s statement) {
	if p.config.SSL != nil {
		p.invalid("SSL again; the last counts", "it was defined in line "+fmt.Sprint(p.config.SSL.At.Line))
	}
	p.ssl = &SSL{At: s.at}
	p.config.SSL = p.ssl
}

// timingRows are the keywords that servers hand down to their checkers.
func timingRows(leastRetry int, of func(*parser) *Timing) []*keyword {
	return []*keyword{
		seconds("delay_loop", microsecond, longest, func(p *parser) *Value[time.Duration] { return &of(p).DelayLoop }),
		seconds("connect_timeout", microsecond, maxTimer, func(p *parser) *Value[time.Duration] { return &of(p).ConnectTimeout }),
		number("retry", leastRetry, math.MaxUint32, func(p *parser) *Value[int] { return &of(p).Retry }),
		seconds("delay_before_retry", 0, longest, func(p *parser) *Value[time.Duration] { return &of(p).DelayBeforeRetry }),
		seconds("warmup", 0, longest, func(p *parser) *Value[time.Duration] { return &of(p).Warmup }),
		checkPath(func(p *parser) *Value[string] { return &of(p).CheckPath }),
	}
}

func lbAlgo(name string) *keyword {
	return custom(name, 1, strings.Join(schedulers, " "), func(p *parser, s statement) {
		if p.oneOf(s, schedulers...) {
			p.vs.Scheduler.set(s.arg(1), s.at)
		}
	})
}

func snmpName(field func(*parser) *Value[string]) *keyword {
	return custom("snmp_name", 0, "NAME", func(p *parser, s statement) {
		if len(s.words) != 2 {
			p.invalid(fmt.Sprintf("snmp_name has %d words after it", len(s.words)-1), "valid is one")
			return
		}
		field(p).set(s.arg(1), s.at)
	})
}

// schedulerFlag is a flag that only some scheduler knows, which must be set
// before it.
func schedulerFlag(name, scheduler string) *keyword {
	return custom(name, 0, "", func(p *parser, s statement) {
		if scheduler != "" && p.vs.Scheduler.V != scheduler {
			p.invalid(fmt.Sprintf("%s without lb_algo %s before it", name, scheduler), "")
			return
		}
		p.vs.Flags = append(p.vs.Flags, Value[string]{name, s.at})
		if name == "hashed" {
			p.vs.Hashed.set(true, s.at)
		}
	})
}

// forwardingKeyword reads NAT, DR or TUN with the kind of its tunnel.
func forwardingKeyword(name string, field func(*parser) *Value[Forwarding]) *keyword {
	return custom(name, 1, "NAT, DR or TUN [type ipip|gue port N|gre] [nocsum|csum|remcsum]", func(p *parser, s statement) {
		if v, ok := p.forwarding(s); ok {
			field(p).set(v, s.at)
		}
	}).counting()
}

func (p *parser) forwarding(s statement) (f Forwarding, ok bool) {
	if !p.oneOf(s, "NAT", "DR", "TUN") {
		return f, false
	}
	f.Method = s.arg(1)
	if f.Method == "TUN" {
		f.TunnelType = "ipip"
	}
	for i := 2; i < len(s.words); i++ {
		option, value := s.words[i], s.arg(i+1)
		switch option {
		case "type":
			if value != "ipip" && value != "gue" && value != "gre" {
				p.invalid("tunnel type "+shown(value), suggestion(value, []string{"ipip", "gue", "gre"}))
				return f, false
			}
			f.TunnelType = value
			i++
		case "port":
			n, ok := p.integer(value, 1, math.MaxUint16, "tunnel port")
			if !ok {
				return f, false
			}
			f.TunnelPort = uint16(n)
			i++
		case "nocsum", "csum", "remcsum":
			f.Checksum = option
		default:
			p.invalid(fmt.Sprintf("%s %s %s", s.words[0], f.Method, shown(option)), suggestion(option, []string{"type", "port", "nocsum", "csum", "remcsum"}))
			return f, false
		}
	}
	return f, p.tunnel(f)
}

// tunnel checks what the options of a tunnel say together.
func (p *parser) tunnel(f Forwarding) bool {
	switch {
	case (f.TunnelType == "gue") != (f.TunnelPort != 0):
		p.invalid("a gue tunnel has a port, others do not", "valid is TUN type gue port N")
	case f.TunnelType == "ipip" && f.Checksum != "":
		p.invalid("an ipip tunnel has no checksum", "")
	case f.TunnelType == "gre" && f.Checksum == "remcsum":
		p.invalid("a gre tunnel has no remote checksum", "")
	default:
		return true
	}
	return false
}

func persistence(p *parser, s statement) {
	if len(s.words) == 1 {
		p.vs.Persistence.set(defaultPersistence, s.at)
		return
	}
	if v, ok := p.integer(s.arg(1), 1, 31*86400, "persistence_timeout"); ok {
		p.vs.Persistence.set(time.Duration(v)*time.Second, s.at)
	}
}

const defaultPersistence = 360 * time.Second

// granularity is a netmask for IPv4, in inet_aton(3)'s notation, and the
// length of a prefix for IPv6. Where nothing said so far which it is, the dot does.
func granularity(p *parser, s statement) {
	value := s.arg(1)
	if byDot := p.vs.Family.V == "" && strings.Contains(value, "."); !byDot && p.vs.Family.V != "inet" {
		if v, ok := p.integer(value, 1, 128, "persistence_granularity"); ok {
			p.vs.PersistenceGranularity.set(v, s.at)
			p.vs.Family.V = "inet6"
		}
		return
	}
	mask, ok := aton(value)
	if !ok {
		p.invalid("persistence_granularity "+shown(value), "valid is a netmask like 255.255.255.0")
		return
	}
	ones := 0
	for mask<<ones&(1<<31) != 0 {
		ones++
	}
	if mask<<ones != 0 {
		p.note(fmt.Sprintf("persistence_granularity %s: the mask is %s, which is not the mask of a network", value, addr4(mask)), "did you mean a netmask like 255.255.255.0?")
	}
	p.vs.PersistenceGranularity.set(ones, s.at)
	p.vs.PersistenceMask = addr4(mask)
	p.vs.Family.V = "inet"
}

func addr4(v uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

// aton reads an IPv4 address as inet_aton(3) does: one to four numbers, the
// last of which fills what is left; 0x and 0 are hexadecimal and octal.
func aton(text string) (v uint32, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) > 4 {
		return 0, false
	}
	for i, part := range parts {
		if part == "" || !isDigit(part[0]) || strings.ContainsAny(part, "_oObB") && !strings.HasPrefix(part, "0x") {
			return 0, false
		}
		n, err := strconv.ParseUint(part, 0, 32)
		most := uint64(255)
		if i == len(parts)-1 {
			most = math.MaxUint32 >> (8 * i)
		}
		if err != nil || n > most {
			return 0, false
		}
		if i == len(parts)-1 {
			return v | uint32(n), true
		}
		v |= uint32(n) << (24 - 8*i)
	}
	return 0, false
}

func ipFamily(p *parser, s statement) {
	if !p.oneOf(s, "inet", "inet6") {
		return
	}
	if f := p.vs.Family.V; f != "" && f != s.arg(1) {
		p.invalid("ip_family "+s.arg(1)+" is not that of the virtual server", "by its address, its first server or persistence_granularity, it is "+f)
		return
	}
	p.vs.Family.set(s.arg(1), s.at)
}

// family is what ip_family calls an address's.
func family(a netip.Addr) string {
	if a.Is6() {
		return "inet6"
	}
	return "inet"
}

// endpoint is an address and a port, of a server.
func (p *parser) endpoint(host, port, what string) (netip.Addr, uint16, bool) {
	n, ok := p.port(port, what+" port")
	if !ok {
		return netip.Addr{}, 0, false
	}
	a, ok := p.address(host, what)
	return a, n, ok
}

func beginVirtualServer(p *parser, s statement) {
	vs := &VirtualServer{At: s.at}
	ok := true
	switch s.arg(1) {
	case "fwmark":
		ok = p.virtualMark(vs, s)
	case "group":
		vs.Group = s.arg(2)
		if ok = vs.Group != ""; !ok {
			p.invalid("virtual_server group without its name", "")
		}
	default:
		// keepalived ends an address at a - or /.
		host, _, _ := strings.Cut(s.arg(1), "-")
		host, _, _ = strings.Cut(host, "/")
		vs.VIP, vs.Port, ok = p.endpoint(host, s.arg(2), "virtual_server")
		vs.Family.V = family(vs.VIP)
	}
	if !ok {
		p.skip = true
		return
	}
	p.vs = vs
	p.config.VirtualServers = append(p.config.VirtualServers, vs)
}

func (p *parser) virtualMark(vs *VirtualServer, s statement) bool {
	if len(s.words) < 3 {
		p.invalid("virtual_server fwmark without its mark", "")
		return false
	}
	v, ok := p.integer(s.arg(2), 0, math.MaxUint32, "fwmark")
	vs.Mark = uint32(v)
	return ok
}

func beginRealServer(p *parser, s statement) {
	rs := &RealServer{At: s.at}
	var ok bool
	if rs.RIP, rs.Port, ok = p.endpoint(s.arg(1), s.arg(2), "real_server"); !ok {
		p.skip = true
		return
	}
	if len(s.words) < 3 || rs.Port == 0 {
		rs.Port = p.vs.Port
	}
	if p.vs.Forwarding.Set() {
		rs.Forwarding.V = p.vs.Forwarding.V
	}
	p.rs = rs
	p.vs.RealServers = append(p.vs.RealServers, rs)
}

func sorryServer(p *parser, s statement) {
	a, port, ok := p.endpoint(s.arg(1), s.arg(2), "sorry_server")
	if !ok {
		return
	}
	if port == 0 {
		port = p.vs.Port
	}
	p.vs.SorryServer.set(netip.AddrPortFrom(a, port), s.at)
	p.vs.SorryForwarding.V = p.vs.Forwarding.V
}

func sorryMethod() *keyword {
	k := forwardingKeyword("sorry_server_lvs_method", func(p *parser) *Value[Forwarding] { return &p.vs.SorryForwarding }).optional()
	set := k.do
	k.do = func(p *parser, s statement) {
		if p.needsSorryServer(s) {
			set(p, s)
		}
	}
	return k
}

func (p *parser) needsSorryServer(s statement) bool {
	if !p.vs.SorryServer.Set() {
		p.invalid(s.words[0]+" without sorry_server before it", "")
		return false
	}
	return true
}

var vsGroupKeyword = func() *keyword {
	k := list("virtual_server_group", "NAME, with lines of ADDRESS [PORT] | ADDRESS-ADDRESS [PORT] | NETWORK/LEN [PORT] | fwmark MARK [inet|inet6]", groupEntry)
	k.args = 1
	k.missing = Fatal
	k.do = func(p *parser, s statement) {
		p.vsGroup = &VirtualServerGroup{Name: s.arg(1), At: s.at}
		p.config.ServerGroups = append(p.config.ServerGroups, p.vsGroup)
	}
	k.end = func(p *parser, s statement) {
		if g := p.vsGroup; len(g.Entries) == 0 {
			p.invalid("virtual_server_group "+g.Name+" is empty", "")
			p.config.ServerGroups = without(p.config.ServerGroups, g)
		}
	}
	return k
}()

func groupEntry(p *parser, s statement) {
	e := GroupEntry{At: s.at}
	var ok bool
	if s.words[0] == "fwmark" {
		ok = p.groupMark(&e, s)
	} else {
		ok = p.groupRange(&e, s)
	}
	if ok {
		p.vsGroup.Entries = append(p.vsGroup.Entries, e)
	}
}

func (p *parser) groupMark(e *GroupEntry, s statement) bool {
	if len(s.words) < 2 {
		p.problem(Fatal, "fwmark without its mark", "")
		return false
	}
	v, ok := p.integer(s.words[1], 0, math.MaxUint32, "fwmark")
	e.Mark = uint32(v)
	if e.Family = s.arg(2); ok && !slices.Contains([]string{"", "inet", "inet6"}, e.Family) {
		p.invalid("fwmark family "+shown(e.Family), "valid is inet or inet6")
		return false
	}
	return ok
}

// groupRange reads an address, a range or a network, and a port.
func (p *parser) groupRange(e *GroupEntry, s statement) bool {
	var ok bool
	if e.Port, ok = p.port(s.arg(1), "port"); !ok {
		return false
	}
	first, last, ranged := strings.Cut(s.words[0], "-")
	host, length, network := strings.Cut(first, "/")
	if e.First, ok = p.address(host, "virtual_server_group"); !ok {
		return false
	}
	e.Last = e.First
	switch {
	case network:
		return p.networkRange(e, length)
	case ranged:
		return p.rangeEnd(e, last)
	}
	return true
}

func (p *parser) networkRange(e *GroupEntry, length string) bool {
	n, ok := p.integer(length, 0, e.First.BitLen(), "prefix length")
	if !ok {
		return false
	}
	prefix := netip.PrefixFrom(e.First, n)
	if prefix.Masked().Addr() != e.First {
		p.invalid(fmt.Sprintf("%v: bits outside of the network are set", prefix), fmt.Sprintf("did you mean %v?", prefix.Masked()))
		return false
	}
	last := e.First.AsSlice()
	for bit := n; bit < e.First.BitLen(); bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	e.Last, _ = netip.AddrFromSlice(last)
	return true
}

// rangeEnd is the last address of a range, or its last part: a decimal number
// below 256, or four hexadecimal digits.
func (p *parser) rangeEnd(e *GroupEntry, text string) bool {
	if end, err := netip.ParseAddr(text); err == nil {
		e.Last = end
	} else {
		base, bits := 10, 8
		if e.First.Is6() {
			base, bits = 16, 16
		}
		n, err := strconv.ParseUint(text, base, bits)
		if err != nil {
			p.invalid("the end of the range, "+shown(text)+", is neither an address nor the last part of one", "")
			return false
		}
		last := e.First.AsSlice()
		last[len(last)-1] = byte(n)
		if bits == 16 {
			last[len(last)-2] = byte(n >> 8)
		}
		e.Last, _ = netip.AddrFromSlice(last)
	}
	if e.Last.Is6() != e.First.Is6() {
		p.invalid("the ends of the range are of different families", "")
		return false
	}
	if !e.First.Less(e.Last) {
		p.invalid("the end of the range is not after its start", "")
		return false
	}
	return true
}
