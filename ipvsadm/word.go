package ipvsadm

import "usvs/ipvs"

// command is what a command line is about: its first word.
type command uint8

const (
	cmdNone command = iota
	cmdAdd
	cmdEdit
	cmdDelete
	cmdFlush
	cmdList
	cmdAddServer
	cmdDeleteServer
	cmdEditServer
	cmdSet
	cmdStartDaemon
	cmdStopDaemon
	cmdRestore
	cmdSave
	cmdZero
	cmdHelp
	cmdVersion
	cmdListService // cmdList with a service; only messages tell them apart
)

// commandNames are the names used in messages.
var commandNames = [...]string{
	cmdAdd:          "add-service",
	cmdEdit:         "edit-service",
	cmdDelete:       "delete-service",
	cmdFlush:        "flush",
	cmdList:         "list",
	cmdAddServer:    "add-server",
	cmdDeleteServer: "delete-server",
	cmdEditServer:   "edit-server",
	cmdSet:          "set",
	cmdStartDaemon:  "start-daemon",
	cmdStopDaemon:   "stop-daemon",
	cmdRestore:      "restore",
	cmdSave:         "save",
	cmdZero:         "zero",
}

// option is an option that may be given once. Several words may stand for the
// same one. The order is that in which ipvsadm checks them.
type option uint8

const (
	optNumeric option = iota
	optConnection
	optService
	optScheduler
	optPersistent
	optNetmask
	optServer
	optForward
	optWeight
	optUThreshold
	optLThreshold
	optMcastInterface
	optTimeout
	optDaemon
	optStats
	optRate
	optThresholds
	optPersistentConn
	optNoSort
	optSyncID
	optExact
	optOPS
	optPE
	optSchedFlags
	optMcastGroup
	optMcastPort
	optMcastTTL
	optSyncMaxLen
	optTunInfo
	optTunType
	optTunPort
	optTunNoCsum
	optTunCsum
	optTunRemCsum
	optCount
	optNone = optCount // not counted
)

// optionNames are the names used in messages.
var optionNames = [optCount]string{
	"numeric", "connection", "service-address", "scheduler", "persistent", "netmask",
	"real-server", "forwarding-method", "weight", "u-threshold", "l-threshold",
	"mcast-interface", "timeout", "daemon", "stats", "rate", "thresholds", "persistent-conn",
	"nosort", "syncid", "exact", "ops", "pe", "sched-flags", "mcast-group", "mcast-port", "mcast-ttl",
	"sync-maxlen", "tun-info", "tun-type", "tun-port", "tun-nocsum", "tun-csum", "tun-remcsum",
}

// optionSet is a set of options.
type optionSet uint64

func setOf(opts ...option) optionSet {
	var s optionSet
	for _, o := range opts {
		s |= 1 << o
	}
	return s
}

func (s optionSet) has(o option) bool       { return s&(1<<o) != 0 }
func (s optionSet) hasAny(t optionSet) bool { return s&t != 0 }

// argument says whether a word takes one.
type argument uint8

const (
	noArgument argument = iota
	needsArgument
	mayHaveArgument
)

// word is one word of the command line's language.
type word struct {
	long    string
	short   byte // 0: none
	arg     argument
	command command // cmdNone: the word is an option
	option  option
	apply   func(p *parser, arg string) *verdict // nil: nothing but the option itself
}

