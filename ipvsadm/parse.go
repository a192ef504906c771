package ipvsadm

import (
	"math"
	"net/netip"

	"usvs/ipvs"
)

const (
	defaultScheduler   = "wlc"
	defaultPersistence = 360 // seconds; the manual says 300, the program uses 360
	defaultInterface   = "eth0"
	maxTimeoutSecs     = 31 * 24 * 3600
	maxSyncLen         = 65507

	maxSchedulerName = 15 // bytes; longer names are cut
	maxEngineName    = 16
	maxInterfaceName = 15
)

// allOnes is the netmask that keeps every client apart.
var allOnes = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// request is a command line understood.
type request struct {
	command    command
	options    optionSet
	service    ipvs.ServiceID
	spec       ipvs.ServiceSpec
	server     ipvs.ServerID
	serverSpec ipvs.ServerSpec
	timeouts   ipvs.Timeouts
	daemon     ipvs.Daemon
}

// parser collects a request word by word. The order of words matters where the
// original's does: -M, -6 and -r look at the service as known so far.
type parser struct {
	request
	prog         string
	resolver     Resolver
	schedFlagArg string
}

// parse understands a command line, without its argv[0].
func parse(prog string, args []string, r Resolver) (*request, *verdict) {
	p := newParser(prog, r)
	s := &scanner{args: args}
	if v := p.first(s); v != nil || p.command == cmdHelp || p.command == cmdVersion {
		return &p.request, v
	}
	for {
		t, ok, v := s.next()
		if v == nil && ok {
			v = p.option(t, s)
		}
		if v != nil {
			return nil, v
		}
		if !ok {
			break
		}
	}
	return p.finish(s.aside)
}

func newParser(prog string, r Resolver) *parser {
	p := &parser{prog: prog, resolver: r}
	p.service.Family = ipvs.IPv4
	p.spec.Netmask = allOnes
	p.spec.PrefixLen = 128
	p.serverSpec = ipvs.ServerSpec{Method: ipvs.DirectRoute, Weight: 1}
	return p
}

// first takes the command, which has to come before all options.
func (p *parser) first(s *scanner) *verdict {
	t, ok, v := s.next()
	if v != nil || !ok || t.word.command == cmdNone {
		return tryHelp(p.prog)
	}
	p.command = t.word.command
	if t.word.apply == nil {
		return nil
	}
	return t.word.apply(p, t.arg)
}

// option takes one option.
func (p *parser) option(t token, s *scanner) *verdict {
	w := t.word
	if w.command != cmdNone {
		return fail("invalid option `%s'", s.last())
	}
	if w.option != optNone {
		if p.options.has(w.option) {
			return fail("multiple '%s' options specified", optionNames[w.option])
		}
		p.options |= setOf(w.option)
	}
	if w.arg == mayHaveArgument && !t.hasArg {
		p.spec.Flags |= ipvs.FlagPersistent // -p is the only such word
		p.spec.Timeout = defaultPersistence
		return nil
	}
	if w.apply == nil {
		return nil
	}
	return w.apply(p, t.arg)
}

// finish makes the checks that need the whole line.
func (p *parser) finish(aside []string) (*request, *verdict) {
	v := p.leftOver(aside)
	if v == nil {
		v = p.applySchedFlags()
	}
	if v == nil {
		v = checkMatrix(p.command, p.options)
	}
	if v == nil {
		v = checkRequest(&p.request)
	}
	if v != nil {
		return nil, v
	}
	p.complete()
	return &p.request, nil
}

// leftOver takes the words that are no options: --set has three.
func (p *parser) leftOver(aside []string) *verdict {
	if p.command == cmdSet {
		if len(aside) < 3 {
			return fail("--set option requires 3 timeout values")
		}
		for i, field := range []*uint32{&p.timeouts.TCP, &p.timeouts.TCPFin, &p.timeouts.UDP} {
			if v := parseTimeout(field, aside[i], 0); v != nil {
				return v
			}
		}
		aside = aside[3:]
	}
	if len(aside) > 0 {
		return fail("unexpected argument %s", aside[0])
	}
	return nil
}

func (p *parser) applySchedFlags() *verdict {
	flags, v := parseSchedFlags(p.spec.Scheduler, p.schedFlagArg)
	p.spec.Flags |= flags
	return v
}

// complete fills in what follows from the rest of a valid request.
func (p *parser) complete() {
	if p.spec.Scheduler == "" {
		p.spec.Scheduler = defaultScheduler
	}
	if p.service.Family == ipvs.IPv6 {
		p.spec.Netmask = netip.Addr{}
	} else {
		p.spec.PrefixLen = 0
	}
	if p.daemon.Interface == "" {
		p.daemon.Interface = defaultInterface
	}
	if p.service.Mark != 0 {
		p.service = ipvs.ServiceID{Family: p.service.Family, Mark: p.service.Mark}
		return
	}
	// What is not translated keeps its port: a given one is ignored.
	adds := p.command == cmdAddServer || p.command == cmdEditServer
	if adds && p.serverSpec.Method != ipvs.Masquerade {
		p.server.Port = p.service.Port
	}
}

// The methods below take one word each.

func daemonState(message string) func(*parser, string) *verdict {
	return func(p *parser, arg string) *verdict {
		switch arg {
		case "master":
			p.daemon.State = ipvs.DaemonMaster
		case "backup":
			p.daemon.State = ipvs.DaemonBackup
		default:
			return fail("%s", message)
		}
		return nil
	}
}

