package steer

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"usvs/link/netnstest"
)

func TestOwn(t *testing.T) {
	s, err := New(1)
	if err != nil {
		netnstest.Skip(t, "%v", err)
	}
	defer s.Close()
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")
	require.NoError(t, s.Own([]netip.Addr{a, b}, nil))
	require.NoError(t, s.Own([]netip.Addr{a}, []netip.Addr{b, netip.MustParseAddr("10.0.0.2")}), "again, and what was not there")
	var v uint8
	require.NoError(t, s.owned.Lookup(a.As16(), &v))
	require.Error(t, s.owned.Lookup(b.As16(), &v))
	require.Positive(t, s.FD())
}

// What was dealt is in the table, whatever was there before.
func TestDeal(t *testing.T) {
	s, err := New(3)
	if err != nil {
		netnstest.Skip(t, "%v", err)
	}
	defer s.Close()
	for _, active := range []int{3, 1, 2, 3, 4, 1, 16, 2} {
		require.NoError(t, s.Deal(active))
		var v uint32
		require.NoError(t, s.shares.Lookup(uint32(activeAt), &v))
		require.EqualValues(t, active, v)
		for b := range uint32(buckets) {
			require.NoError(t, s.shares.Lookup(b, &v))
			require.Equal(t, shares(active)[b], v)
		}
	}
}

// Every frame is counted, whoever gets it.
func TestReceived(t *testing.T) {
	s, err := New(1)
	if err != nil {
		netnstest.Skip(t, "%v", err)
	}
	defer s.Close()
	for i := range 10 {
		require.NoError(t, s.Deal(1+i%2))
		_, _, err := s.prog.Test(make([]byte, 64))
		require.NoError(t, err)
	}
	counts, err := s.Received()
	require.NoError(t, err)
	var sum uint64
	for _, n := range counts {
		sum += n
	}
	require.EqualValues(t, 10, sum)
}

// What the machine sends was not received, though kernels before
// PACKET_FANOUT_FLAG_IGNORE_OUTGOING show it to the program.
func TestReceivedIsNotSent(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		s, err := New(1)
		if err != nil {
			netnstest.Skip(t, "%v", err)
		}
		defer s.Close()
		a, b := lab.Namespace("a"), lab.Namespace("b")
		lab.Veth(a, "eth0", b, "eth0")
		a.Do(func() {
			all := int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}))
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, all)
			require.NoError(t, err)
			defer unix.Close(fd)
			to := &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: a.Link("eth0").Attrs().Index}
			require.NoError(t, unix.Bind(fd, to))
			require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT, unix.PACKET_FANOUT_EBPF<<16|1))
			require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA, s.FD()))
			sender, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
			require.NoError(t, err)
			defer unix.Close(sender)
			const frames = 1000
			for range frames {
				require.NoError(t, unix.Sendto(sender, make([]byte, 64), 0, to))
			}
			counts, err := s.Received()
			require.NoError(t, err)
			sum := uint64(0)
			for _, n := range counts {
				sum += n
			}
			require.Less(t, sum, uint64(frames/2), "some of the kernel's own may have come")
		})
	})
}

// The kernel would refuse a program that jumps out of itself.
func TestClassic(t *testing.T) {
	raw := Classic()
	for i, ins := range raw {
		require.NotEqual(t, uint16(0), ins.Op, "instruction %d", i)
	}
	_, whole := bpf.Disassemble(raw)
	require.True(t, whole)
}
