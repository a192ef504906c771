package host

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/iproute"
)

// AddRoute makes a route. One that is there just so is adopted; others to the
// same destination stay, behind it.
func (a *Addresses) AddRoute(r iproute.Route) error {
	n, err := a.netlinkRoute(r)
	if err != nil {
		return fmt.Errorf("add route %v: %w", r, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tellGuardLocked(guardLine{Ours: true, Route: &r})
	add := a.nl.RouteAddEcmp // without NLM_F_EXCL, as keepalived does
	if r.Append {
		add = a.nl.RouteAppend
	}
	if err := add(n); err != nil && !errors.Is(err, unix.EEXIST) {
		a.tellGuardLocked(guardLine{Route: &r})
		return fmt.Errorf("add route %v: %w", r, err)
	}
	return nil
}

// RemoveRoute takes a route away and reports whether it was there. It goes by
// itself with its interface, or with the address that it needs.
func (a *Addresses) RemoveRoute(r iproute.Route) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.tellGuardLocked(guardLine{Route: &r})
	n, err := a.netlinkRoute(r)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return false, nil
	}
	if err == nil {
		err = a.nl.RouteDel(n)
	}
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.ENODEV):
		return false, nil
	}
	return false, fmt.Errorf("remove route %v: %w", r, err)
}

// routeTypes are what ip-route(8) calls them.
var routeTypes = map[string]int{
	"": unix.RTN_UNICAST, "local": unix.RTN_LOCAL, "broadcast": unix.RTN_BROADCAST, "anycast": unix.RTN_ANYCAST,
	"multicast": unix.RTN_MULTICAST, "blackhole": unix.RTN_BLACKHOLE, "unreachable": unix.RTN_UNREACHABLE,
	"prohibit": unix.RTN_PROHIBIT, "throw": unix.RTN_THROW,
}

// netlinkRoute says what the kernel is to be told.
func (a *Addresses) netlinkRoute(r iproute.Route) (*netlink.Route, error) {
	n := &netlink.Route{
		Dst: ipNet(r.Dst.Addr(), r.Dst.Bits()), Type: routeTypes[r.Kind], Scope: netlink.Scope(r.Scope), Tos: int(r.TOS),
		Table: int(cmp.Or(r.Table, unix.RT_TABLE_MAIN)), Protocol: netlink.RouteProtocol(r.Protocol), Priority: int(r.Metric),
	}
	if r.Src.IsValid() {
		n.Src = r.Src.AsSlice()
	}
	for _, h := range r.Hops {
		hop, err := a.netlinkHop(h)
		if err != nil {
			return nil, err
		}
		n.MultiPath = append(n.MultiPath, hop)
	}
	if len(n.MultiPath) == 1 {
		h := n.MultiPath[0]
		n.MultiPath, n.LinkIndex, n.Gw, n.Flags = nil, h.LinkIndex, h.Gw, h.Flags
	}
	for _, m := range r.Metrics {
		setMetric(n, m)
	}
	return n, nil
}

func (a *Addresses) netlinkHop(h iproute.Hop) (*netlink.NexthopInfo, error) {
	n := &netlink.NexthopInfo{Hops: max(h.Weight, 1) - 1}
	if h.Via.IsValid() {
		n.Gw = h.Via.AsSlice()
	}
	if h.OnLink {
		n.Flags = unix.RTNH_F_ONLINK
	}
	if h.Interface == "" {
		return n, nil
	}
	var err error
	n.LinkIndex, err = a.index(h.Interface)
	return n, err
}

// featureECN is RTAX_FEATURE_ECN.
const featureECN = 1

func setMetric(n *netlink.Route, m iproute.Metric) {
	v := int(m.Value)
	switch m.Name {
	case "mtu":
		n.MTU, n.MTULock = v, m.Lock
	case "rto_min":
		n.RtoMin, n.RtoMinLock = v, m.Lock
	case "advmss":
		n.AdvMSS = v
	case "hoplimit":
		n.Hoplimit = v
	case "window":
		n.Window = v
	case "cwnd":
		n.Cwnd = v
	case "initcwnd":
		n.InitCwnd = v
	case "initrwnd":
		n.InitRwnd = v
	case "ssthresh":
		n.Ssthresh = v
	case "reordering":
		n.Reordering = v
	case "quickack":
		n.QuickACK = v
	case "fastopen_no_cookie":
		n.FastOpenNoCookie = v
	case "features":
		n.Features = featureECN
	case "congctl":
		n.Congctl = m.Text
	}
}
