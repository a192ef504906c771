package ipvs

import (
	"fmt"
	"net/netip"
)

// Family is an address family, with ipvsadm's meaning.
type Family uint8

const (
	Unspec Family = 0
	IPv4   Family = 4
	IPv6   Family = 6
)

// FamilyOf returns the family of a.
func FamilyOf(a netip.Addr) Family {
	switch {
	case a.Is4():
		return IPv4
	case a.Is6():
		return IPv6
	}
	return Unspec
}

// Protocol is an IP protocol number.
type Protocol uint8

const (
	ProtoIP   Protocol = 0 // a fwmark template's
	TCP       Protocol = 6
	UDP       Protocol = 17
	SCTP      Protocol = 132
	ProtoICMP Protocol = 1
)

// String is the protocol's name as ipvsadm and /proc print it.
func (p Protocol) String() string {
	switch p {
	case ProtoIP:
		return "IP"
	case ProtoICMP:
		return "ICMP"
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	case SCTP:
		return "SCTP"
	case 58:
		return "ICMPv6"
	}
	return fmt.Sprintf("IP_%d", uint8(p))
}

// ForwardMethod is how packets reach a real server. The numbers are the kernel's.
type ForwardMethod uint8

const (
	Masquerade  ForwardMethod = 0 // NAT, -m
	LocalNode   ForwardMethod = 1
	Tunnel      ForwardMethod = 2 // TUN, -i
	DirectRoute ForwardMethod = 3 // DR, -g
	Bypass      ForwardMethod = 4
)

// String is the method as ipvsadm lists it.
func (m ForwardMethod) String() string {
	switch m {
	case LocalNode:
		return "Local"
	case Tunnel:
		return "Tunnel"
	case DirectRoute:
		return "Route"
	}
	return "Masq"
}

// TunnelType is the encapsulation of method Tunnel.
type TunnelType uint8

const (
	IPIP TunnelType = 0
	GUE  TunnelType = 1
	GRE  TunnelType = 2
)

// Tunnel flags.
const (
	TunnelNoCsum  uint16 = 0
	TunnelCsum    uint16 = 1
	TunnelRemCsum uint16 = 2
)

// TunnelParams are a tunnelled real server's encapsulation.
type TunnelParams struct {
	Type  TunnelType
	Port  uint16 // GUE only
	Flags uint16
}

// ServiceFlags are a service's flags with the kernel's values.
type ServiceFlags uint32

const (
	FlagPersistent ServiceFlags = 0x01
	FlagHashed     ServiceFlags = 0x02
	FlagOnePacket  ServiceFlags = 0x04
	FlagSched1     ServiceFlags = 0x08 // sh, mh: fallback
	FlagSched2     ServiceFlags = 0x10 // sh, mh: port
	FlagSched3     ServiceFlags = 0x20
)

// ServiceID identifies a virtual service: by Family and Mark if Mark is not 0,
// else by protocol, address and port.
type ServiceID struct {
	Family   Family
	Protocol Protocol
	Addr     netip.Addr
	Port     uint16
	Mark     uint32
}

// String names the service as ipvsadm lists it.
func (id ServiceID) String() string {
	if id.Mark != 0 {
		if id.Family == IPv6 {
			return fmt.Sprintf("FWM %d IPv6", id.Mark)
		}
		return fmt.Sprintf("FWM %d", id.Mark)
	}
	return fmt.Sprintf("%v %v", id.Protocol, netip.AddrPortFrom(id.Addr, id.Port))
}

// ServiceSpec is what an operator wants of a virtual service.
type ServiceSpec struct {
	Scheduler string
	Flags     ServiceFlags
	Timeout   uint32 // persistence, seconds; 0 unless FlagPersistent
	// Netmask of persistent clients: for IPv4 the mask as an address
	// (255.255.255.0; any bits), for IPv6 unused.
	Netmask   netip.Addr
	PrefixLen uint8 // IPv6 persistence granularity, 1..128
	PE        string
}

// ServerID identifies a real server within its service.
type ServerID struct {
	Addr netip.Addr
	Port uint16
}

// String is addr:port.
func (id ServerID) String() string { return netip.AddrPortFrom(id.Addr, id.Port).String() }

// ServerSpec is what an operator wants of a real server.
type ServerSpec struct {
	Method         ForwardMethod
	Weight         int32
	UpperThreshold uint32
	LowerThreshold uint32
	Tunnel         TunnelParams
}

// Timeouts are those of `ipvsadm --set`, in seconds; 0 in a request means unchanged.
type Timeouts struct {
	TCP, TCPFin, UDP uint32
}

// DefaultTimeouts are the kernel's.
var DefaultTimeouts = Timeouts{TCP: 900, TCPFin: 120, UDP: 300}

// Info describes the director, as the first line of `ipvsadm -L` does.
type Info struct {
	Version       [3]int // 1.2.1
	ConnTableSize int    // buckets
}

// DaemonState says which connection synchronisation daemon is meant.
type DaemonState uint8

const (
	DaemonMaster DaemonState = 1
	DaemonBackup DaemonState = 2
)

// Daemon describes a connection synchronisation daemon.
type Daemon struct {
	State     DaemonState
	Interface string
	SyncID    int
	MaxLen    int
	Group     netip.Addr
	Port      int
	TTL       int
}

// Stats are counters and rates as shown to an operator.
type Stats struct {
	Conns, InPkts, OutPkts, InBytes, OutBytes uint64
	CPS, InPPS, OutPPS, InBPS, OutBPS         uint64 // per second; BPS are bytes
}

// ServiceEntry is a virtual service as listed.
type ServiceEntry struct {
	ID      ServiceID
	Spec    ServiceSpec
	Stats   Stats
	Servers []ServerEntry // newest first, as the kernel lists them
}

// ServerEntry is a real server as listed.
type ServerEntry struct {
	ID                           ServerID
	Spec                         ServerSpec
	Active, Inactive, Persistent uint32
	Stats                        Stats
}

// ConnEntry is a connection or template as listed by `ipvsadm -Lc`.
type ConnEntry struct {
	Protocol  Protocol
	Client    netip.AddrPort
	Virtual   netip.AddrPort // of a fwmark template: the mark as an IPv4 address
	Real      netip.AddrPort
	State     string
	Expires   int64 // seconds, rounded down
	PEName    string
	PEData    string
	Template  bool
	Synced    bool
	Method    ForwardMethod
	InPackets uint64
}
