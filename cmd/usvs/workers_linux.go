package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"usvs/director"
	"usvs/host"
	"usvs/link"
	"usvs/link/steer"
)

// workers is how many goroutines receive on each interface, and where they run.
// Worker 0 of all interfaces runs on the first CPU of the list, and so on in turn.
type workers struct {
	count int
	cpus  []int // empty: wherever the kernel likes
	auto  bool  // as many of count as it pays to are given frames
	among []int // if auto, the CPUs they may run on
}

// maxAuto is how many workers there are at most unless asked for more: each has
// memory of its own on each interface.
const maxAuto = 8

// planWorkers understands --workers and --cpus on a machine whose CPUs the
// process may use are allowed.
func planWorkers(count int, list string, allowed []int) (workers, error) {
	cpus, err := parseCPUs(list)
	if err != nil {
		return workers{}, err
	}
	for _, cpu := range cpus {
		if !slices.Contains(allowed, cpu) {
			return workers{}, fmt.Errorf("--cpus %s: usvs cannot run on CPU %d; it can on %v", list, cpu, allowed)
		}
	}
	if count == 0 {
		return automatic(cpus, allowed), nil
	}
	if count < 0 || count > len(allowed) {
		return workers{}, fmt.Errorf("--workers %d: want 1 to %d, as many as there are CPUs for usvs", count, len(allowed))
	}
	return workers{count: count, cpus: cpus}, nil
}

// automatic is a worker for each CPU, which is given frames if it pays.
func automatic(cpus, allowed []int) workers {
	among := allowed
	if len(cpus) > 0 {
		among = cpus
	}
	w := workers{count: min(len(among), maxAuto), cpus: cpus}
	if w.count > 1 {
		w.auto, w.among = true, among
	}
	return w
}

// always is how many workers there are where all of them are given frames.
func (w *workers) always() int {
	if w.auto {
		return 1
	}
	return w.count
}

// one is what there is where several could not be given frames as needed.
func (w *workers) one() { w.count, w.auto = 1, false }

// parseCPUs reads a list as taskset(1) has it: 0,2-3.
func parseCPUs(list string) (cpus []int, err error) {
	if list == "" {
		return nil, nil
	}
	for word := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(word, "-")
		if !isRange {
			last = first
		}
		a, errA := strconv.ParseUint(first, 10, 16)
		b, errB := strconv.ParseUint(last, 10, 16)
		if errA != nil || errB != nil || a > b || b-a >= host.MaxCPUs {
			return nil, fmt.Errorf("--cpus %q: want numbers and ranges of CPUs, like 0,2-3", list)
		}
		for cpu := a; cpu <= b; cpu++ {
			cpus = append(cpus, int(cpu))
		}
	}
	return cpus, nil
}

// pin returns what keeps the calling thread on a worker's CPU; nil if it may be
// anywhere.
func (w *workers) pin(worker int) func() error {
	if len(w.cpus) == 0 {
		return nil
	}
	cpu := w.cpus[worker%len(w.cpus)]
	return func() error { return host.PinThread(cpu) }
}

// openSteering prepares for several workers. Without it they work as well, but
// both directions of a masqueraded connection may meet different ones, and all
// of them are always given frames, as those of AF_XDP and TUN devices are anyway:
// then there is but one unless asked for.
func (n *node) openSteering(packetSockets bool) {
	w := &n.workers
	if w.auto && !packetSockets {
		w.one()
	}
	if w.count > 1 {
		var err error
		if n.steering, err = steer.New(w.always()); err != nil && w.auto {
			n.log.Info("one worker: several cannot be given frames as needed", "err", err)
			w.one()
		} else if err != nil {
			n.log.Warn("frames are shared out by their source's address, not by the client's", "err", err)
		}
	}
	if w.count > 1 || len(w.cpus) > 0 {
		n.log.Info("workers", "count", w.count, "active", w.always(), "cpus", w.cpus, "steered", n.steering != nil)
	}
}

// applySteering tells the steering what are virtual addresses.
func (n *node) applySteering(old, s *director.Snapshot) {
	if n.steering == nil {
		return
	}
	var add, drop []netip.Addr
	director.DiffAddrs(&old.Owned, &s.Owned,
		func(a netip.Addr) { drop = append(drop, a) },
		func(a netip.Addr) { add = append(add, a) })
	if err := n.steering.Own(add, drop); err != nil {
		n.log.Warn("some frames go to another worker than they should", "err", err)
	}
}

// newPumps makes a pump for every device, with writers of its own to the same
// worker's devices of all interfaces.
func (n *node) newPumps() []*link.Pump {
	for port, queues := range n.devices {
		for worker, d := range queues {
			n.pumps = append(n.pumps, n.newPump(port, worker, d))
		}
	}
	return n.pumps
}

func (n *node) newPump(port, worker int, d link.Device) *link.Pump {
	cfg := link.PumpConfig{
		Device: d, Handler: n.dir.NewWorker(), Clock: n.clock, Port: port, Log: n.log, OnThread: n.onThread(port, worker),
	}
	for _, to := range n.devices {
		cfg.Writers = append(cfg.Writers, to[worker%len(to)].NewWriter())
	}
	if n.handoff != nil {
		cfg.Host = n.handoff.NewWriter()
	}
	n.pumpNames = append(n.pumpNames, pumpName(n.names[port], worker))
	return link.NewPump(cfg)
}

func pumpName(interfaceName string, worker int) string {
	if worker == 0 {
		return "pump " + interfaceName
	}
	return fmt.Sprintf("pump %s worker %d", interfaceName, worker)
}

// interfaceStats are the sums over an interface's devices.
func interfaceStats(queues []link.Device) (sum link.Stats) {
	for _, d := range queues {
		if s, ok := d.(interface{ Stats() link.Stats }); ok {
			sum = sum.Plus(s.Stats())
		}
	}
	return sum
}
