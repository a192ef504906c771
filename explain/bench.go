package explain

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"usvs/arp"
	"usvs/clock"
	"usvs/conntrack"
	"usvs/control"
	"usvs/director"
	"usvs/dissect"
	"usvs/forward"
	"usvs/ipvs"
	"usvs/link"
	"usvs/localstack"
	"usvs/route"
	"usvs/wire"
)

// Bench is a private director that packets are tried on.
type Bench struct {
	now     clock.Instant
	d       *director.Director
	w       *director.Worker
	out     link.Output
	servers *ipvs.Registry
	source  *source // the running director it is a copy of; nil: none
	network []string

	rec recorder
	ev  *director.Event
}

// frozen is a clock that stands.
type frozen clock.Instant

func (f frozen) Now() clock.Instant { return clock.Instant(f) }

// begun is the time of a Bench without a running director.
const begun = clock.Instant(time.Hour)

// New makes a director of the rules that are read from r, which go by name in
// messages, and of the network that o describes.
func New(o Options, name string, r io.Reader) (*Bench, error) {
	cfg, madeUp, err := o.network()
	if err != nil {
		return nil, err
	}
	b := newBench(begun)
	b.network = madeUp
	ctl := control.New(control.Config{
		Clock: frozen(begun), Rand: rand.New(rand.NewPCG(1, 2)), Servers: b.servers, Conns: b.d.Table,
		Totals: &b.d.Totals, Sysctls: ipvs.DefaultSysctls(), Own: o.Own, Resolver: o.Resolver,
		Publish: func(s *director.Snapshot) { b.d.Publish(begun, s) },
	})
	ctl.SetRoutes(route.New(cfg))
	return b, ctl.Load(name, r)
}

// newBench makes an empty private director.
func newBench(now clock.Instant) *Bench {
	b := &Bench{now: now, servers: new(ipvs.Registry)}
	b.d = director.New(director.Config{
		Table:     conntrack.New(conntrack.Config{Servers: b.servers, Shards: 1, FTPPorts: []uint16{21}}),
		ARP:       arp.Config{},
		Fragments: forward.NewReassembler(forward.Limits{}, 1),
		Answers:   localstack.New(localstack.Options{}),
	})
	b.d.Observe(func(ev *director.Event) { b.ev = ev })
	b.w = b.d.NewWorker()
	b.rec.b = b
	b.w.Record(&b.rec)
	return b
}

// Explain says what would happen to p if it came in through the interface;
// with "", through the one that leads to its source.
func (b *Bench) Explain(p *Packet, iface string) ([]Frame, error) {
	port, err := b.port(iface, p.Src.Addr())
	if err != nil {
		return nil, err
	}
	ifc := &b.d.Snapshot().Routes.Interfaces[port]
	frames := p.Frames(b.sender(port, p.Src.Addr()), ifc.MAC)
	var list []Frame
	for _, f := range frames {
		if f.Port = port; ifc.Medium == wire.IP {
			f.TrimFront(wire.EthernetLen)
			f.Medium = wire.IP
		}
		list = append(list, b.frame(f))
	}
	return list, nil
}

// ExplainFrame says what would happen to a frame of a capture. In a made-up
// network a frame to one station is taken to be for the director.
func (b *Bench) ExplainFrame(data []byte, m wire.Medium, iface string) (Frame, error) {
	var p wire.Packet
	bad := p.Parse(data, m)
	port, err := b.port(iface, p.Src)
	if err != nil {
		return Frame{}, err
	}
	if len(data) > wire.MaxFrame {
		return Frame{}, fmt.Errorf("a frame of %d bytes is too long", len(data))
	}
	f := wire.NewFrame(wire.MaxFrame)
	f.SetBytes(data)
	f.Port, f.Medium = port, m
	if bad == wire.None && m == wire.Ethernet && b.source == nil {
		if eth := wire.EthernetHeader(f.Bytes()); !eth.Dst().IsMulticast() {
			eth.SetDst(b.d.Snapshot().Routes.Interfaces[port].MAC)
		}
	}
	return b.frame(f), nil
}

