// Package resolve answers ipvsadm's questions about names from the system:
// /etc/services for ports, and the host's resolver (which reads /etc/hosts and
// asks DNS) for hosts. It is the only part of ipvsadm that does I/O of its own.
//
// A System may be used by several goroutines at once; it holds no lock.
package resolve

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"usvs/ipvs"
)

const (
	servicesFile = "/etc/services"

	// lookupTimeout bounds one question: a listing asks one per address.
	lookupTimeout = 5 * time.Second
)

// System resolves names as the host does.
type System struct {
	hosts hostResolver
	ports func() *ports // read when first wanted
}

// hostResolver is the part of net.Resolver that is used.
type hostResolver interface {
	LookupAddr(ctx context.Context, addr string) ([]string, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// SystemResolver returns the host's resolver.
func SystemResolver() *System {
	return &System{hosts: net.DefaultResolver, ports: sync.OnceValue(func() *ports { return loadPorts(servicesFile) })}
}

// LookupAddr returns the first name of an address.
func (s *System) LookupAddr(a netip.Addr) (string, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	names, err := s.hosts.LookupAddr(ctx, a.String())
	if err != nil || len(names) == 0 {
		return "", false
	}
	name := strings.TrimSuffix(names[0], ".")
	return name, name != ""
}

// LookupHost returns the first IPv4 address of a name.
func (s *System) LookupHost(name string) (netip.Addr, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	addrs, err := s.hosts.LookupNetIP(ctx, "ip4", name)
	if err != nil || len(addrs) == 0 {
		return netip.Addr{}, false
	}
	return addrs[0].Unmap(), true
}

// ServiceName returns the name of a port.
func (s *System) ServiceName(port uint16, p ipvs.Protocol) (string, bool) {
	name, ok := s.ports().names[portKey{port, p}]
	return name, ok
}

// ServicePort returns the port a name or an alias stands for.
func (s *System) ServicePort(name string, p ipvs.Protocol) (uint16, bool) {
	port, ok := s.ports().numbers[nameKey{name, p}]
	return port, ok
}

type portKey struct {
	port  uint16
	proto ipvs.Protocol
}

type nameKey struct {
	name  string
	proto ipvs.Protocol
}

// ports is a services(5) file. Of several lines for one key the first counts.
type ports struct {
	names   map[portKey]string
	numbers map[nameKey]uint16
}

// loadPorts reads a services file; one that cannot be read knows no names.
func loadPorts(path string) *ports {
	file, err := os.Open(path)
	if err != nil {
		return parsePorts(strings.NewReader(""))
	}
	defer file.Close()
	return parsePorts(file)
}

var protocols = map[string]ipvs.Protocol{"tcp": ipvs.TCP, "udp": ipvs.UDP, "sctp": ipvs.SCTP}

// parsePorts reads services(5): name port/protocol aliases. Lines it cannot
// make sense of are skipped.
func parsePorts(r io.Reader) *ports {
	p := &ports{names: map[portKey]string{}, numbers: map[nameKey]uint16{}}
	in := bufio.NewScanner(r)
	for in.Scan() {
		line, _, _ := strings.Cut(in.Text(), "#")
		if fields := strings.Fields(line); len(fields) >= 2 {
			p.add(fields[0], fields[1], fields[2:])
		}
	}
	return p
}

func (p *ports) add(name, number string, aliases []string) {
	number, protocol, _ := strings.Cut(number, "/")
	proto, known := protocols[protocol]
	n, err := strconv.ParseUint(number, 10, 16)
	if !known || err != nil {
		return
	}
	port := uint16(n)
	setOnce(p.names, portKey{port, proto}, name)
	setOnce(p.numbers, nameKey{name, proto}, port)
	for _, alias := range aliases {
		setOnce(p.numbers, nameKey{alias, proto}, port)
	}
}

func setOnce[K comparable, V any](m map[K]V, key K, value V) {
	if _, ok := m[key]; !ok {
		m[key] = value
	}
}
