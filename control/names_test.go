package control

import (
	"net/netip"
	"strings"

	"usvs/ipvs"
)

// book resolves what resolved when the recordings were made.
type book struct{}

var bookHosts = map[string]string{
	"www.example.test": "10.9.0.1",
	"rs1.example.test": "10.1.0.11",
	"a-real-server-with-a-long-name.example.test": "10.1.0.12",
}

var bookPorts = map[string]uint16{
	"http/TCP": 80, "https/TCP": 443, "kerberos/TCP": 88, "http-alt/TCP": 8080, "sip/TCP": 5060,
	"domain/TCP": 53, "domain/UDP": 53, "mdns/UDP": 5353, "sip/UDP": 5060,
}

func (book) LookupAddr(a netip.Addr) (string, bool) {
	for name, addr := range bookHosts {
		if addr == a.String() {
			return name, true
		}
	}
	return "", false
}

func (book) LookupHost(name string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(bookHosts[name])
	return a, err == nil
}

func (book) ServiceName(port uint16, p ipvs.Protocol) (string, bool) {
	for name, n := range bookPorts {
		if base, ok := strings.CutSuffix(name, "/"+p.String()); ok && n == port {
			return base, true
		}
	}
	return "", false
}

func (book) ServicePort(name string, p ipvs.Protocol) (uint16, bool) {
	port, ok := bookPorts[name+"/"+p.String()]
	return port, ok
}
