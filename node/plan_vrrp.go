package node

import (
	"net/netip"
	"strconv"
	"strings"

	"usvs/keepalived"
	"usvs/vrrp"
	"usvs/wire"
)

func (p *plan) planVRRP() {
	c, g := p.conf, &p.conf.Global
	v := &p.vrrp
	v.StartupDelay, v.LogUnknownVRIDs = g.StartupDelay.V, g.LogUnknownVRIDs.V
	for _, d := range c.InterfaceDelays {
		v.Debounces = append(v.Debounces, vrrp.Debounce{Interface: d.Interface, Down: d.Down, Up: d.Up})
	}
	v.Pace = vrrp.Pace{GARP: g.GARPInterval.V, NA: g.GNAInterval.V}
	for _, i := range c.Instances {
		v.Instances = append(v.Instances, p.instance(i))
		p.tell(teller{name: i.Name}, noticesOfInstance(i))
	}
	for i := range v.Instances {
		p.instances[v.Instances[i].Name] = &v.Instances[i]
	}
	for _, sg := range c.SyncGroups {
		v.Groups = append(v.Groups, group(sg))
		p.tell(teller{group: true, name: sg.Name}, noticesOfGroup(sg))
	}
	for _, s := range c.VRRPScripts {
		v.Scripts = append(v.Scripts, vrrp.Script{
			Name: s.Name, Interval: s.Interval.V, Timeout: s.Timeout.V, Weight: s.Weight.V.Value, Reverse: s.Weight.V.Reverse,
			Rise: s.Rise.V, Fall: s.Fall.V, InitFail: s.InitFail.V,
		})
	}
	for _, t := range c.TrackProcesses {
		v.Processes = append(v.Processes, vrrp.Process{
			Name: t.Name, Weight: t.Weight.V.Value, Reverse: t.Weight.V.Reverse, Quorum: t.Quorum.V, QuorumMax: t.QuorumMax.V, HasMax: t.QuorumMax.Set(),
			ForkDelay: t.ForkDelay.V, TerminateDelay: t.TerminateDelay.V,
		})
	}
	for _, f := range c.TrackFiles {
		v.Files = append(v.Files, vrrp.File{Name: f.Name, Weight: f.Weight.V.Value, Reverse: f.Weight.V.Reverse})
	}
	for _, gg := range c.GARPGroups {
		v.PaceGroups = append(v.PaceGroups, vrrp.PaceGroup{
			Pace: vrrp.Pace{GARP: gg.GARPInterval.V, NA: gg.GNAInterval.V}, Interfaces: values(gg.Interfaces),
		})
	}
	p.managed = managed(v.Instances)
}

func managed(instances []vrrp.Instance) (addrs []netip.Addr) {
	for i := range instances {
		for _, list := range [][]vrrp.Address{instances[i].Addresses, instances[i].Excluded} {
			for _, a := range list {
				addrs = append(addrs, a.Prefix.Addr())
			}
		}
	}
	return union(addrs, nil)
}

func values(list []keepalived.Value[string]) (out []string) {
	for _, v := range list {
		out = append(out, v.V)
	}
	return out
}

func (p *plan) instance(i *keepalived.Instance) vrrp.Instance {
	v := vrrp.Instance{
		Name: i.Name, Interface: i.Interface.V, VRID: i.VirtualRouterID.V, IPv6: i.IPv6(), Version: i.Version.V,
		Master: i.State.V == "MASTER", Priority: i.Priority.V,
		AdvertInterval: i.AdvertInterval.V, DownTimerAdverts: i.DownTimerAdverts.V,
		NoPreempt: i.NoPreempt.V, PreemptDelay: i.PreemptDelay.V,
		Source: i.McastSrc.V, Multicast: p.group(i),
		UnicastTTL: i.UnicastTTL.V, UnicastFaultNoPeer: i.UnicastFaultNoPeer.V, CheckUnicastSrc: i.CheckUnicastSrc.V,
		Unicast: len(i.UnicastPeers) > 0 || i.UnicastSrc.Set() || i.UnicastFaultNoPeer.V,
		Tracks:  tracks(&i.Tracks), DontTrackPrimary: i.DontTrackPrimary.V, TrackSource: i.TrackSrcIP.V,
		GARP:             p.garp(&i.GARP),
		SkipCheckAdvAddr: i.SkipCheckAdvAddr.V, Strict: i.Strict.V,
		LowerPrioNoAdvert: i.LowerPrioNoAdvert.V, HigherPrioSendAdvert: i.HigherPrioSendAdvert.V,
		NotifyPriorities: i.NotifyPriorities.V,
	}
	if i.UnicastSrc.Set() {
		v.Source = i.UnicastSrc.V
	}
	trust(&v, i)
	if i.UseVMAC.Set() {
		v.VMAC = &vrrp.VMAC{Name: i.UseVMAC.V, MAC: vmac(i), XmitBase: i.VMACXmitBase.V}
	}
	v.Addresses, v.Excluded = addresses(i, i.VirtualAddresses), addresses(i, i.ExcludedAddresses)
	v.NoAccept = !i.Accept.V
	for _, r := range i.VirtualRoutes {
		words := r.String()
		p.routes[words] = r.Route
		v.Routes = append(v.Routes, words)
	}
	return v
}

