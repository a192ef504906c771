package scenario

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"usvs/clock"
	"usvs/control"
	"usvs/ipvsadm"
	"usvs/netsim"
	"usvs/wire"
)

// Sim is the World that is a simulation. The same scenario and seed give the
// same events, frames and texts, byte for byte.
type Sim struct {
	net       *netsim.Net
	start     clock.Instant
	topo      *Topology
	hosts     map[string]*netsim.Host
	directors map[string]*netsim.Director
	ports     map[Interface]*netsim.Port
	recorder  *netsim.Recorder
	held      map[string][]*httpClient
	status    map[service]int // with which a server answers, if not 200
}

// cable is what a link does unless a Fault says otherwise.
var cable = netsim.LinkOptions{Delay: 50 * time.Microsecond}

// NewSim returns an empty simulation.
func NewSim(seed uint64) *Sim {
	return &Sim{
		net: netsim.New(seed), hosts: map[string]*netsim.Host{}, directors: map[string]*netsim.Director{},
		ports: map[Interface]*netsim.Port{}, held: map[string][]*httpClient{}, status: map[service]int{},
	}
}

// Net is the simulated network, to look at after Run.
func (s *Sim) Net() *netsim.Net { return s.net }

// Recorder has every frame on every link.
func (s *Sim) Recorder() *netsim.Recorder { return s.recorder }

// Close does nothing: a simulation holds nothing but memory.
func (s *Sim) Close() error { return nil }

// Now is the virtual time since the network was built.
func (s *Sim) Now() time.Duration { return s.net.Now().Sub(s.start) }

// Build makes the network and lets it come up.
func (s *Sim) Build(t *Topology) error {
	s.topo = t
	s.recorder = s.net.Record()
	for i := range t.Nodes {
		if err := s.addNode(&t.Nodes[i]); err != nil {
			return err
		}
	}
	switches := map[string]*netsim.Switch{}
	for _, name := range t.Switches {
		switches[name] = s.net.Switch(name)
	}
	for i := range t.Nodes {
		n := &t.Nodes[i]
		for k, nic := range n.NICs {
			p := s.ports[Interface{n.Name, nic.Name}]
			if p.MAC() != MAC(i, k) {
				return fmt.Errorf("%v has the MAC address %v, not %v", p, p.MAC(), MAC(i, k))
			}
			s.net.Link(p, switches[nic.Switch].NextPort(), cable)
		}
	}
	for i := range t.Nodes {
		if err := s.serve(&t.Nodes[i]); err != nil {
			return err
		}
	}
	s.start = s.net.Now()
	return s.startNodes(t)
}

func (s *Sim) addNode(n *Node) error {
	h := s.newHost(n)
	s.hosts[n.Name] = h
	for _, nic := range n.NICs {
		p := h.NIC(nic.Name)
		for _, a := range nic.Addrs {
			if err := p.AddAddr(a.String()); err != nil {
				return err
			}
		}
		if nic.MTU > 0 {
			p.SetMTU(nic.MTU)
		}
		s.ports[Interface{n.Name, nic.Name}] = p
	}
	for _, gw := range n.Gateways {
		to := "0.0.0.0/0"
		if gw.Is6() {
			to = "::/0"
		}
		if err := h.AddRoute(to, gw, nil); err != nil {
			return fmt.Errorf("%s: default route: %w", n.Name, err)
		}
	}
	return nil
}

func (s *Sim) newHost(n *Node) *netsim.Host {
	switch n.Kind {
	case Router:
		return s.net.Router(n.Name)
	case Director:
		own := control.OwnServices
		if n.Own == "host" {
			own = control.OwnHost
		}
		d := s.net.Director(n.Name, netsim.DirectorOptions{Own: own})
		s.directors[n.Name] = d
		return d.Host
	}
	return s.net.Host(n.Name)
}

// Exec runs a command line. What is not ipvsadm-restore is for netsim.
func (s *Sim) Exec(node, command string, stdin []byte) (Output, error) {
	d := s.directors[node]
	if d == nil {
		r := s.hosts[node].Exec(command)
		return Output{r.Stdout, r.Stderr, r.Status}, nil
	}
	if words := strings.Fields(command); len(stdin) > 0 && isRestore(words) {
		var out, errs strings.Builder
		status := ipvsadm.Run([]string{"ipvsadm", "-R"}, d.Control(), nil, strings.NewReader(string(stdin)), &out, &errs)
		return Output{out.String(), errs.String(), status}, nil
	}
	r := d.Exec(command)
	return Output{r.Stdout, r.Stderr, r.Status}, nil
}

func isRestore(words []string) bool {
	if words[0] == "usvs" {
		words = words[1:]
	}
	return len(words) == 1 && words[0] == "ipvsadm-restore" ||
		len(words) == 2 && words[0] == "ipvsadm" && (words[1] == "-R" || words[1] == "--restore")
}

// Inject sends a frame.
func (s *Sim) Inject(from Interface, frame []byte) error {
	s.ports[from].Inject(frame)
	s.net.Run(settle)
	return nil
}

// Fault changes a link.
func (s *Sim) Fault(f *Fault) error {
	return s.put(f.In, func() error { s.change(f); return nil })
}

func (s *Sim) change(f *Fault) {
	p := s.ports[f.Link]
	l := p.Link()
	a, b := l.Ends()
	far := a
	if a == p {
		far = b
	}
	l.Set(netsim.LinkOptions{
		Delay: max(f.Set.Delay, cable.Delay), Jitter: f.Set.Jitter, Loss: f.Set.Loss, Duplicate: f.Set.Duplicate,
		Reorder: f.Set.Reorder, Corrupt: f.Set.Corrupt, Bandwidth: int64(f.Set.Rate),
	})
	l.Cut(p, f.Set.CutOut)
	l.Cut(far, f.Set.CutIn)
	l.SetUp(!f.Set.Down)
}

// Wait lets virtual time pass.
func (s *Sim) Wait(d time.Duration) error {
	s.net.Run(d)
	return nil
}

// Frames are those that passed an interface so far.
func (s *Sim) Frames(i Interface) ([]Frame, error) {
	p := s.ports[i]
	var list []Frame
	for _, r := range s.recorder.On(p.Link()) {
		switch {
		case r.From == p:
			list = append(list, Frame{At: r.Sent.Sub(s.start), Dir: Out, Data: r.Data, Len: len(r.Data)})
		case r.To == p && r.Fate.Arrives() && r.Arrived <= s.net.Now():
			data := r.Data
			if r.Arrival != nil {
				data = r.Arrival
			}
			list = append(list, Frame{At: r.Arrived.Sub(s.start), Dir: In, Data: data, Len: len(data)})
		}
	}
	return list, nil
}

// Counters are a director's.
func (s *Sim) Counters(node string) (map[string]uint64, error) {
	return s.directors[node].Core().Counters(), nil
}

// Log is what a node has logged.
func (s *Sim) Log(node string) (string, error) {
	var b strings.Builder
	for _, e := range s.net.Log() {
		if e.Who == node {
			fmt.Fprintln(&b, e)
		}
	}
	return b.String(), nil
}

// Neighbour looks into a node's ARP or ND cache.
func (s *Sim) Neighbour(node string, addr netip.Addr) (wire.MAC, bool, error) {
	for _, n := range s.hosts[node].Neighbours() {
		if n.Addr == addr && !n.MAC.IsZero() {
			return n.MAC, true, nil
		}
	}
	return wire.MAC{}, false, nil
}
