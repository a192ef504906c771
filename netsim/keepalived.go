package netsim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"usvs/clock"
	"usvs/keepalived"
	"usvs/node"
	"usvs/vrrp"
)

// Keepalived is a configuration that a director runs by.
type Keepalived struct {
	Name  string            // of the file, as messages show it; empty: keepalived.conf
	Text  string            // what is in it
	Files map[string]string // others, by the names that include gives them
	Host  string            // whose it is, which @ conditions ask for; empty: the director's name
	// Config, if not nil, is what has been read already, with nothing in it that
	// keepalived -t would reject; Text and Files do not matter then.
	Config *keepalived.Config
}

// Parse reads the configuration, in which keywords that only usvs knows may be.
// The error says which statements are not right; the Config is what keepalived
// would start with nevertheless. Every script is there, and may be run by anybody.
func (k *Keepalived) Parse() (*keepalived.Config, error) {
	if k.Config != nil {
		return k.Config, nil
	}
	name := orDefault(k.Name, "keepalived.conf")
	files := files{keepalived.Text{name: k.Text}}
	for other, text := range k.Files {
		files.Text[other] = text
	}
	cfg, report := keepalived.Parse(name, keepalived.Options{Files: files, ConfigID: k.Host, Extensions: true})
	var list []error
	for _, p := range report.Problems {
		if p.Class == keepalived.Invalid || p.Class == keepalived.Fatal {
			list = append(list, errors.New(p.String()))
		}
	}
	return cfg, errors.Join(list...)
}

// files are the files of a simulated host, on which every script is there.
type files struct{ keepalived.Text }

// Executable says that a script can be run.
func (files) Executable(string) bool { return true }

// StartKeepalived makes the director run by a configuration from now on, and
// after a Restart again, as `usvs run --keepalived` does. Interfaces have to be
// there. The configuration must be one that keepalived -t accepts.
//
// What the node logs is in the network's log. Adverts, announcements and checks
// are frames like all others; scripts, processes and tracked files say what
// SetScript, SetProcess and SetFile make them say, and notify scripts, FIFOs and
// mail are lines in the log that begin with "runs", "writes" and "mails".
func (d *Director) StartKeepalived(k Keepalived) error {
	if d.node != nil {
		return fmt.Errorf("%s: keepalived runs already", d.name)
	}
	k.Host = orDefault(k.Host, d.name)
	cfg, err := k.Parse()
	if err != nil {
		return err
	}
	d.conf = &k
	return d.startNode(cfg)
}

func (d *Director) startNode(cfg *keepalived.Config) error {
	w := &world{d: d}
	n, err := node.New(node.Config{
		Keepalived: cfg, Control: d.ctl, World: w, Hostname: d.name,
		Rand: d.net.Rand(d.inEra("checks of " + d.name)),
	})
	if err != nil {
		return err
	}
	d.world = w
	d.node, d.nodeTimer = n, d.newTimer(func() { d.tell(func(*node.Node, clock.Instant) {}) })
	d.probes = newProber(d)
	for _, p := range d.ports {
		n.SetInterface(d.nodeNow(), d.interfaceState(p))
	}
	d.tell(func(n *node.Node, now clock.Instant) { n.Start(now) })
	return nil
}

// Reload makes the node run by another configuration, as SIGHUP does. One that
// is refused changes nothing.
func (d *Director) Reload(k Keepalived) error {
	if d.node == nil {
		return fmt.Errorf("%s: keepalived does not run", d.name)
	}
	k.Host = orDefault(k.Host, d.name)
	cfg, err := k.Parse()
	if err != nil {
		return err
	}
	d.tell(func(n *node.Node, now clock.Instant) { err = n.Reload(now, cfg) })
	if err == nil {
		d.conf = &k
	}
	return err
}

// StopKeepalived ends the node in order, as SIGTERM does.
func (d *Director) StopKeepalived() {
	if d.node == nil {
		return
	}
	d.tell(func(n *node.Node, now clock.Instant) { n.Stop(now) })
	d.endNode()
	d.conf = nil
}

// endNode forgets the node, which has stopped or crashed.
func (d *Director) endNode() {
	if d.node == nil {
		return
	}
	d.nodeTimer.Stop()
	d.node, d.probes, d.world, d.news = nil, nil, nil, nil
}

