package host

import (
	"encoding/json"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"usvs/link/netnstest"
	"usvs/wire"
)

// addresses are of the lab's own namespace, which has eth0.
func addresses(t *testing.T, lab *netnstest.Lab) (*Addresses, chan Address) {
	t.Helper()
	lab.Veth(lab.Home, "eth0", lab.Namespace("peer"), "eth0")
	lost := make(chan Address, 16)
	a, err := NewAddresses(func(addr Address) { lost <- addr })
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Close() })
	return a, lost
}

// comesAndGoes: what is added again is adopted, and what is removed again was not
// there. look is asked to see which it is.
func comesAndGoes(t *testing.T, what string, add func() error, remove func() (bool, error), look func(there bool)) {
	t.Helper()
	for range 2 {
		require.NoError(t, add(), what)
		look(true)
	}
	for _, was := range []bool{true, false} {
		there, err := remove()
		require.NoError(t, err, what)
		assert.Equal(t, was, there, what)
		look(false)
	}
}

func receive[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(10 * time.Second):
		t.Fatal("not heard of: " + what)
	}
	return v
}

func TestAddressesAsKeepalived(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		a, _ := addresses(t, lab)
		for _, c := range []struct {
			addr Address
			want []string
		}{
			{Address{Prefix: netip.MustParsePrefix("10.9.0.100/32")}, []string{"inet 10.9.0.100/32 scope global eth0"}},
			{Address{Prefix: netip.MustParsePrefix("10.9.0.101/24"), Label: "eth0:vip"}, []string{"inet 10.9.0.101/24 scope global eth0:vip"}},
			{Address{Prefix: netip.MustParsePrefix("10.9.1.1/24"), Broadcast: netip.MustParseAddr("10.9.1.255"), Scope: 253},
				[]string{"inet 10.9.1.1/24 brd 10.9.1.255 scope link eth0"}},
			{Address{Prefix: netip.MustParsePrefix("10.9.2.1/32"), Peer: netip.MustParseAddr("10.9.2.2")}, []string{"inet 10.9.2.1 peer 10.9.2.2/32"}},
			{Address{Prefix: netip.MustParsePrefix("10.9.3.1/24"), NoPrefixRoute: true}, []string{"10.9.3.1/24", "noprefixroute"}},
			{Address{Prefix: netip.MustParsePrefix("2001:db8::100/128"), NoDAD: true, Deprecated: true},
				[]string{"inet6 2001:db8::100/128 scope global nodad deprecated", "preferred_lft 0sec"}},
			{Address{Prefix: netip.MustParsePrefix("2001:db8::101/64"), NoDAD: true}, []string{"inet6 2001:db8::101/64 scope global nodad", "preferred_lft forever"}},
		} {
			c.addr.Interface = "eth0"
			show := func() string {
				return lab.Home.Run("ip", "address", "show", "dev", "eth0", "to", c.addr.Prefix.Addr().String())
			}
			comesAndGoes(t, c.addr.Prefix.String(), func() error { return a.Add(c.addr) }, func() (bool, error) { return a.Remove(c.addr) }, func(there bool) {
				if !there {
					assert.NotContains(t, show(), c.addr.Prefix.Addr().String())
					return
				}
				for _, w := range c.want {
					assert.Contains(t, show(), w)
				}
			})
		}
	})
}

func TestAddressesLost(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		a, lost := addresses(t, lab)
		one := Address{Interface: "eth0", Prefix: netip.MustParsePrefix("10.9.0.100/32")}
		two := Address{Interface: "eth0", Prefix: netip.MustParsePrefix("2001:db8::100/128"), NoDAD: true}
		three := Address{Interface: "eth0", Prefix: netip.MustParsePrefix("10.9.0.101/32")}
		lab.Home.Run("ip", "address", "add", "10.9.0.100/32", "dev", "eth0")
		for _, addr := range []Address{one, two, three} {
			require.NoError(t, a.Add(addr))
		}
		lab.Home.Run("ip", "address", "del", "10.9.0.100/32", "dev", "eth0")
		assert.Equal(t, one, receive(t, "IPv4", lost))
		_, err := a.Remove(three) // by us: nobody is told
		require.NoError(t, err)
		lab.Home.Run("ip", "address", "del", "2001:db8::100/128", "dev", "eth0")
		assert.Equal(t, two, receive(t, "IPv6", lost))
		require.NoError(t, a.Add(one))
		lab.Home.Run("ip", "address", "flush", "dev", "eth0")
		assert.Equal(t, one, receive(t, "again", lost))
		assert.Empty(t, lost)
	})
}

