package netns

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"usvs/link/afpacket"
	"usvs/link/netlab"
	"usvs/scenario"
)

// machine is a node of a scenario.
type machine struct {
	node     *scenario.Node
	ns       *netlab.Namespace
	director *netlab.Process
	servers  []io.Closer
}

// startPatience is how long a process may take to start. It is a bound for
// what should never happen.
const startPatience = 20 * time.Second

// plain are the settings of a machine whatever those of the real one are: no
// filter in the way, no redirects, no limit of ICMP errors, no waiting for
// duplicates of IPv6 addresses, and ARP as careless as Linux has it.
func plain() []string {
	list := []string{"net/ipv4/icmp_ratelimit=0", "net/ipv6/icmp/ratelimit=0", "net/ipv4/ip_forward=0"}
	for _, conf := range []string{"all", "default"} {
		for _, key := range []string{"rp_filter", "arp_ignore", "arp_announce", "arp_filter", "send_redirects", "accept_redirects"} {
			list = append(list, "net/ipv4/conf/"+conf+"/"+key+"=0")
		}
		for _, key := range []string{"disable_ipv6", "accept_dad", "accept_ra", "router_solicitations", "forwarding"} {
			list = append(list, "net/ipv6/conf/"+conf+"/"+key+"=0")
		}
	}
	return list
}

// Build makes the machines and their cables, and starts what runs on them.
func (w *World) Build(t *scenario.Topology) (err error) {
	if w.ports, err = netlab.New("switches"); err != nil {
		return err
	}
	w.ports.TrySysctls("net/ipv6/conf/all/disable_ipv6=1", "net/ipv6/conf/default/disable_ipv6=1")
	for i := range t.Nodes {
		if err := w.addMachine(i, &t.Nodes[i]); err != nil {
			return fmt.Errorf("%s: %w", t.Nodes[i].Name, err)
		}
	}
	w.fabric.carry()
	for i := range t.Nodes {
		if err := w.start(w.machines[t.Nodes[i].Name]); err != nil {
			return fmt.Errorf("%s: %w", t.Nodes[i].Name, err)
		}
	}
	w.settle()
	w.begin = w.fabric.now()
	return nil
}

func (w *World) addMachine(index int, n *scenario.Node) error {
	ns, err := netlab.New(n.Name)
	if err != nil {
		return err
	}
	m := &machine{node: n, ns: ns}
	w.machines[n.Name] = m
	ns.TrySysctls(plain()...)
	if n.Kind == scenario.Router {
		ns.TrySysctls("net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1", "net/ipv6/conf/default/forwarding=1")
	}
	for k := range n.NICs {
		if err := w.addCable(index, k, m); err != nil {
			return err
		}
	}
	for _, gw := range n.Gateways {
		if err := ns.AddGateway(gw); err != nil {
			return err
		}
	}
	return nil
}

// addCable makes an interface and plugs its other end into its switch.
func (w *World) addCable(index, k int, m *machine) error {
	nic := &m.node.NICs[k]
	port := fmt.Sprintf("port%d-%d", index, k)
	if err := m.ns.Veth(nic.Name, scenario.MAC(index, k), w.ports, port); err != nil {
		return err
	}
	if err := m.ns.NoOffload(nic.Name); err != nil {
		return err
	}
	if nic.MTU > 0 {
		if err := m.ns.SetMTU(nic.Name, nic.MTU); err != nil {
			return err
		}
	}
	// A port takes whatever a machine may send.
	if err := w.ports.SetMTU(port, math.MaxUint16); err != nil {
		return err
	}
	if err := w.ports.SetUp(port); err != nil {
		return err
	}
	var dev *afpacket.Device
	if err := w.ports.Do(func() (err error) {
		dev, err = afpacket.Open(port, afpacket.Options{Promiscuous: true})
		return err
	}); err != nil {
		return err
	}
	w.fabric.plugIn(scenario.Interface{Node: m.node.Name, NIC: nic.Name}, nic.Switch, dev)
	return m.ns.SetUp(nic.Name, nic.Addrs...)
}

// start starts what runs on a machine.
func (w *World) start(m *machine) error {
	if err := m.serve(); err != nil {
		return err
	}
	if m.node.Kind == scenario.Director && !w.kernel {
		return m.startDirector()
	}
	return nil
}

func (m *machine) startDirector() (err error) {
	if m.director, err = m.ns.Start(netlab.Self("usvs", runArgs(m.node)...)); err != nil {
		return err
	}
	return m.director.WaitFor("usvs run", startPatience, func(log string) bool {
		return strings.Contains(log, "director is running")
	})
}

// close ends everything on the machine.
func (m *machine) close() {
	for _, s := range m.servers {
		_ = s.Close()
	}
	if m.director != nil {
		m.director.Stop()
	}
	m.ns.EndProcesses()
	m.ns.Close()
}
