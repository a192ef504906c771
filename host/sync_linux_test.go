package host

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/connsync"
	"usvs/control"
	"usvs/ipvs"
	"usvs/link/netnstest"
)

// syncEndpoint is the sockets of one machine, and what they received.
type syncEndpoint struct {
	*SyncSockets
	ns *netnstest.Namespace

	mu  sync.Mutex
	got []string
}

func newSyncEndpoint(t *testing.T, ns *netnstest.Namespace) *syncEndpoint {
	e := &syncEndpoint{ns: ns}
	e.SyncSockets = NewSyncSockets(slog.New(slog.NewTextHandler(io.Discard, nil)), func(iface string, to netip.AddrPort, payload []byte) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.got = append(e.got, fmt.Sprintf("%s %v %s", iface, to, payload))
	})
	t.Cleanup(e.Shutdown)
	return e
}

func (e *syncEndpoint) start(state ipvs.DaemonState, group string, ports int) (err error) {
	d := ipvs.Daemon{State: state, Interface: "eth0", Group: netip.MustParseAddr(group), Port: 8848, TTL: 3, MaxLen: 1472}
	e.ns.Do(func() { err = e.Open(&d, control.SyncOptions{Ports: ports, Buffer: 1 << 16}) })
	return err
}

func (e *syncEndpoint) send(group string, port uint16, text string) {
	e.Send(&connsync.Datagram{Interface: "eth0", Group: netip.AddrPortFrom(netip.MustParseAddr(group), port), Payload: []byte(text)})
}

// heard waits until exactly these have been received since the last call.
func (e *syncEndpoint) heard(t *testing.T, want ...string) {
	t.Helper()
	require.Eventually(t, func() bool { e.mu.Lock(); defer e.mu.Unlock(); return len(e.got) >= len(want) }, 10*time.Second, time.Millisecond)
	e.mu.Lock()
	defer e.mu.Unlock()
	require.ElementsMatch(t, want, e.got)
	e.got = nil
}

func syncPair(t *testing.T, lab *netnstest.Lab) (a, b *syncEndpoint) {
	na, nb := lab.Namespace("a"), lab.Namespace("b")
	lab.Veth(na, "eth0", nb, "eth0")
	na.AddAddr("eth0", "10.2.0.1/16")
	nb.AddAddr("eth0", "10.2.0.2/16")
	return newSyncEndpoint(t, na), newSyncEndpoint(t, nb)
}

func TestSyncSockets(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		for _, group := range []string{"224.0.0.81", "ff02::81"} {
			a, b := syncPair(t, lab)
			require.False(t, a.Runs())
			require.NoError(t, a.start(ipvs.DaemonMaster, group, 2))
			require.NoError(t, a.start(ipvs.DaemonBackup, group, 2))
			require.NoError(t, b.start(ipvs.DaemonBackup, group, 2))
			require.True(t, a.Sends())
			require.False(t, b.Sends())
			<-a.Changed()
			to := func(port uint16) string { return netip.AddrPortFrom(netip.MustParseAddr(group), port).String() }
			sayUntilHeard(t, a, b, group)
			a.send(group, 8848, "one")
			a.send(group, 8849, "two")
			require.Eventually(t, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.got) == 2 }, 10*time.Second, time.Millisecond)
			b.mu.Lock()
			require.ElementsMatch(t, []string{"eth0 " + to(8848) + " one", "eth0 " + to(8849) + " two"}, b.got)
			b.got = nil
			b.mu.Unlock()
			a.send(group, 8850, "no such port")
			a.heard(t) // a master does not hear itself
			require.EqualValues(t, 1, a.Counters()["lost"])

			// What others send to the port, but not to the group, is not ours.
			host := netip.MustParseAddr("10.2.0.2")
			conn, err := a.ns.Dial("udp", net.JoinHostPort(host.String(), "8848"))
			require.NoError(t, err)
			_, err = conn.Write([]byte("unicast"))
			require.NoError(t, err)
			conn.Close()
			a.send(group, 8848, "last")
			b.heard(t, "eth0 "+to(8848)+" last")

			b.Close(ipvs.DaemonBackup)
			a.Close(ipvs.DaemonMaster)
			a.send(group, 8848, "nobody sends")
			require.False(t, b.Runs())
			b.Shutdown()
		}
	})
}

// sayUntilHeard waits until multicast works: an interface that has just come up
// has no IPv6 address yet.
func sayUntilHeard(t *testing.T, a, b *syncEndpoint, group string) {
	t.Helper()
	require.Eventually(t, func() bool {
		a.ns.Do(a.Maintain)
		a.send(group, 8848, "hello")
		time.Sleep(5 * time.Millisecond)
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.got) > 0
	}, 10*time.Second, time.Millisecond)
	time.Sleep(20 * time.Millisecond)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = nil
	a.lost.Store(0)
}

// TestSyncSocketsFollow: an interface goes down and comes back, gets another
// address, and is made anew.
func TestSyncSocketsFollow(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		a, b := syncPair(t, lab)
		require.NoError(t, a.start(ipvs.DaemonMaster, "224.0.0.81", 1))
		require.NoError(t, b.start(ipvs.DaemonBackup, "224.0.0.81", 1))
		maintain := func() {
			a.ns.Do(a.Maintain)
			b.ns.Do(b.Maintain)
		}
		sayUntilHeard(t, a, b, "224.0.0.81")
		first := a.out.Load()
		maintain()
		require.Same(t, first, a.out.Load(), "nothing changed")

		a.ns.SetDown("eth0")
		a.send("224.0.0.81", 8848, "lost")
		maintain()
		a.ns.SetUp("eth0")
		sayUntilHeard(t, a, b, "224.0.0.81")

		a.ns.Run("ip", "addr", "flush", "dev", "eth0")
		a.ns.AddAddr("eth0", "10.2.0.9/16")
		maintain()
		require.NotSame(t, first, a.out.Load())
		sayUntilHeard(t, a, b, "224.0.0.81")

		a.ns.Delete("eth0")
		maintain()
		a.send("224.0.0.81", 8848, "nowhere")
		lab.Veth(a.ns, "eth0", b.ns, "eth0")
		a.ns.AddAddr("eth0", "10.2.0.1/16")
		b.ns.AddAddr("eth0", "10.2.0.2/16")
		maintain()
		sayUntilHeard(t, a, b, "224.0.0.81")
	})
}

func TestSyncSocketErrors(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		ns := lab.Namespace("a")
		lab.Veth(ns, "eth0", lab.Namespace("b"), "eth0")
		e := newSyncEndpoint(t, ns)
		require.NoError(t, e.start(ipvs.DaemonMaster, "224.0.0.81", 1), "it waits for an address to send from")
		e.send("224.0.0.81", 8848, "nowhere")
		require.EqualValues(t, 1, e.Counters()["lost"])
		ns.AddAddr("eth0", "10.2.0.1/16")
		ns.Do(e.Maintain)
		e.send("224.0.0.81", 8848, "there")
		require.EqualValues(t, 1, e.Counters()["sent"])
		ns.Do(func() {
			mtu, err := e.Interface("eth0")
			require.NoError(t, err)
			require.Equal(t, 1500, mtu)
			_, err = e.Interface("nosuch0")
			require.ErrorIs(t, err, ipvs.ErrNoDevice)
			d := ipvs.Daemon{State: ipvs.DaemonBackup, Interface: "nosuch0", Group: netip.MustParseAddr("224.0.0.81")}
			require.ErrorIs(t, e.Open(&d, control.SyncOptions{Ports: 1}), ipvs.ErrNoDevice)
		})
	})
}
