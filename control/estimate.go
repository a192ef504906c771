package control

import (
	"time"

	"usvs/ipvs"
)

// foldPeriod is how often counters are folded into what is shown.
const foldPeriod = 2 * time.Second

// A sample is the five counters at one moment, in the kernel's order.
type sample [5]uint64

const (
	conns = iota
	inPkts
	outPkts
	inBytes
	outBytes
)

func read(c *ipvs.Counters) sample {
	return sample{c.Conns.Load(), c.InPkts.Load(), c.OutPkts.Load(), c.InBytes.Load(), c.OutBytes.Load()}
}

// scale is the fixed-point arithmetic of a rate: a delta per period is shifted
// left by in, the average is shown rounded up and shifted right by out
// (ipvs.md 4.7). The two seconds of the period are in the difference.
type scale struct{ in, out uint }

var scales = [5]scale{conns: {9, 10}, inPkts: {9, 10}, outPkts: {9, 10}, inBytes: {4, 5}, outBytes: {4, 5}}

// estimator turns live counters into what an operator sees.
type estimator struct {
	folded sample   // the counters at the last fold
	zero   sample   // what is subtracted from them since they were zeroed
	avg    [5]int64 // moving averages of the rates
}

// fold takes in the counters; it is called once every foldPeriod.
func (e *estimator) fold(c *ipvs.Counters) {
	now := read(c)
	for i, s := range scales {
		rate := int64(now[i]-e.folded[i]) << s.in
		e.avg[i] += (rate - e.avg[i]) >> 2
	}
	e.folded = now
}

// reset makes the last fold the zero point and forgets the rates.
func (e *estimator) reset() {
	e.zero = e.folded
	e.avg = [5]int64{}
}

// stats is what is shown.
func (e *estimator) stats() ipvs.Stats {
	count := func(i int) uint64 { return e.folded[i] - e.zero[i] }
	rate := func(i int) uint64 {
		out := scales[i].out
		return uint64((e.avg[i] + 1<<(out-1) - 1) >> out)
	}
	return ipvs.Stats{
		Conns: count(conns), InPkts: count(inPkts), OutPkts: count(outPkts), InBytes: count(inBytes), OutBytes: count(outBytes),
		CPS: rate(conns), InPPS: rate(inPkts), OutPPS: rate(outPkts), InBPS: rate(inBytes), OutBPS: rate(outBytes),
	}
}

// foldLocked folds the counters of everything but the trash. While
// run_estimation is 0, what is shown stands still.
func (c *Control) foldLocked() {
	if c.sysctls.RunEstimation == 0 {
		return
	}
	c.totals.fold(c.cfg.Totals)
	for _, svc := range c.services {
		svc.est.fold(&svc.vs.Counters)
		for _, srv := range svc.servers {
			srv.est.fold(&srv.rs.Counters)
		}
	}
}

// Zero makes the counters of a service and its servers, or of everything if
// id is nil, start from the last fold.
func (c *Control) Zero(id *ipvs.ServiceID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == nil {
		for _, svc := range c.services {
			svc.reset()
		}
		c.totals.reset()
		return nil
	}
	svc, err := c.serviceLocked(*id)
	if err != nil {
		return err
	}
	svc.reset()
	return nil
}

func (s *service) reset() {
	s.est.reset()
	for _, srv := range s.servers {
		srv.est.reset()
	}
}