// Node is the node that runs on the director; nil without StartKeepalived. Its
// Status is what `usvs vrrp` and `usvs health` show.
func (d *Director) Node() *node.Node { return d.node }

// SetSkew makes the clock that the node's timers go by run that many times as
// fast as the network's: 1.01 is one percent fast.
func (d *Director) SetSkew(factor float64) {
	d.skew.node, d.skew.net = d.nodeNow(), d.net.now
	d.skew.factor = factor
	if d.node != nil {
		d.net.logf(d.name, "has a clock that runs at %g of its speed", factor)
		d.nodeTimer.Set(d.net.now)
	}
}

// skew relates the node's clock to the network's: where both stood when the
// factor was set.
type skew struct {
	node, net clock.Instant
	factor    float64 // 0: 1
}

// nodeNow is the time by the node's clock.
func (d *Director) nodeNow() clock.Instant {
	if d.skew.factor == 0 {
		return d.net.now
	}
	return d.skew.node.Add(time.Duration(float64(d.net.now.Sub(d.skew.net)) * d.skew.factor))
}

// netTime is when the node's clock will show t.
func (d *Director) netTime(t clock.Instant) clock.Instant {
	if d.skew.factor == 0 || t == clock.Never {
		return t
	}
	return d.skew.net.Add(time.Duration(float64(t.Sub(d.skew.node))/d.skew.factor) + 1)
}

// tell calls the node, and lets it do what is due. What the world has to tell
// in return waits until the call is over.
func (d *Director) tell(call func(*node.Node, clock.Instant)) {
	if d.telling {
		panic("netsim: the node is told something from within")
	}
	d.telling = true
	n := d.node
	call(n, d.nodeNow())
	for len(d.news) > 0 {
		news := d.news
		d.news = nil
		for _, f := range news {
			f(n, d.nodeNow())
		}
	}
	next := max(d.netTime(n.Tick(d.nodeNow())), d.net.now+1)
	if len(d.news) > 0 {
		next = d.net.now
	}
	d.telling = false
	d.nodeTimer.Set(next)
	d.timer.Set(d.net.now)
}

// later tells the node something as soon as it is not being called.
func (d *Director) later(f func(*node.Node, clock.Instant)) {
	if d.node == nil {
		return
	}
	d.news = append(d.news, f)
	if !d.telling {
		d.nodeTimer.Set(d.net.now)
	}
}

// interfaceState is what the node is to know of an interface.
func (d *Director) interfaceState(p *Port) vrrp.Interface {
	carrier := p.link != nil && p.link.up
	return vrrp.Interface{
		Name: p.name, Up: !p.down && carrier, MAC: p.mac, MTU: p.mtu, NoARP: p.sysctl.noARP, Addrs: p.Addrs(),
	}
}

// interfacesChanged tells the node of interfaces, addresses and carriers.
func (d *Director) interfacesChanged() {
	d.later(func(n *node.Node, now clock.Instant) {
		for _, p := range d.ports {
			n.SetInterface(now, d.interfaceState(p))
		}
	})
}

// receiveVRRP gives the node a packet that is VRRP's, as a raw socket would, and
// reports whether it was one.
func (d *Director) receiveVRRP(p *Port, f *frame) bool {
	pk := &d.p
	if d.node == nil || pk.Parse(f.Bytes(), f.Medium) != 0 || !isVRRP(pk) || d.table.IsLocal(pk.Src) {
		return false
	}
	if !pk.Dst.IsMulticast() && !d.table.IsLocal(pk.Dst) {
		return false
	}
	packet := pk.Data[pk.L3:pk.End]
	d.tell(func(n *node.Node, now clock.Instant) {
		n.HandleVRRP(now, vrrp.Packet{Interface: p.name, IP: packet})
	})
	return true
}

// commandKeepalived runs `usvs vrrp` and `usvs health`.
func (d *Director) commandKeepalived(what string) Result {
	if d.node == nil {
		return failed(1, "usvs %s: the director does not run by a keepalived.conf", what)
	}
	var b strings.Builder
	s := d.node.Status(d.nodeNow())
	write := s.WriteVRRP
	if what == "health" {
		write = s.WriteHealth
	}
	if err := write(&b); err != nil {
		return failed(1, "%v", err)
	}
	return Result{Stdout: b.String()}
}