func TestAddressesWithoutInterface(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		a, _ := addresses(t, lab)
		addr := Address{Interface: "eth7", Prefix: netip.MustParsePrefix("10.9.0.100/32")}
		assert.ErrorContains(t, a.Add(addr), "eth7")
		there, err := a.Remove(addr)
		assert.NoError(t, err)
		assert.False(t, there)
	})
}

// What is gone with its interface is not the guard's business any more.
func TestAddressesGoneWithTheirInterface(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		a, _ := addresses(t, lab)
		told, pipe, err := os.Pipe()
		require.NoError(t, err)
		defer told.Close()
		done := make(chan struct{})
		close(done)
		a.guard = &guard{pipe: pipe, done: done}
		addr := Address{Interface: "eth0", Prefix: netip.MustParsePrefix("10.9.0.100/32")}
		require.NoError(t, a.Add(addr))
		lab.Home.Run("ip", "link", "del", "eth0")
		there, err := a.Remove(addr)
		require.NoError(t, err)
		assert.False(t, there)
		assert.Empty(t, a.held)
		var line guardLine
		d := json.NewDecoder(told)
		require.NoError(t, d.Decode(&line))
		assert.True(t, line.Ours)
		line = guardLine{}
		require.NoError(t, d.Decode(&line))
		assert.Equal(t, guardLine{Address: &addr}, line)
	})
}

// A list that changes while it is read is read again.
func TestWhole(t *testing.T) {
	reads := 0
	list, err := whole(func() ([]int, error) {
		if reads++; reads < 3 {
			return []int{1}, netlink.ErrDumpInterrupted
		}
		return []int{1, 2}, nil
	})
	require.NoError(t, err)
	assert.Equal(t, []int{1, 2}, list)
	list, err = whole(func() ([]int, error) { return []int{1}, netlink.ErrDumpInterrupted })
	require.NoError(t, err, "a host that never rests is seen, too")
	assert.Equal(t, []int{1}, list)
	_, err = whole(func() ([]int, error) { return nil, unix.ENOMEM })
	assert.ErrorIs(t, err, unix.ENOMEM)
}

func TestWatchInterfaces(t *testing.T) {
	netnstest.NeedCommands(t, "ip")
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		peer := lab.Namespace("peer")
		lab.Veth(lab.Home, "eth0", peer, "eth0")
		seen := make(chan []Interface, 100)
		w, err := WatchInterfaces(func(list []Interface) { seen <- list })
		require.NoError(t, err)
		defer w.Close()
		until := func(what string, ok func(Interface) bool) {
			t.Helper()
			for list := receive(t, what, seen); ; list = receive(t, what, seen) {
				for _, i := range list {
					if i.Name == "eth0" && ok(i) {
						return
					}
				}
			}
		}
		until("up", func(i Interface) bool {
			return i.Up && i.MAC == lab.Home.MAC("eth0") && i.MTU == 1500 && !i.NoARP && i.Index > 0
		})
		lab.Home.AddAddr("eth0", "10.9.0.1/24")
		until("address", func(i Interface) bool { return len(i.Addrs) > 0 && i.Addrs[0] == netip.MustParsePrefix("10.9.0.1/24") })
		peer.SetDown("eth0")
		until("no carrier", func(i Interface) bool { return !i.Up })
		peer.SetUp("eth0")
		until("carrier", func(i Interface) bool { return i.Up })
		lab.Home.SetMAC("eth0", wire.MAC{2, 0, 0, 0, 0, 7})
		until("MAC", func(i Interface) bool { return i.MAC == wire.MAC{2, 0, 0, 0, 0, 7} })
		lab.Home.Run("ip", "link", "set", "eth0", "arp", "off")
		until("NOARP", func(i Interface) bool { return i.NoARP })
	})
}

func TestInterfaceToAndWith(t *testing.T) {
	netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
		lab.Veth(lab.Home, "eth0", lab.Namespace("peer"), "eth0")
		lab.Home.AddAddr("eth0", "10.9.0.1/24")
		to, err := InterfaceTo(netip.MustParseAddr("10.9.0.7"))
		require.NoError(t, err)
		assert.Equal(t, "eth0", to)
		_, err = InterfaceTo(netip.MustParseAddr("192.0.2.1"))
		assert.ErrorContains(t, err, "192.0.2.1")
		with, err := InterfaceWith(netip.MustParseAddr("10.9.0.1"))
		require.NoError(t, err)
		assert.Equal(t, "eth0", with)
		with, err = InterfaceWith(netip.MustParseAddr("10.9.0.2"))
		require.NoError(t, err)
		assert.Empty(t, with)
	})
}
