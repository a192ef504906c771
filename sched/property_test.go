package sched_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
	"usvs/sched"
	"usvs/sched/model"
)

var everyName = strings.Fields("rr wrr lc wlc lblc lblcr dh sh mh sed nq fo ovf twos")

// operations is how many random ones each scheduler gets: a million for
// `make properties`.
func operations() int {
	switch {
	case os.Getenv("USVS_LONG") != "":
		return 1_000_000
	case testing.Short():
		return 5_000
	}
	return 30_000
}

// TestSchedulersAgainstModels changes services at random, in every way there
// is, and wants each scheduler to decide like its model, every time.
func TestSchedulersAgainstModels(t *testing.T) {
	const perService = 2500
	for _, name := range everyName {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(operations() / perService) {
				w := newWorld(t, name, seed)
				for range perService {
					w.step()
				}
			}
		})
	}
}

// ranked are the schedulers that keep many servers in a heap.
var ranked = strings.Fields("lc wlc lblc lblcr sed nq fo ovf")

// TestRankedAgainstModels is TestSchedulersAgainstModels where even few servers
// are too many to look at.
func TestRankedAgainstModels(t *testing.T) {
	defer sched.RankFrom(1)()
	t.Run("", func(t *testing.T) {
		for _, name := range ranked {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(operations() / 2500) {
					w := newWorld(t, name, seed)
					for range 2500 {
						w.step()
					}
				}
			})
		}
	})
}

// TestManyServersAgainstModels is the same with a thousand servers, which come
// and go around the number from which they are ranked.
func TestManyServersAgainstModels(t *testing.T) {
	most := 1000
	if testing.Short() {
		most = 200
	}
	defer sched.RankFrom(most * 6 / 10)()
	t.Run("", func(t *testing.T) {
		for _, name := range ranked {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(1 + operations()/30_000) {
					w := newWorld(t, name, seed+100)
					w.most, w.crowded = most, 8*most
					for len(w.servers) < w.most-most/2*int(seed%2) {
						w.add()
					}
					for range min(operations()/20, 5000) { // another population after that
						w.step()
					}
				}
			})
		}
	})
}

// TestCachesOverflowAgainstModels asks for more destinations than lblc and
// lblcr remember, fast, with a pause now and then in which entries grow idle.
func TestCachesOverflowAgainstModels(t *testing.T) {
	for _, name := range []string{"lblc", "lblcr"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, name, 1)
			w.destinations, w.thresholds, w.most, w.crowded = 50_000, 0, 8, 400
			w.weights = func() int32 { return 1 + w.rng.Int32N(3) }
			for i := range min(6*operations(), 1_000_000) {
				switch {
				case i%50_000 == 0: // servers leave rarely, or nothing remembered would stand
					w.remove()
					w.add()
					w.req.Now = w.req.Now.Add(4*time.Minute + time.Duration(w.rng.Int64N(int64(4*time.Minute))))
				case i < w.most:
					w.add()
				case i%4 == 0:
					w.turn()
				}
				w.req.Now = w.req.Now.Add(4 * time.Millisecond)
				w.open()
			}
		})
	}
}

// connection is one that was opened and not closed yet.
type connection struct {
	rs     *ipvs.RealServer
	active bool
}

// world is one service with a scheduler and its model, changed as control
// changes one, and with connections as packets make them.
type world struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand

	name    string // of the scheduler under test
	s       sched.Scheduler
	m       model.Scheduler
	service *ipvs.VirtualService
	servers []*ipvs.RealServer
	trash   []*ipvs.RealServer
	expect  map[*ipvs.RealServer]*model.Server
	conns   []connection

	req     sched.Request
	sysctls ipvs.Sysctls

	// How this world is, drawn once from its seed.
	most         int           // servers at once
	crowded      int           // connections at once, about
	weights      func() int32  // of a server
	thresholds   int           // of servers: none, two thirds and loose, all and tight
	silence      time.Duration // longest time between operations
	nights       bool          // happen, and expirations are changed
	destinations int
	v6           bool
}

func newWorld(t *testing.T, name string, seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := &world{
		t: t, seed: seed, rng: rng, name: name,
		expect:       map[*ipvs.RealServer]*model.Server{},
		sysctls:      ipvs.DefaultSysctls(),
		most:         1 + rng.IntN(16),
		crowded:      []int{10, 40, 400}[rng.IntN(3)],
		weights:      weights(rng),
		thresholds:   rng.IntN(3),
		silence:      []time.Duration{1, time.Second, time.Minute, 20 * time.Minute}[rng.IntN(4)],
		nights:       true,
		destinations: []int{1, 3, 40, 1000, 60_000}[rng.IntN(5)],
		v6:           rng.IntN(3) == 0,
	}
	family := ipvs.IPv4
	if w.v6 {
		family = ipvs.IPv6
	}
	w.service = &ipvs.VirtualService{ID: ipvs.ServiceID{Family: family, Protocol: ipvs.TCP, Port: 80}}
	w.req = sched.Request{Now: clock.Instant(time.Second), Protocol: ipvs.TCP, Sysctls: &w.sysctls}
	w.bind(name)
	return w
}

