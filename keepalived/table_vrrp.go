package keepalived

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const maxInterfaceName = 15

var instanceTable = newTable("vrrp_instance",
	[]*keyword{
		custom("state", 1, "MASTER or BACKUP", instanceState),
		custom("interface", 1, "INTERFACE", instanceInterface),
		number("virtual_router_id", 1, 255, func(p *parser) *Value[int] { return &p.instance.VirtualRouterID }),
		number("priority", 1, 255, func(p *parser) *Value[int] { return &p.instance.Priority }),
		seconds("advert_int", 10*time.Millisecond, 255*time.Second, func(p *parser) *Value[time.Duration] { return &p.instance.AdvertInterval }),
		nested("authentication", 0, "", nil, authenticationTable, nil),
		number("version", 2, 3, func(p *parser) *Value[int] { return &p.instance.Version }),
		custom("native_ipv6", 0, "", func(p *parser, s statement) {
			if len(p.instance.VirtualAddresses) > 0 && !p.instance.IPv6() {
				p.invalid("native_ipv6 in an instance with IPv4 addresses", "")
				return
			}
			p.instance.NativeIPv6.set(true, s.at)
		}),
		list("virtual_ipaddress", "lines of ADDRESS[/LEN] [dev INTERFACE] [label L] ...", virtualAddress),
		list("virtual_ipaddress_excluded", "lines of ADDRESS[/LEN] [dev INTERFACE] ...", func(p *parser, s statement) {
			if a, ok := p.ipAddress(s, false); ok {
				p.instance.ExcludedAddresses = append(p.instance.ExcludedAddresses, a)
			}
		}),
		list("virtual_routes", "lines of ip-route(8)", func(p *parser, s statement) { p.route(&p.instance.VirtualRoutes, s, false) }),
		list("virtual_rules", "lines of ip-rule(8)", func(p *parser, s statement) { p.entryOf(&p.instance.VirtualRules, s) }).inert(),
		present("nopreempt", func(p *parser) *Value[bool] { return &p.instance.NoPreempt }),
		negated("preempt", func(p *parser) *Value[bool] { return &p.instance.NoPreempt }),
		seconds("preempt_delay", 0, 1000*time.Second, func(p *parser) *Value[time.Duration] { return &p.instance.PreemptDelay }),
		custom("unicast_src_ip", 1, "ADDRESS", sourceAddress(func(p *parser) *Value[netip.Addr] { return &p.instance.UnicastSrc })),
		custom("mcast_src_ip", 1, "ADDRESS", sourceAddress(func(p *parser) *Value[netip.Addr] { return &p.instance.McastSrc })),
		peersKeyword(),
		script("notify_deleted", func(p *parser) *Value[Script] { return &p.instance.NotifyDeleted }).optional(),
		script("notify_master_rx_lower_pri", func(p *parser) *Value[Script] { return &p.instance.NotifyLowerPrio }),
		onoff("notify_priority_changes", func(p *parser) *Value[bool] { return &p.instance.NotifyPriorities }),
		onoff("smtp_alert", func(p *parser) *Value[bool] { return &p.instance.SMTPAlert }),
		custom("use_vmac", 0, "[INTERFACE] [MAC]", useVMAC),
		present("vmac_xmit_base", func(p *parser) *Value[bool] { return &p.instance.VMACXmitBase }),
		custom("use_ipvlan", 0, "[INTERFACE] [bridge|private|vepa] [ADDRESS]", useIPVLAN).counting().inert(),
		custom("vrf", 1, "INTERFACE", instanceVRF).inert(),
		custom("old_unicast_checksum", 0, "[never]", func(p *parser, s statement) {
			if len(s.words) == 1 || p.oneOf(s, "never") {
				p.instance.OldUnicastChecksum.set(s.arg(1), s.at)
			}
		}).inert(),
		present("use_vmac_addr", func(p *parser) *Value[bool] { return &p.instance.UseVMACAddr }).inert(),
		present("dont_track_primary", func(p *parser) *Value[bool] { return &p.instance.DontTrackPrimary }),
		present("track_src_ip", func(p *parser) *Value[bool] { return &p.instance.TrackSrcIP }),
		custom("mcast_dst_ip", 1, "MULTICAST ADDRESS", func(p *parser, s statement) {
			a, ok := p.address(s.arg(1), "mcast_dst_ip")
			if ok && (!a.IsMulticast() || p.instance.familyKnown() && p.instance.IPv6() != a.Is6()) {
				p.invalid(fmt.Sprintf("mcast_dst_ip %v: not a multicast address of the instance's family", a), "")
			} else if ok {
				p.instance.McastDst.set(a, s.at)
			}
		}),
		number("unicast_ttl", 0, 255, func(p *parser) *Value[int] { return &p.instance.UnicastTTL }),
		present("check_unicast_src", func(p *parser) *Value[bool] { return &p.instance.CheckUnicastSrc }),
		present("unicast_fault_no_peer", func(p *parser) *Value[bool] { return &p.instance.UnicastFaultNoPeer }),
		onoff("skip_check_adv_addr", func(p *parser) *Value[bool] { return &p.instance.SkipCheckAdvAddr }),
		onoff("strict_mode", func(p *parser) *Value[bool] { return &p.instance.Strict }),
		onoff("lower_prio_no_advert", func(p *parser) *Value[bool] { return &p.instance.LowerPrioNoAdvert }),
		onoff("higher_prio_send_advert", func(p *parser) *Value[bool] { return &p.instance.HigherPrioSendAdvert }),
		number("down_timer_adverts", 1, 100, func(p *parser) *Value[int] { return &p.instance.DownTimerAdverts }),
		present("accept", func(p *parser) *Value[bool] { return &p.instance.Accept }),
		negated("no_accept", func(p *parser) *Value[bool] { return &p.instance.Accept }),
		present("promote_secondaries", func(p *parser) *Value[bool] { return &p.instance.PromoteSecondaries }).inert(),
		number("debug", 0, 4, func(p *parser) *Value[int] { return &p.instance.Debug }).inert(),
		custom("lvs_sync_daemon_interface", 1, "INTERFACE", syncDaemonOfInstance).deprecated("write lvs_sync_daemon in global_defs"),
		custom("linkbeat_use_polling", 0, "", nothing).deprecated("valid is a block of linkbeat_interfaces").inert(),
	},
	notifyRows(func(p *parser) *Notify { return &p.instance.Notify }),
	garpRows("garp_", func(p *parser) *GARP { return &p.instance.GARP }),
	trackRows(func(p *parser) *Tracks { return &p.instance.Tracks }),
	ignored(between(0, math.MaxUint32).needed().single(), "kernel_rx_buf_size"),
	ignored(announced(0).needed(), "garp_extra_if"),
	ignored(announced(0).needed().deprecated("write garp_extra_if"), "vmac_garp_intvl"),
)

