package main

import (
	"context"
	"maps"
	"net/netip"
	"time"

	"usvs/connsync"
	"usvs/host"
)

// syncUpkeep is how often the daemons' sockets are compared with their
// interface.
const syncUpkeep = time.Second

// openSync prepares for synchronisation daemons, which control starts and stops.
func (n *node) openSync() {
	n.sync = host.NewSyncSockets(n.log, func(iface string, to netip.AddrPort, payload []byte) {
		n.ctl.ReceiveSync(n.clock.Now(), iface, to, payload)
	})
}

// synchronise sends what a master has to tell, for as long as one runs.
func (n *node) synchronise(ctx context.Context) {
	upkeep := n.clock.Now()
	for {
		var timer <-chan time.Time // never, while no daemon runs
		switch {
		case n.sync.Sends():
			timer = time.After(connsync.FlushDelay)
		case n.sync.Runs():
			timer = time.After(syncUpkeep)
		}
		select {
		case <-ctx.Done():
			return
		case <-n.sync.Changed():
		case <-timer:
		}
		now := n.clock.Now()
		n.ctl.SyncTick(now)
		if now.Sub(upkeep) >= syncUpkeep {
			upkeep = now
			n.sync.Maintain()
		}
	}
}

// syncStatus adds the daemons' counters to groups.
func (n *node) syncStatus(groups map[string]map[string]uint64) {
	for role, counters := range n.ctl.SyncCounters() {
		maps.DeleteFunc(counters, func(_ string, v uint64) bool { return v == 0 })
		groups["sync "+role] = counters
	}
	if n.sync.Runs() {
		groups["sync sockets"] = n.sync.Counters()
	}
}
