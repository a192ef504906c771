package node

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"usvs/health"
	"usvs/iproute"
	"usvs/ipvs"
	"usvs/keepalived"
	"usvs/vrrp"
)

// plan is a configuration in the words of those who do it.
type plan struct {
	conf   *keepalived.Config
	vrrp   vrrp.Config
	health health.Config
	setup  Setup

	instances map[string]*vrrp.Instance
	tellers   map[teller]*notices // whom to tell of an instance or a group
	static    []Address
	// staticRoutes and routes are static_routes and, by their words, virtual_routes.
	staticRoutes []iproute.Route
	routes       map[string]iproute.Route
	managed      []netip.Addr // addresses of instances, sorted
	sync         *syncPlan    // lvs_sync_daemon, or nil
	timeouts     *keepalived.Timeouts
	flush        bool // lvs_flush
	flushStop    bool // lvs_flush_on_stop, of everything

	tls *health.TLS // of SSL, or nil
	// known are the virtual servers that mean the same wherever their text
	// stands, if tls is the same.
	known map[keepalived.Origin]*health.VirtualServer

	routerID    string
	noFaultMail bool     // no_email_faults
	vrrpFIFOs   []string // paths for lines about instances and groups
	lvsFIFOs    []string // about servers
	warnings    []string
}

// newPlan translates a configuration; of what the one before knows, if there is
// one, the translation is taken over. The error says what cannot be done.
func newPlan(c *keepalived.Config, hostname string, before *plan) (*plan, error) {
	p := &plan{conf: c, instances: map[string]*vrrp.Instance{}, tellers: map[teller]*notices{}, routes: map[string]iproute.Route{}, routerID: hostname}
	if c.Global.RouterID.Set() {
		p.routerID = c.Global.RouterID.V
	}
	p.planVRRP()
	errs := []error{p.planHealth(before)}
	p.planTable()
	p.planWorld()
	return p, errors.Join(append(errs, p.check())...)
}

// check finds what two parts of the configuration contradict each other in.
func (p *plan) check() error {
	var errs []error
	names := make(map[ipvs.ServiceID]*health.VirtualServer, len(p.health.VirtualServers))
	for _, vs := range p.health.VirtualServers {
		for _, s := range vs.Services {
			if names[s.ID] != nil {
				errs = append(errs, fmt.Errorf("two virtual_servers are the same service in IPVS: %v", s.ID))
			}
			names[s.ID] = vs
		}
	}
	return errors.Join(errs...)
}

// replaceable reports whether a plan may take this one's place while the node
// runs.
func (p *plan) replaceable(by *plan) error {
	was, is := &p.conf.Global, &by.conf.Global
	switch {
	case was.NetNamespace.V != is.NetNamespace.V, was.NetNamespaceIPVS.V != is.NetNamespaceIPVS.V:
		return errors.New("cannot change network namespace at a reload - please restart")
	case was.InstanceName.V != is.InstanceName.V:
		return errors.New("cannot change instance name at a reload - please restart")
	}
	return nil
}

// union is the sorted union of two sorted lists.
func union(a, b []netip.Addr) []netip.Addr {
	all := slices.Concat(a, b)
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}