// weights returns a way to draw weights: small ones, ones with a common
// divisor, ones of three digits, ones near the limit.
func weights(rng *rand.Rand) func() int32 {
	limit := []int32{2, 4, 11, 300}[rng.IntN(4)]
	factor := []int32{1, 1, 1, 3, 10}[rng.IntN(5)]
	if rng.IntN(6) == 0 {
		limit, factor = 8, 1<<28+1<<24 // 7 of them fit into 31 bits
	}
	return func() int32 { return rng.Int32N(limit) * factor }
}

// step does one random thing.
func (w *world) step() {
	w.req.Now = w.req.Now.Add(time.Duration(w.rng.Int64N(int64(w.silence))))
	switch op := w.rng.IntN(100); {
	case op < 3:
		w.add()
	case op < 5:
		w.remove()
	case op < 9:
		w.edit()
	case op < 10:
		w.setting()
	case op < 11:
		w.crowd()
	case op < 12 && w.nights && w.rng.IntN(4) == 0:
		w.rebind()
	case op < 30:
		w.turn()
	case op < 55:
		w.close()
	default:
		w.open()
	}
}

// both updates the scheduler and its model.
func (w *world) both(change sched.Change, rs *ipvs.RealServer) {
	w.servers = slices.Clip(w.servers)
	require.NoError(w.t, w.s.Update(change, w.servers, rs))
	require.NoError(w.t, w.m.Update(change, w.servers, rs))
}

// bind gives the service a new scheduler, which forgets what the old one knew.
func (w *world) bind(name string) {
	a, b := w.rng.Uint64(), w.rng.Uint64()
	var err error
	w.s, err = sched.New(name, rand.New(rand.NewPCG(a, b)))
	require.NoError(w.t, err)
	w.m, err = model.New(name, rand.New(rand.NewPCG(a, b)))
	require.NoError(w.t, err)
	w.both(sched.Bind, nil)
}

// rebind edits the service's scheduler: to another one for one decision, and
// back, or to none and back.
func (w *world) rebind() {
	if w.rng.IntN(2) == 0 {
		w.bind(everyName[w.rng.IntN(len(everyName))])
		w.open()
	}
	w.bind(w.name)
}

// add links a server at the head: a new one, or one from the trash.
func (w *world) add() {
	if len(w.servers) >= w.most {
		return
	}
	spec := w.spec()
	rs := w.fromTrash(spec)
	if rs == nil {
		rs = ipvs.NewRealServer(w.freshID(), w.service, spec)
		w.expect[rs] = model.NewServer(spec)
	}
	w.servers = slices.Concat([]*ipvs.RealServer{rs}, w.servers)
	w.both(sched.Add, rs)
	w.check(rs)
}

func (w *world) fromTrash(spec ipvs.ServerSpec) *ipvs.RealServer {
	if len(w.trash) == 0 || w.rng.IntN(3) == 0 {
		return nil
	}
	i := w.rng.IntN(len(w.trash))
	rs := w.trash[i]
	w.trash = slices.Delete(w.trash, i, i+1)
	rs.Revive(spec)
	w.expect[rs].Revive(spec)
	return rs
}

// freshID is an identity that nobody linked has.
func (w *world) freshID() ipvs.ServerID {
	for {
		id := ipvs.ServerID{Addr: w.address(10, max(200, 4*w.most)), Port: uint16(80 + w.rng.IntN(2))}
		if w.rng.IntN(8) == 0 { // a tunnel server of the other family
			w.v6 = !w.v6
			id.Addr = w.address(10, max(200, 4*w.most))
			w.v6 = !w.v6
		}
		if !slices.ContainsFunc(w.servers, func(rs *ipvs.RealServer) bool { return rs.ID == id }) {
			return id
		}
	}
}

func (w *world) spec() ipvs.ServerSpec {
	spec := ipvs.ServerSpec{Method: ipvs.DirectRoute, Weight: w.weights()}
	switch {
	case w.thresholds == 1 && w.rng.IntN(3) > 0:
		spec.UpperThreshold = w.rng.Uint32N(30)
		spec.LowerThreshold = w.rng.Uint32N(spec.UpperThreshold + 3)
	case w.thresholds == 2:
		spec.UpperThreshold = 1 + w.rng.Uint32N(8)
		spec.LowerThreshold = w.rng.Uint32N(spec.UpperThreshold)
	}
	return spec
}

