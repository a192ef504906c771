package netsim

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/director"
)

// stages are those of the decisions it heard of.
type stages []director.Stage

func (s *stages) Record(step director.Step) { *s = append(*s, step.Stage) }

func TestListen(t *testing.T) {
	n := New(1)
	d, h := n.Director("lvs"), n.Host("client")
	n.Link(h.NIC("eth0", "10.0.0.9/24"), d.NIC("eth0", "10.0.0.1/24"), LinkOptions{})
	h.MustExec("ip route add default via 10.0.0.1")
	d.MustExec("ipvsadm -A -u 10.0.0.100:53 -s rr")
	var one, two stages
	d.Listen(&one)
	d.Listen(&two)
	u, err := h.UDP(netip.AddrPort{})
	require.NoError(t, err)
	require.NoError(t, u.Send(netip.MustParseAddrPort("10.0.0.100:53"), []byte("hello")))
	n.Run(time.Second)
	require.Contains(t, one, director.StageScheduled)
	require.Equal(t, one, two)
}
