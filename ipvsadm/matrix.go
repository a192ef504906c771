package ipvsadm

import (
	"slices"
	"strings"

	"usvs/ipvs"
)

// rule says what a command makes of its options. An option in none of the sets
// is illegal with it.
type rule struct {
	required  optionSet
	optional  optionSet
	exclusive optionSet // at most one of them
}

var (
	serviceOptions = setOf(optScheduler, optPE, optPersistent, optNetmask, optSchedFlags, optOPS)
	tunnelOptions  = setOf(optTunType, optTunPort, optTunNoCsum, optTunCsum, optTunRemCsum)
	serverOptions  = setOf(optForward, optWeight, optUThreshold, optLThreshold) | tunnelOptions
	daemonOptions  = setOf(optMcastInterface, optMcastGroup, optMcastPort, optMcastTTL, optSyncMaxLen, optSyncID)
	formatOptions  = setOf(optStats, optRate, optThresholds, optPersistentConn, optTunInfo, optNoSort, optExact)
)

var commandRules = [...]rule{
	cmdAdd:          {required: setOf(optService), optional: serviceOptions},
	cmdEdit:         {required: setOf(optService), optional: serviceOptions},
	cmdDelete:       {required: setOf(optService)},
	cmdFlush:        {},
	cmdList:         {optional: formatOptions | setOf(optNumeric, optSyncID), exclusive: setOf(optConnection, optService, optTimeout, optDaemon)},
	cmdAddServer:    {required: setOf(optService, optServer), optional: serverOptions},
	cmdDeleteServer: {required: setOf(optService, optServer)},
	cmdEditServer:   {required: setOf(optService, optServer), optional: serverOptions},
	cmdSet:          {},
	cmdStartDaemon:  {optional: daemonOptions},
	cmdStopDaemon:   {optional: setOf(optSyncID)},
	cmdRestore:      {},
	cmdSave:         {optional: setOf(optNumeric)},
	cmdZero:         {optional: setOf(optService)},
}

// tunnelRules say the same about the options of a tunnel.
var tunnelRules = [...]rule{
	ipvs.IPIP: {optional: setOf(optTunType)},
	ipvs.GUE:  {optional: setOf(optTunType), required: setOf(optTunPort), exclusive: setOf(optTunNoCsum, optTunCsum, optTunRemCsum)},
	ipvs.GRE:  {optional: setOf(optTunType), exclusive: setOf(optTunNoCsum, optTunCsum)},
}

// tunnelNames are the arguments of --tun-type.
var tunnelNames = [...]string{ipvs.IPIP: "ipip", ipvs.GUE: "gue", ipvs.GRE: "gre"}

// checkMatrix compares the options given with the command's rule.
func checkMatrix(c command, given optionSet) *verdict {
	r := commandRules[c]
	if r.allows(given) {
		return nil
	}
	return r.check(given, 0, optCount, "'"+commandNames[c]+"' command")
}

// checkTunnel compares the tunnel options given with the tunnel type's rule.
func checkTunnel(t ipvs.TunnelType, given optionSet) *verdict {
	r := tunnelRules[t]
	if r.allows(given & tunnelOptions) {
		return nil
	}
	return r.check(given, optTunType, optCount, "'"+tunnelNames[t]+"' tunnel type")
}

// allows reports whether check has nothing to say about the options.
func (r rule) allows(given optionSet) bool {
	exclusive := given & r.exclusive
	return r.required&^given == 0 && given&^(r.required|r.optional|r.exclusive) == 0 && exclusive&(exclusive-1) == 0
}

// check looks at the options from first to last in their fixed order; the
// first that breaks the rule is reported.
func (r rule) check(given optionSet, first, last option, what string) *verdict {
	chosen := optNone
	for o := first; o < last; o++ {
		switch {
		case !given.has(o):
			if r.required.has(o) {
				return fail("You need to supply the '%s' option for the %s", optionNames[o], what)
			}
		case r.exclusive.has(o):
			if chosen != optNone {
				return fail("The option '%s' conflicts with the '%s' option in the %s", optionNames[o], optionNames[chosen], what)
			}
			chosen = o
		case !(r.required | r.optional).has(o):
			return fail("Illegal '%s' option with the %s", optionNames[o], what)
		}
	}
	return nil
}

// checkRequest makes the checks that need more than to know which options were
// given. Their order is the original's.
func checkRequest(q *request) *verdict {
	switch q.command {
	case cmdAdd, cmdEdit:
		return checkService(q)
	case cmdAddServer, cmdEditServer:
		return checkServer(q)
	case cmdList:
		return checkList(q.options)
	}
	return nil
}

func checkService(q *request) *verdict {
	if q.service.Mark != 0 {
		return nil
	}
	if q.service.Port == 0 && !q.options.has(optPersistent) {
		return fail("Zero port specified for non-persistent service")
	}
	if q.options.has(optOPS) && q.service.Protocol != ipvs.UDP {
		return fail("One-Packet Scheduling is only for UDP virtual services")
	}
	return nil
}

func checkServer(q *request) *verdict {
	tunnel := q.serverSpec.Method == ipvs.Tunnel
	if ipvs.FamilyOf(q.server.Addr) != q.service.Family && !tunnel {
		return fail("Different address family is allowed only for tunneling servers")
	}
	if q.options.hasAny(tunnelOptions) && !tunnel {
		return fail("Tunnel options conflict with forward method")
	}
	return checkTunnel(q.serverSpec.Tunnel.Type, q.options)
}

func checkList(o optionSet) *verdict {
	special := setOf(optTimeout, optDaemon)
	if o.hasAny(special|setOf(optConnection)) && o.hasAny(setOf(optStats, optRate, optThresholds)) ||
		o.hasAny(special) && o.has(optPersistentConn) {
		return fail("options conflicts in the list command")
	}
	return nil
}

// schedFlagNames are the scheduler flags by scheduler; "" is any other.
var schedFlagNames = map[string][3]string{
	"sh": {"sh-fallback", "sh-port", ""},
	"mh": {"mh-fallback", "mh-port", ""},
	"":   {"flag-1", "flag-2", "flag-3"},
}

// schedFlagBits are the flags in the order of schedFlagNames.
var schedFlagBits = [3]ipvs.ServiceFlags{ipvs.FlagSched1, ipvs.FlagSched2, ipvs.FlagSched3}

// parseSchedFlags reads the comma list of -b for a scheduler.
func parseSchedFlags(scheduler, list string) (ipvs.ServiceFlags, *verdict) {
	var flags ipvs.ServiceFlags
	for item := range strings.SplitSeq(list, ",") {
		if item == "" {
			continue
		}
		owner, bit, ok := findSchedFlag(item)
		if !ok {
			return 0, fail("invalid scheduler flag `%s'", item)
		}
		if owner != "" && owner != scheduler {
			return 0, fail("incompatible scheduler flag `%s'", item)
		}
		flags |= bit
	}
	return flags, nil
}

func findSchedFlag(item string) (owner string, bit ipvs.ServiceFlags, ok bool) {
	for _, owner := range []string{"", "sh", "mh"} {
		names := schedFlagNames[owner]
		if i := slices.Index(names[:], item); i >= 0 {
			return owner, schedFlagBits[i], true
		}
	}
	return "", 0, false
}
