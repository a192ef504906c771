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

// ask sends a datagram from a fresh port and returns what is answered in two
// seconds.
func (l *lab) ask(t testing.TB, from *Host, to, text string) []string {
	t.Helper()
	u, err := from.UDP(netip.AddrPort{})
	require.NoError(t, err)
	defer u.Close()
	var answers []string
	u.OnReceive = func(d Datagram) {
		require.Equal(t, addrPort(to), d.From, "the answer must come from whom was asked")
		answers = append(answers, string(d.Payload))
	}
	u.OnError = func(e ICMPError) { answers = append(answers, e.Error()) }
	require.NoError(t, u.Send(addrPort(to), []byte(text)))
	l.Run(2 * time.Second)
	return answers
}

// worsen changes all links.
func (l *lab) worsen(o LinkOptions) {
	for _, link := range l.Links() {
		link.Set(o)
	}
}
