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

// readKeepalived reads a keepalived.conf and logs what is wrong with it. Like
// keepalived it makes do with most mistakes; the report says which they are.
func readKeepalived(name, configID string, log *slog.Logger) (*keepalived.Config, *keepalived.Report, error) {
	dir, _ := os.Getwd()
	config, report := keepalived.Parse(name, keepalived.Options{Files: &diskFiles{in: os.Stdin}, ConfigID: configID, Dir: dir, Extensions: true})
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
		return nil, report, fmt.Errorf("%s: rejected: see usvs check %s", name, name)
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
	for _, vs := range c.VirtualServers {
		if vs.VIP.IsValid() && !vrrp[vs.VIP] {
			name, err := host.with(vs.VIP)
			if err != nil {
				return nil, err
			}
			add(name, "virtual_server %v", vs)
		}
		for _, a := range serverAddrs(vs) {
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
