package lab

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// TestLine: what the sender sends reaches the servers by the kernel's directors,
// wherever it is handled, and by nobody if there is none.
func TestLine(t *testing.T) {
	netnstest.NeedCommands(t, "nft")
	if EnoughCores() != nil {
		t.Skip(EnoughCores())
	}
	netnstest.Run(t, func(t *testing.T, _ *netnstest.Lab) {
		for name, plan := range map[string]Plan{"IPv4": Plan4, "IPv6": Plan6} {
			for director, start := range map[string]func(*Line) (*Program, error){
				"nobody":     func(*Line) (*Program, error) { return &Program{}, nil },
				"ip_forward": (*Line).Forward,
				"nft DNAT":   func(l *Line) (*Program, error) { return l.DNAT("udp") },
			} {
				t.Run(name+" "+director, func(t *testing.T) { testLine(t, plan, start, director == "nobody") })
			}
		}
	})
}

func testLine(t *testing.T, plan Plan, start func(*Line) (*Program, error), dead bool) {
	l, err := NewLine(plan)
	require.NoError(t, err)
	defer l.Close()
	p, err := start(l)
	require.NoError(t, err)
	defer p.Stop()
	require.Empty(t, p.Log())
	f, err := l.Flows(64, 100)
	require.NoError(t, err)
	pinned := 0
	pin := func(thread string, core int) error {
		require.Regexp(t, "^napi/front-[0-9]+$", thread)
		require.Equal(t, DirectorCore, core)
		pinned++
		return nil
	}
	threaded := Receiving{Core: DirectorCore, Threaded: true, Pin: pin}
	require.NoError(t, l.Steer(Receiving{Core: DirectorCore}))
	require.Error(t, l.Steer(threaded), "there is no queue")
	require.NoError(t, l.Queue())
	for _, r := range []Receiving{{Core: AnyCore}, {Core: DirectorCore}, threaded, {Core: AnyCore}} {
		require.NoError(t, l.Steer(r))
		before, err := l.Delivered()
		require.NoError(t, err)
		sent, err := l.Send(t.Context(), f, 5000, 40*time.Millisecond)
		require.NoError(t, err)
		time.Sleep(20 * time.Millisecond)
		after, err := l.Delivered()
		require.NoError(t, err)
		if dead {
			require.Less(t, after-before, uint64(10), "router solicitations and the like")
			continue
		}
		require.GreaterOrEqual(t, int(after-before), sent.Frames*9/10, "of %d", sent.Frames)
	}
	require.Equal(t, 1, pinned)
}

// TestLAN: a client reaches a server without a director and by the kernel's.
func TestLAN(t *testing.T) {
	netnstest.NeedCommands(t, "nft")
	netnstest.Run(t, func(t *testing.T, _ *netnstest.Lab) {
		for name, start := range map[string]func(*LAN) (*Program, error){"none": (*LAN).NoDirector, "nft DNAT": (*LAN).DNAT} {
			t.Run(name, func(t *testing.T) {
				l, err := NewLAN()
				require.NoError(t, err)
				defer l.Close()
				p, err := start(l)
				require.NoError(t, err)
				defer p.Stop()
				require.NoError(t, OnCore(l.Client, AnyCore, func() error {
					answered, _, err := l.To(AnswerPort).Requests(t.Context(), 4, 20*time.Millisecond)
					require.Positive(t, answered)
					return err
				}))
				require.NoError(t, OnCore(l.Client, LoadCore, func() error {
					bytes, err := l.To(StreamPort).Streams(t.Context(), l.Server(), 2, 20*time.Millisecond)
					require.Positive(t, bytes)
					return err
				}))
			})
		}
	})
}

func TestMissingProgram(t *testing.T) {
	_, err := find("no-such-program")
	var missing *Missing
	require.True(t, errors.As(err, &missing))
	require.ErrorContains(t, &Missing{"haproxy"}, "apt-get install haproxy")
}

func TestDNATRules(t *testing.T) {
	text := dnat([]netip.AddrPort{Plan6.Service}, Plan6.Servers, "udp")
	require.Contains(t, text, "table ip6 bench")
	require.Contains(t, text, "ip6 daddr 2001:2:0:2::1 udp dport 9000 dnat to jhash ip6 saddr . udp sport mod 2 map { 0 : 2001:2:0:1::11, 1 : 2001:2:0:1::12 }")
}

func TestUsvsRules(t *testing.T) {
	u := Usvs{Method: Tunnel, Protocol: "-t"}
	service := netip.MustParseAddrPort("198.18.0.100:80")
	require.Equal(t, "-A -t 198.18.0.100:80 -s wlc\n-a -t 198.18.0.100:80 -r 198.18.1.11:80 -i\n",
		u.rules([]Service{{service, []netip.AddrPort{netip.MustParseAddrPort("198.18.1.11:80")}}}))
}

// TestProcessCPU: working costs processor time.
func TestProcessCPU(t *testing.T) {
	before, err := processCPU(1)
	require.NoError(t, err)
	require.GreaterOrEqual(t, before, time.Duration(0))
	_, err = processCPU(1 << 30)
	require.Error(t, err)
}
