package sched

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRemembers(t *testing.T) {
	for _, name := range names {
		b := newBench(t, name)
		servers := b.add(1, 1)
		picked := b.to("10.9.1.1")
		b.unlink(picked)
		caches := name == "lblc" || name == "lblcr"
		require.Equal(t, caches, Remembers(b.s, picked), name)
		require.False(t, Remembers(b.s, servers[0]), "%s: never picked", name)
		if !caches {
			continue
		}
		c := b.s.Clone(same)
		require.Same(t, servers[0], b.to("10.9.1.1"), name)
		require.True(t, Remembers(b.s, servers[0]), name)
		require.Equal(t, name == "lblcr", Remembers(b.s, picked), "%s: the other took its place, or joined it", name)
		require.True(t, Remembers(c, picked), "%s: a clone has a memory of its own", name)
		b.req.Now = b.req.Now.Add(48 * time.Hour)
		b.to("10.9.1.2")
		require.False(t, Remembers(b.s, picked), "%s: forgotten", name)
	}
}
