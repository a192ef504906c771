package keepalived

import (
	"net/netip"
	"time"

	"usvs/iproute"
)

// Notify is the scripts of an instance or a sync group.
type Notify struct {
	Master, Backup, Fault, Stop, Any Value[Script]
}

// Track is an entry of a track_* block: an object and its weight.
type Track struct {
	Name    string
	Weight  int
	Reverse bool
	At      Pos
	// Weighted is whether the entry itself has a weight.
	Weighted bool
}

// Tracks is what an instance or a sync group depends on.
type Tracks struct {
	Interfaces, Scripts, Files, Processes, BFDs []Track
}

// Peer is an entry of unicast_peer. A limit below zero is not set.
type Peer struct {
	Addr           netip.Addr
	MinTTL, MaxTTL int
	At             Pos
}

// Address is an entry of virtual_ipaddress, virtual_ipaddress_excluded or
// static_ipaddress.
type Address struct {
	Prefix     netip.Prefix
	Broadcast  string // an address, + or -
	Interface  string
	Scope      string
	Label      string
	Peer       netip.Addr
	Flags      []string // home, -nodad, mngtmpaddr, noprefixroute, autojoin
	Preferred  string   // preferred_lft
	NoTrack    bool
	UseVMAC    bool
	TrackGroup string
	At         Pos

	explicit bool // the text gives the length of the prefix
}

// InterfaceDelay is a line of interface_up_down_delays: how long an interface
// has to be down or up before that counts.
type InterfaceDelay struct {
	Interface string
	Down, Up  time.Duration
	At        Pos
}

// Route is an entry of virtual_routes or static_routes.
type Route struct {
	iproute.Route
	NoTrack    bool
	TrackGroup string
	At         Pos
}

// Entry is a rule in the words of ip(8).
type Entry struct {
	Words []string
	At    Pos
}

// IPVLAN is what use_ipvlan says of the interface.
type IPVLAN struct {
	Interface string
	Type      string // bridge, private or vepa
	Address   netip.Addr
}

// Instance is a vrrp_instance.
type Instance struct {
	Name string
	At   Pos

	State           Value[string] // MASTER or BACKUP
	Interface       Value[string]
	VirtualRouterID Value[int]
	Priority        Value[int]
	AdvertInterval  Value[time.Duration]
	AuthType        Value[string] // PASS or AH
	AuthPass        Value[string] // eight bytes at most
	Version         Value[int]
	NativeIPv6      Value[bool]

	VirtualAddresses  []Address
	ExcludedAddresses []Address
	VirtualRoutes     []Route
	VirtualRules      []Entry

	NoPreempt    Value[bool]
	PreemptDelay Value[time.Duration]
	Tracks       Tracks
	UnicastSrc   Value[netip.Addr]
	McastSrc     Value[netip.Addr]
	UnicastPeers []Peer

	Notify           Notify
	NotifyDeleted    Value[Script]
	NotifyLowerPrio  Value[Script]
	NotifyPriorities Value[bool]
	SMTPAlert        Value[bool]

	GARP                 GARP
	UseVMAC              Value[string] // the interface's name, may be empty
	VMACAddress          Value[string] // five or six bytes in hexadecimal; VRRP fills in the last
	VMACXmitBase         Value[bool]
	IPVLAN               Value[IPVLAN]
	VRF                  Value[string] // the interface's name
	OldUnicastChecksum   Value[string] // never, or empty
	UseVMACAddr          Value[bool]
	DontTrackPrimary     Value[bool]
	TrackSrcIP           Value[bool]
	McastDst             Value[netip.Addr]
	UnicastTTL           Value[int]
	CheckUnicastSrc      Value[bool]
	UnicastFaultNoPeer   Value[bool]
	SkipCheckAdvAddr     Value[bool]
	Strict               Value[bool]
	LowerPrioNoAdvert    Value[bool]
	HigherPrioSendAdvert Value[bool]
	DownTimerAdverts     Value[int]
	Accept               Value[bool]
	PromoteSecondaries   Value[bool]
	Debug                Value[int]

	// SyncGroup is the group the instance belongs to, if any.
	SyncGroup *SyncGroup

	peersAt Pos // unicast_peer, empty or not
}

// SyncGroup is a vrrp_sync_group.
type SyncGroup struct {
	Name string
	At   Pos

	Members          []Value[string]
	Instances        []*Instance
	Notify           Notify
	SMTPAlert        Value[bool]
	NotifyPriorities Value[bool]
	Tracks           Tracks
	TrackingWeight   Value[bool]
}

// VRRPScript is a vrrp_script.
type VRRPScript struct {
	Name string
	At   Pos

	Script   Value[Script]
	Interval Value[time.Duration]
	Timeout  Value[time.Duration]
	Weight   Value[Weight]
	Rise     Value[int]
	Fall     Value[int]
	User     Value[User]
	InitFail Value[bool]
}

// Weight is what a tracked object adds to the priority.
type Weight struct {
	Value   int
	Reverse bool
}

// TrackProcess is a vrrp_track_process.
type TrackProcess struct {
	Name string
	At   Pos

	Process         Value[[]string]
	ParamMatch      Value[string]
	Weight          Value[Weight]
	Quorum          Value[int]
	QuorumMax       Value[int]
	ForkDelay       Value[time.Duration]
	TerminateDelay  Value[time.Duration]
	FullCommandName Value[bool]
}

// TrackFile is a track_file.
type TrackFile struct {
	Name string
	At   Pos

	File      Value[string]
	Weight    Value[Weight]
	InitValue Value[int]
	Overwrite Value[bool]
}

// TrackGroup is a track_group: the instances that fail with a static entry.
type TrackGroup struct {
	Name    string
	At      Pos
	Members []Value[string]
}

// GARPGroup is a garp_group: announcements of some interfaces share a pace.
type GARPGroup struct {
	At           Pos
	GARPInterval Value[time.Duration]
	GNAInterval  Value[time.Duration]
	Interfaces   []Value[string]
}

// BFDInstance is a bfd_instance.
type BFDInstance struct {
	Name string
	At   Pos

	Neighbor   Value[netip.Addr]
	Source     Value[netip.Addr]
	MinRx      Value[time.Duration]
	MinTx      Value[time.Duration]
	IdleTx     Value[time.Duration]
	Multiplier Value[int]
	Passive    Value[bool]
	TTL        Value[int]
	MaxHops    Value[int]
	Weight     Value[Weight]
	VRRP       Value[bool]
	Checker    Value[bool]
}
