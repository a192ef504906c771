package api

import (
	"net/netip"

	"usvs/ipvs"
)

// The types below are those of package ipvs with names for JSON. Their fields
// are the same, so that Go converts between them and a field that is forgotten
// does not compile. Numbers are the kernel's.

type serviceID struct {
	Family   ipvs.Family   `json:"family"`
	Protocol ipvs.Protocol `json:"protocol,omitempty"`
	Addr     netip.Addr    `json:"address,omitzero"`
	Port     uint16        `json:"port,omitempty"`
	Mark     uint32        `json:"fwmark,omitempty"`
}

type serviceSpec struct {
	Scheduler string            `json:"scheduler"`
	Flags     ipvs.ServiceFlags `json:"flags"`
	Timeout   uint32            `json:"timeout,omitempty"`
	Netmask   netip.Addr        `json:"netmask,omitzero"`
	PrefixLen uint8             `json:"prefix_len,omitempty"`
	PE        string            `json:"pe,omitempty"`
}

type serverID struct {
	Addr netip.Addr `json:"address"`
	Port uint16     `json:"port"`
}

type tunnel struct {
	Type  ipvs.TunnelType `json:"type"`
	Port  uint16          `json:"port,omitempty"`
	Flags uint16          `json:"flags,omitempty"`
}

type serverSpec struct {
	Method         ipvs.ForwardMethod `json:"method"`
	Weight         int32              `json:"weight"`
	UpperThreshold uint32             `json:"upper_threshold,omitempty"`
	LowerThreshold uint32             `json:"lower_threshold,omitempty"`
	Tunnel         tunnel             `json:"tunnel,omitzero"`
}

func toServerSpec(s ipvs.ServerSpec) serverSpec {
	return serverSpec{s.Method, s.Weight, s.UpperThreshold, s.LowerThreshold, tunnel(s.Tunnel)}
}

func (s serverSpec) spec() ipvs.ServerSpec {
	return ipvs.ServerSpec{
		Method: s.Method, Weight: s.Weight,
		UpperThreshold: s.UpperThreshold, LowerThreshold: s.LowerThreshold,
		Tunnel: ipvs.TunnelParams(s.Tunnel),
	}
}

type stats struct {
	Conns    uint64 `json:"conns"`
	InPkts   uint64 `json:"in_packets"`
	OutPkts  uint64 `json:"out_packets"`
	InBytes  uint64 `json:"in_bytes"`
	OutBytes uint64 `json:"out_bytes"`
	CPS      uint64 `json:"conns_per_second"`
	InPPS    uint64 `json:"in_packets_per_second"`
	OutPPS   uint64 `json:"out_packets_per_second"`
	InBPS    uint64 `json:"in_bytes_per_second"`
	OutBPS   uint64 `json:"out_bytes_per_second"`
}

type serviceEntry struct {
	ID      serviceID     `json:"id"`
	Spec    serviceSpec   `json:"spec"`
	Stats   stats         `json:"stats"`
	Servers []serverEntry `json:"servers,omitempty"`
}

type serverEntry struct {
	ID         serverID   `json:"id"`
	Spec       serverSpec `json:"spec"`
	Active     uint32     `json:"active_conns"`
	Inactive   uint32     `json:"inactive_conns"`
	Persistent uint32     `json:"persistent_conns"`
	Stats      stats      `json:"stats"`
}

func toServiceEntry(e ipvs.ServiceEntry) serviceEntry {
	out := serviceEntry{ID: serviceID(e.ID), Spec: serviceSpec(e.Spec), Stats: stats(e.Stats)}
	for _, s := range e.Servers {
		out.Servers = append(out.Servers, serverEntry{
			ID: serverID(s.ID), Spec: toServerSpec(s.Spec), Stats: stats(s.Stats),
			Active: s.Active, Inactive: s.Inactive, Persistent: s.Persistent,
		})
	}
	return out
}

func (e serviceEntry) entry() ipvs.ServiceEntry {
	out := ipvs.ServiceEntry{ID: ipvs.ServiceID(e.ID), Spec: ipvs.ServiceSpec(e.Spec), Stats: ipvs.Stats(e.Stats)}
	for _, s := range e.Servers {
		out.Servers = append(out.Servers, ipvs.ServerEntry{
			ID: ipvs.ServerID(s.ID), Spec: s.Spec.spec(), Stats: ipvs.Stats(s.Stats),
			Active: s.Active, Inactive: s.Inactive, Persistent: s.Persistent,
		})
	}
	return out
}

type connection struct {
	Protocol  ipvs.Protocol      `json:"protocol"`
	Client    netip.AddrPort     `json:"client"`
	Virtual   netip.AddrPort     `json:"virtual"`
	Real      netip.AddrPort     `json:"real"`
	State     string             `json:"state"`
	Expires   int64              `json:"expires"`
	PEName    string             `json:"pe_name,omitempty"`
	PEData    string             `json:"pe_data,omitempty"`
	Template  bool               `json:"template,omitempty"`
	Synced    bool               `json:"synced,omitempty"`
	Method    ipvs.ForwardMethod `json:"method"`
	InPackets uint64             `json:"in_packets"`
}

type timeouts struct {
	TCP    uint32 `json:"tcp"`
	TCPFin uint32 `json:"tcp_fin"`
	UDP    uint32 `json:"udp"`
}

type info struct {
	Version       [3]int `json:"version"`
	ConnTableSize int    `json:"conn_table_size"`
}

type daemon struct {
	State     ipvs.DaemonState `json:"state"`
	Interface string           `json:"interface,omitempty"`
	SyncID    int              `json:"sync_id,omitempty"`
	MaxLen    int              `json:"max_len,omitempty"`
	Group     netip.Addr       `json:"group,omitzero"`
	Port      int              `json:"port,omitempty"`
	TTL       int              `json:"ttl,omitempty"`
}

// Bodies of requests.

type nothing struct{}

type serviceRequest struct {
	Service serviceID   `json:"service"`
	Spec    serviceSpec `json:"spec,omitzero"`
}

type serverRequest struct {
	Service serviceID  `json:"service"`
	Server  serverID   `json:"server"`
	Spec    serverSpec `json:"spec,omitzero"`
}

type zeroRequest struct {
	Service *serviceID `json:"service,omitempty"` // absent: all
}

type iptablesRequest struct {
	IPv6  bool     `json:"ipv6,omitempty"`
	Words []string `json:"words"`
}

type iptablesReply struct {
	Output string `json:"output"`
}

type servicesReply struct {
	Services []serviceEntry `json:"services"`
}

type daemonsReply struct {
	Daemons []daemon `json:"daemons"`
}
