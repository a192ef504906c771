package differential

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
)

// areas makes scenarios, by the part of IPVS they are about.
var areas = map[string]func(*draft){
	"schedulers":  schedulers,
	"states":      states,
	"persistence": persistence,
	"forwarding":  forwarding,
	"text":        text,
}

// Areas lists the areas that scenarios can be about.
func Areas() []string {
	names := []string{}
	for name := range areas {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Generate makes the scenario of an area and a seed.
func Generate(area string, seed uint64) (Scenario, error) {
	make, ok := areas[area]
	if !ok {
		return Scenario{}, fmt.Errorf("no area %q; there are %s", area, strings.Join(Areas(), ", "))
	}
	h := fnv.New64a()
	h.Write([]byte(area))
	d := &draft{Rand: rand.New(rand.NewPCG(seed, h.Sum64()))}
	make(d)
	lines := slices.Concat(d.links, topology(strings.Contains(strings.Join(d.lines, "\n"), "fd00:")), d.lines)
	return Scenario{Area: area, Seed: seed, Lines: lines}, nil
}

// draft is a scenario in the making.
type draft struct {
	*rand.Rand
	links []string // MTU lines, which come first
	lines []string
	began bool // commands are recorded from here on
}

func (d *draft) add(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

// ipvsadm adds a command; empty words vanish. Its answer is recorded once the
// scenario has begun: before, it is set-up, which is faster.
func (d *draft) ipvsadm(words ...string) {
	kind := "%"
	if d.began {
		kind = "$"
	}
	d.add("%s ipvsadm %s", kind, join(words...))
}

// sysctl adds a setting of net.ipv4.vs.
func (d *draft) sysctl(key string, value int) {
	d.add("%% sysctl -qw net.ipv4.vs.%s=%d", key, value)
}

// oneIn is true once in n times.
func (d *draft) oneIn(n int) bool { return d.IntN(n) == 0 }

// between is a number from low to high, both included.
func (d *draft) between(low, high int) int { return low + d.IntN(high-low+1) }

// pick is one of a few.
func pick[T any](d *draft, from ...T) T { return from[d.IntN(len(from))] }

// often is one of a few, each as often as its weight says.
func often[T any](d *draft, from ...weighted[T]) T {
	total := 0
	for _, f := range from {
		total += f.weight
	}
	n := d.IntN(total)
	for _, f := range from {
		if n -= f.weight; n < 0 {
			return f.value
		}
	}
	panic("unreachable: the weights were summed up")
}

type weighted[T any] struct {
	weight int
	value  T
}

func w[T any](weight int, value T) weighted[T] { return weighted[T]{weight, value} }

// The hosts of the recordings: eight servers on each link, behind link s a
// router to the network of tunnel ends.
const (
	firstServer = 11
	lastServer  = 18
)

// topology is the set-up of every scenario: addresses, routes and neighbours.
func topology(v6 bool) []string {
	first := []string{
		"ip addr add 10.1.0.1/16 dev eth0", "ip neigh add 10.1.0.254 lladdr 02:00:00:00:00:fe dev eth0 nud permanent",
		"ip route add default via 10.1.0.254",
		"ip addr add 10.2.0.1/16 dev eth1", "ip neigh add 10.2.0.254 lladdr 02:00:00:00:00:fd dev eth1 nud permanent",
		"ip route add 10.3.0.0/16 via 10.2.0.254",
		"ip addr add 10.9.0.1/32 dev eth0", "ip addr add 10.9.0.2/32 dev eth0", "ip addr add 10.9.0.3/32 dev eth0",
		"ip route add local 10.9.1.0/24 dev lo",
	}
	for n := firstServer; n <= lastServer; n++ {
		first = append(first,
			fmt.Sprintf("ip neigh add 10.1.0.%d lladdr 02:00:0a:01:00:%02x dev eth0 nud permanent", n, n),
			fmt.Sprintf("ip neigh add 10.2.0.%d lladdr 02:00:0a:02:00:%02x dev eth1 nud permanent", n, n))
	}
	lines := []string{"% " + strings.Join(first, "; ")}
	if !v6 {
		return lines
	}
	second := []string{
		"ip -6 addr add fd00:1::1/64 dev eth0 nodad", "ip -6 neigh add fd00:1::fe lladdr 02:00:00:00:00:fe dev eth0 nud permanent",
		"ip -6 route add default via fd00:1::fe",
		"ip -6 addr add fd00:2::1/64 dev eth1 nodad", "ip -6 neigh add fd00:2::fe lladdr 02:00:00:00:00:fd dev eth1 nud permanent",
		"ip -6 route add fd00:3::/64 via fd00:2::fe",
		"ip -6 addr add fd00:9::1/128 dev eth0 nodad", "ip -6 addr add fd00:9::2/128 dev eth0 nodad",
		"ip -6 addr add fd00:9::3/128 dev eth0 nodad",
	}
	for n := firstServer; n <= lastServer; n++ {
		second = append(second,
			fmt.Sprintf("ip -6 neigh add fd00:1::%d lladdr 02:06:00:01:00:%d dev eth0 nud permanent", n, n),
			fmt.Sprintf("ip -6 neigh add fd00:2::%d lladdr 02:06:00:02:00:%d dev eth1 nud permanent", n, n))
	}
	return append(lines, "% "+strings.Join(second, "; "))
}

// client is the address of the nth client, in one of a few networks.
func client(n int, v6 bool) netip.Addr {
	if v6 {
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::%d", n%3, 1+n/3))
	}
	nets := [][3]byte{{198, 51, 100}, {203, 0, 113}, {192, 0, 2}, {10, 77, 5}}
	net := nets[n%len(nets)]
	return netip.AddrFrom4([4]byte{net[0], net[1], net[2], byte(1 + n/len(nets))})
}