var authenticationTable = newTable("authentication", []*keyword{
	custom("auth_type", 1, "PASS or AH", func(p *parser, s statement) {
		if p.oneOf(s, "PASS", "AH") {
			p.instance.AuthType.set(s.arg(1), s.at)
		}
	}),
	authPass(),
})

// nothing is for keywords without an effect.
func nothing(*parser, statement) {}

func authPass() *keyword {
	k := custom("auth_pass", 1, "PASSWORD of 8 bytes", func(p *parser, s statement) {
		pass := s.arg(1)
		if len(pass) > 8 {
			p.invalid("auth_pass is longer than 8 bytes", "the first 8 count")
			pass = pass[:8]
		}
		p.instance.AuthPass.set(pass, s.at)
	})
	k.free = true
	return k
}

func notifyRows(of func(*parser) *Notify) []*keyword {
	return []*keyword{
		script("notify_master", func(p *parser) *Value[Script] { return &of(p).Master }),
		script("notify_backup", func(p *parser) *Value[Script] { return &of(p).Backup }),
		script("notify_fault", func(p *parser) *Value[Script] { return &of(p).Fault }),
		script("notify_stop", func(p *parser) *Value[Script] { return &of(p).Stop }),
		script("notify", func(p *parser) *Value[Script] { return &of(p).Any }),
	}
}

// name is the one word after the keyword of a block.
func (p *parser) name(s statement) (string, bool) {
	if len(s.words) != 2 {
		p.invalid(fmt.Sprintf("%s has %d words after it", s.words[0], len(s.words)-1), "valid is one, its name")
		p.skip = true
		return "", false
	}
	return s.arg(1), true
}

func beginInstance(p *parser, s statement) {
	name, ok := p.name(s)
	if !ok {
		return
	}
	for _, i := range p.config.Instances {
		if i.Name == name {
			p.defineTwice("vrrp_instance", name, i.At)
			return
		}
	}
	p.instance = &Instance{Name: name, At: s.at}
	p.config.Instances = append(p.config.Instances, p.instance)
}

