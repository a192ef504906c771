package chaos

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// maxPerSeed is the most faults of a schedule.
const maxPerSeed = 4

// Generate makes the schedule of a seed: one to four faults of the kinds that
// are allowed and that the lab has a place for.
func Generate(l *Lab, b Bounds, seed uint64, allowed []Kind) Schedule {
	g := &generator{lab: l, bounds: b, r: rand.New(rand.NewPCG(seed, 0x6368616f73))}
	g.allowed = slices.DeleteFunc(slices.Clone(allowed), func(k Kind) bool { return !l.can(k) })
	if len(g.allowed) == 0 {
		return nil
	}
	if s := g.story(seed); s != nil {
		return s
	}
	var s Schedule
	for range 1 + g.r.IntN(maxPerSeed) {
		if f := g.fault(); !s.clashes(f) {
			s = append(s, f)
		}
	}
	s.sort()
	return s
}

// storyEvery is how many seeds pass between two stories.
const storyEvery = 4

// story is, for some seeds, what chance does not find: a director comes back
// and is at rest when something else happens to it. The stories that there are
// take turns.
func (g *generator) story(seed uint64) Schedule {
	if !slices.Contains(g.allowed, Crash) || seed%storyEvery != 0 {
		return nil
	}
	var all []Fault
	for _, d := range g.lab.Directors {
		for _, k := range g.allowed {
			switch {
			case k.info().at == atDirector && k != Crash:
				all = append(all, Fault{Kind: k, Node: d.Name})
			case k.info().at == atInterface:
				all = append(all, Fault{Kind: k, Node: d.Name, NIC: pick(g, d.NICs).Name})
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	f := all[seed/storyEvery%uint64(len(all))]
	crash := Fault{Kind: Crash, Node: f.Node, At: tenths(g.bounds.Ready + time.Second), For: tenths(g.bounds.Elect + time.Second)}
	f.At = tenths(crash.End() + 2*(g.bounds.Elect+g.bounds.Together))
	f.For = tenths(3 * (g.bounds.Elect + g.bounds.Together))
	g.amount(&f)
	return Schedule{crash, f}
}

type generator struct {
	lab     *Lab
	bounds  Bounds
	r       *rand.Rand
	allowed []Kind
}

// can reports whether there is something for a kind to be at.
func (l *Lab) can(k Kind) bool {
	switch {
	case k == NoMulticast:
		return slices.ContainsFunc(l.Routers, (*VirtualRouter).pair)
	case k == VIPMissing:
		return slices.ContainsFunc(l.Servers, func(s *Server) bool { return len(s.VIPs) > 0 })
	case k.info().at == atServer:
		return len(l.Servers) > 0
	}
	return true
}

// clashes reports whether a schedule has a fault of the kind at the same place
// and time: two would undo each other.
func (s Schedule) clashes(f Fault) bool {
	return slices.ContainsFunc(s, func(o Fault) bool {
		return o.Node == f.Node && o.NIC == f.NIC && group(o.Kind) == group(f.Kind) && o.during(f.At, f.End())
	})
}

// group is what kinds change the same thing: the cable's ends, its quality, or
// whether the machine is on.
func group(k Kind) string {
	switch k {
	case Cut, CutIn, CutOut, Down, ServerDead:
		return "cable"
	case Loss, Duplicate, Reorder, ServerSlow:
		return "quality"
	case Pause, Crash, Skew:
		return "machine"
	}
	return string(k)
}

func (g *generator) fault() Fault {
	f := Fault{Kind: g.allowed[g.r.IntN(len(g.allowed))]}
	longest := g.target(&f)
	span := 3*g.bounds.Elect + 10*time.Second
	f.At = tenths(g.bounds.Ready + time.Duration(g.r.Int64N(int64(span))))
	f.For = tenths(g.logarithmic(200*time.Millisecond, max(longest, time.Second)))
	if f.Kind.info().mistake || g.r.IntN(3) == 0 { // it lasts until every timer has run out
		f.For = tenths(2 * longest)
	}
	g.amount(&f)
	return f
}

// target draws where a fault is, and says how long such a fault may be.
func (g *generator) target(f *Fault) time.Duration {
	longest := 2*g.bounds.Elect + 5*time.Second
	switch f.Kind.info().at {
	case atInterface:
		d := pick(g, g.lab.Directors)
		f.Node, f.NIC = d.Name, pick(g, d.NICs).Name
	case atDirector:
		f.Node = pick(g, g.lab.Directors).Name
	case atNetwork:
		f.Node = pick(g, g.lab.vrrpNetworks()).Name
	case atServer:
		servers := g.lab.Servers
		if f.Kind == VIPMissing {
			servers = slices.DeleteFunc(slices.Clone(servers), func(s *Server) bool { return len(s.VIPs) == 0 })
		}
		f.Node = pick(g, servers).Name
		longest = max(longest, g.bounds.Servers[f.Node].Dead*3/2)
	}
	return longest
}

// vrrpNetworks are those where directors must hear each other.
func (l *Lab) vrrpNetworks() []*Network {
	var list []*Network
	for _, r := range l.Routers {
		if r.pair() && !slices.Contains(list, r.Network) {
			list = append(list, r.Network)
		}
	}
	return list
}

func pick[T any](g *generator, list []T) T { return list[g.r.IntN(len(list))] }

// amount draws how bad a fault is.
func (g *generator) amount(f *Fault) {
	switch f.Kind {
	case Skew:
		f.Amount = math.Round(100*(0.9+0.2*g.r.Float64())) / 100
	case Loss, Duplicate, Reorder:
		f.Amount = []float64{0.01, 0.05, 0.1, 0.3, 0.6}[g.r.IntN(5)]
	case ServerSlow:
		f.Amount = []float64{0.1, 0.5, 1, 3}[g.r.IntN(4)]
	}
}

// logarithmic draws a time between two, the short ones as often as the long.
func (g *generator) logarithmic(least, most time.Duration) time.Duration {
	lo, hi := math.Log(float64(least)), math.Log(float64(most))
	return time.Duration(math.Exp(lo + (hi-lo)*g.r.Float64()))
}

// tenths rounds to what people like to read.
func tenths(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
