package control

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"usvs/ipvs"
)

func TestDeletedServerIsUnavailable(t *testing.T) {
	for _, how := range []string{"server", "service", "flush"} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t)
			r.must(r.AddService(web, by("rr")))
			r.must(r.AddServer(web, rsA, weight(1)))
			rs := r.real(web, rsA)
			require.True(t, rs.Available())
			switch how {
			case "server":
				r.must(r.DeleteServer(web, rsA))
			case "service":
				r.must(r.DeleteService(web))
			case "flush":
				r.must(r.Flush())
			}
			require.False(t, rs.Available())
			require.Same(t, rs, r.registry.Get(rs.Index), "connections still find it")
		})
	}
}

// The trash is looked through every 60 s; an unreferenced server is seen idle
// first, and freed 120 s after that.
func TestTrashTimes(t *testing.T) {
	tests := []struct {
		name     string
		unbindAt time.Duration // when its last connection ends; <0: there is none
		freedAt  time.Duration
	}{
		{"never referenced", -1, 180 * time.Second},
		{"until just before a run", 59 * time.Second, 180 * time.Second},
		{"until just after a run", 61 * time.Second, 240 * time.Second},
		{"for long", 1000 * time.Second, 1140 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.must(r.AddService(web, by("rr")))
			r.must(r.AddServer(web, rsA, weight(1)))
			rs := r.real(web, rsA)
			if tt.unbindAt >= 0 {
				rs.Bind(false)
			}
			start := r.clock.now
			r.must(r.DeleteServer(web, rsA))
			if tt.unbindAt >= 0 {
				r.advance(tt.unbindAt)
				rs.Unbind(false)
			}
			r.advance(start.Add(tt.freedAt - time.Second).Sub(r.clock.now))
			require.Same(t, rs, r.registry.Get(rs.Index))
			r.advance(2 * time.Second)
			require.Nil(t, r.registry.Get(rs.Index))
			require.Equal(t, r.foldRun, r.Tick(r.clock.now), "nothing left but the folding")
		})
	}
}

// A server that comes back is the same object: its connections count on.
func TestResurrection(t *testing.T) {
	fwm := mark(4)
	tests := []struct {
		name       string
		was, comes ipvs.ServiceID
		recreate   bool
		same, zero bool
	}{
		{name: "same service", was: web, comes: web, same: true},
		{name: "service re-created", was: web, comes: web, recreate: true, same: true, zero: true},
		{name: "another port", was: web, comes: tcp("10.9.0.1", 81)},
		{name: "another address", was: web, comes: tcp("10.9.0.2", 80)},
		{name: "another protocol", was: web, comes: ipvs.ServiceID{Family: ipvs.IPv4, Protocol: ipvs.UDP, Addr: web.Addr, Port: 80}},
		{name: "fwmark", was: fwm, comes: fwm, same: true},
		{name: "fwmark re-created", was: fwm, comes: fwm, recreate: true, same: true, zero: true},
		{name: "another mark", was: fwm, comes: mark(5)},
		{name: "from mark to address", was: fwm, comes: web},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.must(r.AddService(tt.was, by("rr")))
			r.must(r.AddServer(tt.was, rsA, weight(3)))
			rs := r.real(tt.was, rsA)
			rs.Bind(true)
			rs.Counters.Conns.Add(7)
			r.advance(3 * time.Second)
			if tt.recreate {
				r.must(r.DeleteService(tt.was))
			} else {
				r.must(r.DeleteServer(tt.was, rsA))
			}
			r.advance(10 * time.Minute) // referenced, so never freed
			if tt.comes != tt.was || tt.recreate {
				r.must(r.AddService(tt.comes, by("rr")))
			}
			r.must(r.AddServer(tt.comes, rsA, weight(5)))
			back := r.real(tt.comes, rsA)
			require.Equal(t, tt.same, back == rs)
			if !tt.same {
				require.Zero(t, back.Active())
				require.False(t, rs.Available())
				return
			}
			e := r.entry(tt.comes).Servers[0]
			require.Equal(t, uint32(1), e.Active)
			require.True(t, back.Available())
			require.Equal(t, int32(5), back.Weight())
			require.Same(t, r.Snapshot().Services[0].VS, back.Service())
			want := uint64(7)
			if tt.zero {
				want = 0
			}
			require.Equal(t, want, e.Stats.Conns)
			r.advance(10 * time.Minute)
			require.Same(t, rs, r.registry.Get(rs.Index), "no longer in the trash")
		})
	}
}

// Indices are used again, but only after the trash let go of them.
func TestIndexReuse(t *testing.T) {
	r := newRig(t)
	r.must(r.AddService(web, by("rr")))
	r.must(r.AddServer(web, rsA, weight(1)))
	first := r.real(web, rsA).Index
	r.must(r.DeleteServer(web, rsA))
	r.must(r.AddServer(web, rsB, weight(1)))
	require.NotEqual(t, first, r.real(web, rsB).Index)
	r.advance(5 * time.Minute)
	r.must(r.AddServer(web, rsC, weight(1)))
	require.Equal(t, first, r.real(web, rsC).Index)
}

// A server that lblc or lblcr still knows stays in the trash, and has its
// destinations again when it comes back: recorded on Linux 6.1.
func TestCachesKeepServersInTheTrash(t *testing.T) {
	for _, name := range []string{"lblc", "lblcr"} {
		r := newRig(t)
		r.must(r.AddService(web, by(name)))
		r.must(r.AddServer(web, rsA, weight(1)))
		r.must(r.AddServer(web, rsB, weight(1)))
		require.Equal(t, []byte{12}, r.pick(web, 1))
		rs := r.real(web, rsB)
		r.must(r.DeleteServer(web, rsB))
		r.advance(time.Hour)
		require.Same(t, rs, r.registry.Get(rs.Index), name)
		r.must(r.AddServer(web, rsB, weight(1)))
		require.Same(t, rs, r.real(web, rsB), name)

		rs.Bind(true)
		require.Equal(t, []byte{12}, r.pick(web, 1), "%s: though the other one is less loaded", name)
		rs.Unbind(true)
		r.must(r.DeleteServer(web, rsB))
		r.must(r.EditService(web, by("rr")))
		r.advance(4 * time.Minute)
		require.Nil(t, r.registry.Get(rs.Index), "%s: nobody knows it any more", name)
	}
}
