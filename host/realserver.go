package host

import (
	"fmt"
	"net/netip"
	"strings"
)

// DefaultStateDir is where RealServerUp keeps what RealServerDown restores.
const DefaultStateDir = "/run/usvs"

// RealServerOptions describe a real server.
type RealServerOptions struct {
	// VIPs are the virtual addresses it serves. RealServerDown and
	// RealServerStatus without any mean all that were set up.
	VIPs []netip.Addr
	// Tunnel says that packets come tunnelled (method TUN) and not addressed to
	// the real server's MAC (method DR).
	Tunnel bool
	// Userspace prefers RunDecapsulator to the kernel's own tunnel interfaces.
	// It is needed for GRE, for GUE and for IPv6 in IPv4.
	Userspace bool
	// Device is the interface on which the network must not learn of the VIPs,
	// besides "all", which covers every interface.
	Device string
	// StateDir replaces DefaultStateDir.
	StateDir string
}

// RealServerCheck is one thing that a real server needs.
type RealServerCheck struct {
	What string
	OK   bool
	Note string // what is wrong, and what to do
}

// RealServerReport is what RealServerStatus found.
type RealServerReport struct {
	VIPs   []netip.Addr
	Checks []RealServerCheck
}

// OK reports whether nothing is missing.
func (r *RealServerReport) OK() bool {
	for _, c := range r.Checks {
		if !c.OK {
			return false
		}
	}
	return true
}

// String lists the checks, one a line.
func (r *RealServerReport) String() string {
	if len(r.VIPs) == 0 {
		return "no VIP is set up\n"
	}
	var b strings.Builder
	for _, c := range r.Checks {
		if c.OK {
			fmt.Fprintf(&b, "ok       %s\n", c.What)
			continue
		}
		fmt.Fprintf(&b, "MISSING  %s: %s\n", c.What, c.Note)
	}
	return b.String()
}

func (r *RealServerReport) add(ok bool, what, note string) {
	r.Checks = append(r.Checks, RealServerCheck{What: what, OK: ok, Note: note})
}
