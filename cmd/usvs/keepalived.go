package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"

	"usvs/keepalived"
)

// confFile is the keepalived.conf that a director runs by.
type confFile struct {
	name   string
	reader *keepalived.Reader
	log    *slog.Logger
}

func newConfFile(name, configID string, log *slog.Logger) *confFile {
	dir, _ := os.Getwd()
	options := keepalived.Options{Files: &diskFiles{in: os.Stdin}, ConfigID: configID, Dir: dir, Extensions: true}
	return &confFile{name: name, reader: keepalived.NewReader(name, options), log: log}
}

// read reads the file as it is now and logs what is wrong with it. Like
// keepalived it makes do with most mistakes; the report says which they are.
func (f *confFile) read() (*keepalived.Config, *keepalived.Report, error) {
	config, report := f.reader.Read()
	log := f.log
	for _, p := range report.Problems {
		switch {
		case strings.HasPrefix(p.Found, "interfaces are not checked"): // they are opened
		case p.Class == keepalived.Note:
			log.Info(p.String())
		case p.Class == keepalived.Fatal:
			log.Error(p.String())
		default:
			log.Warn(p.String())
		}
	}
	if report.Dropped > 0 {
		log.Warn("more is wrong with the configuration than is shown", "more", report.Dropped)
	}
	if len(config.Files) == 0 || worstClass(report) == keepalived.Fatal {
		return nil, report, fmt.Errorf("%s: rejected: see usvs check %s", f.name, f.name)
	}
	return config, report, nil
}

func worstClass(r *keepalived.Report) (worst keepalived.Class) {
	for _, p := range r.Problems {
		if p.Class == keepalived.Invalid || p.Class == keepalived.Fatal {
			worst = max(worst, p.Class)
		}
	}
	return worst
}

// implied is an interface that the director is to run on, because a
// configuration needs it.
type implied struct{ name, why string }

// hostNetwork is what the host knows about addresses.
type hostNetwork struct {
	to   func(netip.Addr) (string, error) // the interface routes lead to an address by
	with func(netip.Addr) (string, error) // the interface that carries it, or empty
}

// errNoInterface is returned where a configuration does not say where to run.
var errNoInterface = errors.New("the configuration names no interface that the director could run on: use -i INTERFACE")

// impliedInterfaces are those of instances and their addresses, those that
// carry other virtual addresses, and those that lead to real servers.
func impliedInterfaces(c *keepalived.Config, host hostNetwork) ([]implied, error) {
	var list []implied
	add := func(name, format string, args ...any) {
		known := slices.ContainsFunc(list, func(i implied) bool { return i.name == name })
		if name != "" && name != "lo" && !known {
			list = append(list, implied{name, fmt.Sprintf(format, args...)})
		}
	}
	vrrp := map[netip.Addr]bool{}
	for _, i := range c.Instances {
		add(i.Interface.V, "vrrp_instance %s", i.Name)
		for _, a := range slices.Concat(i.VirtualAddresses, i.ExcludedAddresses) {
			vrrp[a.Prefix.Addr()] = true
			add(a.Interface, "virtual address %v", a.Prefix.Addr())
		}
	}
	asked := map[netip.Addr]bool{} // the same servers may stand behind many addresses
	for _, vs := range c.VirtualServers {
		if vs.VIP.IsValid() && !vrrp[vs.VIP] {
			name, err := host.with(vs.VIP)
			if err != nil {
				return nil, err
			}
			add(name, "virtual_server %v", vs)
		}
		for _, a := range serverAddrs(vs) {
			if asked[a] {
				continue
			}
			asked[a] = true
			if name, err := host.to(a); err == nil { // else there is no way to it yet
				add(name, "the route to real server %v", a)
			}
		}
	}
	if len(list) == 0 {
		return nil, errNoInterface
	}
	return list, nil
}

// news is a configuration without the virtual servers that another has as well.
func news(c, old *keepalived.Config) *keepalived.Config {
	known := make(map[keepalived.Origin]bool, len(old.VirtualServers))
	for _, vs := range old.VirtualServers {
		known[vs.Origin] = vs.Origin.Known()
	}
	rest := *c
	rest.VirtualServers = slices.DeleteFunc(slices.Clone(c.VirtualServers), func(vs *keepalived.VirtualServer) bool { return known[vs.Origin] })
	return &rest
}

// serverAddrs are the addresses of a virtual server's real servers.
func serverAddrs(vs *keepalived.VirtualServer) (list []netip.Addr) {
	for _, rs := range vs.RealServers {
		list = append(list, rs.RIP)
	}
	if vs.SorryServer.Set() {
		list = append(list, vs.SorryServer.V.Addr())
	}
	return list
}
