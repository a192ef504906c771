package vrrp

import (
	"net/netip"
	"time"

	"usvs/clock"
)

// Status is what a Router is doing, as usvs vrrp shows it.
type Status struct {
	Instances []InstanceStatus `json:"instances"`
	Groups    []GroupStatus    `json:"groups,omitempty"`
	Scripts   []ScriptStatus   `json:"scripts,omitempty"`
	Processes []ProcessStatus  `json:"processes,omitempty"`
	Files     []FileStatus     `json:"files,omitempty"`
}

// InstanceStatus is one instance.
type InstanceStatus struct {
	Name      string       `json:"name"`
	Interface string       `json:"interface"`
	VRID      int          `json:"vrid"`
	IPv6      bool         `json:"ipv6,omitempty"`
	Version   int          `json:"version"`
	State     State        `json:"state"`
	Wanted    State        `json:"wanted"`
	Base      int          `json:"base_priority"`
	Priority  int          `json:"priority"` // effective
	Group     string       `json:"group,omitempty"`
	Source    netip.Addr   `json:"source"`
	Addresses []Address    `json:"addresses"`
	Excluded  []Address    `json:"excluded,omitempty"`
	Routes    []string     `json:"routes,omitempty"`
	NoAccept  bool         `json:"no_accept,omitempty"`
	Peers     []netip.Addr `json:"peers,omitempty"`

	AdvertInterval time.Duration `json:"advert_interval"`
	// Master is whom the last accepted advert came from; not valid if none did.
	Master         netip.Addr    `json:"master"`
	MasterPriority int           `json:"master_priority"`
	MasterInterval time.Duration `json:"master_interval"`
	// Deadline is when the master will be down, or when the next advert is due.
	Deadline clock.Instant `json:"deadline"`
	Since    clock.Instant `json:"since"` // of the last transition
	Faults   []string      `json:"faults,omitempty"`
	Stats    Stats         `json:"stats"`
}

// Stats counts what an instance sent, received and refused.
type Stats struct {
	Sent             uint64 `json:"adverts_sent"`
	Received         uint64 `json:"adverts_received"`
	BecameMaster     uint64 `json:"became_master"`
	ReleasedMaster   uint64 `json:"released_master"`
	PriorityZeroSent uint64 `json:"priority_zero_sent"`
	PriorityZero     uint64 `json:"priority_zero_received"`

	PacketLength   uint64 `json:"packet_length"`
	TTL            uint64 `json:"ttl"`
	Version        uint64 `json:"version"`
	Type           uint64 `json:"type"`
	Checksum       uint64 `json:"checksum"`
	AuthType       uint64 `json:"auth_type"`
	AuthFailure    uint64 `json:"auth_failure"`
	AdvertInterval uint64 `json:"advert_interval"`
	AddressList    uint64 `json:"address_list"`
	Destination    uint64 `json:"destination"` // multicast for unicast or the reverse
	Peer           uint64 `json:"peer"`        // not one of ours
	Inactive       uint64 `json:"inactive"`    // received while neither backup nor master
}

// GroupStatus is one sync group.
type GroupStatus struct {
	Name    string   `json:"name"`
	State   State    `json:"state"`
	Members []string `json:"members"`
}

// ScriptStatus is one track script. Up is what instances that track it see.
type ScriptStatus struct {
	Name    string        `json:"name"`
	Up      bool          `json:"up"`
	Ran     bool          `json:"ran"` // once at least
	Running bool          `json:"running"`
	Result  int           `json:"result"` // 0 to rise+fall-1, up from rise on
	Last    ScriptResult  `json:"last"`
	Next    clock.Instant `json:"next"`
}

// ProcessStatus is one tracked process.
type ProcessStatus struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
	Up    bool   `json:"up"`
}

// FileStatus is one tracked file.
type FileStatus struct {
	Name  string `json:"name"`
	Value int    `json:"value"`
}

// Status returns what the Router is doing, in the order of the configuration.
func (r *Router) Status() Status {
	var s Status
	for _, i := range r.instances {
		s.Instances = append(s.Instances, i.status())
	}
	for _, g := range r.groups {
		st := GroupStatus{Name: g.Name, State: g.state}
		for _, m := range g.members {
			st.Members = append(st.Members, m.Name)
		}
		s.Groups = append(s.Groups, st)
	}
	for _, c := range r.scripts {
		s.Scripts = append(s.Scripts, ScriptStatus{
			Name: c.Name, Up: c.up(), Ran: c.ran, Running: c.running, Result: c.result, Last: c.last, Next: c.nextRun,
		})
	}
	for _, p := range r.processes {
		s.Processes = append(s.Processes, ProcessStatus{Name: p.Name, Count: p.count, Up: p.up})
	}
	for _, f := range r.files {
		s.Files = append(s.Files, FileStatus{Name: f.Name, Value: f.value})
	}
	return s
}

func (i *instance) status() InstanceStatus {
	s := InstanceStatus{
		Name: i.Name, Interface: i.Interface, VRID: i.VRID, IPv6: i.IPv6, Version: i.Version,
		State: i.state, Wanted: i.want, Base: i.base, Priority: i.prio, Source: i.source,
		Addresses: i.Addresses, Excluded: i.Excluded, Routes: i.Routes, NoAccept: i.NoAccept, AdvertInterval: i.AdvertInterval,
		Master: i.master, MasterPriority: i.masterPrio, MasterInterval: i.interval,
		Deadline: i.deadline, Since: i.since, Faults: i.faults, Stats: i.stats,
	}
	if i.group != nil {
		s.Group = i.group.Name
	}
	for _, p := range i.Peers {
		s.Peers = append(s.Peers, p.Addr)
	}
	return s
}
