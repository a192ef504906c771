package ipvsabi

// Numbers of linux/ip_vs.h and linux/genetlink.h.

// FamilyID is the generic netlink family number usvs gives IPVS. The kernel's
// own family numbers end at 1023.
const FamilyID = 0x7e56

const (
	familyName    = "IPVS"
	familyVersion = 1
)

// Netlink messages.
const (
	headerLen        = 16
	genericHeaderLen = 4
	errorLen         = 4 // before the header of the message that failed

	typeError   = 2
	typeDone    = 3
	typeControl = 0x10 // lowest type that is not netlink's own, and the family that resolves names

	flagRequest = 0x1
	flagMulti   = 0x2
	flagAck     = 0x4
	flagDump    = 0x300
	flagCapped  = 0x100
)

// The family nlctrl.
const (
	ctrlNewFamily = 1
	ctrlGetFamily = 3
	ctrlVersion   = 2

	ctrlFamilyID   = 1
	ctrlFamilyName = 2
	ctrlVersionNr  = 3
	ctrlHeaderSize = 4
	ctrlMaxAttr    = 5
	ctrlOps        = 6

	ctrlOpID    = 1
	ctrlOpFlags = 2

	opAdmin     = 1
	opDo        = 2
	opDump      = 4
	opHasPolicy = 8
)

// Commands of the family IPVS.
const (
	cmdNewService = 1 + iota
	cmdSetService
	cmdDelService
	cmdGetService
	cmdNewDest
	cmdSetDest
	cmdDelDest
	cmdGetDest
	cmdNewDaemon
	cmdDelDaemon
	cmdGetDaemon
	cmdSetConfig
	cmdGetConfig
	cmdSetInfo
	cmdGetInfo
	cmdZero
	cmdFlush
)

// Attributes of a command.
const (
	attrService = 1 + iota
	attrDest
	attrDaemon
	attrTimeoutTCP
	attrTimeoutTCPFin
	attrTimeoutUDP
)

// Attributes of GET_INFO's answer.
const (
	infoVersion       = 1
	infoConnTableSize = 2
)

// Attributes of a service.
const (
	svcFamily = 1 + iota
	svcProtocol
	svcAddr
	svcPort
	svcMark
	svcScheduler
	svcFlags
	svcTimeout
	svcNetmask
	svcStats
	svcPE
	svcStats64
)

// Attributes of a destination, which is a real server.
const (
	destAddr = 1 + iota
	destPort
	destMethod
	destWeight
	destUpper
	destLower
	destActive
	destInactive
	destPersistent
	destStats
	destFamily
	destStats64
	destTunType
	destTunPort
	destTunFlags

	maxAttr = destTunFlags // the largest of all
)

// Attributes of a daemon.
const (
	daemonState = 1 + iota
	daemonInterface
	daemonSyncID
	daemonMaxLen
	daemonGroup
	daemonGroup6
	daemonPort
	daemonTTL
)

// Attributes of statistics.
const (
	statConns = 1 + iota
	statInPkts
	statOutPkts
	statInBytes
	statOutBytes
	statCPS
	statInPPS
	statOutPPS
	statInBPS
	statOutBPS
	statPad // empty
)

// Linux's address families.
const (
	afInet  = 2
	afInet6 = 10
)

const (
	addrLen      = 16 // of either family
	schedulerLen = 16 // with NUL
	engineMax    = 16 // without
	interfaceLen = 16 // with NUL
)

var (
	u8  = rule{atLeast, 1}
	u16 = rule{atLeast, 2}
	u32 = rule{atLeast, 4}
)

var controlPolicy = policy{
	ctrlFamilyID:   u16,
	ctrlFamilyName: {text, 15},
}

var commandPolicy = policy{
	attrService:       {nested, 0},
	attrDest:          {nested, 0},
	attrDaemon:        {nested, 0},
	attrTimeoutTCP:    u32,
	attrTimeoutTCPFin: u32,
	attrTimeoutUDP:    u32,
}

var servicePolicy = policy{
	svcFamily:    u16,
	svcProtocol:  u16,
	svcAddr:      {atMost, addrLen},
	svcPort:      u16,
	svcMark:      u32,
	svcScheduler: {text, schedulerLen - 1},
	svcPE:        {text, engineMax},
	svcFlags:     {atMost, 8},
	svcTimeout:   u32,
	svcNetmask:   u32,
	svcStats:     {nested, 0},
}

var destPolicy = policy{
	destAddr:       {atMost, addrLen},
	destPort:       u16,
	destMethod:     u32,
	destWeight:     u32,
	destUpper:      u32,
	destLower:      u32,
	destActive:     u32,
	destInactive:   u32,
	destPersistent: u32,
	destStats:      {nested, 0},
	destFamily:     u16,
	destTunType:    u8,
	destTunPort:    u16,
	destTunFlags:   u16,
}

var daemonPolicy = policy{
	daemonState:     u32,
	daemonInterface: {text, interfaceLen - 1},
	daemonSyncID:    u32,
	daemonMaxLen:    u16,
	daemonGroup:     u32,
	daemonGroup6:    {atLeast, 16},
	daemonPort:      u16,
	daemonTTL:       u8,
}
