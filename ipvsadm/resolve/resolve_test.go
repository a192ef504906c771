package resolve

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"usvs/ipvs"
	"usvs/ipvsadm"

	"github.com/stretchr/testify/require"
)

var _ ipvsadm.Resolver = (*System)(nil)

const services = `# Network services, Internet style
tcpmux		1/tcp				# TCP port service multiplexer
domain		53/tcp
domain		53/udp
http		80/tcp		www web	# WorldWideWeb HTTP
second		80/tcp		www
kerberos	88/tcp		kerberos5 krb5	# Kerberos v5
m2ua		2904/sctp
ddp			1/ddp
broken
broken		x/tcp
broken		65536/tcp
broken		-1/tcp
broken		5
`

func TestParsePorts(t *testing.T) {
	p := parsePorts(strings.NewReader(services))
	for _, c := range []struct {
		port  uint16
		proto ipvs.Protocol
		name  string
	}{
		{80, ipvs.TCP, "http"}, {80, ipvs.UDP, ""}, {53, ipvs.UDP, "domain"}, {53, ipvs.TCP, "domain"},
		{2904, ipvs.SCTP, "m2ua"}, {2904, ipvs.TCP, ""}, {1, ipvs.TCP, "tcpmux"}, {5, ipvs.TCP, ""}, {80, ipvs.ProtoIP, ""},
	} {
		require.Equal(t, c.name, p.names[portKey{c.port, c.proto}], c)
	}
	for name, port := range map[string]uint16{
		"http": 80, "www": 80, "web": 80, "second": 80, "krb5": 88, "tcpmux": 1, "HTTP": 0, "broken": 0, "ddp": 0, "#": 0,
	} {
		require.Equal(t, port, p.numbers[nameKey{name, ipvs.TCP}], name)
	}
}

func TestLoadPorts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "services")
	require.Empty(t, loadPorts(path).names)
	require.NoError(t, os.WriteFile(path, []byte(services), 0o644))
	s := &System{ports: sync.OnceValue(func() *ports { return loadPorts(path) })}
	name, ok := s.ServiceName(88, ipvs.TCP)
	require.True(t, ok)
	require.Equal(t, "kerberos", name)
	port, ok := s.ServicePort("krb5", ipvs.TCP)
	require.True(t, ok)
	require.EqualValues(t, 88, port)
	_, ok = s.ServicePort("krb5", ipvs.UDP)
	require.False(t, ok)
	_, ok = s.ServiceName(89, ipvs.TCP)
	require.False(t, ok)
}

// hosts stands in for net.Resolver.
type hosts struct {
	names []string
	addrs []netip.Addr
	err   error
}

func (h hosts) LookupAddr(ctx context.Context, _ string) ([]string, error) {
	if _, ok := ctx.Deadline(); !ok {
		return nil, errors.New("no deadline")
	}
	return h.names, h.err
}

func (h hosts) LookupNetIP(ctx context.Context, network, _ string) ([]netip.Addr, error) {
	if _, ok := ctx.Deadline(); !ok || network != "ip4" {
		return nil, errors.New("no deadline, or the wrong family")
	}
	return h.addrs, h.err
}

func TestHosts(t *testing.T) {
	a := netip.MustParseAddr("10.0.0.1")
	s := &System{hosts: hosts{names: []string{"rs1.example.test.", "rs2"}, addrs: []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.1")}}}
	name, ok := s.LookupAddr(a)
	require.True(t, ok)
	require.Equal(t, "rs1.example.test", name)
	addr, ok := s.LookupHost("rs1")
	require.True(t, ok)
	require.Equal(t, a, addr)

	for _, h := range []hosts{{}, {err: errors.New("no such host")}, {names: []string{"."}}} {
		s := &System{hosts: h}
		_, ok := s.LookupAddr(a)
		require.False(t, ok)
		_, ok = s.LookupHost("rs1")
		require.False(t, ok)
	}
}

func TestSystemResolverIsComplete(t *testing.T) {
	s := SystemResolver()
	require.NotNil(t, s.hosts)
	require.NotNil(t, s.ports())
}

func FuzzParsePorts(f *testing.F) {
	f.Add(services)
	f.Fuzz(func(t *testing.T, text string) {
		p := parsePorts(strings.NewReader(text))
		for key, name := range p.names {
			require.Equal(t, len(strings.Fields(name)), 1)
			_, ok := p.numbers[nameKey{name, key.proto}]
			require.True(t, ok)
		}
	})
}