func (w *world) remove() {
	rs := w.anyServer()
	if rs == nil {
		return
	}
	w.servers = slices.DeleteFunc(slices.Clone(w.servers), func(e *ipvs.RealServer) bool { return e == rs })
	rs.SetAvailable(false)
	if w.trash = append(w.trash, rs); len(w.trash) > 20 {
		w.trash = w.trash[1:] // freed
	}
	w.both(sched.Delete, rs)
}

// edit changes a server. A decision may come between the change and the word
// of it; mh alone hears of weights only when it makes its table.
func (w *world) edit() {
	rs := w.anyServer()
	if rs == nil {
		return
	}
	spec := w.spec()
	rs.SetSpec(spec)
	w.expect[rs].Edit(spec)
	w.check(rs)
	if w.name != "mh" && w.rng.IntN(4) == 0 {
		w.open()
	}
	w.both(sched.Edit, rs)
}

// setting changes what the service and the director are told by an operator.
func (w *world) setting() {
	w.req.Flags = ipvs.ServiceFlags(w.rng.IntN(4)) * ipvs.FlagSched1
	w.req.Protocol = []ipvs.Protocol{ipvs.TCP, ipvs.UDP, ipvs.SCTP, 50}[w.rng.IntN(4)]
	ages := []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second, 0}
	if !w.nights {
		ages = ages[:1]
	}
	w.sysctls.LBLCExpiration = ages[w.rng.IntN(len(ages))]
	w.sysctls.LBLCRExpiration = ages[w.rng.IntN(len(ages))]
	if w.nights && w.rng.IntN(3) == 0 { // without a packet
		w.req.Now = w.req.Now.Add(time.Duration(w.rng.Int64N(int64(72 * time.Hour))))
	}
}

// open schedules a connection, which mostly comes to be.
func (w *world) open() {
	w.req.Client = w.address(192, 5000)
	w.req.ClientPort = uint16(1024 + w.rng.IntN(3))
	w.req.Dst = w.address(172, w.destinations)
	got, want := w.s.Schedule(&w.req), w.m.Schedule(&w.req)
	if got != want {
		w.fail(got, want)
	}
	if got != nil && w.rng.IntN(8) > 0 {
		w.bound(got, w.rng.IntN(3) > 0)
	}
}

func (w *world) fail(got, want *ipvs.RealServer) {
	var list []string
	for _, rs := range w.servers {
		list = append(list, fmt.Sprintf("%v %+v", rs.ID, *w.expect[rs]))
	}
	w.t.Fatalf("seed %d: %s picked %v, must pick %v; request %+v; servers\n%s", w.seed, w.name,
		identity(got), identity(want), w.req, strings.Join(list, "\n"))
}

func identity(rs *ipvs.RealServer) any {
	if rs == nil {
		return "nobody"
	}
	return rs.ID
}

func (w *world) bound(rs *ipvs.RealServer, active bool) {
	rs.Bind(active)
	w.expect[rs].Open(active)
	w.check(rs)
	if w.conns = append(w.conns, connection{rs, active}); len(w.conns) > w.crowded {
		w.close()
	}
}

// crowd gives a server many connections at once.
func (w *world) crowd() {
	if rs := w.anyServer(); rs != nil {
		for range w.rng.IntN(300) {
			w.bound(rs, w.rng.IntN(20) == 0)
		}
	}
}

// turn makes a connection active or inactive.
func (w *world) turn() {
	if len(w.conns) == 0 {
		return
	}
	c := &w.conns[w.rng.IntN(len(w.conns))]
	if c.active = !c.active; c.active {
		c.rs.Promote()
	} else {
		c.rs.Demote()
	}
	w.expect[c.rs].Turn(c.active)
	w.check(c.rs)
}

func (w *world) close() {
	if len(w.conns) == 0 {
		return
	}
	i := w.rng.IntN(len(w.conns))
	c := w.conns[i]
	last := len(w.conns) - 1
	w.conns[i], w.conns = w.conns[last], w.conns[:last]
	c.rs.Unbind(c.active)
	w.expect[c.rs].Close(c.active)
	w.check(c.rs)
}

func (w *world) check(rs *ipvs.RealServer) {
	if text := w.expect[rs].Differs(rs); text != "" {
		w.t.Fatalf("seed %d: %s", w.seed, text)
	}
}

func (w *world) anyServer() *ipvs.RealServer {
	if len(w.servers) == 0 {
		return nil
	}
	return w.servers[w.rng.IntN(len(w.servers))]
}

// address draws one of n addresses of the service's family.
func (w *world) address(first byte, n int) netip.Addr {
	i := w.rng.IntN(n)
	if w.v6 {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, first, byte(i % 7), 8: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
	}
	return netip.AddrFrom4([4]byte{first, byte(i >> 16), byte(i >> 8), byte(i)})
}
