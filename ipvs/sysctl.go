package ipvs

import "time"

// Sysctls are the net.ipv4.vs settings the data path reads, as one immutable
// value of a snapshot.
type Sysctls struct {
	CacheBypass             bool
	ConnReuseMode           int
	ExpireNodestConn        bool
	ExpireQuiescentTemplate bool
	NATICMPSend             bool
	PMTUDisc                bool
	ScheduleICMP            bool
	SloppyTCP               bool
	SloppySCTP              bool
	SecureTCP               int
	LBLCExpiration          time.Duration
	LBLCRExpiration         time.Duration
	UnprivilegedPortStart   uint16
}

// DefaultSysctls are the kernel's defaults.
func DefaultSysctls() Sysctls {
	return Sysctls{
		ConnReuseMode:         1,
		PMTUDisc:              true,
		LBLCExpiration:        24 * time.Hour,
		LBLCRExpiration:       24 * time.Hour,
		UnprivilegedPortStart: 1024,
	}
}
