package keepalived

import "time"

func (p *parser) finishVRRP() {
	var kept []*Instance
	for _, i := range p.config.Instances {
		if p.finishInstance(i) {
			kept = append(kept, i)
		}
	}
	p.config.Instances = kept
	p.sameRouter()
	p.finishGroups()
}

// finishInstance fills in an instance's defaults. It returns false for an
// instance that cannot be.
func (p *parser) finishInstance(i *Instance) bool {
	if !i.VirtualRouterID.Set() {
		p.lateInvalid(i.At, "vrrp_instance %s without virtual_router_id", i.Name)
		return false
	}
	if !i.Interface.Set() && !(len(i.UnicastPeers) > 0 && i.UnicastSrc.Set()) {
		p.lateInvalid(i.At, "vrrp_instance %s without interface", i.Name)
		return false
	}
	if !i.Interface.Set() {
		p.late(i.UnicastSrc.At, Note, "which interface has the address is not checked", "")
		p.report.unchecked = append(p.report.unchecked, i.UnicastSrc.At)
	}
	p.inherit(i)
	p.finishVersion(i)
	p.finishPriority(i)
	p.finishAccept(i)
	p.finishPreempt(i)
	p.finishUnicast(i)
	p.finishStrict(i)
	p.finishInterfaces(i)
	return true
}

// finishInterfaces holds the interfaces that an instance may have of its own
// against each other.
func (p *parser) finishInterfaces(i *Instance) {
	if i.VMACXmitBase.Set() && !i.UseVMAC.Set() {
		p.lateInvalid(i.VMACXmitBase.At, "vmac_xmit_base without use_vmac")
	}
	if i.IPVLAN.Set() && !i.IPv6() && !i.IPVLAN.V.Address.IsValid() {
		p.lateInvalid(i.IPVLAN.At, "use_ipvlan without an address: IPv4 needs one")
	}
	if i.VRF.Set() && i.Interface.Set() {
		p.lateInvalid(i.VRF.At, "vrf with interface: it is for instances without one")
	}
}

// inherit takes over what global_defs says for all instances.
func (p *parser) inherit(i *Instance) {
	g := &p.config.Global
	i.Strict.orElse(g.Strict)
	i.SkipCheckAdvAddr.orElse(g.SkipCheckAdvAddr)
	i.LowerPrioNoAdvert.orElse(g.LowerPrioNoAdvert)
	i.HigherPrioSendAdvert.orElse(g.HigherPrioSendAdvert)
	i.DownTimerAdverts.orElse(g.DownTimerAdverts)
	i.CheckUnicastSrc.orElse(g.CheckUnicastSrc)
	i.NotifyPriorities.orElse(g.NotifyPriorityChanges)
	i.SMTPAlert.orElse(g.SMTPAlertVRRP)
	i.SMTPAlert.orElse(g.SMTPAlert)
	i.GARP.Delay.orElse(g.GARP.Delay)
	i.GARP.Repeat.orElse(g.GARP.Repeat)
	i.GARP.Refresh.orElse(g.GARP.Refresh)
	i.GARP.RefreshRepeat.orElse(g.GARP.RefreshRepeat)
	i.GARP.LowerPrioDelay.orElse(g.GARP.LowerPrioDelay)
	i.GARP.LowerPrioRepeat.orElse(g.GARP.LowerPrioRepeat)
	i.AdvertInterval.orDefault(time.Second)
	i.Version.orElse(g.Version)
}

// finishVersion holds times and authentication against the protocol's version.
func (p *parser) finishVersion(i *Instance) {
	if i.IPv6() && i.Version.V == 2 && !i.Version.Set() {
		i.Version.V = 3
	}
	if len(i.VirtualAddresses) == 0 {
		p.lateInvalid(i.At, "vrrp_instance %s without virtual_ipaddress; one at least is sensible", i.Name)
	}
	interval := i.AdvertInterval.V
	switch {
	case i.Version.V == 2 && interval%time.Second != 0:
		p.lateInvalid(i.AdvertInterval.At, "advert_int %v: VRRP version 2 has whole seconds", interval)
		i.AdvertInterval.V = max(time.Second, interval.Round(time.Second))
	case i.Version.V == 3 && interval > 40950*time.Millisecond:
		p.lateInvalid(i.AdvertInterval.At, "advert_int %v: VRRP version 3 has 40.95 seconds at most", interval)
		i.AdvertInterval.V = 40950 * time.Millisecond
	case i.Version.V == 3 && interval%(10*time.Millisecond) != 0:
		p.lateInvalid(i.AdvertInterval.At, "advert_int %v: VRRP version 3 has hundredths of seconds", interval)
		i.AdvertInterval.V = interval.Round(10 * time.Millisecond)
	}
	switch {
	case i.AuthType.Set() && i.AuthPass.V == "":
		p.lateInvalid(i.AuthType.At, "auth_type %s without auth_pass", i.AuthType.V)
		i.AuthType = Value[string]{}
	case i.AuthType.Set() && i.Version.V == 3:
		p.lateInvalid(i.AuthType.At, "VRRP version 3 has no authentication")
		i.AuthType = Value[string]{}
	}
}

