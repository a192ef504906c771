package main

import (
	"encoding/json"
	"net/netip"
	"strings"
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

// The times in what a command prints can be told from the time of printing.
func TestStateCarriesItsTime(t *testing.T) {
	s := &lvs.Status{Now: 7, Health: health.Status{Services: []health.ServiceStatus{{Name: "web", Since: 5}}}}
	text, err := json.Marshal(healthJSON{s.Now, s.Health})
	require.NoError(t, err)
	var got struct {
		Now      int64
		Services []struct{ Since int64 }
	}
	require.NoError(t, json.Unmarshal(text, &got))
	assert.EqualValues(t, 7, got.Now)
	assert.EqualValues(t, 5, got.Services[0].Since)
	text, err = json.Marshal(vrrpJSON{s.Now, s.VRRP})
	require.NoError(t, err)
	assert.JSONEq(t, `{"now":7,"instances":null}`, string(text))
}

func TestPrintStatus(t *testing.T) {
	var out strings.Builder
	printStatus(&out, map[string]map[string]uint64{"frames": {"passed": 2, "forwarded": 1}, "neighbours": {}})
	assert.Equal(t, "frames\n  forwarded                                1\n  passed                                   2\n", out.String())
}
