package load

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/link/netnstest"
)

// sender returns a sender for one end of a pair, and a socket that hears what
// that end receives.
func sender(t *testing.T, lab *netnstest.Lab) (s *Sender, heard int) {
	t.Helper()
	lab.Veth(lab.Home, "out", lab.Home, "in")
	lab.Home.SetUp("out")
	lab.Home.SetUp("in")
	in := lab.Home.Link("in").Attrs().Index
	s, err := NewSender(lab.Home.Link("out").Attrs().Index)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
	heard, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK, all)
	require.NoError(t, err)
	require.NoError(t, unix.Bind(heard, &unix.SockaddrLinklayer{Protocol: all, Ifindex: in}))
	require.NoError(t, unix.SetsockoptInt(heard, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20))
	t.Cleanup(func() { unix.Close(heard) })
	return s, heard
}

// hear counts the flows of the frames that were heard, all of which must be as
// described. Others, like router solicitations, are longer or shorter.
func hear(t *testing.T, fd int, s *Spec) map[netip.AddrPort]int {
	t.Helper()
	flows := map[netip.AddrPort]int{}
	buf := make([]byte, 2048)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EAGAIN {
			return flows
		}
		require.NoError(t, err)
		if n == s.Size {
			flows[check(t, buf[:n], s)]++
		}
	}
}

// TestSender: what arrives is what was described, and all of it.
func TestSender(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s, heard := sender(t, lab)
		for _, spec := range []Spec{
			specOf("198.18.2.1:9000", "198.19.0.1", 64, 60),
			specOf("198.18.2.1:9000", "198.19.255.255", 1, 600),
			specOf("[2001:2::1]:9000", "2001:2:0:3::1", 64, 70),
		} {
			t.Run(spec.To.String(), func(t *testing.T) { sendSome(t, s, spec, heard) })
		}
	})
}

func sendSome(t *testing.T, s *Sender, spec Spec, heard int) {
	f, err := NewFlows(spec)
	require.NoError(t, err)
	require.NoError(t, StayOn(0))
	sent := s.Run(t.Context(), f, 20_000, 50*time.Millisecond)
	t.Logf("%d frames, %.0f per second", sent.Frames, sent.PerSecond())
	got := 0
	flows := hear(t, heard, &spec)
	for _, n := range flows {
		got += n
	}
	require.Len(t, flows, spec.Flows)
	require.Equal(t, sent.Frames, got, "what was sent was heard")
	require.LessOrEqual(t, sent.Frames, 1000+batchSize, "no faster than told")
	require.Zero(t, sent.Refused)
}
