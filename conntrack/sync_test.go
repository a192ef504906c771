package conntrack

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/clock"
	"usvs/ipvs"
)

func TestAdvertWord(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		state, retries := uint8(r.IntN(16)), uint8(r.IntN(4))
		now := clock.Instant(r.Int64N(int64(1000 * 24 * time.Hour)))
		now -= now % clock.Instant(AdvertTick)
		d := time.Duration(r.Int64N(int64(maxTimeout))) / AdvertTick * AdvertTick
		a := NewAdvert(state, retries, now.Add(d))
		require.Equal(t, state, a.State())
		require.Equal(t, retries, a.Retries())
		require.True(t, a.Told())
		require.InDelta(t, d, a.Until(now), float64(AdvertTick))
		require.InDelta(t, d-time.Hour, a.Until(now.Add(time.Hour)), float64(AdvertTick), "also when it is over")
		require.Equal(t, a, a.With(3).With(state))
		require.EqualValues(t, uint64(a), unstamp(stamped(7, uint64(a))), "36 bits")
	}
	require.False(t, Advert(0).Told())
}

func TestAdvertise(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	var c Conn
	require.Equal(t, Inserted, table.Insert(t0, tcpSpec(1, all[0]), &c))
	old := c.Ref
	require.Zero(t, table.Advert(old))
	a, b := NewAdvert(1, 0, at(time.Minute)), NewAdvert(4, 1, at(time.Hour))
	require.False(t, table.Advertise(old, b, a), "that was not told")
	require.True(t, table.Advertise(old, 0, a))
	require.False(t, table.Advertise(old, 0, b))
	require.True(t, table.Advertise(old, a, b))
	require.Equal(t, b, table.Advert(old))

	require.True(t, table.Expire(t0, old))
	require.Equal(t, Inserted, table.Insert(t0, tcpSpec(1, all[0]), &c))
	require.Equal(t, old.index(), c.Ref.index(), "the entry is used again")
	require.Zero(t, table.Advert(c.Ref), "nobody was told of its new incarnation")
	require.True(t, table.Advertise(c.Ref, 0, a))
	require.False(t, table.Advertise(old, 0, b), "the old one is gone")
	require.False(t, table.Advertise(old, b, a))
	require.Equal(t, a, table.Advert(c.Ref))
	checkEmpty(t, table, at(time.Hour), all)
}

// TestAdvertiseOnce: of many that want to tell the same, one does.
func TestAdvertiseOnce(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	var c Conn
	require.Equal(t, Inserted, table.Insert(t0, tcpSpec(1, all[0]), &c))
	told := Advert(0)
	for i := range 200 {
		next := NewAdvert(uint8(i&15), uint8(i>>4&3), at(time.Duration(i+1)*time.Second))
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if table.Advertise(c.Ref, told, next) {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, won.Load())
		told = next
	}
}

func TestUpdate(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	rs := all[0]
	table := New(Config{Servers: reg})
	var c Conn
	require.Equal(t, Inserted, table.Insert(t0, tcpSpec(1, rs), &c))
	u := Update{State: TCPEstablished, Timeout: 900 * time.Second, InPackets: 3}
	require.True(t, table.Update(t0, c.Ref, &u))
	require.True(t, table.Get(c.Ref, &c))
	require.Equal(t, TCPEstablished, c.State)
	require.EqualValues(t, 3, c.InPackets)
	require.Equal(t, at(900*time.Second), c.Expires)
	require.EqualValues(t, 1, rs.Active())
	require.Equal(t, TCPEstablished, table.Advert(c.Ref).State())
	u.Inactive, u.State = true, TCPFinWait
	require.True(t, table.Update(t0, c.Ref, &u))
	require.EqualValues(t, 0, rs.Active())
	require.EqualValues(t, 1, rs.Inactive())
	require.False(t, table.Update(at(time.Hour), c.Ref, &u), "its time is over")
	checkEmpty(t, table, at(time.Hour), all)
	require.False(t, table.Update(at(time.Hour), c.Ref, &u))
	require.False(t, table.Get(c.Ref, &c))
	_, _, ok := table.Controller(c.Ref)
	require.False(t, ok)
	require.Zero(t, table.Count(c.Ref))
}

// TestListedAsSynced: a listing says which entries another director told of.
func TestListedAsSynced(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	var c Conn
	for i, flags := range []Flags{0, FlagSync} {
		n := tcpSpec(i, all[0])
		n.Flags = flags
		require.Equal(t, Inserted, table.Insert(t0, n, &c))
	}
	synced := 0
	table.List(t0, func(e *ipvs.ConnEntry) bool {
		if e.Synced {
			synced++
		}
		return true
	})
	require.Equal(t, 1, synced)
}

// TestUpdateTemplate: a template's activity is no matter.
func TestUpdateTemplate(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	n := tcpSpec(1, all[0])
	n.Template, n.Timeout = true, time.Minute
	var c Conn
	require.Equal(t, Inserted, table.Insert(t0, n, &c))
	require.True(t, table.Update(t0, c.Ref, &Update{State: TemplateAssured, Timeout: time.Hour}))
	require.True(t, table.Get(c.Ref, &c))
	require.Equal(t, "ASSURED", c.StateName())
	require.NotZero(t, c.Flags&FlagInactive)
	require.EqualValues(t, 1, all[0].Persistent())
	require.EqualValues(t, 1, table.Count(c.Ref))
	child := tcpSpec(2, all[0])
	child.Control = c.Ref
	var k Conn
	require.Equal(t, Inserted, table.Insert(t0, child, &k))
	controller, template, ok := table.Controller(k.Ref)
	require.True(t, ok)
	require.False(t, template)
	require.Equal(t, c.Ref, controller)
	_, template, _ = table.Controller(c.Ref)
	require.True(t, template)
	checkEmpty(t, table, at(3*time.Hour), all)
}

// TestUpdatesAndPackets has updates, packets and expiry meet; the server's
// counts come out even.
func TestUpdatesAndPackets(t *testing.T) {
	reg, all := servers(1, ipvs.DirectRoute)
	table := New(Config{Servers: reg})
	var now atomic.Int64
	now.Store(int64(t0))
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			var c Conn
			for range 4000 {
				n := tcpSpec(r.IntN(4)+1, all[0])
				at := clock.Instant(now.Add(int64(r.IntN(20)) * int64(time.Millisecond)))
				table.Insert(at, n, &c)
				switch g {
				case 0:
					table.Update(at, c.Ref, &Update{State: uint8(r.IntN(11)), Inactive: r.IntN(2) == 0, Timeout: time.Duration(r.IntN(3)) * time.Second})
				case 1:
					table.Packet(at, &c, DirIn, TCPEvent(uint8(r.IntN(32))))
				default:
					table.Tick(at, 10)
				}
			}
		})
	}
	wg.Wait()
	checkEmpty(t, table, clock.Instant(now.Load()).Add(time.Hour), all)
}
