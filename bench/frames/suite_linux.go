package frames

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"usvs/bench"
	"usvs/bench/lab"
	"usvs/bench/load"
)

// The length of a probe, and of one that only shows that it works.
const (
	probeTime = 250 * time.Millisecond
	quickTime = 60 * time.Millisecond
)

// Suite measures. It must run in a process that lab.Enter started.
func Suite(ctx context.Context, o *bench.Options) ([]bench.Figure, error) {
	if err := lab.EnoughCores(); err != nil {
		return nil, bench.Skip("%v", err)
	}
	o.Logf("io: the load has core %d, director programs have core %d, and so has what they receive if it is called pinned",
		lab.LoadCore, lab.DirectorCore)
	r := &runner{o: o, stands: map[standKey]*stand{}, failed: map[standKey]error{}}
	defer r.close()
	var rows []*row
	for _, sc := range scenes() {
		rows = append(rows, rowsOf(o, &sc)...)
	}
	var err error
	for n := 0; n < o.RoundCount() && err == nil; n++ {
		err = r.round(ctx, rows, n)
	}
	return figures(o, rows), err
}

// row is an entry that is wanted, and what was measured of it.
type row struct {
	*scene
	entry
	values []pair
	err    error
}

// pair is one round's result and its peer's.
type pair struct{ own, peer result }

func rowsOf(o *bench.Options, sc *scene) (rows []*row) {
	if sc.full && !o.Full && o.Only == nil {
		return nil
	}
	for _, e := range sc.entries {
		candidates := []entry{e}
		if o.Rival != "" && e.kind == usvs {
			second := e.contender
			second.rival = true
			candidates = append(candidates, entry{contender: e.contender, of: second})
		}
		for _, e := range candidates {
			r := &row{scene: sc, entry: e}
			if slices.ContainsFunc(r.views(o), func(v view) bool { return o.Wants(v.Group, v.Name) }) {
				rows = append(rows, r)
			}
		}
	}
	return rows
}

// standKey: what a line can be used again for.
type standKey struct {
	contender
	plan *lab.Plan
}

// runner owns the lines.
type runner struct {
	o      *bench.Options
	stands map[standKey]*stand
	failed map[standKey]error
}

func (r *runner) close() {
	for _, st := range r.stands {
		st.program.Stop()
		st.line.Close()
	}
}

