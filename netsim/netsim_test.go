package netsim

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lab is a client, a director and two real servers at one switch.
type lab struct {
	*Net
	sw      *Switch
	client  *Host
	servers []*Host
	lvs     *Director
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func newLab(seed uint64, o LinkOptions) *lab {
	n := New(seed)
	l := &lab{Net: n, sw: n.Switch("sw"), client: n.Host("client"), lvs: n.Director("lvs")}
	n.Link(l.client.NIC("eth0", "10.0.0.9/24", "2001:db8::9/64"), l.sw.NextPort(), o)
	n.Link(l.lvs.NIC("eth0", "10.0.0.1/24", "2001:db8::1/64"), l.sw.NextPort(), o)
	for _, name := range []string{"rs1", "rs2"} {
		h := n.Host(name)
		l.servers = append(l.servers, h)
		k := string(name[2])
		n.Link(h.NIC("eth0", "10.0.0.1"+k+"/24", "2001:db8::1"+k+"/64"), l.sw.NextPort(), o)
	}
	return l
}

// echo makes a host send datagrams to its port back, with its name in front.
func echo(t testing.TB, h *Host, local string) *UDPSocket {
	u, err := h.UDP(addrPort(local))
	require.NoError(t, err)
	u.OnReceive = func(d Datagram) {
		_ = u.SendFrom(d.To.Addr(), d.From, append([]byte(h.Name()+" "), d.Payload...))
	}
	return u
}

func TestDirectRouting(t *testing.T) {
	l := newLab(1, LinkOptions{Delay: 50 * time.Microsecond})
	for _, h := range l.servers {
		h.MustExec("usvs realserver up --vip 10.0.0.100")
		echo(t, h, "0.0.0.0:53")
	}
	l.lvs.MustExec("ipvsadm -A -u 10.0.0.100:53 -s rr")
	l.lvs.MustExec("ipvsadm -a -u 10.0.0.100:53 -r 10.0.0.11 -g")
	l.lvs.MustExec("ipvsadm -a -u 10.0.0.100:53 -r 10.0.0.12 -g")
	got := map[string]int{}
	for range 4 {
		u, err := l.client.UDP(netip.AddrPort{})
		require.NoError(t, err)
		u.OnReceive = func(d Datagram) { got[string(d.Payload)]++ }
		require.NoError(t, u.Send(addrPort("10.0.0.100:53"), []byte("hello")))
	}
	l.Run(5 * time.Second)
	require.Equal(t, map[string]int{"rs1 hello": 2, "rs2 hello": 2}, got, l.LogText())
}
