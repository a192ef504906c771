package demo

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"

	"usvs/link/netlab"
)

// lab is the network of one scene: a namespace per machine, and one for the
// switch they are plugged into.
type lab struct {
	machines map[string]*netlab.Namespace
	plug     *netlab.Namespace // the switch
	ports    int               // of the switch, so far
}

// buildLab makes the scene's network.
func buildLab(s *scene) (_ *lab, err error) {
	l := &lab{machines: map[string]*netlab.Namespace{}}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.plug, err = newMachine("switch"); err != nil {
		return nil, err
	}
	for _, m := range s.all() {
		if err := l.addMachine(m); err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return l, nil
}

// close lets go of the namespaces; those without processes vanish.
func (l *lab) close() {
	for _, ns := range l.machines {
		ns.Close()
	}
	if l.plug != nil {
		l.plug.Close()
	}
}

func (l *lab) addMachine(m machine) error {
	ns, err := newMachine(m.name)
	if err != nil {
		return err
	}
	l.machines[m.name] = ns
	if m.router {
		if err := ns.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
			return err
		}
	}
	for i, n := range m.nics {
		if err := l.connect(ns, fmt.Sprintf("eth%d", i), n); err != nil {
			return err
		}
	}
	if !m.gateway.IsValid() {
		return nil
	}
	return ns.AddGateway(m.gateway)
}

// connect gives a machine an interface whose other end is a port of the
// switch, in the bridge of its LAN.
func (l *lab) connect(ns *netlab.Namespace, name string, n nic) error {
	bridge, err := l.bridge(n.lan)
	if err != nil {
		return err
	}
	l.ports++
	port := fmt.Sprintf("port%d", l.ports)
	if err := ns.Veth(name, n.mac(), l.plug, port); err != nil {
		return err
	}
	far, err := l.plug.Netlink().LinkByName(port)
	if err != nil {
		return err
	}
	if err := errors.Join(l.plug.Netlink().LinkSetMaster(far, bridge), l.plug.Netlink().LinkSetUp(far)); err != nil {
		return fmt.Errorf("plug %s into the switch: %w", name, err)
	}
	return ns.SetUp(name, n.addr)
}

// bridge is the bridge of a LAN, made when it is first asked for.
func (l *lab) bridge(lan string) (netlink.Link, error) {
	if link, err := l.plug.Netlink().LinkByName(lan); err == nil {
		return link, nil
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = lan
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := l.plug.Netlink().LinkAdd(bridge); err != nil {
		return nil, fmt.Errorf("make a bridge: %w", netlab.Explain(err))
	}
	return bridge, l.plug.Netlink().LinkSetUp(bridge)
}

// plainSettings undo what the machine's own settings, which some kernels copy
// into new namespaces, would change in the demo.
func plainSettings() []string {
	var list []string
	for _, conf := range []string{"all", "default"} {
		for _, key := range []string{"rp_filter", "arp_ignore", "arp_announce", "arp_filter", "send_redirects", "forwarding"} {
			list = append(list, "net/ipv4/conf/"+conf+"/"+key+"=0")
		}
		list = append(list, "net/ipv6/conf/"+conf+"/disable_ipv6=1")
	}
	return list
}

// newMachine makes a namespace with plain settings.
func newMachine(name string) (*netlab.Namespace, error) {
	ns, err := netlab.New(name)
	if err == nil {
		ns.TrySysctls(plainSettings()...)
	}
	return ns, err
}

// dial connects from a machine to a numeric address, with a port of our
// own if fromPort is not 0.
func (l *lab) dial(machine, network, addr string, fromPort int) (conn net.Conn, err error) {
	d := net.Dialer{Timeout: requestTimeout}
	if fromPort != 0 {
		d.LocalAddr = &net.TCPAddr{Port: fromPort}
	}
	err = l.machines[machine].Do(func() error {
		conn, err = d.Dial(network, addr)
		return err
	})
	return conn, err
}