// round measures every row once. What several rows of a scene need is measured
// once for all.
func (r *runner) round(ctx context.Context, rows []*row, n int) error {
	var sc *scene
	var results map[contender]result
	for _, w := range rows {
		if w.scene != sc {
			sc, results = w.scene, map[contender]result{}
		}
		if w.err != nil {
			continue
		}
		var p pair
		if p.peer, w.err = r.result(ctx, sc, w.of, results); w.err == nil {
			p.own, w.err = r.result(ctx, sc, w.contender, results)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if w.err != nil {
			r.o.Logf("%s, %s: %s", sc.name, w.entry.name, bench.Reason(w.err))
			continue
		}
		w.values = append(w.values, p)
		r.o.Logf("round %d of %d: %s, %s: %.0f thousand frames/s, %.2f of %s", n+1, r.o.RoundCount(), sc.name, w.entry.name,
			p.own.best/1e3, p.own.best/p.peer.best, w.of.name)
	}
	return nil
}

func (r *runner) result(ctx context.Context, sc *scene, c contender, results map[contender]result) (result, error) {
	if got, ok := results[c]; ok {
		return got, nil
	}
	if c.kind == bestUsvs {
		return r.best(ctx, sc, results)
	}
	st, err := r.stand(sc.plan, c)
	if err != nil {
		return result{}, err
	}
	got, err := st.measure(ctx, sc)
	if err == nil {
		results[c] = got
	}
	return got, err
}

// best is the result of the best of usvs's ways that work.
func (r *runner) best(ctx context.Context, sc *scene, results map[contender]result) (top result, err error) {
	for _, way := range ways {
		got, wayErr := r.result(ctx, sc, way, results)
		err = errors.Join(err, wayErr)
		if wayErr == nil && got.best > top.best {
			top = got
		}
	}
	if top.best > 0 {
		return top, nil
	}
	return top, err
}

// stand is the contender's line, made when it is first asked for.
func (r *runner) stand(plan *lab.Plan, c contender) (*stand, error) {
	key := standKey{c, plan}
	if st, ok := r.stands[key]; ok || r.failed[key] != nil {
		return st, r.failed[key]
	}
	st, err := r.build(plan, c)
	if err != nil {
		r.failed[key] = err
		return nil, err
	}
	r.stands[key] = st
	return st, nil
}

func (r *runner) build(plan *lab.Plan, c contender) (*stand, error) {
	line, err := lab.NewLine(*plan)
	if err != nil {
		return nil, err
	}
	st := &stand{contender: c, line: line, pin: r.o.Pin, probe: probeTime, flows: map[int]*load.Flows{}, guess: map[string]float64{}}
	if r.o.Quick {
		st.probe = quickTime
	}
	if c.threaded && c.io != "xdp" {
		err = line.Queue()
	}
	if err == nil {
		st.program, err = r.start(line, c)
	}
	if err != nil {
		line.Close()
		return nil, err
	}
	return st, nil
}

func (r *runner) start(line *lab.Line, c contender) (*lab.Program, error) {
	switch c.kind {
	case kernelDNAT:
		return line.DNAT("udp")
	case kernelForward:
		return line.Forward()
	}
	u := lab.Usvs{Binary: r.o.Binary, IO: c.io, NAPI: c.napi, Method: c.method, Protocol: "-u", Interfaces: []string{"front", "back"}, Core: lab.DirectorCore}
	if c.rival {
		u.Binary = r.o.Rival
	}
	service := lab.Service{Address: line.Service}
	for _, s := range line.Servers {
		service.Servers = append(service.Servers, netip.AddrPortFrom(s.Addr(), line.Service.Port()))
	}
	return u.Start(line.Director, service)
}

// view is a figure of a row, and how a round of it is read from a measurement.
type view struct {
	bench.Figure
	read func(pair) bench.Round
}

// views are the row's figures without their rounds.
func (w *row) views(o *bench.Options) []view {
	name := w.scene.name + ", " + w.entry.name
	of := w.of.name
	if w.of.rival {
		of = filepath.Base(o.Rival)
		name += " beside " + of
	}
	figure := func(suffix, unit string, better bench.Better, floor, aim float64) bench.Figure {
		return bench.Figure{
			Group: group, Name: name + suffix, Unit: unit, Better: better, Of: of, Floor: target(floor), Aim: target(aim),
		}
	}
	list := []view{
		{figure("", "frames/s", bench.Higher, w.floor, w.aim), func(p pair) bench.Round {
			return bench.Round{Value: p.own.best, Peer: p.peer.best}
		}},
		{figure(", without loss", "frames/s", bench.Higher, 0, 0), func(p pair) bench.Round {
			return bench.Round{Value: p.own.sustained.delivered, Peer: p.peer.sustained.delivered}
		}},
	}
	if w.pinned {
		list = append(list, view{figure(", processor time", "ns/frame", bench.Lower, 0, 0), func(p pair) bench.Round {
			return bench.Round{Value: 1e9 * p.own.sustained.cpu, Peer: 1e9 * p.peer.sustained.cpu}
		}})
	}
	if w.pinned && w.entry.kind == usvs && !w.of.rival {
		f := figure(", at twice its best rate", "frames/s", bench.Higher, w.flood[0], w.flood[1])
		f.Of = "its best"
		list = append(list, view{f, func(p pair) bench.Round {
			return bench.Round{Value: p.own.flood, Peer: p.own.best}
		}})
	}
	return list
}

func target(v float64) *float64 {
	if v == 0 {
		return nil
	}
	return &v
}

// why is why a figure of the row has no rounds.
func (w *row) why() error {
	if w.err == nil && len(w.values) > 0 {
		return errors.New("no rate was without loss")
	}
	return w.err
}

// figures turns rows into what is reported.
func figures(o *bench.Options, rows []*row) (list []bench.Figure) {
	for _, w := range rows {
		for _, v := range w.views(o) {
			if !o.Wants(v.Group, v.Name) {
				continue
			}
			for _, p := range w.values {
				if r := v.read(p); r.Peer > 0 { // it may be that no rate was without loss
					v.Rounds = append(v.Rounds, r)
				}
			}
			if slices.ContainsFunc(w.values, func(p pair) bool { return p.own.short }) {
				v.Note = "the load's core was the limit"
			}
			if len(v.Rounds) == 0 {
				v.Skipped = bench.Reason(w.why())
			}
			list = append(list, v.Figure)
		}
	}
	return list
}
