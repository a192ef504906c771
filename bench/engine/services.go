package engine

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"usvs/bench"
	"usvs/bench/testbed"
	"usvs/director"
	"usvs/ipvs"
	"usvs/wire"
)

// perService is how many servers each of very many services has.
const perService = 10

// services are the figures of very many services.
func services(o *bench.Options, s sizes) []bench.Case {
	rules := testbed.Rules(s.services, perService, "wlc", routed)
	crowd := newOpener(rules, s.services/2, s)
	e := &editor{crowd: crowd, o: o, s: s}
	among := " among " + bench.Count(s.services) + " services"
	lower := func(name, unit string, floor float64) bench.Figure {
		return bench.Figure{Group: group, Name: name, Unit: unit, Better: bench.Lower, Floor: &floor}
	}
	beside := func(name string) bench.Figure {
		f := lower(name+among, "ns", 1.1)
		f.Of = "one service"
		return f
	}
	return []bench.Case{
		{Figure: beside("DR, " + bench.Count(s.few) + " flows"), Round: crowd.against(
			func() (float64, error) { return crowd.forward(o) })},
		{Figure: beside("new connection"), Round: crowd.against(crowd.open)},
		{Figure: lower("rules of "+bench.Count(s.services)+" services with 10 servers each, loaded", "ms", 1000), Round: value(
			func() (float64, error) { return load(rules) })},
		{Figure: lower("longest of "+bench.Count(s.edits)+" edits"+among, "ms", 5), Round: value(e.longest)},
		{Figure: lower("frames lost by edits"+among, "frames", 0), Round: value(e.lost)},
	}
}

// against is a round of a measurement among all services beside the same with
// the frames' service alone. Both see the same connections and servers in the
// same memory: two directors, alike in everything, differ by a tenth.
func (x *opener) against(measure func() (float64, error)) func(context.Context) (bench.Round, error) {
	return against(measure, func() (float64, error) {
		if err := x.ready(); err != nil {
			return 0, err
		}
		all := x.Director.Snapshot()
		defer x.publish(all)
		x.publish(x.alone(all))
		return measure()
	})
}

// announcing is longer than addresses are announced that came with a snapshot.
const announcing = 10 * time.Second

func (x *opener) publish(s *director.Snapshot) {
	x.Director.Publish(x.Now(), s)
	x.Expire(announcing, testbed.Untimed)
}

// alone is a snapshot with the frames' service only.
func (x *opener) alone(all *director.Snapshot) *director.Snapshot {
	one := &director.Snapshot{Sysctls: all.Sysctls, Routes: all.Routes, Owned: director.AddrsOf(testbed.Virtual(x.vip))}
	for _, svc := range all.Services {
		if svc.VS.ID == serviceID(x.vip) {
			one.Services = []*director.Service{svc}
		}
	}
	return one.Seal()
}

// load loads rules into a director that has none.
func load(rules string) (ms float64, err error) {
	b := testbed.New(1)
	begin := time.Now()
	err = b.Load(rules)
	return float64(time.Since(begin)) / 1e6, err
}

// editor changes a director that has very many services.
type editor struct {
	crowd *opener
	o     *bench.Options
	s     sizes
	turn  int
}

// guest is a server that comes and goes.
var guest = ipvs.ServerID{Addr: netip.MustParseAddr("10.2.0.254"), Port: testbed.Port}

// edit makes a change that does not touch the flows' connections: another
// weight for one of their servers, or a server or a service that comes or goes.
func (e *editor) edit() error {
	const kinds = 5
	turn, kind := e.turn/kinds, e.turn%kinds
	e.turn++
	c, other, extra := e.crowd.Control, serviceID(turn%e.s.services), serviceID(e.s.services)
	spec := ipvs.ServerSpec{Method: ipvs.DirectRoute, Weight: int32(1 + turn%7)}
	switch kind {
	case 0:
		rs := ipvs.ServerID{Addr: testbed.Server((e.crowd.vip*perService + 3) % testbed.Servers), Port: testbed.Port}
		return c.EditServer(serviceID(e.crowd.vip), rs, spec)
	case 1:
		return c.AddServer(other, guest, spec)
	case 2:
		return c.DeleteServer(other, guest)
	case 3:
		return c.AddService(extra, ipvs.ServiceSpec{Scheduler: "rr"})
	}
	return c.DeleteService(extra)
}

func serviceID(i int) ipvs.ServiceID {
	return ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.TCP, Addr: testbed.Virtual(i), Port: testbed.Port}
}

// longest is how many milliseconds the longest of many edits took until the
// director had its snapshot.
func (e *editor) longest() (ms float64, err error) {
	if err := e.crowd.ready(); err != nil {
		return 0, err
	}
	longest := time.Duration(0)
	for range e.s.edits {
		old, begin := e.crowd.Director.Snapshot(), time.Now()
		if err := e.edit(); err != nil {
			return 0, err
		}
		longest = max(longest, time.Since(begin))
		if e.crowd.Director.Snapshot() == old {
			return 0, errors.New("an edit was not published")
		}
	}
	return float64(longest) / 1e6, nil
}

// lost sends frames while another goroutine makes one edit after the other,
// and returns how many of them did not come out. Half of them open connections.
func (e *editor) lost() (float64, error) {
	x := e.crowd
	if err := x.ready(); err != nil {
		return 0, err
	}
	before, sent := x.forwarded(), 0
	edited := make(chan error)
	go func() {
		var err error
		for range 10 * e.s.edits {
			err = errors.Join(err, e.edit())
		}
		edited <- err
	}()
	for {
		for _, flags := range []uint8{wire.FlagACK, wire.FlagSYN} {
			flows := x.order
			if flags == wire.FlagSYN {
				flows = x.fresh
			}
			start := sent / 2 % (len(flows) - len(x.Batch) + 1)
			n := x.Fill(x.to, flows[start:], flags)
			x.Handle(n)
			sent += n
		}
		select {
		case err := <-edited:
			x.Expire(wait, testbed.Untimed)
			return float64(sent) - float64(x.forwarded()-before), err
		default:
		}
	}
}

// forwarded is how many frames the director has sent on so far.
func (x *opener) forwarded() uint64 { return x.Director.Counters()[director.Forwarded.String()] }
