package ipvs

import "time"

// Sysctls are the net.ipv4.vs settings, as one immutable value of a snapshot.
// As in the kernel a switch is any number: 0 is off. SetSysctl and Sysctl know
// them by name.
type Sysctls struct {
	AMDropRate              int // every how many packets drop_packet drops in mode 3
	AMemThresh              int // pages of free memory below which defences turn on
	BackupOnly              int
	CacheBypass             int
	ConnReuseMode           int // bits 1 and 2
	Conntrack               int
	DebugLevel              int
	DropEntry               int // 0 off, 1 automatic and idle, 2 automatic and active, 3 always
	DropPacket              int // likewise
	ExpireNodestConn        int
	ExpireQuiescentTemplate int
	IgnoreTunneled          int
	LBLCExpiration          time.Duration // whole seconds
	LBLCRExpiration         time.Duration // whole seconds
	NATICMPSend             int
	PMTUDisc                int
	RunEstimation           int
	ScheduleICMP            int
	SecureTCP               int // as DropEntry
	SloppySCTP              int
	SloppyTCP               int
	SNATReroute             int
	SyncPersistMode         int
	SyncPorts               int           // a power of two
	SyncQlenMax             int           // messages
	SyncRefreshPeriod       time.Duration // whole seconds
	SyncRetries             int           // 0 to 3
	SyncSockSize            int           // bytes; at most 0: the system's default
	SyncThreshold           int           // packets; below SyncPeriod unless that is 0
	SyncPeriod              int           // packets
	SyncVersion             int           // 0 or 1

	// UnprivilegedPortStart is net.ipv4.ip_unprivileged_port_start, which tells
	// FTP data connections from services.
	UnprivilegedPortStart uint16
}

// DefaultSysctls are the kernel's defaults. The kernel derives sync_qlen_max
// from its memory; this is what a machine of half a gigabyte has.
func DefaultSysctls() Sysctls {
	return Sysctls{
		AMDropRate:            10,
		AMemThresh:            1024,
		ConnReuseMode:         1,
		LBLCExpiration:        24 * time.Hour,
		LBLCRExpiration:       24 * time.Hour,
		PMTUDisc:              1,
		RunEstimation:         1,
		SNATReroute:           1,
		SyncPorts:             1,
		SyncQlenMax:           3807,
		SyncThreshold:         3,
		SyncPeriod:            50,
		SyncVersion:           1,
		UnprivilegedPortStart: 1024,
	}
}
