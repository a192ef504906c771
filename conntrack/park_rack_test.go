//go:build parkpoints

package conntrack

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestParkRack: somebody stops while he makes a rack, ahead or when it is needed,
// and others make it meanwhile; the first one stays.
func TestParkRack(t *testing.T) {
	for _, ahead := range []bool{false, true} {
		everyStep(t, func(s *scene) (act, meanwhile, after func()) {
			s.table = newTable(Config{Seed: 7, Shards: 1, MaxEntries: 8 * rackLines, Servers: s.table.servers}, rackLines)
			shard := &s.table.shards[0]
			var rack *rack
			return func() {
					if ahead {
						s.table.prepareRacks(rackLines, ignore)
					} else {
						shard.addRacks(2 * rackLines)
					}
				}, func() {
					shard.addRacks(2 * rackLines)
					rack = shard.racks[1].Load()
				}, func() {
					require.NotNil(t, rack)
					require.Same(t, rack, shard.racks[1].Load())
				}
		})
	}
}
