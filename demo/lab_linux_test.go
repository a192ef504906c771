package demo

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// Each scene's network carries what it has to before there is a director.
func TestLabs(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, _ *netnstest.Lab) {
		for _, mode := range Modes {
			s := scenes[mode]()
			l, err := buildLab(s)
			require.NoError(t, err, mode)
			talk(t, l, "client", "director", s.find("director").addr())
			for _, rs := range s.servers {
				talk(t, l, "director", rs.name, rs.addr())
			}
			if mode == "tun" {
				talk(t, l, "rs1", "client", s.find("client").addr())
			}
			for _, m := range s.all() {
				for i, n := range m.nics {
					link, err := l.machines[m.name].Netlink().LinkByName([]string{"eth0", "eth1"}[i])
					require.NoError(t, err)
					mac := n.mac()
					assert.Equal(t, net.HardwareAddr(mac[:]), link.Attrs().HardwareAddr)
				}
			}
			l.close()
		}
	})
}

// talk sends a word from one machine to another over TCP.
func talk(t *testing.T, l *lab, from, to string, addr netip.Addr) {
	t.Helper()
	var ln net.Listener
	err := l.machines[to].Do(func() (err error) {
		ln, err = net.Listen("tcp", netip.AddrPortFrom(addr, 80).String())
		return err
	})
	require.NoError(t, err)
	defer ln.Close()
	conn, err := l.dial(from, "tcp", ln.Addr().String(), 0)
	require.NoError(t, err, "%s to %s", from, to)
	_, err = io.WriteString(conn, "hello")
	require.NoError(t, errors.Join(err, conn.Close()))
	got, err := ln.Accept()
	require.NoError(t, err)
	defer got.Close()
	text, err := io.ReadAll(got)
	assert.NoError(t, err)
	assert.Equal(t, "hello", string(text))
}

// A machine that cannot be built leaves an error that names it.
func TestLabFails(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, _ *netnstest.Lab) {
		s := scenes["dr"]()
		s.machines[1].gateway = netip.MustParseAddr("192.0.2.1")
		_, err := buildLab(s)
		assert.ErrorContains(t, err, "director: add the default route")
		assert.Equal(t, 1, os.Getpid())
	})
}