// finishPriority fills in the priority and the state from each other: 255 is
// the owner of the addresses.
func (p *parser) finishPriority(i *Instance) {
	priority, state := 100, "BACKUP"
	if i.State.V == "MASTER" {
		priority = 255
	}
	i.Priority.orDefault(priority)
	if i.Priority.V == 255 {
		state = "MASTER"
	}
	i.State.orDefault(state)
}

// finishAccept: the owner of the addresses accepts packets to them, others unless
// the standard is to be followed (RFC 5798, 6.1), whose version 2 knows no accept.
func (p *parser) finishAccept(i *Instance) {
	if i.Strict.V && i.Version.V == 2 && i.Accept.V {
		p.lateInvalid(i.Accept.At, "accept with strict_mode: VRRP version 2 does not have it")
		i.Accept.V = false
	}
	i.Accept.orDefault(!i.Strict.V)
	if i.Priority.V == 255 {
		i.Accept.V = true
	}
}

func (p *parser) finishPreempt(i *Instance) {
	if i.NoPreempt.V && i.Priority.V == 255 {
		p.lateInvalid(i.NoPreempt.At, "nopreempt with priority 255: the owner of the addresses always takes over")
		i.NoPreempt.V = false
	} else if i.NoPreempt.V && i.State.V == "MASTER" {
		p.lateInvalid(i.NoPreempt.At, "nopreempt with state MASTER: keepalived wants state BACKUP")
		i.NoPreempt.V = false
	}
	if i.PreemptDelay.V == 0 {
		return
	}
	switch {
	case i.NoPreempt.V:
		p.lateInvalid(i.PreemptDelay.At, "preempt_delay with nopreempt")
	case i.State.V == "MASTER":
		p.lateInvalid(i.PreemptDelay.At, "preempt_delay with state MASTER: keepalived wants state BACKUP")
	default:
		return
	}
	i.PreemptDelay.V = 0
}

func (p *parser) finishUnicast(i *Instance) {
	if len(i.UnicastPeers) > 0 {
		return
	}
	for _, at := range []Pos{i.UnicastSrc.At, i.CheckUnicastSrc.At, i.peersAt, i.OldUnicastChecksum.At} {
		if at.Line > 0 && at != p.config.Global.CheckUnicastSrc.At {
			p.lateInvalid(at, "a keyword about unicast without unicast_peer; keepalived uses multicast")
			return
		}
	}
}

// sameRouter finds instances that would be one router.
func (p *parser) sameRouter() {
	type router struct {
		id        int
		v6        bool
		iface     string
		multicast string
	}
	seen := map[router]*Instance{}
	for _, i := range p.config.Instances {
		r := router{i.VirtualRouterID.V, i.IPv6(), i.Interface.V, i.McastDst.V.String()}
		if first := seen[r]; first != nil {
			p.lateInvalid(i.VirtualRouterID.At, "vrrp_instance %s and %s both have virtual_router_id %d on %s", first.Name, i.Name, r.id, r.iface)
		}
		seen[r] = i
	}
}

func (p *parser) finishGroups() {
	var kept []*SyncGroup
	for _, g := range p.config.SyncGroups {
		p.members(g)
		switch {
		case len(g.Members) == 0:
			p.lateInvalid(g.At, "vrrp_sync_group %s without instances", g.Name)
			continue
		case len(g.Instances) == 0:
			p.lateInvalid(g.At, "vrrp_sync_group %s: none of its instances is defined", g.Name)
			continue
		case len(g.Instances) == 1:
			p.lateInvalid(g.At, "vrrp_sync_group %s has only one instance", g.Name)
		}
		kept = append(kept, g)
		g.SMTPAlert.orElse(p.config.Global.SMTPAlertVRRP)
		g.SMTPAlert.orElse(p.config.Global.SMTPAlert)
	}
	p.config.SyncGroups = kept
}

// members resolves the names of a sync group.
func (p *parser) members(g *SyncGroup) {
	for _, m := range g.Members {
		i := p.instanceNamed(m.V)
		switch {
		case i == nil:
			p.lateInvalid(m.At, "vrrp_sync_group %s: there is no vrrp_instance %s", g.Name, shown(m.V))
		case i.SyncGroup != nil:
			p.lateInvalid(m.At, "vrrp_instance %s is in vrrp_sync_group %s already", i.Name, i.SyncGroup.Name)
		default:
			i.SyncGroup = g
			g.Instances = append(g.Instances, i)
			p.trackedTwice(g, i)
		}
	}
}

// trackedTwice finds interfaces that a group and its member both depend on.
func (p *parser) trackedTwice(g *SyncGroup, i *Instance) {
	for _, t := range g.Tracks.Interfaces {
		if t.Name == i.Interface.V && !i.DontTrackPrimary.V {
			p.lateInvalid(t.At, "vrrp_instance %s depends on %s already", i.Name, t.Name)
		}
	}
}

func (p *parser) instanceNamed(name string) *Instance {
	for _, i := range p.config.Instances {
		if i.Name == name {
			return i
		}
	}
	return nil
}

// finishStrict holds an instance against the standard, if it asks for that.
func (p *parser) finishStrict(i *Instance) {
	for _, t := range i.Tracks.Interfaces {
		if t.Name == i.Interface.V {
			p.lateInvalid(t.At, "track_interface %s is the instance's own interface, which it depends on anyway", t.Name)
		}
	}
}
