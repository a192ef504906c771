package oracle

import (
	_ "embed"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"usvs/ipvs"
)

//go:embed services.txt
var serviceNames string

// recordedHosts are the names that resolved when recordings with names were
// made.
const recordedHosts = `10.9.0.1 www.example.test
10.1.0.11 rs1.example.test
10.1.0.12 a-real-server-with-a-long-name.example.test
`

// names resolves as the recorded machine did: its own two files, no DNS.
type names struct {
	byAddr map[netip.Addr]string
	byName map[string]netip.Addr
	*services
}

// services are the names of ports.
type services struct {
	ports  map[portKey]uint16
	titles map[numberKey]string
}

// recordedServices reads services.txt, once.
var recordedServices = sync.OnceValue(func() *services {
	s := &services{map[portKey]uint16{}, map[numberKey]string{}}
	for line := range strings.Lines(serviceNames) {
		s.add(strings.Fields(line))
	}
	return s
})

type portKey struct {
	name  string
	proto ipvs.Protocol
}

type numberKey struct {
	port  uint16
	proto ipvs.Protocol
}

// newNames reads a hosts file.
func newNames(hosts string) *names {
	n := &names{
		byAddr: map[netip.Addr]string{loopback4: "localhost"}, byName: map[string]netip.Addr{"localhost": loopback4},
		services: recordedServices(),
	}
	for line := range strings.Lines(hosts) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if a, err := netip.ParseAddr(f[0]); err == nil {
			n.addHost(a, f[1:])
		}
	}
	return n
}

func (n *names) addHost(a netip.Addr, hostnames []string) {
	if _, ok := n.byAddr[a]; !ok {
		n.byAddr[a] = hostnames[0]
	}
	for _, h := range hostnames {
		if _, ok := n.byName[h]; !ok {
			n.byName[h] = a
		}
	}
}

var protocols = map[string]ipvs.Protocol{"tcp": ipvs.TCP, "udp": ipvs.UDP, "sctp": ipvs.SCTP}

// add reads NAME PORT/PROTOCOL ALIASES.
func (n *services) add(f []string) {
	if len(f) < 2 || f[0] == "#" {
		return
	}
	number, protocol, _ := strings.Cut(f[1], "/")
	port, err := strconv.ParseUint(number, 10, 16)
	proto, ok := protocols[protocol]
	if err != nil || !ok {
		return
	}
	if key := (numberKey{uint16(port), proto}); n.titles[key] == "" {
		n.titles[key] = f[0]
	}
	for _, name := range append([]string{f[0]}, f[2:]...) {
		if key := (portKey{name, proto}); n.ports[key] == 0 {
			n.ports[key] = uint16(port)
		}
	}
}

// LookupAddr returns the first name of an address.
func (n *names) LookupAddr(a netip.Addr) (string, bool) {
	name, ok := n.byAddr[a]
	return name, ok
}

// LookupHost returns the IPv4 address of a name.
func (n *names) LookupHost(name string) (netip.Addr, bool) {
	a, ok := n.byName[name]
	return a, ok && a.Is4()
}

// ServiceName returns the name of a port.
func (n *services) ServiceName(port uint16, p ipvs.Protocol) (string, bool) {
	name, ok := n.titles[numberKey{port, p}]
	return name, ok
}

// ServicePort returns the port a name stands for.
func (n *services) ServicePort(name string, p ipvs.Protocol) (uint16, bool) {
	port, ok := n.ports[portKey{name, p}]
	return port, ok
}

// resolver is the names that the recorded machine knew.
func (t *Trace) resolver() *names { return newNames(t.HostsFile()) }

// HostsFile is what the recorded machine's /etc/hosts had: that of the hosts
// file that came with the recording, else the usual names. Recordings made on
// a machine without names show only numbers, so one that mentions none of the
// usual names is taken for one of these.
func (t *Trace) HostsFile() string {
	if t.Hosts != "" {
		return t.Hosts
	}
	for line := range strings.Lines(recordedHosts) {
		if t.mentions(strings.Fields(line)[1]) {
			return recordedHosts
		}
	}
	return ""
}

// mentions reports whether a command or its output has the name. Listings cut
// names off.
func (t *Trace) mentions(name string) bool {
	shown := name[:min(len(name), 20)]
	for i := range t.Steps {
		if s := &t.Steps[i]; strings.Contains(s.Text, name) || strings.Contains(s.Out, shown) || strings.Contains(s.Err, shown) {
			return true
		}
	}
	return false
}
