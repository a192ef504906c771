package main

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/health"
	lvs "usvs/node"
	"usvs/vrrp"
	"usvs/wire"
)

// What the director says arrives whole.
func TestNodeStatusAsJSON(t *testing.T) {
	in := lvs.Status{
		Now: 7,
		VRRP: vrrp.Status{Instances: []vrrp.InstanceStatus{{
			Name: "VI_1", State: vrrp.Master, Wanted: vrrp.Backup, Source: netip.MustParseAddr("10.0.0.1"),
			Addresses: []vrrp.Address{{Prefix: netip.MustParsePrefix("10.0.0.100/32"), VMAC: wire.MAC{1, 2, 3, 4, 5, 6}}},
			Stats:     vrrp.Stats{Sent: 9},
		}}},
		Health: health.Status{Services: []health.ServiceStatus{{Name: "[10.0.0.100]:tcp:80", Up: true, Quorum: 1}}},
	}
	text, err := json.Marshal(in)
	require.NoError(t, err)
	var out lvs.Status
	require.NoError(t, json.Unmarshal(text, &out))
	assert.Equal(t, in, out)
}
