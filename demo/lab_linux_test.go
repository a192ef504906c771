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
	"golang.org/x/sys/unix"

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
					link, err := l.machines[m.name].nl.LinkByName([]string{"eth0", "eth1"}[i])
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
	err := l.machines[to].do(func() (err error) {
		ln, err = net.Listen("tcp", netip.AddrPortFrom(addr, 80).String())
		return err
	})
	require.NoError(t, err)
	defer ln.Close()
	conn, err := l.machines[from].dial("tcp", ln.Addr().String(), 0)
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

func TestExplain(t *testing.T) {
	assert.ErrorContains(t, explain(unix.EOPNOTSUPP), "modprobe")
	assert.ErrorIs(t, explain(unix.EOPNOTSUPP), unix.EOPNOTSUPP)
	assert.ErrorContains(t, explain(unix.EPERM), permitAdvice)
	assert.Equal(t, unix.EIO, explain(unix.EIO))
}

func TestWaitFor(t *testing.T) {
	p := &process{done: make(chan struct{})}
	has := func(word string) func(string) bool { return func(out string) bool { return out == word } }
	go func() {
		io.WriteString(&p.out, "re")
		io.WriteString(&p.out, "ady")
	}()
	assert.NoError(t, p.waitFor("it", has("ready")))
	p.err = errors.New("exit status 7")
	close(p.done)
	assert.NoError(t, p.waitFor("it", has("ready")), "it had said so before it ended")
	err := p.waitFor("the answer", has("42"))
	assert.ErrorContains(t, err, "the answer: the process ended (exit status 7)")
	assert.ErrorContains(t, err, "ready")
}
