package host

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// RealServerStatus reports what is there of what the VIPs need: those given and
// those that were set up.
func RealServerStatus(opts RealServerOptions) (*RealServerReport, error) {
	rs, err := openRealServer(opts.StateDir)
	if err != nil {
		return nil, err
	}
	defer rs.close()
	s := rs.state // changed, but not saved
	for _, vip := range opts.VIPs {
		if !slices.Contains(s.VIPs, vip) {
			s.VIPs = append(s.VIPs, vip)
		}
	}
	if opts.Device != "" {
		s.Device = opts.Device
	}
	s.Tunnel = s.Tunnel || opts.Tunnel
	r := &RealServerReport{VIPs: s.VIPs}
	if len(s.VIPs) == 0 {
		return r, nil
	}
	if err := rs.reportVIPs(r); err != nil {
		return nil, fmt.Errorf("real server: %w", err)
	}
	rs.reportARP(r)
	if s.Tunnel {
		rs.reportTunnels(r)
	}
	return r, nil
}

func (rs *realServer) reportVIPs(r *RealServerReport) error {
	lo, err := rs.nl.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	r.add(lo.Attrs().Flags&net.FlagUp != 0, "lo is up", "ip link set lo up")
	for _, vip := range r.VIPs {
		prefix := netip.PrefixFrom(vip, vip.BitLen())
		have, err := rs.hasAddr(lo, prefix)
		if err != nil {
			return err
		}
		r.add(have, fmt.Sprintf("%v on lo", prefix), "usvs realserver up --vip "+vip.String())
		elsewhere, err := rs.elsewhere(vip)
		if err != nil {
			return err
		}
		if elsewhere != "" {
			r.add(false, fmt.Sprintf("%v nowhere else", vip), "it is on "+elsewhere+" too, which answers the network's questions for it")
		}
	}
	return nil
}

func (rs *realServer) reportARP(r *RealServerReport) {
	for _, device := range rs.state.arpDevices() {
		for _, setting := range arpSettings(device) {
			name := strings.TrimPrefix(setting.path, "/proc/sys/")
			have, err := readSysctl(setting.path)
			note := "it is " + have
			if err != nil {
				note = err.Error()
			}
			r.add(err == nil && slices.Contains(setting.accepted, have), fmt.Sprintf("%s = %s", name, setting.accepted[0]), note)
		}
	}
}

func (rs *realServer) reportTunnels(r *RealServerReport) {
	if DecapsulatorRuns() {
		r.add(true, "tunnelled packets are unpacked by the decapsulator", "")
		return
	}
	for _, family := range rs.familiesOfVIPs() {
		name := kernelTunnels[family]
		l, err := rs.nl.LinkByName(name)
		up := err == nil && l.Attrs().Flags&net.FlagUp != 0
		r.add(up, fmt.Sprintf("tunnelled packets are unpacked by %s", name),
			"it is not up, and no decapsulator runs: usvs realserver up --mode tun")
	}
}
