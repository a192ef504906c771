package keepalived

import (
	"net/netip"
	"time"
)

// SSL is the client's side of SSL_GET.
type SSL struct {
	At                              Pos
	Password, CA, Certificate, File Value[string]
}

// VirtualServerGroup is a virtual_server_group.
type VirtualServerGroup struct {
	Name    string
	At      Pos
	Entries []GroupEntry
}

// GroupEntry is a range of addresses with a port, or a firewall mark.
type GroupEntry struct {
	First, Last netip.Addr
	Port        uint16
	Mark        uint32
	Family      string // inet or inet6, of a mark
	At          Pos
}

// Forwarding is lb_kind or lvs_method.
type Forwarding struct {
	Method     string // NAT, DR or TUN
	TunnelType string // ipip, gue or gre
	TunnelPort uint16
	Checksum   string // nocsum, csum or remcsum
}

// Timing is how often a server is looked at. A server's settings are the
// default of its checkers', the virtual server's those of its servers'.
type Timing struct {
	DelayLoop        Value[time.Duration]
	ConnectTimeout   Value[time.Duration]
	Retry            Value[int]
	DelayBeforeRetry Value[time.Duration]
	Warmup           Value[time.Duration]
	CheckPath        Value[string] // direct or vip; only usvs has it
}

// VirtualServer is a virtual_server: by address, by firewall mark or by group.
type VirtualServer struct {
	At    Pos
	VIP   netip.Addr
	Port  uint16
	Mark  uint32
	Group string
	// Origin is the text that it was read from.
	Origin Origin

	Timing
	Scheduler              Value[string]
	Flags                  []Value[string] // flag-1, sh-port and the like
	Forwarding             Value[Forwarding]
	Protocol               Value[string] // TCP, UDP or SCTP; empty for a mark
	Persistence            Value[time.Duration]
	PersistenceEngine      Value[string]
	PersistenceGranularity Value[int] // prefix length
	PersistenceMask        netip.Addr // of IPv4, as it was read
	OnePacket              Value[bool]
	Hashed                 Value[bool]
	Family                 Value[string] // inet or inet6; empty: nothing says
	Weight                 Value[int]

	Virtualhost      Value[string]
	HASuspend        Value[bool]
	Quorum           Value[int]
	Hysteresis       Value[int]
	QuorumUp         Value[Script]
	QuorumDown       Value[Script]
	Alpha            Value[bool]
	Omega            Value[bool]
	InhibitOnFailure Value[bool]
	SMTPAlert        Value[bool]
	SNMPName         Value[string]

	SorryServer        Value[netip.AddrPort]
	SorryServerInhibit Value[bool]
	SorryForwarding    Value[Forwarding]
	RealServers        []*RealServer
}

// RealServer is a real_server.
type RealServer struct {
	At   Pos
	RIP  netip.Addr
	Port uint16

	Timing
	Weight           Value[int]
	Forwarding       Value[Forwarding]
	InhibitOnFailure Value[bool]
	Alpha            Value[bool]
	UpperThreshold   Value[int]
	LowerThreshold   Value[int]
	NotifyUp         Value[Script]
	NotifyDown       Value[Script]
	Virtualhost      Value[string]
	SMTPAlert        Value[bool]
	SNMPName         Value[string]
	Checkers         []*Checker
}

// Checker is a check of a real server. Type is the keyword of its block; the
// fields that other types have are not set.
type Checker struct {
	Type string
	At   Pos

	Timing
	Alpha          Value[bool]
	LogAllFailures Value[bool]

	ConnectIP   Value[netip.Addr]
	ConnectPort Value[uint16]
	BindTo      Value[netip.Addr]
	BindPort    Value[uint16]
	BindIf      Value[string]
	Mark        Value[int]

	HTTP *HTTPCheck // HTTP_GET and SSL_GET
	DNS  *DNSCheck
	Misc *MiscCheck
	UDP  *UDPCheck

	HeloName   Value[string] // SMTP_CHECK
	BFD        Value[string] // BFD_CHECK
	TrackFile  Value[string] // FILE_CHECK
	FileWeight Value[Weight]
}

// HTTPCheck is what HTTP_GET and SSL_GET ask for.
type HTTPCheck struct {
	URLs         []*URL
	Protocol     Value[string] // 1.0, 1.0C or 1.1
	Virtualhost  Value[string]
	EnableSNI    Value[bool]
	FastRecovery Value[bool]
}

// StatusRange is one or more HTTP status codes.
type StatusRange struct{ First, Last int }

// URL is a page that has to be there.
type URL struct {
	At          Pos
	Path        Value[string]
	Digest      Value[string]
	StatusCodes Value[[]StatusRange]
	Virtualhost Value[string]
	Regex       Value[string]
	RegexNot    Value[bool]
}

// DNSCheck is what DNS_CHECK asks for.
type DNSCheck struct {
	Type Value[string]
	Name Value[string]
}

// MiscCheck is the script of a MISC_CHECK.
type MiscCheck struct {
	Path    Value[Script]
	Timeout Value[time.Duration]
	Dynamic Value[bool]
	User    Value[User]
}

// UDPCheck is what UDP_CHECK sends and expects.
type UDPCheck struct {
	Payload        Value[string]
	RequireReply   Value[string]
	MinReplyLength Value[int]
	MaxReplyLength Value[int]
}
