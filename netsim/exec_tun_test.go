package netsim

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/director"
	"usvs/route"
	"usvs/wire"
)

// A dummy is a device of the host that usvs does not run on; a TUN device is one
// that it runs on, and where there are no MAC addresses.
func TestDevicesThatLeadNowhere(t *testing.T) {
	n := New(1)
	d, h := n.Director("lvs"), n.Host("client")
	n.Link(h.NIC("eth0", "10.0.0.9/24"), d.NIC("eth0", "10.0.0.1/24"), LinkOptions{})
	h.MustExec("ip route add default via 10.0.0.1")
	d.MustExec("ip link add dum0 type dummy")
	d.MustExec("ip route add 192.0.2.0/24 dev dum0")
	d.MustExec("ip tuntap add dev tun0 mode tun")
	d.MustExec("ip addr add 10.9.0.1/24 dev tun0")
	require.Equal(t, route.Foreign, d.Routes().Lookup(netip.MustParseAddr("192.0.2.7")).Kind)
	hop := d.Routes().Lookup(netip.MustParseAddr("10.9.0.2"))
	require.Equal(t, wire.IP, d.Routes().Interfaces[hop.Port].Medium)
	require.Equal(t, wire.IP, d.Port("tun0").Medium())
	require.NotContains(t, d.MustExec("ip route show"), "192.0.2.0/24 dev eth0")

	ask := func(vip, server, how string) director.Reason {
		var last director.Reason
		stop := d.Core().Observe(func(ev *director.Event) { last = ev.Reason })
		defer stop()
		d.MustExec("ipvsadm -A -u " + vip + " -s rr")
		d.MustExec("ipvsadm -a -u " + vip + " -r " + server + " " + how)
		u, err := h.UDP(netip.AddrPort{})
		require.NoError(t, err)
		require.NoError(t, u.Send(netip.MustParseAddrPort(vip), []byte("hello")))
		n.Run(time.Second)
		return last
	}
	require.Equal(t, director.DropForeignRoute, ask("10.0.0.100:53", "192.0.2.7", "-m"))
	require.Equal(t, director.Forwarded, ask("10.0.0.101:53", "10.9.0.2", "-m"))
	require.NotZero(t, d.Port("tun0").Stats().TxDropped)

	for _, bad := range []string{"ip tuntap add dev tun0 mode tun", "ip tuntap add dev t1 mode tap", "ip tuntap add mode tun", "ip tuntap del dev tun0 mode tun"} {
		require.NotZero(t, d.Exec(bad).Status, bad)
	}
}
