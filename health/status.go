package health

import "usvs/clock"

// Status is what a Monitor knows, in the order of the configuration.
type Status struct {
	Services []ServiceStatus `json:"services"`
}

// ServiceStatus is a virtual server's.
type ServiceStatus struct {
	Name string `json:"name"`
	// Up is whether the virtual server has its quorum.
	Up         bool           `json:"up"`
	Since      clock.Instant  `json:"since"`
	Quorum     int            `json:"quorum"`
	Hysteresis int            `json:"hysteresis"`
	Weight     int64          `json:"weight"` // of the servers that are up
	Sorry      string         `json:"sorry,omitempty"`
	SorryUp    bool           `json:"sorry_up"` // it stands in
	Suspended  bool           `json:"suspended"`
	Servers    []ServerStatus `json:"servers"`
}

// ServerStatus is a real server's.
type ServerStatus struct {
	Name    string        `json:"name"`
	Up      bool          `json:"up"`
	Since   clock.Instant `json:"since"`
	Changes int           `json:"changes"` // how often it went up or down
	Weight  int32         `json:"weight"`  // it has, or would have if it were up
	Checks  []CheckStatus `json:"checks"`
}

// CheckStatus is a check's.
type CheckStatus struct {
	Kind string `json:"kind"`
	// Server is the target as messages have it, or what a script or a file is
	// called.
	Target string `json:"target"`
	Path   string `json:"path"` // direct or vip
	Up     bool   `json:"up"`
	// Run is whether there is a result yet, of which the next four tell.
	Run     bool          `json:"run"`
	Last    string        `json:"last,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	Cause   string        `json:"cause,omitempty"`
	Ended   clock.Instant `json:"ended"`
	Retries int           `json:"retries"` // failures in a row put up with so far
	Retry   int           `json:"retry"`   // how many may be

	Attempts uint64 `json:"attempts"`
	Failures uint64 `json:"failures"`
	Running  bool   `json:"running"`
	// Next is when the next attempt begins, 0 if one runs or none is planned.
	Next clock.Instant `json:"next"`
}

// Status returns what the Monitor knows now.
func (m *Monitor) Status() Status {
	s := Status{Services: make([]ServiceStatus, 0, len(m.services))}
	for _, vs := range m.services {
		s.Services = append(s.Services, m.serviceStatus(vs))
	}
	return s
}

func (m *Monitor) serviceStatus(vs *service) ServiceStatus {
	s := ServiceStatus{
		Name: vs.name, Up: vs.quorumUp, Since: vs.since, Quorum: vs.cfg.Quorum, Hysteresis: vs.cfg.Hysteresis,
		Weight: vs.aliveWeight(), SorryUp: vs.sorryUp, Suspended: !m.mayRun(vs),
	}
	if vs.cfg.Sorry != nil {
		s.Sorry = vs.sorryName()
	}
	for _, rs := range vs.servers {
		s.Servers = append(s.Servers, rs.status())
	}
	return s
}

func (rs *server) status() ServerStatus {
	s := ServerStatus{Name: rs.name, Up: rs.alive, Since: rs.since, Changes: rs.changed, Weight: rs.ipvsWeight()}
	for _, c := range rs.checks {
		s.Checks = append(s.Checks, c.status())
	}
	return s
}

func (c *check) status() CheckStatus {
	s := CheckStatus{
		Kind: c.cfg.Probe.Kind.String(), Target: c.targetName(), Path: c.probe.Path.String(), Up: c.up,
		Run: c.ended != 0, Retries: c.retries, Retry: c.cfg.Retry, Attempts: c.attempts, Failures: c.failures, Running: c.id != 0,
	}
	if s.Run {
		s.Last, s.Reason, s.Cause, s.Ended = c.last.Outcome.String(), c.last.Reason, c.last.Cause, c.ended
	}
	if c.place != notQueued {
		s.Next = c.due
	}
	return s
}

func (c *check) targetName() string {
	switch p := c.probe; {
	case p.Kind.Watch():
		return p.Name
	case p.Kind == Misc && p.Script != nil && len(p.Script.Args) > 0:
		return p.Script.Args[0]
	}
	return c.probe.Server
}
