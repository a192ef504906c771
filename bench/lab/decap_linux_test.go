package lab

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"usvs/bench/load"
	"usvs/link/netnstest"
	"usvs/wire"
)

// TestUnpack: a datagram inside IPv4 arrives, for the machine has a program that
// takes the outer header off.
func TestUnpack(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, _ *netnstest.Lab) {
		l, err := NewLAN()
		require.NoError(t, err)
		defer l.Close()
		server := l.Servers[0]
		undo, err := unpack(server, "eth0")
		if errors.Is(err, unix.EPERM) {
			netnstest.Skip(t, "no BPF programs here: %v", err)
		}
		require.NoError(t, err)
		defer undo()
		_, err = unpack(server, "eth9")
		require.Error(t, err)

		to := netip.AddrPortFrom(lanServers[0].Addr(), 9000)
		var heard net.PacketConn
		require.NoError(t, server.Do(func() (err error) {
			heard, err = net.ListenPacket("udp4", to.String())
			return err
		}))
		defer heard.Close()
		nic, err := server.Netlink().LinkByName("eth0")
		require.NoError(t, err)
		mac := wire.MAC(nic.Attrs().HardwareAddr)
		require.NoError(t, l.Director.Do(func() error { return sendTunnelled(t, mac, to) }))
		require.NoError(t, heard.SetReadDeadline(time.Now().Add(5*time.Second)))
		n, from, err := heard.ReadFrom(make([]byte, 100))
		require.NoError(t, err)
		require.Equal(t, 58, n, "100 bytes without headers")
		require.Equal(t, lanClients[0].Addr(), from.(*net.UDPAddr).AddrPort().Addr())
	})
}

// sendTunnelled sends a datagram of a client's inside another IPv4 header.
func sendTunnelled(t *testing.T, mac wire.MAC, to netip.AddrPort) error {
	f, err := load.NewFlows(load.Spec{Src: backMAC, Dst: mac, Clients: lanClients[0].Addr(), To: to, Flows: 1, Size: 100})
	require.NoError(t, err)
	inner := f.Template()
	f.Next(inner)
	frame := append(inner[:wire.EthernetLen:wire.EthernetLen], inner[wire.EthernetLen:][:wire.IPv4Len]...)
	outer := frame[wire.EthernetLen:]
	outer[9] = wire.ProtoIPIP
	binary.BigEndian.PutUint16(outer[2:], uint16(100-wire.EthernetLen+wire.IPv4Len))
	copy(outer[12:], lanDirector[1].Addr().AsSlice())
	binary.BigEndian.PutUint16(outer[10:], 0)
	binary.BigEndian.PutUint16(outer[10:], wire.Checksum(outer))
	ifi, err := net.InterfaceByName("eth0")
	require.NoError(t, err)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	return unix.Sendto(fd, append(frame, inner[wire.EthernetLen:]...), 0, &unix.SockaddrLinklayer{Ifindex: ifi.Index})
}
