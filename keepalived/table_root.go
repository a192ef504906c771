package keepalived

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"usvs/iproute"
)

// rootTable is the keywords outside of blocks.
var rootTable = func() *table {
	t := newTable("keepalived.conf",
		[]*keyword{
			nested("global_defs", 0, "", nil, globalTable, nil),
			nested("vrrp_instance", 0, "NAME", beginInstance, instanceTable, endInstance).counting(),
			nested("vrrp_sync_group", 0, "NAME", beginSyncGroup, syncGroupTable, nil).counting(),
			nested("vrrp_script", 1, "NAME", beginScript, scriptTable, endScript),
			nested("vrrp_track_process", 1, "NAME", beginProcess, processTable, endProcess),
			nested("track_file", 1, "NAME", beginTrackFile, trackFileTable, endTrackFile),
			nested("vrrp_track_file", 1, "NAME", beginTrackFile, trackFileTable, endTrackFile),
			nested("track_group", 0, "NAME", beginTrackGroup, trackGroupTable, nil).counting().inert(),
			nested("garp_group", 0, "", beginGARPGroup, garpGroupTable, endGARPGroup),
			nested("bfd_instance", 1, "NAME", beginBFD, bfdTable, endBFD).inert(),
			nested("SSL", 0, "", beginSSL, sslTable, nil),
			vsGroupKeyword,
			nested("virtual_server", 1, "ADDRESS [PORT] | fwmark MARK [inet|inet6] | group NAME", beginVirtualServer, virtualServerTable, endVirtualServer),
			list("static_ipaddress", "lines of ADDRESS[/LEN] [dev INTERFACE] ...", func(p *parser, s statement) {
				if a, ok := p.ipAddress(s, true); ok {
					p.config.StaticAddresses = append(p.config.StaticAddresses, a)
				}
			}),
			list("static_routes", "lines of ip-route(8)", func(p *parser, s statement) {
				p.route(&p.config.StaticRoutes, s, true)
			}),
			list("static_rules", "lines of ip-rule(8)", func(p *parser, s statement) {
				p.entryOf(&p.config.StaticRules, s)
			}).inert(),
			list("interface_up_down_delays", "lines of INTERFACE DOWN [UP], 0 to 255 seconds each", interfaceDelay),
			word("net_namespace", "NAME", func(p *parser) *Value[string] { return &p.config.Global.NetNamespace }).lenient().inert(),
			word("net_namespace_ipvs", "NAME", func(p *parser) *Value[string] { return &p.config.Global.NetNamespaceIPVS }).optional().inert(),
			custom("instance", 1, "NAME", func(p *parser, s statement) {
				if f := &p.config.Global.InstanceName; f.Set() {
					p.invalid("instance again; the first counts", "it was set in line "+fmt.Sprint(f.At.Line))
				} else {
					f.set(s.arg(1), s.at)
				}
			}).lenient().inert(),
		},
		ignored(anything, "use_pid_dir", "namespace_with_ipsets", "linkbeat_use_polling"),
		ignored(between(0, math.MaxUint32).fatal(), "child_wait_time"),
		[]*keyword{linkbeatInterfaces()},
	)
	t.root = true
	return t
}()

// linkbeatInterfaces are interfaces that keepalived asks for their carrier.
func linkbeatInterfaces() *keyword {
	k := list("linkbeat_interfaces", "lines of INTERFACE [MII|ETHTOOL]", func(p *parser, s statement) {
		p.onInterface(s.words[0])
		if len(s.words) > 2 || len(s.words) == 2 && s.words[1] != "MII" && s.words[1] != "ETHTOOL" {
			p.invalid("linkbeat_interfaces "+shown(strings.Join(s.words, " ")), "valid is INTERFACE [MII|ETHTOOL]")
		}
	})
	k.support = Ignored
	k.note = "known and ignored: usvs has no use for it"
	return k
}

// interfaceDelay reads how long changes of an interface have to last; up is as
// down unless it is given. The last line of an interface counts.
func interfaceDelay(p *parser, s statement) {
	const most = 255 * time.Second
	d := InterfaceDelay{Interface: s.words[0], At: s.at}
	p.onInterface(d.Interface)
	ok := true
	if s.arg(1) != "" {
		d.Down, ok = p.duration(s.arg(1), 0, most, d.Interface+" down")
		d.Up = d.Down
	}
	if ok && s.arg(2) != "" {
		d.Up, ok = p.duration(s.arg(2), 0, most, d.Interface+" up")
	}
	if !ok {
		return
	}
	same := func(o InterfaceDelay) bool { return o.Interface == d.Interface }
	p.config.InterfaceDelays = append(slices.DeleteFunc(p.config.InterfaceDelays, same), d)
}

// entryOf keeps a rule in the words of ip(8), which are not looked at.
func (p *parser) entryOf(to *[]Entry, s statement) {
	*to = append(*to, Entry{s.words, s.at})
	p.unchecked("the words of this rule are not checked")
}

// route reads a line of virtual_routes or static_routes.
func (p *parser) route(to *[]Route, s statement, static bool) {
	e := iproute.Parse(s.words, static)
	for _, f := range e.Problems {
		switch f.Severity {
		case iproute.Unsupported:
			p.unchecked(f.Text)
		case iproute.Missing:
			p.problem(Fatal, f.Text, "")
		default:
			p.invalid(f.Text, "")
		}
	}
	if !e.Usable {
		return
	}
	for _, name := range e.Interfaces() {
		p.onInterface(name)
	}
	*to = append(*to, Route{Route: e.Route, NoTrack: e.NoTrack, TrackGroup: e.TrackGroup, At: s.at})
}

func (p *parser) defineTwice(kind, name string, first Pos) {
	p.invalid(fmt.Sprintf("%s %s again; the first counts", kind, name), "it was defined in line "+fmt.Sprint(first.Line))
	p.skip = true
}

// multicast is an address that must be of a family and a group's.
func multicast(name string, v6 bool, field func(*parser) *Value[netip.Addr]) *keyword {
	k := custom(name, 1, "MULTICAST ADDRESS", func(p *parser, s statement) {
		a, ok := p.address(s.arg(1), name)
		if ok && (a.Is6() != v6 || !a.IsMulticast()) {
			p.invalid(fmt.Sprintf("%s %v: not a multicast address of the family", name, a), "")
			return
		}
		if ok {
			field(p).set(a, s.at)
		}
	})
	return k
}
