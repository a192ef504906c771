package vrrp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
)

// TestElectionsOnALossyWire: nodes die, come back and are cut off, adverts are
// lost and late. Two masters at once there may be for as long as the protocol
// needs to find out, and no longer; with the wire whole again there is one, and
// it is the best.
func TestElectionsOnALossyWire(t *testing.T) {
	for seed := range uint64(600) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { lossy(t, seed) })
	}
}

// lossyConfig is one of the ways in which nodes may be configured alike.
func lossyConfig(rng *rand.Rand) Instance {
	i := basic(0)
	switch rng.IntN(5) {
	case 0:
		i.Auth, i.Password = Pass, "1111"
	case 1:
		i.Auth, i.Password = AH, "secret"
	case 2:
		i.Version, i.AdvertInterval = 3, time.Duration(1+rng.IntN(100))*10*time.Millisecond
	case 3:
		i.IPv6, i.Addresses = true, prefixes("fe80::1")
	}
	i.LowerPrioNoAdvert = rng.IntN(3) == 0
	i.HigherPrioSendAdvert = rng.IntN(3) == 0
	return i
}

func lossy(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	shared := lossyConfig(rng)
	l := newLAN(t)
	loss, cut := 0.0, -1
	l.lose = func(from, to *node) (bool, time.Duration) {
		delay := time.Duration(rng.IntN(3000)) * time.Microsecond
		apart := cut >= 0 && (from == l.nodes[cut] || to == l.nodes[cut])
		return apart || rng.Float64() < loss, delay
	}
	for range 2 + rng.IntN(2) {
		i := shared
		i.Priority = 100 + rng.IntN(3)*50
		l.add(one(i))
	}
	down := 4*shared.AdvertInterval + 4*time.Second
	if shared.AdvertInterval == 0 {
		down = 8 * time.Second
	}
	l.watch(3 * down)
	l.requireBest(seed)
	for range 6 {
		switch who := l.nodes[rng.IntN(len(l.nodes))]; rng.IntN(5) {
		case 0:
			loss = rng.Float64() * 0.9
		case 1:
			cut = rng.IntN(len(l.nodes))
		case 2:
			who.Stop(l.now)
			who.dead = true
		case 3:
			who.AddressLost(l.now, "eth0", who.instances[0].Addresses[0].Prefix.Addr())
			who.next = 0
		case 4:
			who.dead = true // pulled out
		}
		l.run(time.Duration(rng.IntN(int(3 * down))))
	}
	loss, cut = 0, -1
	for k, n := range l.nodes {
		if n.dead {
			l.restart(k)
		}
	}
	l.run(2 * down) // as many masters as there were finish arguing
	l.watch(down)
	l.requireBest(seed)
}

// restart starts a node's daemon anew.
func (l *lan) restart(k int) {
	n := l.nodes[k]
	cfg := *n.cfg
	n.dead, n.next = false, 0
	n.owns = map[string][]netip.Prefix{}
	n.Router = New(&cfg, n.recorder)
	n.SetInterface(l.now, faceOf(k+1))
	n.Start(l.now)
}

// watch lets time pass and finds two masters that both last longer than an
// advert and its delay; with AH, whose sequence numbers may be in step, than a few.
func (l *lan) watch(d time.Duration) {
	limit := 20 * time.Millisecond
	if l.nodes[0].instances[0].Auth == AH {
		limit = 5 * time.Second
	}
	var since clock.Instant
	for end := l.now.Add(d); l.step(end); {
		if masters := l.masters(); len(masters) < 2 {
			since = 0
			continue
		}
		if since == 0 {
			since = l.now
		}
		if both := l.now.Sub(since); both > limit {
			l.t.Fatalf("two masters for %v", both)
		}
	}
}

func (l *lan) masters() (out []*node) {
	for _, n := range l.nodes {
		if !n.dead && n.state() == Master {
			out = append(out, n)
		}
	}
	return out
}

// requireBest requires one master, of the highest priority, which alone has the
// addresses.
func (l *lan) requireBest(seed uint64) {
	l.t.Helper()
	best := 0
	for _, n := range l.nodes {
		best = max(best, n.instances[0].prio)
	}
	masters := l.masters()
	require.Len(l.t, masters, 1, "seed %d", seed)
	require.Equal(l.t, best, masters[0].instances[0].prio, "seed %d", seed)
	for _, n := range l.nodes {
		if has := len(n.owns["VI_1"]) > 0; has != (n == masters[0]) {
			l.t.Fatalf("seed %d: %s has the addresses: %v", seed, n.name, has)
		}
	}
}

// Three members of two sync groups: never one member master without the other
// for longer than the group needs to follow.
func TestGroupsMoveAsOne(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			l := newLAN(t)
			for n := range 3 {
				l.add(pairConfig(100 + 20*n))
			}
			loss := 0.0
			l.lose = func(_, _ *node) (bool, time.Duration) { return rng.Float64() < loss, time.Millisecond }
			for range 8 {
				who := l.nodes[rng.IntN(3)]
				up := faceOf(1)
				up.Name, up.Up = "eth1", rng.IntN(2) == 0
				who.SetInterface(l.now, up)
				who.next = 0
				loss = rng.Float64() * 0.5
				for end := l.now.Add(time.Duration(rng.IntN(10)) * time.Second); l.step(end); {
					l.requireTogether()
				}
			}
			loss = 0
			up := faceOf(1)
			up.Name = "eth1"
			for _, n := range l.nodes {
				n.SetInterface(l.now, up)
				n.next = 0
			}
			l.run(20 * time.Second)
			require.Equal(t, Master, l.nodes[2].groups[0].state)
			require.Equal(t, []*node{l.nodes[2]}, l.masters())
		})
	}
}

func (l *lan) requireTogether() {
	for _, n := range l.nodes {
		a, b := n.instances[0], n.instances[1]
		if (a.state == Master) != (b.state == Master) || (a.state == Fault) != (b.state == Fault) {
			l.t.Fatalf("%s: %v and %v", n.name, a.state, b.state)
		}
	}
}

// pairConfig is two instances in a sync group; the second depends on eth1.
func pairConfig(priority int) Config {
	a, b := basic(priority), basic(priority)
	b.Name, b.VRID, b.Addresses = "VI_2", 52, prefixes("10.9.0.102")
	b.Tracks.Interfaces = []Track{{Name: "eth1"}}
	return Config{Instances: []Instance{a, b}, Groups: []Group{{Name: "G", Members: []string{"VI_1", "VI_2"}}}}
}
