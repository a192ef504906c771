package node

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/vrrp"
)

// tutorial is the configuration of a hundred tutorials.
const tutorial = `
global_defs {
    router_id LVS_DEVEL
}

vrrp_instance VI_1 {
    state MASTER
    interface eth0
    virtual_router_id 51
    priority 100
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        192.168.1.100
    }
}

virtual_server 192.168.1.100 80 {
    delay_loop 6
    lb_algo rr
    lb_kind DR
    persistence_timeout 50
    protocol TCP

    real_server 192.168.1.11 80 {
        weight 1
        TCP_CHECK {
            connect_timeout 10
            retry 3
            delay_before_retry 3
            connect_port 80
        }
    }
    real_server 192.168.1.12 80 {
        weight 1
        TCP_CHECK {
            connect_timeout 10
            retry 3
            delay_before_retry 3
            connect_port 80
        }
    }
}
`

// tutorialBackup is the same for the other node.
var tutorialBackup = strings.NewReplacer("state MASTER", "state BACKUP", "priority 100", "priority 90").Replace(tutorial)

func tutorialPair(t *testing.T) (*lab, *machine, *machine) {
	l := newLab(t)
	l.serve(true, "192.168.1.11:80", "192.168.1.12:80")
	return l, l.add("a", "192.168.1.1/24", tutorial), l.add("b2", "192.168.1.2/24", tutorialBackup)
}

// TestFailover: the VIP goes from one node to the other and back, and the
// services are there all the time.
func TestFailover(t *testing.T) {
	const table = "192.168.1.100:80 rr 192.168.1.11/1 192.168.1.12/1"
	l, a, b := tutorialPair(t)
	a.boot()
	b.boot()
	l.run(5 * time.Second)
	require.True(t, a.has("192.168.1.100"))
	require.False(t, b.has("192.168.1.100"))
	require.Equal(t, []string{table}, a.table())
	require.Equal(t, []string{table}, b.table())
	aOwns, bOwns := a.ctl.Snapshot(), b.ctl.Snapshot()
	require.Equal(t, 1, aOwns.Owned.Len())
	require.Equal(t, 0, bOwns.Owned.Len(), "the backup leaves the address alone")

	a.crash()
	l.run(4 * time.Second)
	require.True(t, b.has("192.168.1.100"))
	bOwns = b.ctl.Snapshot()
	require.Equal(t, 1, bOwns.Owned.Len())
	a.boot()
	l.run(5 * time.Second)
	require.True(t, a.has("192.168.1.100"))
	require.False(t, b.has("192.168.1.100"))

	a.node.Stop(l.now)
	require.False(t, a.has("192.168.1.100"))
	require.Empty(t, a.table())
	l.run(time.Second)
	require.True(t, b.has("192.168.1.100"), "priority 0 makes it quick")
}

// What the Router makes of strict_mode holds for the sockets, too.
func TestSocketsAreThoseOfTheInstances(t *testing.T) {
	p, err := newPlan(parsed(t, `vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    strict_mode
    authentication {
        auth_type AH
        auth_pass secret
    }
    unicast_src_ip 10.0.0.1
    unicast_peer {
        10.0.0.2
    }
    virtual_ipaddress {
        10.0.0.100
    }
}`), "host", nil)
	require.NoError(t, err)
	require.Equal(t, []Socket{{Interface: "eth0", Group: standardGroup(false)}}, p.setup.Sockets)
}

// Two instances may have one address on two interfaces.
func TestAnAddressInTwoPlaces(t *testing.T) {
	l := newLab(t)
	a := l.add("a", "192.168.1.1/24", tutorial)
	a.boot()
	fx := (*routerEffects)(a.node)
	at := func(dev string) []vrrp.Address {
		return []vrrp.Address{{Prefix: netip.MustParsePrefix("192.168.1.100/32"), Interface: dev}}
	}
	held := func() string {
		st, ok := a.ctl.Snapshot().Stations.Get(netip.MustParseAddr("192.168.1.100"))
		require.True(t, ok)
		return st.Interface
	}
	fx.AddAddresses("VI_1", at("eth0"))
	fx.AddAddresses("VI_2", at("eth1"))
	require.Equal(t, "eth1", held())
	fx.RemoveAddresses("VI_2", at("eth1"))
	require.Equal(t, "eth0", held())
	fx.RemoveAddresses("VI_1", at("eth0"))
	_, ok := a.ctl.Snapshot().Stations.Get(netip.MustParseAddr("192.168.1.100"))
	require.False(t, ok)
}
