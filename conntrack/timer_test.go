package conntrack

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

// TestTemplateEndsWithItsLastConnection: if both have the same time left the
// connection goes first; a template whose time is over before waits another minute.
func TestTemplateEndsWithItsLastConnection(t *testing.T) {
	for _, c := range []struct {
		name            string
		template, conns []time.Duration // timeouts of the template, each begun anew with a connection
		after           time.Duration
		left            int
	}{
		{name: "together", template: []time.Duration{21}, conns: []time.Duration{21}, after: 21},
		{name: "a minute", template: []time.Duration{60}, conns: []time.Duration{60}, after: 60},
		{name: "two connections, the later with it", template: []time.Duration{21, 21}, conns: []time.Duration{21, 21}, after: 24},
		{name: "the template first", template: []time.Duration{20}, conns: []time.Duration{21}, after: 21, left: 1},
		{name: "and a minute later", template: []time.Duration{20}, conns: []time.Duration{21}, after: 80},
		{name: "with the second minute", template: []time.Duration{20}, conns: []time.Duration{80}, after: 80},
		{name: "the template last", template: []time.Duration{22}, conns: []time.Duration{21}, after: 21, left: 1},
	} {
		for _, often := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				reg, all := servers(1, ipvs.DirectRoute)
				table := New(Config{Servers: reg, Shards: 4})
				now := t0.Add(3 * time.Millisecond)
				var tmpl, conn Conn
				spec := tcpSpec(1, all[0])
				spec.Client, spec.Template, spec.Timeout = masked(spec.Client), true, c.template[0]*time.Second
				require.Equal(t, Inserted, table.Insert(now, spec, &tmpl))
				for i, timeout := range c.conns {
					if i > 0 {
						now = now.Add(3 * time.Second)
						table.Rearm(now, tmpl.Ref)
					}
					s := tcpSpec(1+i, all[0])
					s.Timeout, s.Control = timeout*time.Second, tmpl.Ref
					require.Equal(t, Inserted, table.Insert(now, s, &conn))
				}
				end := t0.Add(c.after*time.Second + 3*time.Millisecond + 2*tick)
				for next := now; often && next < end; {
					next = drainTicks(table, next, 1)
				}
				drainTicks(table, end, 1)
				require.Equal(t, c.left, table.Len())
				drainTicks(table, end.Add(time.Hour), 1)
				require.Zero(t, table.Len())
				require.Empty(t, lost(table))
			})
		}
	}
}

// TestTimersOfReusedSlots: entries that were another shard's or worker's before, with
// timer records of that time, end when theirs is over and leave nothing behind.
func TestTimersOfReusedSlots(t *testing.T) {
	const flows, limit = 40, 12
	reg, all := servers(1, ipvs.DirectRoute)
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 6))
		table := New(Config{Servers: reg, Shards: 4, MaxEntries: limit, Seed: seed})
		now := t0
		for range 3000 {
			var c Conn
			n := rng.IntN(flows)
			spec := workerSpec(rng.IntN(3), n, all[0])
			spec.Timeout = time.Duration(1+rng.IntN(90)) * time.Second
			if table.Insert(now, spec, &c) == Exists && rng.IntN(2) == 0 {
				table.Expire(now, c.Ref)
			}
			now = now.Add(time.Duration(rng.IntN(2000)) * time.Millisecond)
			drainTicks(table, now, 1+rng.IntN(5))
			require.Zero(t, overdue(table, now), "seed %d", seed)
		}
		checkIndex(t, table)
		checkEmpty(t, table, now, all)
	}
}