func endInstance(p *parser, s statement) {
	i := p.instance
	if i.UnicastTTL.Set() && len(i.UnicastPeers) == 0 {
		p.invalid(fmt.Sprintf("unicast_ttl in line %d without unicast_peer", i.UnicastTTL.At.Line), "")
	}
	if i.virtual() && len(i.UnicastPeers) > 0 && !i.Interface.Set() {
		p.invalid("use_vmac or use_ipvlan and unicast_peer without interface", "")
	} else if i.virtual() && len(i.UnicastPeers) > 0 && !i.VMACXmitBase.V {
		p.invalid("use_vmac or use_ipvlan and unicast_peer without vmac_xmit_base; keepalived sets it", "")
		i.VMACXmitBase.V = true
	}
}

// IPv6 reports whether the instance's adverts are, by the first address that
// tells.
func (i *Instance) IPv6() bool {
	switch {
	case i.NativeIPv6.V:
		return true
	case len(i.VirtualAddresses) > 0:
		return i.VirtualAddresses[0].Prefix.Addr().Is6()
	case len(i.UnicastPeers) > 0:
		return i.UnicastPeers[0].Addr.Is6()
	case i.UnicastSrc.Set():
		return i.UnicastSrc.V.Is6()
	case i.McastSrc.Set():
		return i.McastSrc.V.Is6()
	case i.IPVLAN.Set():
		return i.IPVLAN.V.Address.Is6()
	}
	return false
}

// familyKnown reports whether anything has named an address yet.
func (i *Instance) familyKnown() bool {
	return i.NativeIPv6.V || len(i.VirtualAddresses) > 0 || len(i.UnicastPeers) > 0 || i.UnicastSrc.Set() || i.McastSrc.Set() || i.IPVLAN.V.Address.IsValid()
}

func instanceState(p *parser, s statement) {
	if !p.oneOf(s, "MASTER", "BACKUP") {
		return
	}
	if i := p.instance; i.State.Set() && i.State.V != s.arg(1) {
		p.invalid(fmt.Sprintf("state %s after state %s in line %d", s.arg(1), i.State.V, i.State.At.Line), "the first counts")
		return
	}
	p.instance.State.set(s.arg(1), s.at)
}

func instanceInterface(p *parser, s statement) {
	name := s.arg(1)
	switch {
	case len(name) > maxInterfaceName:
		p.invalid("interface "+shown(name)+": the name is too long", "15 bytes at most")
		return
	case name == "lo":
		p.invalid("interface lo: VRRP does not work on a loopback interface", "")
		return
	}
	p.onInterface(name)
	p.instance.Interface.set(name, s.at)
}

func useVMAC(p *parser, s statement) {
	name, mac := s.arg(1), s.arg(2)
	if strings.Count(name, ":") > 1 {
		name, mac = "", name
	}
	if mac = strings.ToLower(mac); strings.HasPrefix(mac, "00:00:5e:00:01") || strings.HasPrefix(mac, "00:00:5e:00:02") {
		p.invalid("use_vmac "+mac+": VRRP's own addresses are not to be given", "leave it out to get one of these")
		return
	}
	if mac != "" && !isMAC(mac) {
		p.invalid("use_vmac "+shown(name)+" "+shown(mac), "valid is a name of 15 bytes and a hardware address of 5 or 6")
		return
	}
	if len(name) > maxInterfaceName {
		p.invalid("use_vmac "+shown(name)+": the name is too long", "15 bytes at most")
		return
	}
	p.instance.UseVMAC.set(name, s.at)
	if mac != "" {
		p.instance.VMACAddress.set(mac, s.at)
	}
}

// isMAC reports whether text is a hardware address, with or without the last
// byte, which VRRP fills in.
func isMAC(text string) bool {
	parts := strings.Split(text, ":")
	for _, part := range parts {
		if _, err := strconv.ParseUint(part, 16, 8); err != nil {
			return false
		}
	}
	return len(parts) == 5 || len(parts) == 6
}

// sourceAddress sets an address that must be of the instance's family.
func sourceAddress(field func(*parser) *Value[netip.Addr]) func(*parser, statement) {
	return func(p *parser, s statement) {
		a, ok := p.address(s.arg(1), s.words[0])
		if !ok {
			return
		}
		if p.instance.familyKnown() && p.instance.IPv6() != a.Is6() {
			p.invalid(fmt.Sprintf("%s %v: not of the instance's address family", s.words[0], a), "")
			return
		}
		field(p).set(a, s.at)
	}
}

