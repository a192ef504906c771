package scenario

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"usvs/netsim"
	"usvs/wire"
)

// startNodes starts what runs by a keepalived.conf.
func (s *Sim) startNodes(t *Topology) error {
	for i := range t.Nodes {
		n := &t.Nodes[i]
		if n.Keepalived == nil {
			continue
		}
		if err := s.directors[n.Name].StartKeepalived(*n.Keepalived); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	return nil
}

// put makes something happen, now or later. What happens later cannot fail.
func (s *Sim) put(in time.Duration, do func() error) error {
	if in == 0 {
		return do()
	}
	s.net.After(in, func() { _ = do() })
	return nil
}

// Disturb does something to a machine.
func (s *Sim) Disturb(d *Disturbance) error {
	return s.put(d.In, func() error { return s.disturb(d) })
}

// machine is what every host and director can be told.
type machine interface {
	Pause(time.Duration)
	Crash()
	Restart()
}

func (s *Sim) disturb(d *Disturbance) error {
	m := machine(s.hosts[d.Node])
	if lvs := s.directors[d.Node]; lvs != nil {
		m = lvs
	}
	switch d.Do {
	case Pause:
		m.Pause(d.For)
	case Crash:
		m.Crash()
	case Restart:
		m.Restart()
	case Serve:
		s.serveOtherwise(d)
	default:
		return s.disturbNode(d)
	}
	return nil
}

// disturbNode does what is for directors that run by a keepalived.conf.
func (s *Sim) disturbNode(d *Disturbance) error {
	lvs := s.directors[d.Node]
	switch d.Do {
	case Skew:
		lvs.SetSkew(d.Factor)
	case Stop:
		lvs.StopKeepalived()
	case Start:
		return lvs.StartKeepalived(*s.topo.Node(d.Node).Keepalived)
	case Reload:
		return lvs.Reload(*d.Config)
	case Script:
		lvs.SetScript(d.Name, netsim.Script{Status: d.Value, Hangs: d.Hangs})
	case TrackFile:
		lvs.SetFile(d.Name, d.Value)
	case Process:
		lvs.SetProcess(d.Name, d.Value)
	}
	return nil
}

// serveOtherwise makes a server stop, start, be late or answer with a status.
func (s *Sim) serveOtherwise(d *Disturbance) {
	svc := s.hosts[d.Node].Service(d.Port)
	svc.SetUp(d.Up)
	svc.SetDelay(d.For)
	s.status[service{d.Node, d.Port}] = d.Value
}

// service is a server's port.
type service struct {
	node string
	port uint16
}

// Multicast makes a switch carry frames to groups or not. Broadcasts pass.
func (s *Sim) Multicast(m *Multicast) error {
	return s.put(m.In, func() error {
		sw := s.net.Node(m.Switch).(*netsim.Switch)
		sw.FilterGroups(nil)
		if !m.On {
			sw.FilterGroups(func(dst wire.MAC) bool { return dst == wire.Broadcast })
		}
		return nil
	})
}

// State is what a director says of itself.
func (s *Sim) State(name string) (*NodeState, error) {
	d := s.directors[name]
	if d.Node() == nil {
		return nil, unmetf("keepalived does not run on %s", name)
	}
	st := d.Node().Status(s.net.Now())
	out := &NodeState{Instances: map[string]string{}}
	for _, i := range st.VRRP.Instances {
		out.Instances[i.Name] = i.State.String()
	}
	for _, g := range st.VRRP.Groups {
		out.Instances[g.Name] = g.State.String()
	}
	for _, vs := range st.Health.Services {
		v := ServiceState{Name: vs.Name, Up: vs.Up}
		for _, rs := range vs.Servers {
			server := ServerState{Name: rs.Name, Up: rs.Up}
			for _, c := range rs.Checks {
				if !c.Up {
					server.Why = strings.TrimSpace(c.Kind + " " + c.Reason + " " + c.Cause)
				}
			}
			v.Servers = append(v.Servers, server)
		}
		out.Services = append(out.Services, v)
	}
	return out, nil
}

// Holders are the directors that have an address, on an interface or as their own.
func (s *Sim) Holders(addr netip.Addr) ([]string, error) {
	var list []string
	for name, d := range s.directors {
		if !d.Crashed() && (d.Routes().IsLocal(addr) || slices.Contains(d.Core().Snapshot().Answered(), addr)) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list, nil
}