// words are all there are.
var words = []word{
	{long: "add-service", short: 'A', command: cmdAdd},
	{long: "edit-service", short: 'E', command: cmdEdit},
	{long: "delete-service", short: 'D', command: cmdDelete},
	{long: "clear", short: 'C', command: cmdFlush},
	{long: "restore", short: 'R', command: cmdRestore},
	{long: "save", short: 'S', command: cmdSave},
	{long: "add-server", short: 'a', command: cmdAddServer},
	{long: "edit-server", short: 'e', command: cmdEditServer},
	{long: "delete-server", short: 'd', command: cmdDeleteServer},
	{long: "list", short: 'L', command: cmdList},
	{short: 'l', command: cmdList},
	{long: "zero", short: 'Z', command: cmdZero},
	{long: "set", command: cmdSet},
	{long: "start-daemon", arg: needsArgument, command: cmdStartDaemon,
		apply: daemonState("illegal start-daemon parameter specified")},
	{long: "stop-daemon", arg: needsArgument, command: cmdStopDaemon,
		apply: daemonState("illegal start_daemon specified")},
	{long: "help", short: 'h', command: cmdHelp},
	{long: "version", short: 'v', command: cmdVersion},

	{long: "tcp-service", short: 't', arg: needsArgument, option: optService, apply: service(ipvs.TCP)},
	{long: "udp-service", short: 'u', arg: needsArgument, option: optService, apply: service(ipvs.UDP)},
	{long: "sctp-service", arg: needsArgument, option: optService, apply: service(ipvs.SCTP)},
	{long: "fwmark-service", short: 'f', arg: needsArgument, option: optService, apply: (*parser).fwmark},
	{long: "ipv6", short: '6', option: optNone, apply: (*parser).ipv6},
	{long: "scheduler", short: 's', arg: needsArgument, option: optScheduler, apply: (*parser).scheduler},
	{long: "sched-flags", short: 'b', arg: needsArgument, option: optSchedFlags, apply: (*parser).schedFlags},
	{long: "persistent", short: 'p', arg: mayHaveArgument, option: optPersistent, apply: (*parser).persistent},
	{long: "netmask", short: 'M', arg: needsArgument, option: optNetmask, apply: (*parser).netmask},
	{long: "pe", arg: needsArgument, option: optPE, apply: (*parser).pe},
	{long: "ops", short: 'o', option: optOPS, apply: (*parser).ops},

	{long: "real-server", short: 'r', arg: needsArgument, option: optServer, apply: (*parser).realServer},
	{long: "gatewaying", short: 'g', option: optForward, apply: method(ipvs.DirectRoute)},
	{long: "ipip", short: 'i', option: optForward, apply: method(ipvs.Tunnel)},
	{long: "masquerading", short: 'm', option: optForward, apply: method(ipvs.Masquerade)},
	{long: "tun-type", arg: needsArgument, option: optTunType, apply: (*parser).tunType},
	{long: "tun-port", arg: needsArgument, option: optTunPort, apply: (*parser).tunPort},
	{long: "tun-nocsum", option: optTunNoCsum, apply: tunFlags(ipvs.TunnelNoCsum)},
	{long: "tun-csum", option: optTunCsum, apply: tunFlags(ipvs.TunnelCsum)},
	{long: "tun-remcsum", option: optTunRemCsum, apply: tunFlags(ipvs.TunnelRemCsum)},
	{long: "weight", short: 'w', arg: needsArgument, option: optWeight, apply: (*parser).weight},
	{long: "u-threshold", short: 'x', arg: needsArgument, option: optUThreshold, apply: (*parser).upperThreshold},
	{long: "l-threshold", short: 'y', arg: needsArgument, option: optLThreshold, apply: (*parser).lowerThreshold},

	{long: "mcast-interface", arg: needsArgument, option: optMcastInterface, apply: (*parser).mcastInterface},
	{long: "mcast-group", arg: needsArgument, option: optMcastGroup, apply: (*parser).mcastGroup},
	{long: "mcast-port", arg: needsArgument, option: optMcastPort, apply: (*parser).mcastPort},
	{long: "mcast-ttl", arg: needsArgument, option: optMcastTTL, apply: (*parser).mcastTTL},
	{long: "syncid", arg: needsArgument, option: optSyncID, apply: (*parser).syncID},
	{long: "sync-maxlen", arg: needsArgument, option: optSyncMaxLen, apply: (*parser).syncMaxLen},

	{long: "numeric", short: 'n', option: optNumeric},
	{long: "connection", short: 'c', option: optConnection},
	{long: "timeout", option: optTimeout},
	{long: "daemon", option: optDaemon},
	{long: "stats", option: optStats},
	{long: "rate", option: optRate},
	{long: "thresholds", option: optThresholds},
	{long: "persistent-conn", option: optPersistentConn},
	{long: "tun-info", option: optTunInfo},
	{long: "nosort", option: optNoSort},
	{long: "sort", option: optNone},
	{long: "exact", short: 'X', option: optExact},
}