func peersKeyword() *keyword {
	k := list("unicast_peer", "lines of ADDRESS [min_ttl N] [max_ttl N]", unicastPeer)
	k.do = func(p *parser, s statement) { p.instance.peersAt = s.at }
	return k
}

func unicastPeer(p *parser, s statement) {
	a, ok := p.address(s.words[0], "unicast_peer")
	if !ok {
		return
	}
	if p.instance.familyKnown() && p.instance.IPv6() != a.Is6() {
		p.invalid(fmt.Sprintf("unicast_peer %v: not of the instance's address family", a), "")
		return
	}
	peer := Peer{Addr: a, MinTTL: -1, MaxTTL: -1, At: s.at}
	for i := 1; i < len(s.words); i += 2 {
		field := map[string]*int{"min_ttl": &peer.MinTTL, "max_ttl": &peer.MaxTTL}[s.words[i]]
		switch {
		case i+1 == len(s.words):
			p.invalid("unicast_peer "+shown(s.words[i])+" without its value", suggestion(s.words[i], []string{"min_ttl", "max_ttl"}))
		case field == nil:
			p.invalid("unicast_peer "+shown(s.words[i]), suggestion(s.words[i], []string{"min_ttl", "max_ttl"}))
		default:
			if n, ok := p.integer(s.words[i+1], 0, 255, s.words[i]); ok {
				*field = n
			}
		}
	}
	if peer.MaxTTL >= 0 && peer.MinTTL > peer.MaxTTL {
		p.invalid("min_ttl is greater than max_ttl: no packet would do", "")
	}
	p.instance.UnicastPeers = append(p.instance.UnicastPeers, peer)
}

func virtualAddress(p *parser, s statement) {
	a, ok := p.ipAddress(s, false)
	if !ok {
		return
	}
	if p.instance.familyKnown() && p.instance.IPv6() != a.Prefix.Addr().Is6() {
		p.invalid(fmt.Sprintf("%v is not of the instance's address family", a.Prefix.Addr()), "addresses of the other family go into virtual_ipaddress_excluded")
		return
	}
	p.instance.VirtualAddresses = append(p.instance.VirtualAddresses, a)
}

var syncGroupTable = newTable("vrrp_sync_group",
	[]*keyword{
		groupKeyword(func(p *parser) *[]Value[string] { return &p.group.Members }),
		onoff("smtp_alert", func(p *parser) *Value[bool] { return &p.group.SMTPAlert }),
		onoff("notify_priority_changes", func(p *parser) *Value[bool] { return &p.group.NotifyPriorities }),
		present("sync_group_tracking_weight", func(p *parser) *Value[bool] { return &p.group.TrackingWeight }),
		present("global_tracking", func(p *parser) *Value[bool] { return &p.group.TrackingWeight }).deprecated("track on the sync group, with sync_group_tracking_weight"),
	},
	notifyRows(func(p *parser) *Notify { return &p.group.Notify }),
	trackRows(func(p *parser) *Tracks { return &p.group.Tracks }),
)

// groupKeyword is a list of names, as many on a line as there are.
func groupKeyword(field func(*parser) *[]Value[string]) *keyword {
	k := names("group", "names of instances", field)
	k.do = func(p *parser, s statement) {
		if len(*field(p)) > 0 {
			p.invalid("group again; the first counts", "")
			p.report.Recovered = true
			p.skip = true
		}
	}
	return k
}

func beginSyncGroup(p *parser, s statement) {
	name, ok := p.name(s)
	if !ok {
		return
	}
	for _, g := range p.config.SyncGroups {
		if g.Name == name {
			p.defineTwice("vrrp_sync_group", name, g.At)
			return
		}
	}
	p.group = &SyncGroup{Name: name, At: s.at}
	p.config.SyncGroups = append(p.config.SyncGroups, p.group)
}

var trackGroupTable = inertTable("track_group",
	groupKeyword(func(p *parser) *[]Value[string] { return &p.tracked.Members }),
)

func beginTrackGroup(p *parser, s statement) {
	if name, ok := p.name(s); ok {
		p.tracked = &TrackGroup{Name: name, At: s.at}
		p.config.TrackGroups = append(p.config.TrackGroups, p.tracked)
	}
}

