package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"usvs/wire"
)

// ownerPriority is the priority of a router that owns the addresses itself.
const ownerPriority = 255

var (
	multicast4 = netip.MustParseAddr("224.0.0.18")
	multicast6 = netip.MustParseAddr("ff02::12")
)

// withDefaults is a copy of c with nothing left out.
func (c *Config) withDefaults() *Config {
	d := *c
	d.Instances = slices.Clone(c.Instances)
	d.Scripts = slices.Clone(c.Scripts)
	d.Processes = slices.Clone(c.Processes)
	for k := range d.Instances {
		d.Instances[k].fill()
	}
	for k := range d.Scripts {
		d.Scripts[k].fill()
	}
	for k := range d.Processes {
		d.Processes[k].fill()
	}
	return &d
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (s *Script) fill() {
	if s.Interval <= 0 {
		s.Interval = time.Second
	}
	orDefault(&s.Timeout, s.Interval)
	s.Rise, s.Fall = max(s.Rise, 1), max(s.Fall, 1)
}

func (p *Process) fill() {
	orDefault(&p.Quorum, 1)
	if p.HasMax {
		p.Quorum = min(p.Quorum, p.QuorumMax)
	}
}

func (i *Instance) fill() {
	version, priority, group := 2, 100, multicast4
	if i.IPv6 {
		version, group = 3, multicast6
	}
	if i.Master {
		priority = ownerPriority
	}
	orDefault(&i.Version, version)
	orDefault(&i.Priority, priority)
	orDefault(&i.Multicast, group)
	orDefault(&i.AdvertInterval, time.Second)
	i.AdvertInterval = max(i.AdvertInterval, minInterval)
	orDefault(&i.DownTimerAdverts, 3)
	orDefault(&i.UnicastTTL, 255)
	i.GARP.Repeat = max(i.GARP.Repeat, 1)
	i.GARP.RefreshRepeat = max(i.GARP.RefreshRepeat, 1)
	i.fillPreempt()
	if i.Strict {
		i.fillStrict()
	}
	i.NoAccept = i.NoAccept && i.Priority != ownerPriority
	i.fillVMAC()
	i.Addresses = i.fillAddresses(i.Addresses)
	i.Excluded = i.fillAddresses(i.Excluded)
}

// fillPreempt clears what a router that is to be master cannot wait for.
func (i *Instance) fillPreempt() {
	if i.Version == 3 || i.IPv6 {
		i.Auth = NoAuth
	}
	if i.Auth == AH && i.Master && i.Priority != ownerPriority {
		i.Master = false // it has to hear the others' sequence numbers first
	}
	if i.Master || i.Priority == ownerPriority {
		i.NoPreempt, i.PreemptDelay = false, 0
	}
	if i.NoPreempt {
		i.PreemptDelay = 0
	}
}

// fillStrict has an instance follow the standards by the letter.
func (i *Instance) fillStrict() {
	i.Auth = NoAuth
	i.Master = i.Priority == ownerPriority
	i.PreemptDelay = 0
	i.DownTimerAdverts = 3
	i.LowerPrioNoAdvert = true
	i.HigherPrioSendAdvert = false
	i.GARP.LowerPrioRepeat = 0
	i.Peers = nil
	if i.VMAC != nil {
		v := VMAC{Name: i.VMAC.Name}
		i.VMAC = &v
	}
}

// fillVMAC names the interface that keepalived would make.
func (i *Instance) fillVMAC() {
	if i.VMAC == nil {
		return
	}
	v := *i.VMAC
	orDefault(&v.Name, fmt.Sprintf("vrrp.%d", i.VRID))
	i.VMAC = &v
}

// fillAddresses copies addresses with their interface and virtual MAC.
func (i *Instance) fillAddresses(in []Address) []Address {
	out := slices.Clone(in)
	for k := range out {
		orDefault(&out[k].Interface, i.Interface)
		out[k].Refused = i.NoAccept
		if i.VMAC != nil && out[k].Interface == i.Interface {
			orDefault(&out[k].VMAC, i.virtualMAC())
		}
	}
	return out
}

// virtualMAC is the MAC of the virtual router (RFC 5798, 7.3).
func (i *Instance) virtualMAC() wire.MAC {
	if i.VMAC != nil && !i.VMAC.MAC.IsZero() {
		return i.VMAC.MAC
	}
	family := byte(1)
	if i.IPv6 {
		family = 2
	}
	return wire.MAC{0, 0, 0x5e, 0, family, byte(i.VRID)}
}

// advertMAC is the source MAC of adverts, zero for the interface's own.
func (i *Instance) advertMAC() wire.MAC {
	if i.VMAC == nil || i.VMAC.XmitBase || i.unicast() {
		return wire.MAC{}
	}
	return i.virtualMAC()
}

func (i *Instance) unicast() bool { return len(i.Peers) > 0 }