// port finds the interface a packet from src comes in through.
func (b *Bench) port(iface string, src netip.Addr) (int, error) {
	routes := b.d.Snapshot().Routes
	if iface == "" {
		if hop := routes.Lookup(src); src.IsValid() && hop.Kind == route.Unicast {
			return hop.Port, nil
		}
		if len(routes.Interfaces) > 0 {
			return 0, nil
		}
	}
	i := slices.IndexFunc(routes.Interfaces, func(i route.Interface) bool { return i.Name == iface })
	if i < 0 {
		return 0, fmt.Errorf("the director has no interface %q", iface)
	}
	return i, nil
}

// sender is the MAC address that a frame from src has on the port's segment.
func (b *Bench) sender(port int, src netip.Addr) wire.MAC {
	via := src
	if hop := b.d.Snapshot().Routes.Lookup(src); hop.Kind == route.Unicast && hop.Port == port {
		via = hop.Via
	}
	if mac, ok := b.d.Neighbours.Lookup(b.now, port, via); ok {
		return mac
	}
	return madeUpMAC(via)
}

// frame lets the director handle a frame, and says what it did.
func (b *Bench) frame(f *link.Frame) Frame {
	var p wire.Packet
	if p.Parse(f.Bytes(), f.Medium) == wire.None && p.Version != 0 {
		if b.source != nil {
			b.source.connections(b, &p)
		} else if hop := b.d.Snapshot().Routes.Lookup(p.Src); hop.Kind == route.Unicast {
			b.know(&hop) // whom an answer goes to
		}
	}
	x := Frame{Packet: describe(f, &p), Arrives: b.arrives(f)}
	b.rec.begin(f.Port)
	b.out.Reset()
	medium := f.Medium
	b.w.Handle(b.now, []*link.Frame{f}, &b.out)
	x.Stages = append(b.rec.stages, b.left(medium)...)
	x.Verdict, x.Meaning, x.Drop = b.ev.Reason.String(), meanings[b.ev.Reason], b.ev.Reason.Dropped()
	x.Server = b.ev.Server
	for _, e := range b.ev.After {
		x.Sent = append(x.Sent, dissect.Line(e.Data, b.medium(e.Port)))
	}
	return x
}

func describe(f *link.Frame, p *wire.Packet) string {
	s := dissect.Line(f.Bytes(), f.Medium)
	if p.Version != 0 {
		s += fmt.Sprintf(", %d bytes, ttl %d", p.IPLen(), p.TTL)
	}
	if f.Mark != 0 {
		s += fmt.Sprintf(", mark %d", f.Mark)
	}
	return s
}

func (b *Bench) arrives(f *link.Frame) string {
	s := "on " + b.name(f.Port)
	if f.Medium == wire.Ethernet && f.Len() >= wire.EthernetLen {
		eth := wire.EthernetHeader(f.Bytes())
		s += fmt.Sprintf(" from %v to %v", eth.Src(), eth.Dst())
	}
	return s
}

func (b *Bench) name(port int) string {
	if ifs := b.d.Snapshot().Routes.Interfaces; port >= 0 && port < len(ifs) {
		return ifs[port].Name
	}
	return fmt.Sprint("port ", port)
}

// medium is that of a frame that left by the port.
func (b *Bench) medium(port int) wire.Medium {
	ifs := b.d.Snapshot().Routes.Interfaces
	if port >= 0 && port < len(ifs) {
		return ifs[port].Medium
	}
	return wire.Ethernet
}

// know makes a next hop known that a made-up network would have.
func (b *Bench) know(hop *route.Hop) {
	if _, ok := b.d.Neighbours.Lookup(b.now, hop.Port, hop.Via); !ok {
		b.d.Neighbours.SetStatic(b.now, hop.Port, hop.Via, madeUpMAC(hop.Via), nowhere{})
	}
}

// nowhere is where a neighbour cache that nobody listens to sends.
type nowhere struct{}

func (nowhere) New() *wire.Frame        { return nil }
func (nowhere) Send(*wire.Frame)        {}
func (nowhere) Conflict(arp.Conflict)   {}
func (nowhere) Unreachable(*wire.Frame) {}