var garpGroupTable = newTable("garp_group", []*keyword{
	seconds("garp_interval", microsecond, maxTimer, func(p *parser) *Value[time.Duration] { return &p.garp.GARPInterval }),
	seconds("gna_interval", microsecond, maxTimer, func(p *parser) *Value[time.Duration] { return &p.garp.GNAInterval }),
	custom("interface", 1, "INTERFACE", func(p *parser, s statement) { p.garpInterface(s.arg(1), s.at) }),
	list("interfaces", "names of interfaces", func(p *parser, s statement) {
		for _, w := range s.words {
			p.garpInterface(w, s.at)
		}
	}),
})

func (p *parser) garpInterface(name string, at Pos) {
	p.onInterface(name)
	p.garp.Interfaces = append(p.garp.Interfaces, Value[string]{name, at})
}

func beginGARPGroup(p *parser, s statement) {
	p.garp = &GARPGroup{At: s.at}
	p.config.GARPGroups = append(p.config.GARPGroups, p.garp)
}

func endGARPGroup(p *parser, s statement) {
	if g := p.garp; !g.GARPInterval.Set() && !g.GNAInterval.Set() {
		p.invalid("garp_group without garp_interval and gna_interval", "")
	}
}

var bfdTable = inertTable("bfd_instance",
	bfdNeighbor("neighbor_ip"),
	bfdNeighbor("neighbour_ip"),
	address("source_ip", func(p *parser) *Value[netip.Addr] { return &p.bfd.Source }),
	milliseconds("min_rx", func(p *parser) *Value[time.Duration] { return &p.bfd.MinRx }),
	milliseconds("min_tx", func(p *parser) *Value[time.Duration] { return &p.bfd.MinTx }),
	milliseconds("idle_tx", func(p *parser) *Value[time.Duration] { return &p.bfd.IdleTx }),
	number("multiplier", 1, 255, func(p *parser) *Value[int] { return &p.bfd.Multiplier }),
	present("passive", func(p *parser) *Value[bool] { return &p.bfd.Passive }),
	number("ttl", 1, 255, func(p *parser) *Value[int] { return &p.bfd.TTL }),
	number("hoplimit", 1, 255, func(p *parser) *Value[int] { return &p.bfd.TTL }),
	number("max_hops", -1, 255, func(p *parser) *Value[int] { return &p.bfd.MaxHops }),
	weightKeyword(253, func(p *parser) *Value[Weight] { return &p.bfd.Weight }),
	present("vrrp", func(p *parser) *Value[bool] { return &p.bfd.VRRP }),
	present("checker", func(p *parser) *Value[bool] { return &p.bfd.Checker }),
)

func bfdNeighbor(name string) *keyword {
	return custom(name, 1, "ADDRESS", func(p *parser, s statement) {
		a, ok := p.address(s.arg(1), name)
		p.neighborLost = !ok
		if ok {
			p.bfd.Neighbor.set(a, s.at)
		}
	})
}

// milliseconds are BFD's times.
func milliseconds(name string, field func(*parser) *Value[time.Duration]) *keyword {
	const most = math.MaxUint32 / 1000
	return custom(name, 1, fmt.Sprintf("1 to %d milliseconds", most), func(p *parser, s statement) {
		if v, ok := p.duration(s.arg(1), time.Second, most*time.Second, name); ok {
			field(p).set(v/1000, s.at)
		}
	})
}

func beginBFD(p *parser, s statement) {
	name := s.arg(1)
	if len(name) > 31 {
		p.invalid("bfd_instance "+shown(name)+": the name is too long", "31 bytes at most")
		p.skip = true
		return
	}
	for _, b := range p.config.BFDInstances {
		if b.Name == name {
			p.defineTwice("bfd_instance", name, b.At)
			return
		}
	}
	p.neighborLost = false
	p.bfd = &BFDInstance{Name: name, At: s.at}
	p.config.BFDInstances = append(p.config.BFDInstances, p.bfd)
}

func endBFD(p *parser, s statement) {
	b := p.bfd
	switch {
	case !b.Neighbor.Set() && !p.neighborLost:
		p.invalid("bfd_instance "+b.Name+" without neighbor_ip", "")
	case b.Neighbor.Set() && b.Source.Set() && b.Neighbor.V.Is6() != b.Source.V.Is6():
		p.invalid("bfd_instance "+b.Name+": source_ip and neighbor_ip are of different families", "")
	}
	b.MinRx.orDefault(10 * time.Millisecond)
	b.MinTx.orDefault(10 * time.Millisecond)
	b.IdleTx.orDefault(time.Second)
	b.Multiplier.orDefault(5)
	b.TTL.orDefault(255)
	if b.Neighbor.V.Is6() {
		b.TTL.orDefault(64)
	}
}
