package node

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"usvs/keepalived"
	"usvs/vrrp"
)

// planWorld lists what the World is to hold ready.
func (p *plan) planWorld() {
	g, s := &p.conf.Global, &p.setup
	p.noFaultMail = g.NoEmailFaults.V
	s.ScriptSecurity = g.EnableScriptSecurity.V
	s.ScriptUser, s.ScriptGroup = g.ScriptUser.V.Name, g.ScriptUser.V.Group
	s.Interfaces = p.interfaces()
	s.Sockets = p.sockets()
	p.planTracking()
	p.planFIFOs()
	if g.SMTPServer.Set() && len(g.NotificationEmail) > 0 {
		s.Mail = &MailServer{
			Host: g.SMTPServer.V.Host, Port: g.SMTPServer.V.Port, Timeout: g.SMTPConnectTimeout.V,
			Helo: g.SMTPHelo.V, From: g.NotificationEmailFrom.V, To: values(g.NotificationEmail),
		}
	}
	for _, a := range p.conf.StaticAddresses {
		p.static = append(p.static, staticAddress(a, g.DefaultInterface.V))
	}
	for _, r := range p.conf.StaticRoutes {
		p.staticRoutes = append(p.staticRoutes, r.Route)
	}
	s.LeftoverRoutes = slices.Clone(p.staticRoutes)
	for _, words := range slices.Sorted(maps.Keys(p.routes)) {
		s.LeftoverRoutes = append(s.LeftoverRoutes, p.routes[words])
	}
	for i := range p.vrrp.Instances {
		v := &p.vrrp.Instances[i]
		if v.VMAC != nil {
			continue
		}
		for _, a := range slices.Concat(v.Addresses, v.Excluded) {
			s.Leftovers = append(s.Leftovers, virtualAddress(a))
		}
	}
}

func staticAddress(a keepalived.Address, fallback string) Address {
	s := Address{
		Prefix: a.Prefix, Interface: a.Interface, Broadcast: a.Broadcast, Scope: a.Scope, Label: a.Label,
		Peer: a.Peer, Flags: a.Flags, Preferred: a.Preferred,
	}
	if s.Interface == "" {
		s.Interface = fallback
	}
	return s
}

func virtualAddress(a vrrp.Address) Address {
	return Address{
		Prefix: a.Prefix, Interface: a.Interface, Broadcast: a.Broadcast, Scope: a.Scope,
		Label: a.Label, Peer: a.Peer, Flags: a.Flags, Preferred: a.Preferred, Virtual: true, Refused: a.Refused,
	}
}

func (p *plan) interfaces() []string {
	names := map[string]bool{}
	tracked := func(list []vrrp.Track) {
		for _, t := range list {
			names[t.Name] = true
		}
	}
	for i := range p.vrrp.Instances {
		v := &p.vrrp.Instances[i]
		names[v.Interface] = true
		tracked(v.Tracks.Interfaces)
		for _, a := range slices.Concat(v.Addresses, v.Excluded) {
			names[a.Interface] = true
		}
	}
	for i := range p.vrrp.Groups {
		tracked(p.vrrp.Groups[i].Tracks.Interfaces)
	}
	for _, a := range p.conf.StaticAddresses {
		names[staticAddress(a, p.conf.Global.DefaultInterface.V).Interface] = true
	}
	if p.sync != nil {
		names[p.sync.daemon.Interface] = true
	}
	delete(names, "")
	return slices.Sorted(maps.Keys(names))
}

// sockets lists what the instances' packets come in by, each once.
func (p *plan) sockets() (list []Socket) {
	for i := range p.vrrp.Instances {
		v := &p.vrrp.Instances[i]
		s := Socket{Interface: v.Interface, IPv6: v.IPv6, AH: v.Auth == vrrp.AH}
		if len(v.Peers) > 0 {
			s.Source = v.Source
		} else if s.Group = v.Multicast; !s.Group.IsValid() {
			s.Group = standardGroup(v.IPv6)
		}
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

func standardGroup(v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12})
	}
	return netip.AddrFrom4([4]byte{224, 0, 0, 18})
}

func (p *plan) planTracking() {
	s := &p.setup
	for _, v := range p.conf.VRRPScripts {
		t := TrackScript{Name: v.Name, Script: script(v.Script.V)}
		t.Timeout = v.Timeout.V
		if name, ok := strings.CutPrefix(t.Args[0], "<"); ok {
			t.Reads = name
		}
		s.Scripts = append(s.Scripts, t)
	}
	for _, f := range p.conf.TrackFiles {
		t := TrackFile{Name: f.Name, Path: f.File.V, Overwrite: f.Overwrite.V}
		if f.InitValue.Set() || f.Overwrite.Set() {
			v := f.InitValue.V
			t.Init = &v
		}
		s.Files = append(s.Files, t)
	}
	for _, t := range p.conf.TrackProcesses {
		s.Processes = append(s.Processes, TrackProcess{
			Name: t.Name, Command: t.Process.V, ParamMatch: t.ParamMatch.V, FullCommand: t.FullCommandName.V,
		})
	}
}

func script(s keepalived.Script) Script {
	return Script{Args: s.Args, User: s.User, Group: s.Group}
}

// planFIFOs lists the pipes, and which lines go to them.
func (p *plan) planFIFOs() {
	g := &p.conf.Global
	both := []*[]string{&p.vrrpFIFOs, &p.lvsFIFOs}
	for _, f := range []struct {
		fifo   keepalived.Value[keepalived.FIFO]
		reader keepalived.Value[keepalived.Script]
		lines  []*[]string
	}{{g.NotifyFIFO, g.NotifyFIFOScript, both}, {g.VRRPNotifyFIFO, g.VRRPFIFOScript, both[:1]}, {g.LVSNotifyFIFO, g.LVSFIFOScript, both[1:]}} {
		if !f.fifo.Set() {
			continue
		}
		for _, paths := range f.lines {
			*paths = append(*paths, f.fifo.V.Path)
		}
		pipe := FIFO{Path: f.fifo.V.Path, User: f.fifo.V.User.Name, Group: f.fifo.V.User.Group}
		if f.reader.Set() {
			s := script(f.reader.V)
			pipe.Reader = &s
		}
		p.setup.FIFOs = append(p.setup.FIFOs, pipe)
	}
}
