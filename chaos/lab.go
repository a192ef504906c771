package chaos

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"usvs/keepalived"
)

// Input is a configuration and the name it is to be spoken of by.
type Input struct {
	Name   string // of the file
	Config *keepalived.Config
}

// Lab is the network that the configurations imply.
type Lab struct {
	Networks  []*Network
	Directors []*Director
	Servers   []*Server
	Services  []*Service
	Routers   []*VirtualRouter
	Clients   []netip.Addr // of one host, behind the router
	// Assumed is what the files do not say, for people to object.
	Assumed []string
}

// Network is a segment with one switch.
type Network struct {
	Name     string
	Prefixes []netip.Prefix
	Router   []netip.Prefix // the router's addresses, if it is there
	used     map[netip.Addr]bool
}

// Interface is a machine's place in a network.
type Interface struct {
	Name    string
	Network *Network
	Addrs   []netip.Prefix
}

// Director is a node that runs one of the configurations.
type Director struct {
	Name   string
	File   string
	Config *keepalived.Config
	NICs   []*Interface
}

// NIC is the interface of that name, or nil.
func (d *Director) NIC(name string) *Interface {
	for _, n := range d.NICs {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Server is a real server.
type Server struct {
	Name    string
	Addr    netip.Prefix
	Network *Network
	Gateway netip.Addr // zero: it needs none
	VIPs    []netip.Addr
	Tunnel  bool
	Ports   []Port

	nat      bool
	unasked  bool // its checks ask nobody: nothing here finds it dead
	services []*Service
}

// Port is what a real server serves.
type Port struct {
	Protocol string // TCP or UDP
	Number   uint16
	Talk     Talk
}

// Talk is the language of a port.
type Talk string

// The languages.
const (
	HTTP Talk = "http"
	SMTP Talk = "smtp"
	Echo Talk = "echo" // datagrams
	DNS  Talk = "dns"
)

// Service is a virtual service that clients use.
type Service struct {
	VIP      netip.AddrPort
	Protocol string // TCP or UDP
	Talk     Talk
	Servers  []*Server
	On       []*Backing // by director, nil where the director does not have it
	at       keepalived.Pos
}

// Backing is what a director's configuration says of a service.
type Backing struct {
	Config *keepalived.VirtualServer
	Router *VirtualRouter // that carries the VIP; nil: the director always does
}

// String is the service as keepalived's log has it.
func (s *Service) String() string {
	return fmt.Sprintf("[%v]:%s:%d", s.VIP.Addr(), map[string]string{"TCP": "tcp", "UDP": "udp"}[s.Protocol], s.VIP.Port())
}

// VirtualRouter is what several directors take turns to be: the instances that
// have one VRID, family and network.
type VirtualRouter struct {
	ID      int
	V6      bool
	Network *Network
	Members []*keepalived.Instance // by director, nil where there is none
}

// Name is the first instance's.
func (r *VirtualRouter) Name() string {
	for _, m := range r.Members {
		if m != nil {
			return m.Name
		}
	}
	return ""
}

// pair reports whether more than one director takes part.
func (r *VirtualRouter) pair() bool {
	n := 0
	for _, m := range r.Members {
		if m != nil {
			n++
		}
	}
	return n > 1
}

// maxServers bounds a lab: one that is larger is no quicker to understand.
const maxServers = 200

// NewLab reads one or two configurations into the network they imply.
func NewLab(inputs []Input) (*Lab, error) {
	switch {
	case len(inputs) == 0 || len(inputs) > 2:
		return nil, errors.New("one configuration or two are wanted")
	}
	b := &builder{lab: &Lab{}}
	for i, name := range directorNames(inputs) {
		d := &Director{Name: name, File: inputs[i].Name, Config: b.answerable(inputs[i].Config)}
		b.lab.Directors = append(b.lab.Directors, d)
	}
	b.segments()
	b.prefixes()
	b.virtualRouters()
	if err := b.services(); err != nil {
		return nil, err
	}
	b.directorAddresses()
	b.router()
	b.servers()
	b.sayAssumptions()
	if len(b.lab.Services) == 0 && len(b.lab.Routers) == 0 {
		return nil, errors.New("there is neither a vrrp_instance nor a virtual_server to try")
	}
	return b.lab, nil
}

// directorNames are the router_ids, if they tell the nodes apart, else the
// names of the files, else letters.
func directorNames(inputs []Input) []string {
	ids, files := make([]string, len(inputs)), make([]string, len(inputs))
	for i, in := range inputs {
		ids[i], files[i] = in.Config.Global.RouterID.V, fileStem(in.Name)
	}
	for _, names := range [][]string{ids, files} {
		if !slices.ContainsFunc(names, func(n string) bool { return !validName(n) }) && len(names) == len(compacted(names)) {
			return names
		}
	}
	return []string{"a", "b"}[:len(inputs)]
}

func compacted(names []string) []string {
	list := slices.Clone(names)
	slices.Sort(list)
	return slices.Compact(list)
}

// validName reports whether a machine may be called so: names of other machines
// of a Lab are reserved.
func validName(s string) bool {
	if s == "" || len(s) > 32 || s == "router" || s == "client" || s == "clients" || serverName.MatchString(s) {
		return false
	}
	return machineName.MatchString(s)
}

// Director returns the director of that name, or nil.
func (l *Lab) Director(name string) *Director {
	for _, d := range l.Directors {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// Server returns the real server of that name, or nil.
func (l *Lab) Server(name string) *Server {
	for _, s := range l.Servers {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// network returns the network of that name, or nil.
func (l *Lab) network(name string) *Network {
	for _, n := range l.Networks {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Check says what is wrong with a schedule for this lab.
func (l *Lab) Check(s Schedule) error {
	for _, f := range s {
		if !l.has(f) {
			return fmt.Errorf("%v: there is no %s here", f, f.target())
		}
	}
	return nil
}

func (l *Lab) has(f Fault) bool {
	switch f.Kind.info().at {
	case atInterface:
		d := l.Director(f.Node)
		return d != nil && d.NIC(f.NIC) != nil
	case atDirector:
		return l.Director(f.Node) != nil
	case atServer:
		return l.Server(f.Node) != nil
	}
	return l.network(f.Node) != nil
}
