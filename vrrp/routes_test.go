package vrrp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func withRoutes(routes ...string) func(*Instance) {
	return func(i *Instance) { i.Routes, i.NoAccept = routes, true }
}

// TestRoutes come after the addresses and go before them, as keepalived has it.
func TestRoutes(t *testing.T) {
	r := newRig(t, Backup, withRoutes("one", "two"))
	r.took()
	r.now = r.now.Add(10 * time.Second)
	r.Tick(r.now)
	other := []string{"announce", "log Sending", "log (VI_1) Sending", "send", "notify", "run", "log VRRP_Script", "log (VI_1) Changing", "log Startup"}
	require.Equal(t, []string{
		"log (VI_1) Receive advertisement timeout", "log (VI_1) Entering MASTER STATE",
		"log (VI_1) setting firewall drop rule", "log (VI_1) setting VIPs.", "add 10.9.0.100", "add 10.9.0.101",
		"log (VI_1) setting Virtual Routes", "add route one", "add route two",
	}, r.took(other...))
	require.True(t, r.Status().Instances[0].NoAccept)
	require.Equal(t, []string{"one", "two"}, r.Status().Instances[0].Routes)

	cfg := r.cfg
	cfg.Instances = []Instance{basic(150)}
	withRoutes("two", "three")(&cfg.Instances[0])
	cfg.Instances[0].Tracks = r.cfg.Instances[0].Tracks
	r.Reload(r.now, &cfg)
	require.Equal(t, []string{
		"log (VI_1) removing Virtual Routes", "remove route one", "log (VI_1) setting Virtual Routes", "add route three",
	}, r.took(other...))

	r.Stop(r.now)
	require.Equal(t, []string{
		"log (VI_1) sent 0 priority", "log (VI_1) removing Virtual Routes", "remove route two", "remove route three",
		"log (VI_1) removing VIPs.", "log (VI_1) removing firewall drop rule", "remove 10.9.0.100", "remove 10.9.0.101",
	}, r.took(other...))
}

// The owner of the addresses takes packets to them whatever it was told.
func TestOwnerAccepts(t *testing.T) {
	for _, priority := range []int{150, ownerPriority} {
		i := basic(priority)
		i.NoAccept = true
		cfg := one(i)
		is := cfg.withDefaults().Instances[0]
		require.Equal(t, priority != ownerPriority, is.NoAccept)
		require.Equal(t, priority != ownerPriority, is.Addresses[0].Refused)
	}
}