func service(proto ipvs.Protocol) func(*parser, string) *verdict {
	return func(p *parser, arg string) *verdict {
		e, ok := parseEndpoint(arg, proto, p.resolver)
		if !ok {
			return fail("illegal virtual server address[:port] specified")
		}
		p.service = ipvs.ServiceID{Family: ipvs.FamilyOf(e.addr), Protocol: proto, Addr: e.addr, Port: e.port}
		if p.service.Family == ipvs.IPv6 {
			p.spec.PrefixLen = 128
		}
		return nil
	}
}

// fwmark makes the service TCP as far as names of ports go.
func (p *parser) fwmark(arg string) *verdict {
	n, ok := parseInt(arg, 1, math.MaxUint32)
	if !ok {
		return fail("invalid fwmark value `%s' specified", arg)
	}
	p.service = ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.TCP, Mark: uint32(n)}
	return nil
}

func (p *parser) ipv6(string) *verdict {
	if p.service.Mark == 0 {
		return fail("-6 used before -f\n") // sic: an empty line follows
	}
	p.service.Family = ipvs.IPv6
	p.spec.PrefixLen = 128
	return nil
}

func (p *parser) scheduler(arg string) *verdict {
	p.spec.Scheduler = cut(arg, maxSchedulerName)
	return nil
}

// schedFlags waits for the whole line: -s may still come.
func (p *parser) schedFlags(arg string) *verdict {
	p.schedFlagArg = arg
	return nil
}

func (p *parser) persistent(arg string) *verdict {
	p.spec.Flags |= ipvs.FlagPersistent
	return parseTimeout(&p.spec.Timeout, arg, 1)
}

func (p *parser) netmask(arg string) *verdict {
	if p.service.Family == ipvs.IPv6 {
		n := parseLeadingInt(arg)
		if n < 1 || n > 128 {
			return fail("illegal ipv6 netmask specified")
		}
		p.spec.PrefixLen = uint8(n)
		return nil
	}
	mask, ok := parseHost(arg, p.resolver)
	if !ok {
		return fail("illegal virtual server persistent mask specified")
	}
	p.spec.Netmask = mask
	return nil
}

func (p *parser) pe(arg string) *verdict {
	p.spec.PE = cut(arg, maxEngineName)
	return nil
}

func (p *parser) ops(string) *verdict {
	p.spec.Flags |= ipvs.FlagOnePacket
	return nil
}

// realServer defaults to the port of the service as far as that is known.
func (p *parser) realServer(arg string) *verdict {
	e, ok := parseEndpoint(arg, p.service.Protocol, p.resolver)
	if !ok {
		return fail("illegal real server address[:port] specified")
	}
	if !e.hasPort {
		e.port = p.service.Port
	}
	p.server = ipvs.ServerID{Addr: e.addr, Port: e.port}
	return nil
}

func method(m ipvs.ForwardMethod) func(*parser, string) *verdict {
	return func(p *parser, _ string) *verdict {
		p.serverSpec.Method = m
		return nil
	}
}

func (p *parser) tunType(arg string) *verdict {
	for t, name := range tunnelNames {
		if arg == name {
			p.serverSpec.Tunnel.Type = ipvs.TunnelType(t)
			return nil
		}
	}
	return fail("illegal tunnel type specified")
}

func (p *parser) tunPort(arg string) *verdict {
	return parseNumber(&p.serverSpec.Tunnel.Port, arg, 1, 65535, "illegal tunnel port specified")
}

func tunFlags(flags uint16) func(*parser, string) *verdict {
	return func(p *parser, _ string) *verdict {
		p.serverSpec.Tunnel.Flags = flags
		return nil
	}
}

func (p *parser) weight(arg string) *verdict {
	return parseNumber(&p.serverSpec.Weight, arg, 0, math.MaxInt32, "illegal weight specified")
}

func (p *parser) upperThreshold(arg string) *verdict {
	return parseNumber(&p.serverSpec.UpperThreshold, arg, 0, math.MaxInt32, "illegal u_threshold specified")
}

func (p *parser) lowerThreshold(arg string) *verdict {
	return parseNumber(&p.serverSpec.LowerThreshold, arg, 0, math.MaxInt32, "illegal l_threshold specified")
}

func (p *parser) mcastInterface(arg string) *verdict {
	p.daemon.Interface = cut(arg, maxInterfaceName)
	return nil
}

func (p *parser) mcastGroup(arg string) *verdict {
	group, family, ok := parseMulticast(arg)
	if !ok {
		return fail("invalid %s mcast-group `%s'", family, arg)
	}
	p.daemon.Group = group
	return nil
}

func (p *parser) mcastPort(arg string) *verdict {
	return parseNumber(&p.daemon.Port, arg, 1, 65535, "illegal mcast-port specified")
}

func (p *parser) mcastTTL(arg string) *verdict {
	return parseNumber(&p.daemon.TTL, arg, 1, 255, "illegal mcast-ttl specified")
}

func (p *parser) syncID(arg string) *verdict {
	return parseNumber(&p.daemon.SyncID, arg, 0, 255, "illegal syncid specified")
}

func (p *parser) syncMaxLen(arg string) *verdict {
	return parseNumber(&p.daemon.MaxLen, arg, 1, maxSyncLen, "illegal sync-maxlen specified")
}

func parseTimeout(field *uint32, arg string, min int64) *verdict {
	n, ok := parseInt(arg, min, maxTimeoutSecs)
	if !ok {
		return fail("invalid timeout value `%s' specified", arg)
	}
	*field = uint32(n)
	return nil
}

// parseNumber sets a field to arg if it is within limits, which have to fit.
func parseNumber[T ~int | ~int32 | ~uint16 | ~uint32](field *T, arg string, min, max int64, message string) *verdict {
	n, ok := parseInt(arg, min, max)
	if !ok {
		return fail("%s", message)
	}
	*field = T(n)
	return nil
}

func cut(s string, bytes int) string { return s[:min(len(s), bytes)] }