// trust is whom an instance talks to, and how they know each other. The standard
// has neither peers nor authentication, so that the sockets must have none either.
func trust(v *vrrp.Instance, i *keepalived.Instance) {
	if i.Strict.V {
		return
	}
	for _, peer := range i.UnicastPeers {
		v.Peers = append(v.Peers, vrrp.Peer{Addr: peer.Addr, MinTTL: max(0, peer.MinTTL), MaxTTL: max(0, peer.MaxTTL)})
	}
	switch {
	case i.IPv6():
	case i.AuthType.V == "PASS":
		v.Auth, v.Password = vrrp.Pass, i.AuthPass.V
	case i.AuthType.V == "AH":
		v.Auth, v.Password = vrrp.AH, i.AuthPass.V
	}
}

// vmac is the MAC that use_vmac names; of five bytes VRRP fills in the last.
func vmac(i *keepalived.Instance) (mac wire.MAC) {
	if !i.VMACAddress.Set() {
		return mac
	}
	mac[5] = byte(i.VirtualRouterID.V)
	for at, part := range strings.Split(i.VMACAddress.V, ":") {
		b, err := strconv.ParseUint(part, 16, 8)
		if err != nil || at >= len(mac) {
			return wire.MAC{}
		}
		mac[at] = byte(b)
	}
	return mac
}

// group is where an instance's adverts go: its own group, the configuration's,
// or none for the standard's.
func (p *plan) group(i *keepalived.Instance) netip.Addr {
	switch {
	case i.McastDst.Set():
		return i.McastDst.V
	case i.IPv6():
		return p.conf.Global.McastGroup6.V
	}
	return p.conf.Global.McastGroup4.V
}

// garp is when an instance announces. vrrp_min_garp is one announcement, no
// second burst.
func (p *plan) garp(g *keepalived.GARP) vrrp.GARP {
	if p.conf.Global.MinGARP.V {
		return vrrp.GARP{Repeat: 1, RefreshRepeat: 1, Refresh: g.Refresh.V, LowerPrioRepeat: min(1, g.LowerPrioRepeat.V)}
	}
	return vrrp.GARP{
		Delay: g.Delay.V, Repeat: g.Repeat.V, Refresh: g.Refresh.V, RefreshRepeat: g.RefreshRepeat.V,
		LowerPrioDelay: g.LowerPrioDelay.V, LowerPrioRepeat: g.LowerPrioRepeat.V,
	}
}

func addresses(i *keepalived.Instance, list []keepalived.Address) (out []vrrp.Address) {
	for _, a := range list {
		v := vrrp.Address{
			Prefix: a.Prefix, Interface: a.Interface, Label: a.Label, Broadcast: a.Broadcast, Scope: a.Scope,
			Peer: a.Peer, Flags: a.Flags, Preferred: a.Preferred, NoTrack: a.NoTrack,
		}
		if v.Interface == "" {
			v.Interface = i.Interface.V
		}
		out = append(out, v)
	}
	return out
}

func tracks(t *keepalived.Tracks) vrrp.Tracks {
	return vrrp.Tracks{Interfaces: track(t.Interfaces), Scripts: track(t.Scripts), Processes: track(t.Processes), Files: track(t.Files)}
}

func track(list []keepalived.Track) (out []vrrp.Track) {
	for _, t := range list {
		out = append(out, vrrp.Track{Name: t.Name, Weight: t.Weight, Reverse: t.Reverse, Weighted: t.Weighted})
	}
	return out
}

func group(g *keepalived.SyncGroup) vrrp.Group {
	v := vrrp.Group{Name: g.Name, Tracks: tracks(&g.Tracks), TrackingWeight: g.TrackingWeight.V, NotifyPriorities: g.NotifyPriorities.V}
	for _, i := range g.Instances {
		v.Members = append(v.Members, i.Name)
	}
	return v
}
