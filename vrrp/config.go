package vrrp

import (
	"net/netip"
	"time"

	"usvs/wire"
)

// Config is what the instances of a node are made of. Names tie its parts
// together; a name that nothing has is ignored.
type Config struct {
	Instances  []Instance
	Groups     []Group
	Scripts    []Script
	Processes  []Process
	Files      []File
	Debounces  []Debounce
	PaceGroups []PaceGroup
	Pace       Pace // vrrp_garp_interval and vrrp_gna_interval: of each interface

	StartupDelay    time.Duration // vrrp_startup_delay
	LogUnknownVRIDs bool
}

// Instance is a vrrp_instance. New and Reload fill in keepalived's defaults
// for what is zero and has one: see each field.
type Instance struct {
	Name      string
	Interface string // may be empty for unicast with a Source
	VRID      int
	IPv6      bool
	Version   int  // 2 or 3; default 2, with IPv6 3
	Master    bool // state MASTER
	Priority  int  // 1 to 255; default 100, with Master 255

	AdvertInterval   time.Duration // default 1 s
	DownTimerAdverts int           // adverts missed before the master is down; default 3
	Auth             Auth
	Password         string // eight bytes count

	Addresses []Address // advertised
	Excluded  []Address // come and go with Addresses, not advertised

	// Routes come and go with the addresses. What they say does not matter here.
	Routes []string
	// NoAccept is no_accept: who is not the owner does not take packets to the
	// addresses (RFC 5798, 6.1, Accept_Mode).
	NoAccept bool

	NoPreempt    bool
	PreemptDelay time.Duration

	Source    netip.Addr // mcast_src_ip or unicast_src_ip; default the interface's
	Multicast netip.Addr // group; default 224.0.0.18, ff02::12
	Peers     []Peer     // any peer makes the instance unicast
	// Unicast is that a keyword about unicast was given, for UnicastFaultNoPeer.
	Unicast            bool
	UnicastTTL         int // default 255
	UnicastFaultNoPeer bool
	CheckUnicastSrc    bool

	Tracks           Tracks
	DontTrackPrimary bool
	TrackSource      bool // track_src_ip: fault while Source is not on the interface

	GARP GARP
	VMAC *VMAC

	SkipCheckAdvAddr     bool
	Strict               bool
	LowerPrioNoAdvert    bool
	HigherPrioSendAdvert bool
	NotifyPriorities     bool
}

// Auth is how adverts of version 2 are authenticated.
type Auth uint8

const (
	NoAuth Auth = iota
	Pass        // auth_type PASS: the password in clear, against mistakes only
	AH          // auth_type AH: HMAC-MD5 in an IPsec authentication header
)

// Peer is an entry of unicast_peer. A limit of zero does not limit.
type Peer struct {
	Addr           netip.Addr
	MinTTL, MaxTTL int
}

// VMAC is use_vmac: the instance's addresses have the virtual router's MAC.
type VMAC struct {
	// Name of the interface keepalived makes for it; default vrrp.VRID.
	Name string
	// MAC is not the standard's 00:00:5e:00:01:VRID (IPv6: 02:VRID), if not zero.
	MAC wire.MAC
	// XmitBase is vmac_xmit_base: adverts have the interface's own MAC.
	XmitBase bool
}

// Address is a virtual address of an instance.
type Address struct {
	Prefix    netip.Prefix
	Interface string // default the instance's
	Label     string
	Broadcast string
	Scope     string
	Peer      netip.Addr
	Flags     []string
	Preferred string // preferred_lft
	NoTrack   bool   // may be removed by others
	// VMAC is the virtual MAC the address is answered with; zero for the
	// interface's. New sets it for instances with VMAC.
	VMAC wire.MAC
	// Refused is set by New: the host is to drop packets to the address.
	Refused bool
}

// GARP is when and how often an instance's addresses are announced. New takes
// the values as they are: zero is no second burst, no refresh, no repetition.
type GARP struct {
	Delay           time.Duration // from becoming master to the second burst
	Repeat          int           // bursts at once; at least 1
	Refresh         time.Duration
	RefreshRepeat   int // at least 1
	LowerPrioDelay  time.Duration
	LowerPrioRepeat int
}

// Pace is the least time between two announcements on an interface.
type Pace struct {
	GARP time.Duration
	NA   time.Duration
}

// PaceGroup is a garp_group: interfaces that share a Pace.
type PaceGroup struct {
	Pace       Pace
	Interfaces []string
}

// Debounce is a line of interface_up_down_delays: how long an interface is up
// or down before that counts.
type Debounce struct {
	Interface string
	Down, Up  time.Duration
}

// Tracks is what an instance or a sync group depends on.
type Tracks struct {
	Interfaces, Scripts, Processes, Files []Track
}

// Track is an entry of a track_ block. What it has no weight of its own for has
// the object's, and weight 0 is the fault of the instance.
type Track struct {
	Name     string
	Weight   int
	Reverse  bool
	Weighted bool // Weight and Reverse are the entry's own
}

// Group is a vrrp_sync_group: its members are master or not together.
type Group struct {
	Name             string
	Members          []string
	Tracks           Tracks
	TrackingWeight   bool // members keep the weights of what they track
	NotifyPriorities bool
}

// Script is a vrrp_script. Running it is its owner's part, see Effects.
type Script struct {
	Name       string
	Interval   time.Duration // default 1 s
	Timeout    time.Duration // default Interval; held by whoever runs the script
	Weight     int
	Reverse    bool
	Rise, Fall int // default 1
	InitFail   bool
}

// Process is a vrrp_track_process: it is up while at least Quorum processes run.
type Process struct {
	Name           string
	Weight         int
	Reverse        bool
	Quorum         int // default 1
	QuorumMax      int // more are as bad as too few, if HasMax
	HasMax         bool
	ForkDelay      time.Duration
	TerminateDelay time.Duration
}

// File is a track_file: the number in it times the weight is added.
type File struct {
	Name    string
	Weight  int
	Reverse bool
}

// Interface is what is known of an interface of the host.
type Interface struct {
	Name  string
	Up    bool // administratively up, and running
	MAC   wire.MAC
	MTU   int // 0 if unknown
	NoARP bool
	Addrs []netip.Prefix
}

// ScriptResult is how a run of a script ended.
type ScriptResult struct {
	Status   int // exit status
	Signal   int // that ended it, or 0
	TimedOut bool
}

// Packet is an IP packet, header included, as it came in by an interface.
type Packet struct {
	Interface string
	IP        []byte
}
