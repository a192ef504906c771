package keepalived

import (
	"net/netip"
	"time"
)

// Config is what a configuration says, with keepalived's defaults filled in.
type Config struct {
	// Files are the files read, in the order they were met.
	Files []string

	Global Global

	SyncGroups     []*SyncGroup
	Instances      []*Instance
	VRRPScripts    []*VRRPScript
	TrackProcesses []*TrackProcess
	TrackFiles     []*TrackFile
	TrackGroups    []*TrackGroup
	GARPGroups     []*GARPGroup
	BFDInstances   []*BFDInstance

	InterfaceDelays []InterfaceDelay

	StaticAddresses []Address
	StaticRoutes    []Route
	StaticRules     []Entry

	SSL            *SSL
	ServerGroups   []*VirtualServerGroup
	VirtualServers []*VirtualServer
}

// User is who a script runs as.
type User struct{ Name, Group string }

// SMTPServer is where mail goes: an address or a name, and a port.
type SMTPServer struct {
	Host string
	Port uint16
}

// SyncDaemon is lvs_sync_daemon: IPVS's connection synchronisation.
type SyncDaemon struct {
	Interface string
	// Instance is the vrrp_instance whose state decides between master and
	// backup; empty for both at once.
	Instance string
	ID       int
	MaxLen   int
	Port     uint16
	TTL      int
	Group    netip.Addr
}

// Timeouts is lvs_timeouts; a value below zero is not set.
type Timeouts struct{ TCP, TCPFin, UDP time.Duration }

// GARP is when and how often addresses are announced.
type GARP struct {
	Delay, Refresh, LowerPrioDelay         Value[time.Duration]
	Repeat, RefreshRepeat, LowerPrioRepeat Value[int]
}

// Global is global_defs and the keywords outside of blocks.
type Global struct {
	NotificationEmail     []Value[string]
	NotificationEmailFrom Value[string]
	SMTPServer            Value[SMTPServer]
	SMTPConnectTimeout    Value[time.Duration]
	SMTPHelo              Value[string]
	SMTPAlert             Value[bool]
	SMTPAlertVRRP         Value[bool]
	SMTPAlertChecker      Value[bool]
	NoEmailFaults         Value[bool]
	NoCheckerEmails       Value[bool]
	RouterID              Value[string]

	ScriptUser           Value[User]
	EnableScriptSecurity Value[bool]
	NotifyFIFO           Value[FIFO]
	VRRPNotifyFIFO       Value[FIFO]
	LVSNotifyFIFO        Value[FIFO]
	NotifyFIFOScript     Value[Script]
	VRRPFIFOScript       Value[Script]
	LVSFIFOScript        Value[Script]

	DefaultInterface  Value[string]
	DynamicInterfaces Value[bool]

	SkipCheckAdvAddr      Value[bool]
	Strict                Value[bool]
	GARP                  GARP
	GARPInterval          Value[time.Duration]
	GNAInterval           Value[time.Duration]
	MinGARP               Value[bool]
	McastGroup4           Value[netip.Addr]
	McastGroup6           Value[netip.Addr]
	Version               Value[int]
	LowerPrioNoAdvert     Value[bool]
	HigherPrioSendAdvert  Value[bool]
	DownTimerAdverts      Value[int]
	CheckUnicastSrc       Value[bool]
	NotifyPriorityChanges Value[bool]
	StartupDelay          Value[time.Duration]
	LogUnknownVRIDs       Value[bool]

	LVSSyncDaemon    Value[SyncDaemon]
	LVSTimeouts      Value[Timeouts]
	LVSFlush         Value[bool]
	LVSFlushOnStop   Value[string] // "", "all" or "VS"
	CheckerLogAll    Value[bool]
	CheckPath        Value[string] // direct or vip; only usvs has it
	RSInitNotifies   Value[bool]
	NetNamespace     Value[string]
	NetNamespaceIPVS Value[string]
	InstanceName     Value[string]
}
