package main

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/keepalived"
)

const pairConf = `
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    virtual_ipaddress {
        10.0.0.100
        10.0.1.100 dev eth1
    }
}
virtual_server 10.0.0.100 80 {
    protocol TCP
    real_server 10.0.2.1 80 { weight 1 }
    real_server 10.0.9.1 80 { weight 1 }
}
virtual_server 192.0.2.1 80 {
    protocol TCP
    sorry_server 10.0.3.1 80
    real_server 127.0.0.1 80 { weight 1 }
}
`

func testNetwork() hostNetwork {
	return hostNetwork{
		to: func(a netip.Addr) (string, error) {
			if name := map[string]string{"10.0.2.1": "eth2", "10.0.3.1": "eth3", "127.0.0.1": "lo"}[a.String()]; name != "" {
				return name, nil
			}
			return "", errors.New("no route")
		},
		with: func(a netip.Addr) (string, error) { return map[string]string{"192.0.2.1": "eth4"}[a.String()], nil },
	}
}

func parseText(text string) *keepalived.Config {
	c, _ := keepalived.Parse("conf", keepalived.Options{Files: keepalived.Text{"conf": text}})
	return c
}

func TestImpliedInterfaces(t *testing.T) {
	list, err := impliedInterfaces(parseText(pairConf), testNetwork())
	require.NoError(t, err)
	assert.Equal(t, []implied{
		{"eth0", "vrrp_instance VI_1"},
		{"eth1", "virtual address 10.0.1.100"},
		{"eth2", "the route to real server 10.0.2.1"},
		{"eth4", "virtual_server 192.0.2.1:80"},
		{"eth3", "the route to real server 10.0.3.1"},
	}, list)
}

func TestImpliedInterfacesNone(t *testing.T) {
	conf := "virtual_server 10.0.0.1 80 {\n protocol TCP\n real_server 127.0.0.1 80 { weight 1 }\n}\n"
	_, err := impliedInterfaces(parseText(conf), testNetwork())
	assert.ErrorIs(t, err, errNoInterface)
}

func TestReadKeepalived(t *testing.T) {
	for _, c := range []struct {
		name, text string
		ok         bool
		logged     string
	}{
		{"good", pairConf, true, ""},
		{"a mistake", "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority 999\n}\n", true, "priority"},
		{"a missing value", "virtual_server 10.0.0.1 80 {\n lb_algo\n}\n", false, "lb_algo"},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "keepalived.conf")
			require.NoError(t, os.WriteFile(name, []byte(c.text), 0o644))
			var logged bytes.Buffer
			_, _, err := newConfFile(name, "host", slog.New(slog.NewTextHandler(&logged, nil))).read()
			assert.Equal(t, c.ok, err == nil, "%v", err)
			assert.Contains(t, logged.String(), c.logged)
		})
	}
	_, _, err := newConfFile("/does/not/exist", "host", slog.New(slog.DiscardHandler)).read()
	assert.ErrorContains(t, err, "rejected")
}

// TestNews: what has not changed since is not asked about again.
func TestNews(t *testing.T) {
	name := filepath.Join(t.TempDir(), "keepalived.conf")
	server := func(vip, rip string) string {
		return "virtual_server " + vip + " 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n real_server " + rip + " 80 {\n }\n}\n"
	}
	f := newConfFile(name, "host", slog.New(slog.DiscardHandler))
	read := func(text string) *keepalived.Config {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
		c, _, err := f.read()
		require.NoError(t, err)
		return c
	}
	old := read(server("10.0.0.1", "10.0.1.1") + server("10.0.0.2", "10.0.1.2"))
	next := read(server("10.0.0.2", "10.0.1.2") + server("10.0.0.1", "10.0.1.3"))
	require.Len(t, news(next, old).VirtualServers, 1)
	require.Equal(t, "10.0.0.1:80", news(next, old).VirtualServers[0].String())
	require.Len(t, next.VirtualServers, 2)
	require.Empty(t, news(next, next).VirtualServers)
}
