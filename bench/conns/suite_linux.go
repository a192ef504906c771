package conns

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"usvs/bench"
	"usvs/bench/lab"
)

// How long a trial takes, and one that only shows that it works.
const (
	trialTime = 600 * time.Millisecond
	quickTime = 60 * time.Millisecond
)

// threads is enough for clients, servers and the supervision to be in system
// calls at once: else they would wait for each other rather than for a core.
const threads = 16

// Suite measures. It must run in a process that lab.Enter started.
func Suite(ctx context.Context, o *bench.Options) ([]bench.Figure, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
	r := &runner{o: o, rows: wanted(o), long: trialTime, sites: map[string]*site{}, failed: map[string]error{}}
	if o.Quick {
		r.long = quickTime
	}
	defer r.close()
	var err error
	for n := 0; n < o.RoundCount() && err == nil; n++ {
		err = r.round(ctx, n)
	}
	return r.figures(), err
}

// wanted are the rows that are to be measured.
func wanted(o *bench.Options) (list []*row) {
	all := rows()
	if o.Rival != "" {
		for _, w := range all {
			if w.of == dnat && slices.Contains([]string{dr, nat, tun}, w.who) {
				all = append(all, &row{thing: w.thing, who: w.who, of: rival(w.who)})
			}
		}
	}
	for _, w := range all {
		if f := w.figure(); o.Wants(f.Group, f.Name) {
			list = append(list, w)
		}
	}
	return list
}

// rival is what a contender is called when it is the other usvs.
func rival(who string) string { return who + " of the other usvs" }

// runner owns the sites.
type runner struct {
	o      *bench.Options
	rows   []*row
	long   time.Duration
	sites  map[string]*site
	failed map[string]error
}

func (r *runner) close() {
	for _, s := range r.sites {
		s.program.Stop()
		s.lan.Close()
	}
}

// round does every trial that is wanted with every contender in turn.
func (r *runner) round(ctx context.Context, n int) error {
	pace := 0.0
	for _, t := range trials {
		rows := r.rowsOf(t.things)
		if len(rows) == 0 {
			continue
		}
		if slices.Contains(t.things, median) && pace == 0 {
			var err error
			if pace, err = r.halfLoad(ctx); err != nil {
				return err
			}
		}
		results := map[string][]float64{}
		errs := map[string]error{}
		for _, who := range contenders(rows) {
			results[who], errs[who] = r.try(ctx, &t, who, pace)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.report(n, &t, who, results[who], errs[who])
		}
		for _, w := range rows {
			w.take(slices.Index(t.things, w.thing), results, errs)
		}
	}
	return nil
}

func (r *runner) report(n int, t *trial, who string, values []float64, err error) {
	if err != nil {
		r.o.Logf("round %d of %d: %s, %s: %s", n+1, r.o.RoundCount(), t.things[0], who, bench.Reason(err))
		return
	}
	for i, thing := range t.things {
		r.o.Logf("round %d of %d: %s, %s: %.4g %s", n+1, r.o.RoundCount(), thing, who, values[i], units[thing].unit)
	}
}

// halfLoad is half of what the kernel's load balancer can do now.
func (r *runner) halfLoad(ctx context.Context) (float64, error) {
	s, err := r.site(dnat)
	if err != nil {
		return 0, err
	}
	v, err := runRequests(ctx, s, r.long, 0)
	if err != nil {
		return 0, err
	}
	return v[0] / 2, nil
}

func (r *runner) rowsOf(things []string) (list []*row) {
	for _, w := range r.rows {
		if slices.Contains(things, w.thing) {
			list = append(list, w)
		}
	}
	return list
}

// contenders are those of rows, peers before those who are compared with them.
func contenders(rows []*row) (list []string) {
	for _, w := range rows {
		for _, who := range []string{w.of, w.who} {
			if who != "" && !slices.Contains(list, who) {
				list = append(list, who)
			}
		}
	}
	return list
}

// take adds a round to the row. One that failed is not fatal if others do not.
func (r *row) take(i int, results map[string][]float64, errs map[string]error) {
	for _, who := range []string{r.who, r.of} {
		if errs[who] != nil {
			r.err = errs[who]
			return
		}
	}
	round := bench.Round{Value: results[r.who][i]}
	if r.of != "" {
		round.Peer = results[r.of][i]
	}
	r.rounds = append(r.rounds, round)
}

func (r *runner) try(ctx context.Context, t *trial, who string, pace float64) ([]float64, error) {
	s, err := r.site(who)
	if err != nil {
		return nil, err
	}
	values, err := t.run(ctx, s, r.long, pace)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, lastLines(s.program.Log()))
	}
	return values, nil
}

// site is the contender's LAN, made when it is first asked for.
func (r *runner) site(who string) (*site, error) {
	if s, ok := r.sites[who]; ok || r.failed[who] != nil {
		return s, r.failed[who]
	}
	s, err := r.build(who)
	if err != nil {
		r.failed[who] = err
		return nil, err
	}
	r.sites[who] = s
	return s, nil
}

func (r *runner) build(who string) (*site, error) {
	lan, err := lab.NewLAN()
	if err != nil {
		return nil, err
	}
	s := &site{lan: lan}
	if s.program, err = r.start(lan, who); err != nil {
		lan.Close()
		return nil, err
	}
	return s, nil
}

func (r *runner) start(lan *lab.LAN, who string) (*lab.Program, error) {
	switch who {
	case noDirector:
		return lan.NoDirector()
	case dnat:
		return lan.DNAT()
	case haproxy:
		return lan.HAProxy()
	case nginx:
		return lan.Nginx()
	}
	u := lab.Usvs{Binary: r.o.Binary, IO: "auto"}
	if who == dr2 {
		u.Method, u.Workers = lab.DirectRoute, 2
	}
	for name, method := range map[string]lab.Method{dr: lab.DirectRoute, nat: lab.Masquerade, tun: lab.Tunnel} {
		switch who {
		case name:
			u.Method = method
		case rival(name):
			u.Method, u.Binary = method, r.o.Rival
		}
	}
	return lan.Usvs(u)
}

// lastLines is the end of a log, for an error.
func lastLines(log string) string {
	if log == "" {
		return ""
	}
	return "; its log ends with: " + log[max(0, len(log)-300):]
}

func (r *runner) figures() (list []bench.Figure) {
	for _, w := range r.rows {
		f := w.figure()
		if len(f.Rounds) == 0 {
			f.Skipped = bench.Reason(w.err)
		}
		list = append(list, f)
	}
	return list
}
