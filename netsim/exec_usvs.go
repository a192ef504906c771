package netsim

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// realServer runs `usvs realserver up|down|status`.
func (h *Host) realServer(w []string) Result {
	pairs := map[string][]string{}
	var plain []string
	gre := false
	for i := 0; i < len(w); i++ {
		key, value, joined := strings.Cut(w[i], "=")
		switch {
		case w[i] == "--gre":
			gre = true
		case w[i] == "--userspace":
		case strings.HasPrefix(key, "--") && joined:
			pairs[key] = append(pairs[key], value)
		case strings.HasPrefix(key, "--") && i+1 < len(w):
			i++
			pairs[key] = append(pairs[key], w[i])
		default:
			plain = append(plain, w[i])
		}
	}
	if len(plain) != 1 {
		return failed(2, "usvs realserver: want up, down or status")
	}
	vips, err := realServerVIPs(pairs["--vip"])
	if err != nil {
		return failed(1, "%v", err)
	}
	switch plain[0] {
	case "up":
		return h.realServerUp(vips, last(pairs["--mode"], "dr"), gre, last(pairs["--gue-port"], "0"))
	case "down":
		return h.realServerDown(vips)
	case "status":
		return h.realServerStatus(vips)
	}
	return failed(2, "usvs realserver: want up, down or status")
}

func last(list []string, def string) string {
	if len(list) == 0 {
		return def
	}
	return list[len(list)-1]
}

func realServerVIPs(list []string) ([]netip.Addr, error) {
	var vips []netip.Addr
	for _, s := range list {
		for _, part := range strings.Split(s, ",") {
			a, err := netip.ParseAddr(part)
			if err != nil {
				return nil, fmt.Errorf("--vip %q: want an IPv4 or IPv6 address without prefix length", part)
			}
			vips = append(vips, a)
		}
	}
	return vips, nil
}

// hostBefore is what a host was before it became a real server.
type hostBefore struct {
	all     interfaceSettings
	tunnels tunnels
}

// realServerUp puts VIPs on lo and keeps the network from learning of them.
func (h *Host) realServerUp(vips []netip.Addr, mode string, gre bool, gue string) Result {
	port, err := strconv.ParseUint(gue, 10, 16)
	switch {
	case len(vips) == 0:
		return failed(1, "no virtual address given: use --vip ADDR")
	case mode != "dr" && mode != "tun" || err != nil:
		return failed(1, "--mode %q: want dr or tun", mode)
	}
	if len(h.real) == 0 {
		h.before = hostBefore{h.sysctl.all, h.tunnels}
	}
	for _, a := range vips {
		if p := netip.PrefixFrom(a, a.BitLen()); !slices.Contains(h.lo.addrs, p) {
			h.lo.addrs = append(h.lo.addrs, p)
			h.real = append(h.real, a)
		}
	}
	h.sysctl.all.arpIgnore = max(h.sysctl.all.arpIgnore, 1)
	h.sysctl.all.arpAnnounce = max(h.sysctl.all.arpAnnounce, 2)
	if mode == "tun" {
		h.SetTunnels(true, gre, uint16(port))
	}
	h.reroute()
	return Result{}
}

// realServerDown takes VIPs away, all that were set up if none are named.
func (h *Host) realServerDown(vips []netip.Addr) Result {
	if len(vips) == 0 {
		vips = slices.Clone(h.real)
	}
	had := len(h.real) > 0
	for _, a := range vips {
		_ = h.delAddr(h.lo, netip.PrefixFrom(a, a.BitLen()))
		h.real = slices.DeleteFunc(h.real, func(b netip.Addr) bool { return a == b })
	}
	if had && len(h.real) == 0 {
		h.sysctl.all, h.tunnels = h.before.all, h.before.tunnels
	}
	h.reroute()
	return Result{}
}

// realServerStatus says what a real server has and what it lacks.
func (h *Host) realServerStatus(vips []netip.Addr) Result {
	if len(vips) == 0 {
		vips = h.real
	}
	if len(vips) == 0 {
		return Result{Stdout: "no VIP is set up\n"}
	}
	var b strings.Builder
	status := 0
	check := func(ok bool, what string) {
		if ok {
			fmt.Fprintf(&b, "ok       %s\n", what)
			return
		}
		fmt.Fprintf(&b, "MISSING  %s\n", what)
		status = 1
	}
	for _, a := range vips {
		check(h.lo.has(a), fmt.Sprintf("%v on lo", a))
	}
	check(h.sysctl.all.arpIgnore >= 1, "arp_ignore")
	check(h.sysctl.all.arpAnnounce >= 2, "arp_announce")
	return Result{Stdout: b.String(), Status: status}
}
