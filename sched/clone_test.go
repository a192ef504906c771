package sched

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

func same(rs *ipvs.RealServer) *ipvs.RealServer { return rs }

// A clone decides like its original, whatever happened before, and neither it
// nor an explanation changes what the original does next.
func TestCloneAndExplain(t *testing.T) {
	for _, name := range names {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s/seed%d", name, seed), func(t *testing.T) {
				plain := picks(t, name, seed, func(*bench) {})
				require.Equal(t, plain, picks(t, name, seed, func(b *bench) { b.s.Explain(&b.req) }), "explained")
				require.Equal(t, plain, picks(t, name, seed, func(b *bench) { b.s.Clone(same).Schedule(&b.req) }), "cloned")
				require.Equal(t, plain, picks(t, name, seed, func(b *bench) { b.s = b.s.Clone(same) }), "replaced by its clone")
			})
		}
	}
}

// picks is what a random service's scheduler decides if probe is called before
// each decision.
func picks(t *testing.T, name string, seed uint64, probe func(*bench)) string {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := newBench(t, name)
	b.req.Flags = ipvs.ServiceFlags(rng.IntN(2)) * ipvs.FlagSched1
	var log []byte
	for range 150 {
		b.req.Now = b.req.Now.Add(time.Duration(rng.Int64N(int64(20 * time.Minute))))
		switch op := rng.IntN(16); {
		case op < 2 && len(b.servers) < 8:
			b.link(newServer(rng.IntN(60)+1, rng.Int32N(5)))
		case op == 2 && len(b.servers) > 2:
			b.unlink(b.servers[rng.IntN(len(b.servers))])
		case op == 3 && len(b.servers) > 0:
			b.weight(b.servers[rng.IntN(len(b.servers))], rng.Int32N(5))
		default:
			b.req.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(rng.IntN(32))})
			b.req.Dst = netip.AddrFrom4([4]byte{10, 9, 1, byte(rng.IntN(4))})
			probe(b)
			rs := b.pick()
			log = append(log, letter(rs))
			if rs != nil {
				rs.Bind(true)
			}
		}
	}
	return string(log)
}

// A clone over other servers picks those, and leaves the original's alone.
func TestCloneOverOtherServers(t *testing.T) {
	for _, name := range names {
		b := newBench(t, name)
		b.add(1, 2, 3)
		b.pick()
		twins := map[*ipvs.RealServer]*ipvs.RealServer{}
		c := b.s.Clone(func(rs *ipvs.RealServer) *ipvs.RealServer {
			if twins[rs] == nil {
				twins[rs] = ipvs.NewRealServer(rs.ID, rs.Service(), rs.Spec())
			}
			return twins[rs]
		})
		for range 20 {
			got, want := c.Schedule(&b.req), b.pick()
			require.NotNil(t, want, name)
			require.Same(t, twins[want], got, name)
		}
	}
}

// Explanations in full, at a moment that can be checked by hand: servers of
// weights 1, 2 and 0, the newest first in the list.
func TestExplain(t *testing.T) {
	b := newBench(t, "wlc")
	servers := b.add(1, 2, 0)
	counts(servers[0], 1, 3)
	counts(servers[1], 2, 0)
	x := b.s.Explain(&b.req)
	require.Equal(t, []Figure{
		{servers[2], false, "weight 0: gets no new connections"},
		{servers[1], true, "(2 active * 256 + 0 inactive) / weight 2 = 256"},
		{servers[0], true, "(1 active * 256 + 3 inactive) / weight 1 = 259"},
	}, x.Figures)
	require.Equal(t, servers[1], b.pick())
	for name, state := range map[string]string{
		"rr":  "the one chosen last is 10.1.0.2:80",
		"wrr": "the one chosen last is 10.1.0.2:80; level 1, down in steps of 1, then from 2 again",
		"lc":  "", "sed": "", "nq": "", "fo": "", "ovf": "",
		"dh":    "10.9.0.1 hashes to slot 224 of 256, which is 10.1.0.1:80's",
		"sh":    "192.0.2.1 hashes to slot 50 of 256, which is 10.1.0.2:80's",
		"mh":    "192.0.2.1 hashes to slot 2891 of 4093, which is 10.1.0.1:80's",
		"lblc":  "10.9.0.1 has 10.1.0.2:80, which stands",
		"lblcr": "10.9.0.1 has 1 servers: 10.1.0.2:80",
		"twos":  "of 0..3 the draws are 1, which is 10.1.0.2:80, and 0, which is 10.1.0.2:80",
	} {
		b := newBench(t, name)
		servers := b.add(1, 2, 0)
		b.pick()
		x := b.s.Explain(&b.req)
		assert.Equal(t, state, x.State, name)
		require.NotEmpty(t, x.Rule, name)
		if name != "mh" { // gives a server that never had a weight no slots
			require.Len(t, x.Figures, 3, name)
		}
		if rs := b.pick(); rs != nil {
			require.Contains(t, servers, rs, name)
		}
	}
}

// Without servers there is nothing to explain, and nothing breaks.
func TestExplainNobody(t *testing.T) {
	for _, name := range names {
		b := newBench(t, name)
		require.Empty(t, b.s.Explain(&b.req).Figures, name)
		require.Nil(t, b.s.Clone(same).Schedule(&b.req), name)
	}
}
