package arp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/wire"
)

// Who has an address that VRRP manages changes: that another says it has it is worth
// a report if we both still have it a while later.
func TestConflictsOfAnElection(t *testing.T) {
	after := func(d time.Duration) clock.Instant { return start.Add(d) }
	for _, a := range []struct {
		name          string
		addr          netip.Addr
		claim, answer []byte
	}{
		{"IPv4", vip, request(rivalMAC, vip, vip), reply(rivalMAC, vip, dip)},
		{"IPv6", vip6, rivalAdvertisement(), rivalAdvertisement()},
	} {
		t.Run(a.name, func(t *testing.T) {
			conflict := []Conflict{{0, a.addr, rivalMAC}}
			suspect := func() (*Cache, *sink, *host) {
				c, out, h := newCache(t, Config{})
				h.elected = true
				require.True(t, receive(c, start, a.claim, out))
				require.Equal(t, after(conflictGrace), c.Deadline())
				c.Tick(after(conflictGrace-1), out)
				require.Empty(t, out.conflicts)
				require.Empty(t, out.sent)
				return c, out, h
			}
			t.Run("the other has won", func(t *testing.T) {
				c, out, h := suspect()
				delete(h.owned, a.addr)
				require.Equal(t, clock.Never, c.Tick(after(conflictGrace), out))
				require.Empty(t, out.sent)
				require.Empty(t, out.conflicts)
			})
			t.Run("the other is quiet now", func(t *testing.T) {
				c, out, _ := suspect()
				require.Equal(t, clock.Never, c.Tick(after(conflictGrace), out))
				require.Len(t, out.sent, 1)
				c.Tick(after(conflictGrace+retransTime), out)
				receive(c, after(conflictGrace+retransTime), a.claim, out) // its next time has come
				require.Empty(t, out.conflicts)
			})
			t.Run("both have it", func(t *testing.T) {
				c, out, _ := suspect()
				c.Tick(after(conflictGrace), out)
				require.Len(t, out.take(), 1)
				for range 3 {
					require.True(t, receive(c, after(conflictGrace+time.Millisecond), a.answer, out))
				}
				require.Equal(t, conflict, out.conflicts, "once")
				c.Tick(after(time.Minute), out)
				require.Empty(t, out.sent, "until there is another claim")
				receive(c, after(time.Minute), a.claim, out)
				c.Tick(after(time.Minute+conflictGrace), out)
				receive(c, after(time.Minute+conflictGrace), a.answer, out)
				require.Len(t, out.conflicts, 2)
			})
		})
	}
}

func rivalAdvertisement() []byte {
	a := advertisement()
	a.target = vip6
	a.opts = linkOpt(layers.ICMPv6OptTargetAddress, rivalMAC)
	return a.bytes()
}

// The question is for everybody.
func TestTheQuestionOfAnElection(t *testing.T) {
	c, out, h := newCache(t, Config{})
	h.elected = true
	receive(c, start, request(rivalMAC, vip, vip), out)
	c.Tick(start.Add(conflictGrace), out)
	b := out.sent[0].Bytes()
	require.Equal(t, wire.Broadcast, wire.EthernetHeader(b).Dst())
	asks := wire.ARPHeader(b[wire.EthernetLen:])
	require.Equal(t, vip, asks.TargetIP())
	require.Equal(t, dip, asks.SenderIP())
}
